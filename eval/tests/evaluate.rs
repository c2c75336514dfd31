//! The whole evaluation on a small random GPT-2: what is tested holds in every model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use activations::Node;
use burn::tensor::{Device, Tensor};
use causal::Sites;
use causal::interventions::Runner;
use common::{Identity, World, node, sets, sites, world};
use dictionaries::{Dictionary, Encoder, LabelledEncoder};
use eval::config::Compare;
use eval::{
    DictionarySet, Earlier, Edit, EditMethod, Error, EvalFile, Evaluated, Metric, Parts, Score, TaskDictionary,
    evaluate,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tasks::{Attribute, ByAttribute, Labels, Sample, Task};

fn settings() -> EvalFile {
    EvalFile {
        prompts: 60,
        interpretability_prompts: 200,
        ks: vec![2, 4],
        edits: vec![
            EditMethod::Greedy,
            EditMethod::Beam,
            EditMethod::Exhaustive,
            EditMethod::Guided,
        ],
        thresholds: vec![0.5],
        reference: "everything".to_owned(),
        resamples: 50,
        batch: 25,
        min_denominator: 1e-3,
        compare: vec![Compare {
            left: "identity".to_owned(),
            right: "random".to_owned(),
        }],
        max_kept: 1e6,
        ..EvalFile::default()
    }
}

fn run(sites: &Sites, sets: &[DictionarySet], settings: EvalFile) -> Result<Evaluated, Error> {
    let World { model, task } = world();
    let config = settings.try_into().unwrap();
    evaluate(
        &Runner::new(model, 25),
        task,
        sites,
        sets,
        &config,
        &Earlier::default(),
        &mut |_, _| (),
    )
}

fn with<'a>(parts: &'a Parts) -> Earlier<'a> {
    Earlier {
        parts: Some(parts),
        ..Earlier::default()
    }
}

#[test]
fn a_perfect_dictionary_scores_one_and_the_report_is_stable() {
    let World { model, task } = world();
    let (sites, sets) = (sites(model), sets(model));
    let mut steps = Vec::new();
    let config = settings().try_into().unwrap();
    let mut note = |done, total| steps.push((done, total));
    let evaluated = evaluate(
        &Runner::new(model, 25),
        task,
        &sites,
        &sets,
        &config,
        &Earlier::default(),
        &mut note,
    )
    .unwrap();
    let report = &evaluated.report;
    let total = steps[0].1;
    assert_eq!(steps, (1..=total).map(|done| (done, total)).collect::<Vec<_>>());

    let scores = |dictionary: &str, metric: Metric| -> Vec<f64> {
        let fits = |score: &&eval::Score| score.dictionary == dictionary && score.metric == metric;
        report
            .scores
            .iter()
            .filter(fits)
            .filter_map(|score| score.value)
            .collect()
    };
    for metric in [Metric::Sufficiency, Metric::Necessity] {
        for value in scores("identity", metric) {
            assert!((value - 1.0).abs() < 1e-2, "{metric} {value}");
        }
    }
    // Exchanging every code of a perfect dictionary is the ground-truth patch.
    assert_eq!(scores("everything", Metric::EditAccuracy), [1.0; 3]);
    assert!(scores("everything", Metric::EditKl).iter().all(|kl| *kl < 1e-4));
    assert!(
        scores("everything", Metric::EditDistance)
            .iter()
            .all(|left| *left < 1e-4)
    );
    assert!(
        scores("everything", Metric::EditSuccess)
            .iter()
            .all(|success| *success == 1.0)
    );
    let magnitudes = scores("everything", Metric::EditMagnitude);
    assert!(
        magnitudes.iter().all(|size| (size - 1.0).abs() < 1e-4),
        "{magnitudes:?}"
    );
    assert_eq!(scores("none", Metric::EditAccuracy).len(), 3);
    assert_eq!(scores("random", Metric::L0), [4.0; 2]);
    assert_eq!(scores("mean-ablation", Metric::Sufficiency).len(), 2);
    assert!(scores("always-on", Metric::Recall).iter().all(|recall| *recall == 1.0));
    assert!(scores("always-on", Metric::Mcc).iter().all(|mcc| *mcc == 0.0));
    for score in &report.scores {
        assert!(score.low <= score.high && score.n > 0, "{score:?}");
        let shares = [
            Metric::Silent,
            Metric::Width,
            Metric::Alive,
            Metric::Interpreted,
            Metric::InterpretedMcc,
            Metric::OverSplitting,
        ];
        let has_interval = score.value.is_some() && !shares.contains(&score.metric);
        assert_eq!(score.low.is_some(), has_interval, "{score:?}");
    }
    // Keeping what is described and removing it are two halves of the same latents.
    assert_eq!(scores("random", Metric::Keep).len(), 2);
    assert_eq!(scores("random", Metric::Interchange).len(), 3);
    assert_eq!(scores("everything", Metric::Keep).len(), 0);
    // Occlusion is between names and names, never between a name and a bit.
    let occlusion: Vec<_> = report
        .scores
        .iter()
        .filter(|score| score.metric == Metric::Occlusion)
        .collect();
    assert!(!occlusion.is_empty());
    for score in occlusion {
        assert!(score.raw.keys().any(|key| key.ends_with(" IO")), "{score:?}");
        assert!(score.raw.keys().any(|key| key.ends_with(" S")), "{score:?}");
    }
    assert_eq!(report.comparisons.len(), 7);
    assert_eq!(
        report
            .comparisons
            .iter()
            .map(|comparison| comparison.pairs)
            .collect::<Vec<_>>(),
        [2, 3, 3, 3, 3, 3, 3]
    );

    let again = run(&sites, &sets, settings()).unwrap();
    assert_eq!(again.report.to_json().unwrap(), report.to_json().unwrap());
    assert_eq!(again.entries.len(), evaluated.entries.len());
    let folder = tempfile::tempdir().unwrap();
    evaluated
        .write(folder.path(), serde_json::json!({"host": "here"}))
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(folder.path().join("report.json")).unwrap(),
        report.to_json().unwrap()
    );
    let circumstances: serde_json::Value = artifacts::read_json(&folder.path().join("run.json")).unwrap();
    let of_report = artifacts::sha256_file(&folder.path().join("report.json")).unwrap();
    assert_eq!(
        circumstances,
        serde_json::json!({"host": "here", "report_sha256": of_report})
    );
    report.check_columns(folder.path()).unwrap();
    let read = eval::columns::read_resamples(&folder.path().join("resamples.parquet")).unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", evaluated.entries), "NaN and all");
    assert!(folder.path().join("scores.parquet").exists());
}

