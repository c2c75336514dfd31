//! Locations of a bucket in memory, used by processes with caches of their own.

use std::collections::BTreeMap;
use std::fs;

use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutOptions};

use super::*;

const NAMES: Names = Names {
    seals: &["manifest.json", "weights"],
    accounts: &["made.json"],
    web: &[],
};

/// A bucket, and machines that use it.
struct World {
    bucket: Arc<InMemory>,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            bucket: Arc::new(InMemory::new()),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A process on a machine.
    fn process(&self, machine: &str) -> Storage {
        self.bounded(machine, 1 << 40)
    }

    fn bounded(&self, machine: &str, bound: u64) -> Storage {
        let cache = Cache::new(self.folder.path().join(machine), bound, String::new());
        let objects = Objects {
            whole: self.bucket.clone(),
            parts: Some(crate::connect::Parts(self.bucket.clone())),
        };
        Storage::new(cache, NAMES, |_| ()).with_bucket(&at("s3://bucket"), objects)
    }

    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        run(async {
            use futures_util::TryStreamExt;
            let listed: Vec<_> = self.bucket.list(None).try_collect().await.unwrap();
            let mut objects = BTreeMap::new();
            for meta in listed {
                let bytes = self.bucket.get(&meta.location).await.unwrap().bytes().await.unwrap();
                objects.insert(meta.location.to_string(), bytes.to_vec());
            }
            objects
        })
    }

    fn put(&self, key: &str, bytes: &[u8], sha256: Option<&str>) {
        let attributes = sha256.map(|hash| (Attribute::Metadata("sha256".into()), hash.to_owned()));
        let options = PutOptions {
            attributes: Attributes::from_iter(attributes),
            ..PutOptions::default()
        };
        let (key, bytes) = (Key::from(key), bytes.to_vec());
        run(async { self.bucket.put_opts(&key, bytes.into(), options).await }).unwrap();
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn at(text: &str) -> Location {
    Location::parse(text).unwrap().unwrap()
}

fn write(storage: &Storage, location: &str, bytes: &[u8]) {
    let path = storage.local(&at(location), Use::Work);
    artifacts::write_atomic(&path, |file| file.write_all(bytes)).unwrap();
}

fn read(storage: &Storage, location: &str) -> Option<Vec<u8>> {
    fs::read(storage.local(&at(location), Use::Work)).ok()
}

#[test]
fn what_one_machine_writes_another_reads_and_what_it_removes_is_gone() {
    let world = World::new();
    let (one, two) = (world.process("one"), world.process("two"));
    assert_eq!(one.open(&at("s3://bucket/run"), Use::Work).unwrap(), Fetched::default());
    let large: Vec<u8> = (0..20_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    write(&one, "s3://bucket/run/store/0", &large);
    write(&one, "s3://bucket/run/store/manifest.json", b"{}");
    write(&one, "s3://bucket/run/.partial-1/x", b"unfinished");
    write(&one, "s3://bucket/run/name.lock", b"");
    let put = one.finish().unwrap();
    assert_eq!((put.files, put.bytes), (2, 20_000_002));
    let names: Vec<String> = world.objects().into_keys().collect();
    assert_eq!(names, ["run/store/0", "run/store/manifest.json"]);
    let fetched = two.open(&at("s3://bucket/run"), Use::Work).unwrap();
    assert_eq!((fetched.files, fetched.bytes), (2, 20_000_002));
    assert!(read(&two, "s3://bucket/run/store/0").unwrap() == large);
    fs::remove_file(two.local(&at("s3://bucket/run/store/manifest.json"), Use::Work)).unwrap();
    two.finish().unwrap();
    assert_eq!(world.objects().len(), 1);
    // What is here already is not fetched again, and what is gone there goes here.
    let again = world.process("one");
    assert_eq!(
        again.open(&at("s3://bucket/run"), Use::Input).unwrap(),
        Fetched::default()
    );
    assert_eq!(read(&again, "s3://bucket/run/store/manifest.json"), None);
}

#[test]
fn the_bucket_is_the_truth_unless_a_command_could_not_put_what_it_made() {
    let world = World::new();
    world.put("run/x", b"old", None);
    for kept in [false, true] {
        let killed = world.process("here");
        killed.open(&at("s3://bucket/run"), Use::Input).unwrap();
        write(&killed, "s3://bucket/run/x", b"new");
        write(&killed, "s3://bucket/run/y", b"new");
        let path = killed.local(&at("s3://bucket/run"), Use::Work);
        killed.shared.cache.set_unput(&path, kept);
        drop(killed);
        let next = world.process("here");
        next.open(&at("s3://bucket/run"), Use::Work).unwrap();
        let expected: (&[u8], Option<Vec<u8>>) = if kept {
            (b"new", Some(b"new".to_vec()))
        } else {
            (b"old", None)
        };
        assert_eq!(read(&next, "s3://bucket/run/x").unwrap(), expected.0);
        assert_eq!(read(&next, "s3://bucket/run/y"), expected.1);
        next.finish().unwrap();
        assert!(!next.shared.cache.is_unput(&path));
        assert_eq!(world.objects().len(), if kept { 2 } else { 1 });
    }
}

#[test]
fn two_writers_of_the_same_are_harmless_and_of_different_things_the_first_stays() {
    let world = World::new();
    let open = |machine| {
        let process = world.process(machine);
        process.open(&at("s3://bucket/run"), Use::Work).unwrap();
        process
    };
    let (one, two, three) = (open("one"), open("two"), open("three"));
    write(&one, "s3://bucket/run/0", b"same");
    write(&one, "s3://bucket/run/made.json", b"by one");
    write(&two, "s3://bucket/run/0", b"same");
    write(&two, "s3://bucket/run/made.json", b"by two");
    write(&three, "s3://bucket/run/0", b"other");
    one.finish().unwrap();
    two.finish().unwrap();
    let error = three.finish().unwrap_err();
    assert!(
        matches!(&error, Error::Conflict { location } if location.key == "run/0"),
        "{error}"
    );
    let expected =
        [("run/0", "same"), ("run/made.json", "by one")].map(|(key, text)| (key.to_owned(), text.as_bytes().to_vec()));
    assert_eq!(world.objects(), BTreeMap::from(expected));
    // One that has seen what stands there may replace it.
    let four = open("four");
    write(&four, "s3://bucket/run/0", b"newer");
    four.finish().unwrap();
    assert_eq!(world.objects()["run/0"], b"newer");
}

#[test]
fn what_others_have_put_meanwhile_is_fetched_and_own_files_stay() {
    let world = World::new();
    let (one, two) = (world.process("one"), world.process("two"));
    for process in [&one, &two] {
        process.open(&at("s3://bucket/run"), Use::Work).unwrap();
    }
    write(&one, "s3://bucket/run/1", b"1");
    write(&two, "s3://bucket/run/2", b"2");
    let path = |process: &Storage| process.local(&at("s3://bucket/run/store"), Use::Work);
    // Nothing lies at or above this path.
    assert_eq!(one.refresh(Path::new("/elsewhere")).unwrap(), Fetched::default());
    assert_eq!(one.refresh(&path(&one)).unwrap().files, 0);
    assert_eq!(two.refresh(&path(&two)).unwrap().files, 1);
    assert_eq!(one.refresh(&path(&one)).unwrap().files, 1);
    for process in [&one, &two] {
        assert!(process.is_remote(&path(process)) && read(process, "s3://bucket/run/1").is_some());
        assert!(read(process, "s3://bucket/run/2").is_some());
        process.finish().unwrap();
    }
    assert_eq!(world.objects().len(), 2);
}

#[test]
fn a_folder_that_was_not_put_whole_is_passed_over_and_put_anew() {
    let world = World::new();
    world.put("run/sae/a/.partial-put", b"", None);
    world.put("run/sae/a/config.json", b"half", None);
    world.put("run/sae/b/config.json", b"whole", None);
    let process = world.process("one");
    process.open(&at("s3://bucket/run"), Use::Work).unwrap();
    assert_eq!(read(&process, "s3://bucket/run/sae/a/config.json"), None);
    assert!(read(&process, "s3://bucket/run/sae/b/config.json").is_some());
    write(&process, "s3://bucket/run/sae/a/config.json", b"anew");
    write(&process, "s3://bucket/run/sae/a/weights", b"w");
    process.finish().unwrap();
    let objects = world.objects();
    assert!(!objects.contains_key("run/sae/a/.partial-put"), "{:?}", objects.keys());
    assert_eq!(
        (&objects["run/sae/a/config.json"][..], &objects["run/sae/a/weights"][..]),
        (&b"anew"[..], &b"w"[..])
    );
}

#[test]
fn a_mark_goes_when_what_could_not_be_put_is_put_or_removed() {
    for is_removed in [false, true] {
        let world = World::new();
        let one = world.process("one");
        one.open(&at("s3://bucket/run"), Use::Work).unwrap();
        let (mirror, handle) = (lock(&one.shared.mirrors)[0].clone(), one.handle().unwrap());
        // Somebody else puts other bytes at the place of one of many files, and takes them back later.
        world.put("run/sae/a/05", b"other", None);
        let names: Vec<String> = (0..20)
            .map(|index| format!("s3://bucket/run/sae/a/{index:02}"))
            .collect();
        for name in names
            .iter()
            .map(String::as_str)
            .chain(["s3://bucket/run/sae/a/weights"])
        {
            write(&one, name, b"own");
        }
        assert!(matches!(
            one.shared.pass(&handle, &mirror, true),
            Err(Error::Conflict { .. })
        ));
        let there = world.objects();
        assert!(there.contains_key("run/sae/a/.partial-put") && !there.contains_key("run/sae/a/weights"));
        run(async { world.bucket.delete(&Key::from("run/sae/a/05")).await }).unwrap();
        if is_removed {
            fs::remove_dir_all(one.local(&at("s3://bucket/run/sae"), Use::Work)).unwrap();
        }
        one.finish().unwrap();
        let left = world.objects();
        assert_eq!(left.len(), if is_removed { 0 } else { 21 }, "{left:?}");
        assert!(left.values().all(|bytes| bytes == b"own"));
    }
}

#[test]
fn what_is_left_of_a_folder_that_vanished_while_it_was_put_is_never_seen() {
    for has_old in [false, true] {
        let world = World::new();
        let old = ["run/c/5/.partial-put", "run/c/5/old", "run/c/5/weights"];
        for key in old.into_iter().filter(|_| has_old) {
            world.put(key, b"", None);
        }
        let one = world.process("one");
        one.open(&at("s3://bucket/run"), Use::Work).unwrap();
        let mirror = lock(&one.shared.mirrors)[0].clone();
        for name in ["x", "y", "weights"] {
            write(&one, &format!("s3://bucket/run/c/5/{name}"), b"own");
        }
        let plan = mirror.plan(&NAMES, false).unwrap();
        // Some are put and the others vanish, as where a trainer removes an old checkpoint.
        for name in ["y", "weights"] {
            fs::remove_file(one.local(&at(&format!("s3://bucket/run/c/5/{name}")), Use::Work)).unwrap();
        }
        one.handle().unwrap().block_on(mirror.carry_out(&plan, &NAMES)).unwrap();
        let there = world.objects();
        assert!(
            there.contains_key(old[0]) && there.contains_key("run/c/5/x"),
            "{there:?}"
        );
        let other = world.process("other");
        assert_eq!(other.open(&at("s3://bucket/run"), Use::Input).unwrap().files, 0);
        fs::remove_file(one.local(&at("s3://bucket/run/c/5/x"), Use::Work)).unwrap();
        one.finish().unwrap();
        assert_eq!(world.objects().len(), 0);
    }
}

#[test]
fn bytes_that_are_not_those_that_were_put_are_refused() {
    let world = World::new();
    let hash = artifacts::sha256_hex(b"put");
    world.put("x", b"put", Some(&hash));
    world.put("y", b"got", Some(&hash));
    world.process("one").open(&at("s3://bucket/x"), Use::Input).unwrap();
    let error = world.process("one").open(&at("s3://bucket/y"), Use::Input).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("s3://bucket/y: what came is not what was put there"),
        "{error}"
    );
    assert_eq!(read(&world.process("one"), "s3://bucket/y"), None);
}

#[test]
fn the_cache_keeps_within_its_bound_and_never_drops_what_is_used() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.put(&format!("{name}/x"), &[0; 40], None);
    }
    world.put("large", &[0; 101], None);
    let open = |process: &Storage, name: &str| process.open(&at(&format!("s3://bucket/{name}")), Use::Input);
    let using = world.bounded("one", 100);
    open(&using, "a").unwrap();
    open(&world.bounded("one", 100), "b").unwrap();
    let process = world.bounded("one", 100);
    open(&process, "c").unwrap();
    // The oldest is in use, so the next one went.
    let there = |name: &str| read(&process, &format!("s3://bucket/{name}/x")).is_some();
    assert_eq!([there("a"), there("b"), there("c")], [true, false, true]);
    drop(using);
    open(&process, "b").unwrap();
    assert_eq!([there("a"), there("b"), there("c")], [false, true, true]);
    let error = open(&process, "large").unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    // What was dropped here is there still.
    process.finish().unwrap();
    assert_eq!(world.objects().len(), 4);
}

