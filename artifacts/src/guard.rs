//! Calls into libraries that panic on some files: tokenizers, and Parquet on offsets that are negative.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is about to become an error, so that nothing is printed for it.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or the message of its panic.
///
/// For calls into a library whose panic is that of a file or text which it did not expect, and which leave nothing half changed that
/// is used afterwards.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let printing = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                printing(info);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    result.map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no reason given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_later_ones_are_printed_again() {
        assert_eq!(caught(|| 3), Ok(3));
        assert_eq!(caught(|| -> u32 { panic!("at {}", 7) }), Err("at 7".to_owned()));
        assert_eq!(
            caught(|| caught(|| -> u32 { panic!("inner") })),
            Ok(Err("inner".to_owned()))
        );
        assert!(!CAUGHT.get());
    }
}
