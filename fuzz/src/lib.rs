//! Fuzzing of every reader of bytes that this program did not write itself, or that may have changed since.
//!
//! A [`Target`] is one file that a reader is given, with valid examples of it, and the public functions that read it. Each
//! input must be accepted or refused: no panic, no more than [`memory::LIMIT`], no more than [`SLOWEST`].
//!
//! * `tests/readers.rs` replays `corpus/TARGET/` (inputs that once failed, or that a change could break) and then tries
//!   seeded mutations of the examples; `FUZZ_INPUTS=100000` tries more of them.
//! * `scripts/fuzz.sh` gives the same targets to libFuzzer, which is led by the coverage of this workspace's crates
//!   (`make fuzz SECONDS=600`).
//!
//! [`mutate`] knows the form of the files, since a random change of bytes seldom gets past a parser.

#![expect(
    clippy::expect_used,
    reason = "a fuzzer that cannot write its scratch files has nothing else to do than to stop"
)]

pub mod memory;
pub mod mutate;
mod readers;
mod scratch;

use std::time::Duration;

pub use mutate::{Form, Mutator};
pub use readers::all;

/// The longest time that an input may take. Inputs are small: most take less than a millisecond.
pub const SLOWEST: Duration = Duration::from_secs(10);

/// Reads an input; the error says why it was refused.
pub type Reader = Box<dyn FnMut(&[u8]) -> Result<(), String>>;

/// One kind of file, and what reads it.
pub struct Target {
    /// Its name, which is that of its folder in `corpus/`.
    pub name: &'static str,
    /// The form that its mutations keep.
    pub form: Form,
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Makes its reader, with the files that stand beside the input.
    pub reader: fn() -> Reader,
}

/// What a target's inputs came to.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Inputs that were tried.
    pub inputs: u64,
    /// Those of them that were accepted.
    pub accepted: u64,
    /// The longest time of one.
    pub slowest: Duration,
    /// The most memory of one, beyond what was held before, in bytes.
    pub largest: usize,
}

impl Tally {
    /// Reads one input, and counts it.
    pub fn read(&mut self, reader: &mut Reader, input: &[u8]) -> Result<(), String> {
        let (start, held) = (std::time::Instant::now(), memory::restart());
        let outcome = reader(input);
        self.inputs += 1;
        self.accepted += u64::from(outcome.is_ok());
        self.slowest = self.slowest.max(start.elapsed());
        self.largest = self.largest.max(memory::peak().saturating_sub(held));
        outcome
    }

    /// One line of a table.
    pub fn line(&self, name: &str) -> String {
        format!(
            "{name:<20} {:>9} inputs, {:>9} refused, {:>8} accepted; slowest {:>7.1} ms, most memory {:>7.2} MiB",
            self.inputs,
            self.inputs - self.accepted,
            self.accepted,
            self.slowest.as_secs_f64() * 1e3,
            self.largest as f64 / f64::from(1 << 20),
        )
    }
}
