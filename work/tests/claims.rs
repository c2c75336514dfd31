//! What workers make of each other's claims.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use work::{Error, Outcome, Share, Stage, State, Unit, Usage, Work, WorkList};

const UNITS: usize = 6;

fn list(folder: &Path) -> WorkList {
    let unit = |i: usize| Unit {
        name: format!("unit {i}"),
        group: format!("group {}", i / 2),
        cost: 1.0,
    };
    let list = WorkList::open(&folder.join("work"), "toy", "key", (0..UNITS).map(unit).collect()).unwrap();
    list.with_lease(Duration::from_millis(20), Duration::from_millis(200))
}

/// Writes a file for each unit, and remembers what it was asked for.
struct Files {
    folder: PathBuf,
    asked: Vec<Vec<String>>,
    refuses: Option<String>,
}

impl Files {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            asked: Vec::new(),
            refuses: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    List(#[from] Error),
    #[error("unit refused")]
    Refused,
}

impl Work for Files {
    type Error = Failure;

    fn is_done(&mut self, unit: &Unit) -> Result<bool, Failure> {
        Ok(self.folder.join(&unit.name).exists())
    }

    fn run(&mut self, units: &[&Unit]) -> Result<(), Failure> {
        self.asked.push(units.iter().map(|unit| unit.name.clone()).collect());
        if units.iter().any(|unit| Some(&unit.name) == self.refuses.as_ref()) {
            return Err(Failure::Refused);
        }
        for unit in units {
            fs::write(self.folder.join(&unit.name), "").unwrap();
        }
        Ok(())
    }
}

fn usage() -> Usage {
    Usage {
        processor_seconds: Some(1.0),
        peak_memory_mb: Some(7),
    }
}

fn run(list: &WorkList, files: &mut Files, share: &str) -> Outcome<Failure> {
    let share: Share = share.parse().unwrap();
    list.worker(share, usage).unwrap().run(files).unwrap()
}

fn status(folder: &Path) -> Stage {
    let mut stages = Stage::read_all(&folder.join("work")).unwrap();
    assert_eq!(stages.len(), 1);
    stages.remove(0)
}

/// A claim as another process writes it.
fn claim(folder: &Path, unit: usize, host: &str, worker: &str) -> PathBuf {
    let line = format!(
        "{{\"unit\":\"unit {unit}\",\"worker\":\"{worker}\",\"host\":\"{host}\",\"pid\":1,\"attempt\":1,\"began\":1700000000}}\n"
    );
    let path = folder.join("work/toy-key").join(format!("{unit:05}.claim"));
    fs::write(&path, line).unwrap();
    path
}

#[test]
fn a_worker_does_its_groups_then_helps() {
    let folder = tempfile::tempdir().unwrap();
    let (list, mut files) = (list(folder.path()), Files::new(folder.path()));
    let outcome = run(&list, &mut files, "2/3");
    assert_eq!((outcome.done, outcome.failed, outcome.elsewhere), (6, 0, 0));
    // Its own group together, the others one by one, from its own place on.
    let expected = [
        vec!["unit 2", "unit 3"],
        vec!["unit 4"],
        vec!["unit 5"],
        vec!["unit 0"],
        vec!["unit 1"],
    ];
    assert_eq!(files.asked, expected);
    // Nothing is done twice.
    assert_eq!(run(&list, &mut files, "1/3").done, 0);
    assert_eq!(files.asked.len(), 5);
    let stage = status(folder.path());
    assert_eq!((stage.stage.as_str(), stage.count(State::Done)), ("toy", 6));
    let unit = &stage.units[0];
    assert_eq!(
        (unit.attempts, unit.worker.as_deref(), unit.peak_memory_mb),
        (1, Some("2/3"), Some(7))
    );
    assert!(unit.seconds.is_some() && unit.processor_seconds == Some(0.0));
}

#[test]
fn one_that_does_not_help_ends_after_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (list, mut files) = (list(folder.path()), Files::new(folder.path()));
    let worker = list.worker("1/3".parse().unwrap(), usage).unwrap().own_only();
    assert_eq!(worker.run(&mut files).unwrap().done, 2);
    assert_eq!(status(folder.path()).count(State::Waiting), 4);
}

#[test]
fn what_was_removed_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let (list, mut files) = (list(folder.path()), Files::new(folder.path()));
    run(&list, &mut files, "1/1");
    fs::remove_file(folder.path().join("unit 3")).unwrap();
    assert_eq!(run(&list, &mut files, "1/1").done, 1);
    let stage = status(folder.path());
    assert_eq!((stage.units[3].state, stage.units[3].attempts), (State::Done, 2));
}

