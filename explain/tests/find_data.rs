//! FIND's own files: a small folder of the same form, the trap of the two versions, and the whole data where the user has it (T18).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

use std::fs;
use std::path::Path;

use explain::find::{Executes, Offline, run};
use explain::find_data::{MissingMlps, read};
use explain::numeric::Baseline;
use explain::problem::Answers;
use strum::VariantArray;

fn write(folder: &Path, family: &str, file: &str, text: &str) {
    fs::create_dir_all(folder.join(family)).unwrap();
    fs::write(folder.join(family).join(file), text).unwrap();
}

/// The small files of `fixtures/find-dataset`.
fn small(folder: &Path) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/find-dataset");
    for file in [
        "numeric/data.json",
        "numeric/func_name_dict.json",
        "neurons_entities/data.json",
        "neurons_entities/unit_test_data.json",
        "neurons_relations/data.json",
        "neurons_relations/unit_test_data.json",
    ] {
        fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        fs::copy(fixtures.join(file), folder.join(file)).unwrap();
    }
}

#[test]
fn files_of_version_2_are_read() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let problems = read(folder.path(), MissingMlps::Formulas, 0).unwrap();
    let variants: Vec<&str> = problems.iter().map(|problem| problem.variant.as_str()).collect();
    assert_eq!(
        variants,
        ["mlp", "clean", "corrupted", "noised", "one concept", "exception"]
    );
    let Answers::Numbers { values, .. } = &problems[1].answers else {
        panic!()
    };
    let at = |x: f64| values.iter().find(|point| point.0 == x).unwrap().1;
    // s (x if x > 0 else l x) + b, times m x + b.
    assert!((at(2.5) - (0.3 * 2.5 + 5.6) * (7.6 * 2.5 + 9.1)).abs() < 1e-9);
    assert!((at(-2.5) - (0.3 * 0.9 * -2.5 + 5.6) * (7.6 * -2.5 + 9.1)).abs() < 1e-9);
    // The bias of the absolute value is lost, as in the published files.
    let Answers::Numbers { values, .. } = &problems[0].answers else {
        panic!()
    };
    assert!((values[0].1 - 26.8 * 127.5).abs() < 1e-9);
    let Answers::Numbers { values, corruption } = &problems[2].answers else {
        panic!()
    };
    assert!(values.iter().all(|(x, y)| if corruption.unwrap().holds(*x) {
        (y - 5.0).abs() < 1.0
    } else {
        *y == -4.0
    }));
    assert_eq!(problems[4].tests[0].correct, 2);
    assert_eq!(problems[5].tests[0].choices[1].output.as_deref(), Some(" Copenhagen"));
}

#[test]
fn what_is_not_the_data_is_refused_and_said_why() {
    let folder = tempfile::tempdir().unwrap();
    let error = |folder: &Path| read(folder, MissingMlps::Formulas, 0).unwrap_err().to_string();
    assert!(error(folder.path()).contains("find-dataset"));
    small(folder.path());
    write(folder.path(), "numeric", "func_name_dict.json", "{}");
    assert!(error(folder.path()).contains("f00000"));
    small(folder.path());
    fs::remove_file(folder.path().join("neurons_entities/unit_test_data.json")).unwrap();
    assert!(error(folder.path()).contains("version 1"));
    small(folder.path());
    write(
        folder.path(),
        "neurons_entities",
        "unit_test_data.json",
        r#"[{"name": "f00000", "test_vec": [["a", "b"]], "correct_inx": [3]}]"#,
    );
    assert!(error(folder.path()).contains("no triplet"));
}

/// T18: `FIND_DATA` names the folder `find-dataset` of the repository; without it there is nothing to compare with.
#[test]
fn t18_baselines_come_to_what_was_measured_on_the_published_functions() {
    let Ok(folder) = std::env::var("FIND_DATA") else { return };
    let folder = Path::new(&folder);
    let problems: Vec<_> = read(folder, MissingMlps::Formulas, 0).unwrap();
    let numeric: Vec<_> = problems
        .into_iter()
        .filter(|problem| problem.kind() == explain::Kind::Numeric)
        .collect();
    assert_eq!(numeric.len(), 1000);
    for &baseline in Baseline::VARIANTS {
        let scored = run(&numeric, &Offline::Baseline(baseline), &Executes, 100, 0, true, &|| {}).unwrap();
        let share = scored.iter().map(|scored| scored.scores["nmse<0.1"]).sum::<f64>() / 1000.0;
        let expected = match baseline {
            Baseline::Zero => 0.0,
            Baseline::Mean => 0.160,
            Baseline::Line => 0.334,
            Baseline::Nearest => 0.585,
            Baseline::Interpolation => 0.601,
            Baseline::Quintic => 0.537,
        };
        assert!(
            (share - expected).abs() <= 0.02,
            "{baseline}: {share}, {expected} expected"
        );
    }
}

/// A file of version 1 is known by its content, whatever it is called: `FIND_V1` names the folder of `eval_data_*.json`.
#[test]
fn version_1_is_known_by_its_content() {
    let Ok(folder) = std::env::var("FIND_V1") else { return };
    let renamed = tempfile::tempdir().unwrap();
    small(renamed.path());
    let old = fs::read(Path::new(&folder).join("eval_data_neurons_entities.json")).unwrap();
    fs::write(renamed.path().join("neurons_entities/unit_test_data.json"), old).unwrap();
    let error = read(renamed.path(), MissingMlps::Formulas, 0).unwrap_err().to_string();
    assert!(error.contains("version 1") && error.contains("no triplet"), "{error}");
}