#[test]
fn a_broken_evaluation_goes_on_where_it_stopped() {
    let World { model, task } = world();
    let (sites, sets, config) = (sites(model), sets(model), settings().try_into().unwrap());
    let whole = run(&sites, &sets, settings()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path().join("parts"), "this program".to_owned());
    // What a run that stopped leaves behind: some of its parts.
    evaluate(
        &Runner::new(model, 25),
        task,
        &sites,
        &sets,
        &config,
        &with(&parts),
        &mut |_, _| (),
    )
    .unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder.path().join("parts"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    files.sort_by_key(|file| file.file_name());
    assert_eq!(files.len(), 2 * 4, "baselines and three sets at two sites");
    files[..3]
        .iter()
        .for_each(|file| std::fs::remove_file(file.path()).unwrap());
    // A file that broke is measured again.
    std::fs::write(files[3].path(), "half").unwrap();
    let steps = |sets: &[DictionarySet], parts: &Earlier<'_>| {
        let (runner, mut calls) = (Runner::new(model, 25), 0);
        let found = evaluate(&runner, task, &sites, sets, &config, parts, &mut |_, _| calls += 1).unwrap();
        (found, calls)
    };
    let (again, calls) = steps(&sets, &with(&parts));
    assert_eq!(again.report.to_json().unwrap(), whole.report.to_json().unwrap());
    assert_eq!(format!("{:?}", again.entries), format!("{:?}", whole.entries));
    let (_, fresh) = steps(&sets, &Earlier::default());
    assert!(calls < fresh, "{calls} of {fresh} steps");
    // What an older program has measured is not taken over.
    let newer = Parts::new(folder.path().join("parts"), "another program".to_owned());
    assert_eq!(steps(&sets, &with(&newer)).1, fresh);
    // Another dictionary of the same name is another unit.
    let mut changed = self::sets(model);
    changed[2].identity = "drawn anew".to_owned();
    let (_, some) = steps(&changed, &with(&parts));
    let (_, none) = steps(&changed, &with(&parts));
    assert!(none < some, "{none} {some}");
    parts.remove().unwrap();
    assert!(!folder.path().join("parts").exists());
}