#[test]
fn who_only_looks_fetches_what_is_told_and_sizes() {
    let world = World::new();
    world.put("run/manifest.json", b"{}", None);
    world.put("run/0.parquet", &[1; 1000], None);
    world.put("run/.work/00000.claim", b"me", None);
    let process = world.process("one");
    assert_eq!(
        process.open(&at("s3://bucket/run"), Use::Status).unwrap(),
        Fetched { files: 2, bytes: 4 }
    );
    let local = process.local(&at("s3://bucket/run"), Use::Status);
    assert_eq!(fs::read(local.join("0.parquet")).unwrap(), [0; 1000]);
    assert!(local.join(".work/00000.claim").exists());
    assert_eq!(process.shown(&local.display().to_string()), "s3://bucket/run");
    assert_ne!(local, process.local(&at("s3://bucket/run"), Use::Work));
    // A worker sees no claims of others.
    process.open(&at("s3://bucket/run"), Use::Work).unwrap();
    assert_eq!(
        (
            read(&process, "s3://bucket/run/0.parquet"),
            read(&process, "s3://bucket/run/.work/00000.claim")
        ),
        (Some(vec![1; 1000]), None)
    );
    process.finish().unwrap();
    assert_eq!(world.objects().len(), 3);
}

#[test]
fn a_pattern_names_the_files_of_a_folder() {
    let world = World::new();
    for key in ["c/0.jsonl", "c/1.jsonl", "c/notes.txt", "c/d/2.jsonl"] {
        world.put(key, b"{}", None);
    }
    let process = world.process("one");
    assert_eq!(process.open(&at("s3://bucket/c/*.jsonl"), Use::Input).unwrap().files, 2);
    let local = process.local(&at("s3://bucket/c/*.jsonl"), Use::Input);
    assert_eq!(glob::glob(local.to_str().unwrap()).unwrap().count(), 2);
}

#[test]
fn messages_name_locations_and_not_copies() {
    let world = World::new();
    let process = world.process("one");
    let local = process.local(&at("s3://bucket/run/x"), Use::Work);
    assert_eq!(
        process.shown(&format!("{}: no", local.display())),
        "s3://bucket/run/x: no"
    );
}
