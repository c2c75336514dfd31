//! Every reader accepts or refuses whatever bytes it is given: no panic, no hang, no more than 2 GiB.
//!
//! First come the inputs of `corpus/`, then `FUZZ_INPUTS` seeded mutations of valid files for each target (`FUZZ_TARGET` names
//! only one). An input that fails stands in `target/tmp/fuzz-TARGET`, also when the process was ended.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the table of what was tried")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};

use fuzz::{Mutator, Reader, SLOWEST, Tally, Target, memory};

/// Mutations of each target where nobody says otherwise: some seconds in all.
const INPUTS: u64 = 150;
/// Panics of all threads: one of a thread that a reader starts is not passed on.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// One target's file that holds the input that is being read.
fn current(target: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"))
}

fn try_one(tally: &mut Tally, reader: &mut Reader, target: &str, input: &[u8]) {
    fs::write(current(target), input).unwrap();
    let before = PANICS.load(Ordering::Relaxed);
    let caught = catch_unwind(AssertUnwindSafe(|| tally.read(reader, input)));
    let place = current(target).display().to_string();
    assert!(
        caught.is_ok() && PANICS.load(Ordering::Relaxed) == before,
        "{target} panics: {place}"
    );
    assert!(tally.slowest < SLOWEST, "{target} takes {:?}: {place}", tally.slowest);
    assert!(
        tally.largest < memory::LIMIT,
        "{target} takes {} bytes: {place}",
        tally.largest
    );
    fs::remove_file(current(target)).unwrap();
}

fn run(target: &Target, inputs: u64, done: &dyn Fn()) -> Tally {
    let (mut tally, mut reader) = (Tally::default(), (target.reader)());
    let seeds = (target.seeds)();
    for (index, seed) in seeds.iter().enumerate() {
        let outcome = tally.read(&mut reader, seed);
        assert_eq!(outcome, Ok(()), "{}: valid file {index} is refused", target.name);
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut kept: Vec<PathBuf> = match fs::read_dir(&corpus) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    kept.sort();
    for path in kept {
        try_one(&mut tally, &mut reader, target.name, &fs::read(path).unwrap());
        done();
    }
    let mutator = Mutator::new(target.form, seeds);
    let mut rng = kernels::random::rng(0, target.name);
    for _ in 0..inputs {
        let mut input = mutator.fresh(&mut rng);
        while rand::RngExt::random_ratio(&mut rng, 1, 3) {
            input = mutator.change(&input, &mut rng);
        }
        try_one(&mut tally, &mut reader, target.name, &input);
        done();
    }
    tally
}

#[test]
fn whatever_is_read_is_accepted_or_refused() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(info);
    }));
    let inputs = std::env::var("FUZZ_INPUTS").map_or(INPUTS, |inputs| inputs.parse().expect("FUZZ_INPUTS is a number"));
    let only = std::env::var("FUZZ_TARGET").ok();
    for target in fuzz::all() {
        if only.as_ref().is_some_and(|only| only != target.name) {
            continue;
        }
        let name = target.name;
        let (sender, receiver) = channel();
        let worker = std::thread::spawn(move || {
            let tally = run(&target, inputs, &|| sender.send(()).unwrap());
            println!("{}", tally.line(target.name));
        });
        // The reader's own thread cannot tell that it hangs. Of its end, well or not, the channel tells.
        loop {
            match receiver.recv_timeout(4 * SLOWEST) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => panic!("{name} hangs: {}", current(name).display()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        worker.join().unwrap();
    }
    // What all of this rests on: a reader that panics is found, in whichever thread.
    for reader in [|| panics_here(), || panics_elsewhere()] {
        let broken = Target {
            name: "broken",
            form: fuzz::Form::Bytes,
            seeds: || vec![b"valid".to_vec()],
            reader,
        };
        assert!(catch_unwind(AssertUnwindSafe(|| run(&broken, INPUTS, &|| ()))).is_err());
        assert_ne!(fs::read(current("broken")).unwrap(), b"valid");
        fs::remove_file(current("broken")).unwrap();
    }
}

fn panics_here() -> Reader {
    Box::new(|input| {
        assert_eq!(input, b"valid");
        Ok(())
    })
}

fn panics_elsewhere() -> Reader {
    Box::new(|input| {
        let input = input.to_vec();
        let worker = std::thread::spawn(move || assert_eq!(input, b"valid"));
        worker.join().map_err(|_| "the thread has ended".to_owned())
    })
}