/// Files of `dir`, by name.
fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn what_another_part_or_a_changed_one_says_is_measured_again() {
    let World { model, task } = world();
    let (sites, sets) = (sites(model), sets(model));
    let small = EvalFile {
        edits: vec![EditMethod::Greedy],
        thresholds: Vec::new(),
        compare: Vec::new(),
        ..settings()
    };
    let config = small.clone().try_into().unwrap();
    let whole = run(&sites, &sets, small).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(folder.path().join("parts"), "this program".to_owned());
    let again = || {
        let (runner, mut calls) = (Runner::new(model, 25), 0);
        let found = evaluate(&runner, task, &sites, &sets, &config, &with(&parts), &mut |_, _| {
            calls += 1
        })
        .unwrap();
        assert_eq!(found.report.to_json().unwrap(), whole.report.to_json().unwrap());
        assert_eq!(format!("{:?}", found.entries), format!("{:?}", whole.entries));
        calls
    };
    let (fresh, kept) = (again(), again());
    assert!(kept < fresh, "{kept} {fresh}");
    let files = listed(&folder.path().join("parts"));
    assert_eq!(files.len(), 2 * 4);
    let bytes: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    // Each under the name of the next, as whole files that say something of another set or site.
    for (file, bytes) in files.iter().zip(bytes.iter().cycle().skip(1)) {
        std::fs::write(file, bytes).unwrap();
    }
    assert_eq!(again(), fresh, "no part was what its name says");
    assert_eq!(listed(&folder.path().join("parts")), files, "and all were put right");
    // A part of another set under a name that is right but for what it is about.
    let [a, b] = [&files[0], &files[1]].map(|file| file.file_name().unwrap().to_str().unwrap().to_owned());
    let borrowed = format!("{}-{}", a.split('-').next().unwrap(), b.split('-').nth(1).unwrap());
    std::fs::copy(&files[1], files[1].with_file_name(borrowed)).unwrap();
    std::fs::remove_file(&files[0]).unwrap();
    let calls = again();
    assert!(kept < calls && calls < fresh, "{kept} {calls} {fresh}");
    // A changed bit of a number, in one file after the other.
    for (file, bytes) in files.iter().zip(&bytes) {
        let mut changed = bytes.clone();
        let place = changed.len() / 2;
        changed[place] ^= 1;
        std::fs::write(file, changed).unwrap();
        again();
        assert_eq!(&std::fs::read(file).unwrap(), bytes);
    }
}

