//! The targets for libFuzzer; `scripts/fuzz.sh` builds and runs this. `FUZZ_TARGET` names the target, `FUZZ_SEEDS` a folder
//! that its valid inputs are written to before libFuzzer reads its folders.
#![no_main]

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use fuzz::{Mutator, Reader, Tally, Target};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

static TALLY: Mutex<Option<Tally>> = Mutex::new(None);
static NAME: OnceLock<&'static str> = OnceLock::new();

thread_local! {
    static STATE: RefCell<Option<(Reader, Mutator)>> = const { RefCell::new(None) };
}

#[expect(clippy::panic, reason = "a wrong call of the script")]
fn target() -> Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = fuzz::all().iter().map(|target| target.name).collect();
    fuzz::all()
        .into_iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, expected one of: {}", names.join(" ")))
}

/// Runs `act` with the reader and the mutator of the target, which are made once.
fn with<T>(act: impl FnOnce(&mut Reader, &Mutator) -> T) -> T {
    STATE.with_borrow_mut(|state| {
        let (reader, mutator) = state.get_or_insert_with(|| {
            let target = target();
            ((target.reader)(), Mutator::new(target.form, (target.seeds)()))
        });
        act(reader, mutator)
    })
}

/// Prints what the inputs came to.
extern "C" fn tell() {
    if let (Ok(tally), Some(name)) = (TALLY.try_lock(), NAME.get())
        && let Some(tally) = tally.as_ref()
    {
        #[expect(clippy::print_stdout, reason = "this is the result")]
        {
            println!("{}", tally.line(name));
        }
    }
}

#[expect(clippy::expect_used, reason = "without the seeds there is nothing to begin with")]
fn begin() {
    let target = target();
    let _ = NAME.set(target.name);
    if let Some(folder) = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from) {
        for (index, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{index:02}")), seed).expect("a seed can be written");
        }
    }
    #[allow(unsafe_code, reason = "libFuzzer ends the process, which only C can be told of")]
    // SAFETY: the function is `extern "C"`, takes nothing, and does not unwind.
    unsafe {
        libc::atexit(tell);
    }
}

fuzz_target!(init: begin(), |data: &[u8]| {
    let mut tally = TALLY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let tally = tally.get_or_insert_default();
    with(|reader, _| drop(tally.read(reader, data)));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut rng = kernels::random::rng(u64::from(seed), "fuzz");
    let changed = with(|_, mutator| mutator.change(&data[..size], &mut rng));
    let length = changed.len().min(max_size);
    data[..length].copy_from_slice(&changed[..length]);
    length
});