#[test]
fn living_claims_are_left_alone_and_dead_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (list, mut files) = (list(folder.path()), Files::new(folder.path()));
    // Of a machine that is gone, of a process of this machine that is gone, of a machine that lives, and one half written.
    claim(folder.path(), 0, "elsewhere", "7/9");
    let gone = claim(folder.path(), 1, "elsewhere", "7/9");
    let text = fs::read_to_string(&gone).unwrap();
    let here = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = text
        .replace("elsewhere", here.trim())
        .replace("\"pid\":1,", "\"pid\":4194305,");
    fs::write(&gone, text).unwrap();
    let alive = claim(folder.path(), 2, "elsewhere", "8/9");
    fs::write(folder.path().join("work/toy-key/00003.claim"), "{\"unit").unwrap();
    let (ends, told) = std::sync::mpsc::channel::<()>();
    let grows = std::thread::spawn(move || {
        while told.recv_timeout(Duration::from_millis(20)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            use std::io::Write;
            let mut file = fs::OpenOptions::new().append(true).open(&alive).unwrap();
            file.write_all(b".").unwrap();
        }
    });
    let outcome = run(&list, &mut files, "1/1");
    ends.send(()).unwrap();
    grows.join().unwrap();
    assert_eq!((outcome.done, outcome.elsewhere), (5, 1));
    assert!(!folder.path().join("unit 2").exists());
    let stage = status(folder.path());
    let found: Vec<_> = stage.units.iter().map(|unit| (unit.state, unit.attempts)).collect();
    assert_eq!(found[..3], [(State::Done, 2), (State::Done, 2), (State::Running, 1)]);
    assert_eq!(found[3..], [(State::Done, 2), (State::Done, 1), (State::Done, 1)]);
    assert!(stage.units[0].lost_seconds > 0.0);
}

#[test]
fn a_successor_takes_what_its_predecessor_held() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(folder.path()).with_lease(Duration::from_secs(1), Duration::from_secs(3600));
    let mut files = Files::new(folder.path());
    claim(folder.path(), 0, "elsewhere", "1/1");
    assert_eq!(run(&list, &mut files, "1/1").done, 6);
}

#[test]
fn a_failure_is_told_and_left_to_its_own_worker() {
    let folder = tempfile::tempdir().unwrap();
    let (list, mut files) = (list(folder.path()), Files::new(folder.path()));
    files.refuses = Some("unit 2".to_owned());
    let outcome = run(&list, &mut files, "2/3");
    // Its group failed; the others are done all the same.
    assert_eq!((outcome.done, outcome.failed), (4, 2));
    assert_eq!(outcome.error.unwrap().to_string(), "unit refused");
    let stage = status(folder.path());
    assert_eq!(
        (stage.units[2].state, stage.units[2].error.as_deref()),
        (State::Failed, Some("unit refused"))
    );
    assert_eq!(run(&list, &mut files, "1/3").failed, 0);
    files.refuses = None;
    assert_eq!(run(&list, &mut files, "2/3").done, 2);
    let stage = status(folder.path());
    assert_eq!((stage.units[2].state, stage.units[2].attempts), (State::Done, 2));
    assert_eq!(stage.units[2].error, None);
}

#[test]
fn other_units_under_the_same_key_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    list(folder.path());
    let error = WorkList::open(&folder.path().join("work"), "toy", "key", Vec::new()).unwrap_err();
    assert!(error.to_string().contains("other units"), "{error}");
    let damaged = folder.path().join("work/toy-key/00001.done");
    fs::write(&damaged, "x").unwrap();
    let error = Stage::read_all(&folder.path().join("work")).unwrap_err().to_string();
    assert!(error.contains("00001.done is damaged"), "{error}");
}

/// Records are not forced to the disk: a machine without power may leave a file of no bytes.
#[test]
fn a_record_that_was_lost_with_the_power_still_says_done() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(folder.path());
    let mut files = Files::new(folder.path());
    assert_eq!(run(&list, &mut files, "1/1").done, UNITS);
    fs::write(folder.path().join("work/toy-key/00002.done"), "").unwrap();
    assert_eq!(status(folder.path()).count(State::Done), UNITS);
    files.asked.clear();
    assert_eq!(run(&list, &mut files, "1/1").done, 0);
    assert_eq!(files.asked, [] as [Vec<String>; 0]);
}