#[test]
fn a_report_stands_beside_its_own_resamples() {
    let World { model, .. } = world();
    let (sites, sets) = (sites(model), sets(model));
    let small = |resamples| EvalFile {
        edits: vec![EditMethod::Greedy],
        thresholds: Vec::new(),
        compare: Vec::new(),
        resamples,
        ..settings()
    };
    let [first, second] = [20, 30].map(|resamples| run(&sites, &sets, small(resamples)).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |evaluated: &Evaluated| evaluated.write(folder.path(), serde_json::json!({}));
    write(&first).unwrap();
    let old = listed(folder.path())
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect::<Vec<_>>();
    for name in ["report.json", "resamples.parquet", "run.json", "scores.parquet"] {
        // One of the files cannot be written: all of the old ones stay.
        let kept = std::fs::read(path(name)).unwrap();
        std::fs::remove_file(path(name)).unwrap();
        std::fs::create_dir(path(name)).unwrap();
        let error = write(&second).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        std::fs::remove_dir(path(name)).unwrap();
        std::fs::write(path(name), kept).unwrap();
        let now = listed(folder.path())
            .iter()
            .map(|file| std::fs::read(file).unwrap())
            .collect::<Vec<_>>();
        assert!(now == old, "{name}");
    }
    for name in ["resamples.parquet", "scores.parquet"] {
        write(&second).unwrap();
        let foreign = std::fs::read(path(name)).unwrap();
        write(&first).unwrap();
        first.report.check_columns(folder.path()).unwrap();
        std::fs::write(path(name), foreign).unwrap();
        let error = first.report.check_columns(folder.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("report.json"), "{error}");
        std::fs::remove_file(path(name)).unwrap();
        first.report.check_columns(folder.path()).unwrap();
    }
}

#[test]
fn a_reconstruction_that_is_no_number_is_refused() {
    let World { model, .. } = world();
    let (sites, mut sets) = (sites(model), sets(model));
    let node = node("blocks.1.hook_resid_pre@END");
    sets[1]
        .by_node
        .insert(node, Box::new(Overflowing(node.width(model.spec()))));
    let error = run(&sites, &sets, settings()).unwrap_err().to_string();
    assert!(error.contains("identity") && error.contains("not finite"), "{error}");
}

#[test]
fn vectors_that_were_trained_on_are_left_out() {
    let World { model, task } = world();
    let (sites, sets) = (sites(model), sets(model));
    let plain = run(&sites, &sets, settings()).unwrap().report;
    assert!(plain.unseen.iter().all(|site| site.seen == 0 && site.evaluation == 60));
    // Half of the prompts that are evaluated were trained on, at the nodes of the first site.
    let prompts = task.sample(Sample::Evaluation, 60, 0);
    let node = node("blocks.1.hook_resid_pre@END");
    let rows = Runner::new(model, 25)
        .record(&prompts[..30], &std::collections::BTreeSet::from([node]))
        .unwrap();
    let config = settings().try_into().unwrap();
    let evaluate_after = |trained: BTreeMap<Node, dictionaries::Rows>| {
        let earlier = Earlier { trained, parts: None };
        evaluate(
            &Runner::new(model, 25),
            task,
            &sites,
            &sets,
            &config,
            &earlier,
            &mut |_, _| (),
        )
        .unwrap()
        .report
    };
    let found = evaluate_after(rows);
    let [first, second] = [0, 1].map(|place| &found.unseen[place]);
    assert!(
        first.seen >= 30 && first.evaluation == 60 - first.seen && !first.everything_seen,
        "{first:?}"
    );
    assert_eq!((second.seen, &second.kept), (0, &plain.unseen[1].kept));
    let of = |report: &eval::Report, site: &str| -> Vec<Score> {
        report
            .scores
            .iter()
            .filter(|score| score.site == site && score.metric != Metric::EditSuccess)
            .cloned()
            .collect()
    };
    assert_eq!(of(&found, "heads"), of(&plain, "heads"));
    let on = |metric: Metric| {
        found
            .scores
            .iter()
            .filter(move |score| score.site == "resid" && score.metric == metric)
    };
    assert!(on(Metric::EditAccuracy).all(|score| score.n == first.evaluation));
    assert!(on(Metric::F1).all(|score| score.n == first.interpretability / 2));
    // Where all were trained on, there is no other side: all are kept, and it is said.
    let everything = Runner::new(model, 25)
        .record(&prompts, &std::collections::BTreeSet::from([node]))
        .unwrap();
    let found = evaluate_after(everything);
    assert!(found.unseen[0].everything_seen && found.unseen[0].evaluation == 60);
    assert!(eval::table::tables(&found).contains("all are kept"));
}

/// Codes and directions are finite, what they come to together is not.
struct Overflowing(usize);

impl Dictionary for Overflowing {
    fn d_in(&self) -> usize {
        self.0
    }

    fn n_latents(&self) -> usize {
        2
    }

    fn device(&self) -> Device {
        kernels::cpu()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        let directions = Tensor::ones([2, self.0], &self.device()).mul_scalar(1e19);
        codes.matmul(directions)
    }
}

impl Encoder for Overflowing {
    fn encode(&self, activations: Tensor<2>) -> Tensor<2> {
        Tensor::ones([activations.dims()[0], 2], &self.device()).mul_scalar(1e20)
    }
}

#[test]
fn a_set_is_scored_where_it_has_dictionaries() {
    let World { model, .. } = world();
    let (sites, mut sets) = (sites(model), sets(model));
    sets[1].by_node.remove(&node("blocks.0.attn.hook_z.1@S2"));
    let report = run(&sites, &sets, settings()).unwrap().report;
    let mut at: Vec<&str> = report
        .scores
        .iter()
        .filter(|score| score.dictionary == "identity")
        .map(|score| score.site.as_str())
        .collect();
    at.dedup();
    assert_eq!(at, ["resid"]);
    let table = eval::table::tables(&report);
    assert!(
        table.contains("identity*") && table.contains("* not at every site"),
        "{table}"
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let World { model, task } = world();
    let good = sites(model);
    let message = |sites: &Sites, sets: &[DictionarySet], settings| match run(sites, sets, settings) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };

    let foreign = Sites {
        model_hash: Some("0123".to_owned()),
        ..good.clone()
    };
    let text = message(&foreign, &sets(model), settings());
    assert!(text.contains("0123") && text.contains(model.hash()), "{text}");

    let mut lacking = sets(model);
    lacking[1].by_node.clear();
    let text = message(&good, &lacking, settings());
    assert!(text.contains("identity") && text.contains("no site"), "{text}");

    let mut wide = sets(model);
    wide[0]
        .by_node
        .insert(node("blocks.1.hook_resid_pre@END"), Box::new(Identity(7)));
    assert!(message(&good, &wide, settings()).contains("width 7"));

    let mut twice = sets(model);
    twice[0].name = "random".to_owned();
    assert!(message(&good, &twice, settings()).contains("random"));

    let unknown = EvalFile {
        compare: EvalFile::default().compare,
        ..settings()
    };
    let text = message(&good, &sets(model), unknown);
    assert!(
        text.contains("sae-topk") && text.contains("everything, identity, random"),
        "{text}"
    );

    let hopeless = EvalFile {
        min_denominator: 1e6,
        ..settings()
    };
    assert!(message(&good, &sets(model), hopeless).contains("does not do the task"));

    for (change, part) in [
        (
            Box::new(|sites: &mut Sites| sites.sites.clear()) as Box<dyn Fn(&mut Sites)>,
            "no sites",
        ),
        (Box::new(|sites| sites.sites[1].name = "resid".to_owned()), "twice"),
        (Box::new(|sites| sites.sites[0].nodes.clear()), "no nodes"),
        (Box::new(|sites| sites.sites[0].attributes.clear()), "no attributes"),
        (
            Box::new(|sites| sites.sites[0].nodes.push(node("blocks.1.hook_resid_pre@END"))),
            "a node twice",
        ),
        (
            Box::new(|sites| sites.sites[0].nodes.push(node("blocks.9.hook_resid_pre@END"))),
            "layer",
        ),
        (
            Box::new(|sites| sites.sites[0].nodes.push(node("ln_final.hook_normalized@END"))),
            "inside a block",
        ),
    ] {
        let mut sites = good.clone();
        change(&mut sites);
        let text = sites.check(task.schema(), model).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }
}

/// Conditional means of training activations, one latent a value of each attribute and codes from the labels; in disguise the
/// latents are shuffled, and directions and codes rescaled.
struct ByLabels {
    /// `[F, D]`
    directions: Tensor<2>,
    /// `[1, D]`
    mean: Tensor<2>,
    /// First latent of each attribute.
    first: BTreeMap<Attribute, usize>,
    /// Where each latent went, and by what its code is multiplied.
    moved: Vec<(usize, f32)>,
}

impl ByLabels {
    fn fit(rows: &dictionaries::Rows, labels: &[Labels], n_values: ByAttribute, disguised: bool) -> Self {
        let d = rows.width();
        let mean = rows.mean();
        let mut n_latents = 0;
        let mut first = BTreeMap::new();
        for (attribute, n) in n_values.iter() {
            first.insert(attribute, n_latents);
            n_latents += n;
        }
        let moved = |latent: usize| match disguised {
            // Powers of two: rescaling rounds nothing, so no prediction can flip at a tie.
            true => ((latent * 37 + 11) % n_latents, 2.0_f32.powi((latent % 5) as i32 - 2)),
            false => (latent, 1.0),
        };
        let moved: Vec<(usize, f32)> = (0..n_latents).map(moved).collect();
        let mut directions = vec![0.0; n_latents * d];
        for (attribute, n) in n_values.iter() {
            for value in 0..n {
                let of: Vec<usize> = (0..rows.len())
                    .filter(|&i| labels[i].get(attribute) == Some(value))
                    .collect();
                let (place, scale) = moved[first[&attribute] + value];
                for column in 0..d {
                    let sum: f64 = of.iter().map(|&i| f64::from(rows.row(i)[column] - mean[column])).sum();
                    directions[place * d + column] = (sum / of.len().max(1) as f64) as f32 / scale;
                }
            }
        }
        Self {
            directions: kernels::from_vec(directions, [n_latents, d], &kernels::cpu()),
            mean: kernels::from_vec(mean, [1, d], &kernels::cpu()),
            first,
            moved,
        }
    }
}

impl Dictionary for ByLabels {
    fn d_in(&self) -> usize {
        self.mean.dims()[1]
    }

    fn n_latents(&self) -> usize {
        self.moved.len()
    }

    fn device(&self) -> Device {
        kernels::cpu()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        kernels::matmul(codes, self.directions.clone()) + self.mean.clone()
    }

    fn directions(&self) -> Tensor<2> {
        self.directions.clone()
    }
}

impl LabelledEncoder<Labels> for ByLabels {
    fn encode_labelled(&self, _activations: Tensor<2>, labels: &[Labels]) -> Tensor<2> {
        let mut codes = vec![0.0; labels.len() * self.moved.len()];
        for (row, labels) in codes.chunks_exact_mut(self.moved.len()).zip(labels) {
            for (attribute, value) in labels.iter() {
                let (place, scale) = self.moved[self.first[&attribute] + value];
                row[place] = scale;
            }
        }
        kernels::from_vec(codes, [labels.len(), self.moved.len()], &kernels::cpu())
    }

    fn as_encoder(&self) -> Option<&dyn Encoder> {
        None
    }
}

#[test]
fn a_supervised_dictionary_in_disguise_scores_as_itself() {
    let World { model, task } = world();
    let sites = sites(model);
    let prompts = task.sample(Sample::Train, 3000, 0);
    let labels: Vec<Labels> = prompts.iter().map(|prompt| prompt.labels.clone()).collect();
    let recorded = Runner::new(model, 50).record(&prompts, &sites.nodes()).unwrap();
    let n_values = task.sizes();
    let set = |name: &str, edit, disguised| DictionarySet {
        name: name.to_owned(),
        family: name.to_owned(),
        identity: name.to_owned(),
        folders: BTreeMap::new(),
        reads: std::collections::BTreeMap::new(),
        seeded: false,
        edit,
        by_node: recorded
            .iter()
            .map(|(node, rows)| -> (Node, Box<TaskDictionary>) {
                (
                    *node,
                    Box::new(ByLabels::fit(rows, &labels, n_values.clone(), disguised)),
                )
            })
            .collect(),
    };
    let sets = [
        set("plain", Edit::Supervised, false),
        set("disguised", Edit::Greedy, true),
    ];
    let settings = EvalFile {
        ks: vec![2],
        compare_k: 2,
        edits: vec![EditMethod::Guided],
        // Every name must occur where latents are ranked: one that does not has no latent to stand for it.
        interpretability_prompts: 3000,
        reference: "plain".to_owned(),
        compare: Vec::new(),
        ..settings()
    };
    let report = run(&sites, &sets, settings).unwrap().report;
    let of = |name: &str, metric: Metric| -> BTreeMap<_, f64> {
        let fits = |score: &&Score| score.dictionary == name && score.metric == metric;
        let place = |score: &Score| Some(((score.site.clone(), score.attribute), score.value?));
        report.scores.iter().filter(fits).filter_map(place).collect()
    };
    let metrics = [
        Metric::Sufficiency,
        Metric::Necessity,
        Metric::L0,
        Metric::EditAccuracy,
        Metric::EditMagnitude,
        Metric::EditKl,
    ];
    for metric in metrics {
        let (plain, disguised) = (of("plain", metric), of("disguised", metric));
        assert!(!plain.is_empty());
        for (place, value) in plain {
            let gap = (value - disguised[&place]).abs();
            assert!(gap <= 1e-4 * (1.0 + value.abs()), "{metric} {place:?}: {gap}");
        }
    }
    for metric in [Metric::F1, Metric::Mcc, Metric::AveragePrecision] {
        assert!(of("disguised", metric).values().all(|value| *value == 1.0), "{metric}");
    }
    assert!(of("disguised", Metric::Interpreted).values().all(|share| *share == 1.0));
}
