//! Workers that are killed at any moment and started again do every unit once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking and says what it measured"
)]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use work::{Share, Stage, State, Unit, Usage, Work, WorkList};

/// A list of units that take the same time, and the processes that do them.
struct Job<'a> {
    folder: &'a Path,
    units: usize,
    workers: usize,
    unit: Duration,
}

impl Job<'_> {
    fn list(&self) -> WorkList {
        let unit = |i: usize| Unit {
            name: format!("unit {i}"),
            group: i.to_string(),
            cost: 1.0,
        };
        let units = (0..self.units).map(unit).collect();
        let list = WorkList::open(&self.folder.join("work"), "toy", "0123456789abcdef", units).unwrap();
        list.with_lease(Duration::from_millis(100), Duration::from_secs(2))
    }

    /// This very program, as one worker.
    fn start(&self, share: usize) -> Child {
        let numbers =
            [self.units, self.workers, self.unit.as_millis() as usize, share].map(|number| number.to_string());
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "one_worker_of_the_test_above"])
            .env("WORK_TEST", numbers.join(" "))
            .env("WORK_TEST_FOLDER", self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// Does units by waiting, and writes down what it did.
struct Wait {
    folder: PathBuf,
    unit: Duration,
    start: Instant,
    inside: Duration,
    log: fs::File,
}

impl Wait {
    fn result(&self, unit: &Unit) -> PathBuf {
        self.folder.join("results").join(&unit.group)
    }

    /// One write, so that a kill leaves whole lines.
    fn say(&mut self, line: &str) {
        self.log.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

impl Work for Wait {
    type Error = work::Error;

    fn is_done(&mut self, unit: &Unit) -> Result<bool, work::Error> {
        Ok(self.result(unit).exists())
    }

    fn run(&mut self, units: &[&Unit]) -> Result<(), work::Error> {
        for &unit in units {
            let (begin, times) = (Instant::now(), self.start.elapsed() - self.inside);
            self.say(&format!(
                "begins {} {} {}",
                unit.group,
                times.as_nanos(),
                self.inside.as_nanos()
            ));
            std::thread::sleep(self.unit);
            // Of a name of its own: the link is the same file.
            let partial = self
                .folder
                .join(format!("partial-{}-{}", std::process::id(), unit.group));
            fs::write(&partial, &unit.name).unwrap();
            let said = match fs::hard_link(&partial, self.result(unit)) {
                Ok(()) => "published",
                Err(_) => "dropped",
            };
            self.say(&format!("{said} {}", unit.group));
            self.inside += begin.elapsed();
        }
        Ok(())
    }
}

#[test]
#[ignore = "a process that the other tests start"]
fn one_worker_of_the_test_above() {
    let (Ok(numbers), Ok(folder)) = (std::env::var("WORK_TEST"), std::env::var("WORK_TEST_FOLDER")) else {
        return;
    };
    let numbers: Vec<usize> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    let [units, workers, unit, share] = numbers[..] else {
        panic!("{numbers:?}")
    };
    let folder = PathBuf::from(folder);
    let unit = Duration::from_millis(unit as u64);
    let job = Job {
        folder: &folder,
        units,
        workers,
        unit,
    };
    let log = folder.join("logs").join(std::process::id().to_string());
    let mut wait = Wait {
        folder: folder.clone(),
        unit,
        start: Instant::now(),
        inside: Duration::ZERO,
        log: OpenOptions::new().append(true).create(true).open(log).unwrap(),
    };
    let list = job.list();
    let share = Share {
        index: share,
        of: workers,
    };
    let outcome = list.worker(share, Usage::default).unwrap().run(&mut wait).unwrap();
    assert_eq!(outcome.failed, 0);
}

/// What a job came to.
#[derive(Debug)]
struct Came {
    kills: usize,
    /// Units that were begun, by all processes.
    begun: usize,
    /// Time between units over time in units.
    overhead: f64,
}

/// Runs a job whose workers are killed by turns in an irregular order, and started again.
fn run(job: &Job<'_>, between: Duration) -> Came {
    for name in ["results", "logs"] {
        fs::create_dir(job.folder.join(name)).unwrap();
    }
    let mut workers: Vec<Child> = (0..job.workers).map(|share| job.start(share)).collect();
    let (mut kills, start) = (0, Instant::now());
    loop {
        assert!(
            start.elapsed() < Duration::from_secs(600),
            "the workers do not come to an end"
        );
        let share = (kills as f64 * 0.618_033_988_75).fract();
        std::thread::sleep(between.mul_f64(0.5 + share));
        if workers.iter_mut().all(|worker| worker.try_wait().unwrap().is_some()) {
            break;
        }
        let victim = (share * job.workers as f64) as usize;
        let worker = &mut workers[victim];
        match worker.try_wait().unwrap() {
            // It has ended; what others owe is theirs.
            Some(status) => assert!(status.success(), "{status}"),
            None => {
                worker.kill().unwrap();
                worker.wait().unwrap();
                workers[victim] = job.start(victim);
            }
        }
        kills += 1;
    }
    let (mut begun, mut published, mut outside, mut inside) = (0, BTreeMap::new(), 0.0, 0.0);
    for log in fs::read_dir(job.folder.join("logs")).unwrap() {
        let text = fs::read_to_string(log.unwrap().path()).unwrap();
        let mut last = [0.0, 0.0];
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["begins", _, out, within] => {
                    begun += 1;
                    last = [out, within].map(|number| number.parse::<f64>().unwrap());
                }
                ["published", unit] => *published.entry(unit.to_owned()).or_insert(0) += 1,
                _ => {}
            }
        }
        outside += last[0];
        inside += last[1];
    }
    // Once in the result, and no finished unit is done again.
    assert_eq!(published.len(), job.units);
    assert!(published.values().all(|times| *times == 1));
    for unit in job.list().units() {
        let result = fs::read_to_string(job.folder.join("results").join(&unit.group)).unwrap();
        assert_eq!(result, unit.name);
    }
    assert!(
        begun <= job.units + kills,
        "{begun} units were begun in spite of {kills} kills only"
    );
    let stages = Stage::read_all(&job.folder.join("work")).unwrap();
    let [stage] = &stages[..] else {
        panic!("{} stages", stages.len())
    };
    // Also of those whose worker was killed between a result and its record.
    assert_eq!(stage.count(State::Done), job.units);
    Came {
        kills,
        begun,
        overhead: outside / inside,
    }
}

#[test]
fn workers_that_are_killed_do_every_unit_once() {
    let folder = tempfile::tempdir().unwrap();
    let job = Job {
        folder: folder.path(),
        units: 100,
        workers: 4,
        unit: Duration::from_millis(40),
    };
    let came = run(&job, Duration::from_millis(150));
    assert!(came.kills >= 4, "{came:?}");
}

/// `cargo test --release -p work -- --ignored --nocapture`. A unit costs about 4 ms of its own beside other work on 2 cores.
#[test]
#[ignore = "takes 34 s, and measures"]
fn a_thousand_units_cost_less_than_two_percent() {
    let folder = tempfile::tempdir().unwrap();
    let job = Job {
        folder: folder.path(),
        units: 1000,
        workers: 8,
        unit: Duration::from_millis(250),
    };
    let came = run(&job, Duration::from_millis(750));
    eprintln!(
        "1000 units of 250 ms, 8 workers, {} kills, {} units begun: {:.2} % of overhead",
        came.kills,
        came.begun,
        100.0 * came.overhead
    );
    assert!(came.kills >= 20 && came.overhead < 0.02, "{came:?}");
}
