//! Settings of an evaluation: the raw file and its checked form.
//!
//! Everything here is written into the report, so nothing here may depend on the machine. The measures are those of
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)).

use crate::Error;
use crate::metric::EditMethod;
use lm::Dtype;
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// Two families of dictionary sets; where scores are subtracted it is `left - right`. A family is a name without its seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// The family that is expected to be better.
    pub left: String,
    /// The family that it is compared with.
    pub right: String,
}

/// A dictionary that nobody trained, made beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Baseline {
    /// Random directions with as many active latents as the family they are matched to.
    Random,
    /// Random directions with an error as near as can be to that of the family they are matched to.
    RandomFvu,
    /// The dimensions of the activation as they are.
    Neurons,
    /// Its principal components.
    Pca,
}

/// Settings of an evaluation; every key may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalFile {
    /// Number of prompts that are reconstructed and edited. Default 500: intervals of about +-0.04 on a share.
    pub prompts: usize,
    /// Seed of the prompts, the counterfactuals and the resamples. Default 0.
    pub seed: u64,
    /// Numbers of latents that a greedy edit may exchange at each node, rising. Default 2, 4, 6, as in the paper.
    pub ks: Vec<usize>,
    /// The `k` (one of `ks`) at which edit accuracies by the first of `edits` are compared between sets. Default 4: the middle
    /// one.
    pub compare_k: usize,
    /// How the latents of edits are found: `greedy`, `beam`, `exhaustive` (at those `ks` up to 3), `guided` (at those `ks` that
    /// are even: `k / 2` latents removed and as many added). Default `greedy` and `guided`: the paper's two. With none, only
    /// supervised dictionaries are edited.
    pub edits: Vec<EditMethod>,
    /// F1 from which a latent counts as interpreted, and is kept, removed or interchanged, rising. Default 0.8, as in most
    /// of the paper. With none, latents are neither interpreted nor interchanged.
    pub thresholds: Vec<f64>,
    /// Dictionaries that nobody trained, evaluated beside the others, each at most once: `random`, `random-fvu`, `neurons`,
    /// `pca`. Default all.
    pub baselines: Vec<Baseline>,
    /// Draws of the `random` baseline, each a dictionary of its own, as a trained family has seeds. Default 10; `random-fvu`, whose many
    /// latents are slow to find, has one.
    pub draws: usize,
    /// The family that random dictionaries are matched to, in latents and sparsity or error. Default `sae-topk`.
    pub matched_to: String,
    /// Fold layer norms, centre weights and factor attention anew before anything runs: the paper's model. Default false.
    /// Activations must have been harvested with the same.
    pub refactor_attention: bool,
    /// Type that the matrices of the model are kept in: `f32`, `bf16` or `f16`. Default `f32`: the numbers of the checkpoint.
    /// `bf16` halves the memory and is faster where the processor has AMX or AVX512-BF16, and rounds what products multiply to three
    /// digits. Activations must have been harvested with the same.
    #[serde(skip_serializing_if = "is_f32")]
    pub model_dtype: Dtype,
    /// Number of prompts that choose latents and score them, half and half. Default 2000: about ten a name and half
    /// with 100 names.
    pub interpretability_prompts: usize,
    /// Number of bootstrap resamples behind every interval. Default 2000: the ends of a 95 % interval stand on 50 each.
    pub resamples: usize,
    /// Prompts in one forward pass. Default 50: large enough for the matrix product, small enough to share the batches
    /// among threads. It changes memory and speed, and results only in the last bits.
    pub batch: usize,
    /// Smallest denominator of sufficiency and necessity, in logits; under it the ratio is undefined. Default 0.1:
    /// below that a ratio of logit differences is noise.
    pub min_denominator: f64,
    /// Largest share of the clean logit difference that mean ablation may leave at a site for ratios of logit differences (sufficiency,
    /// necessity, keep, remove) to be defined there. Default 0.5: beyond, they are ratios of what does not matter.
    pub max_kept: f64,
    /// Smallest difference in edit accuracy between the reference and no edit at which edits are rated by it. Default 0.05:
    /// below that the rating is noise.
    pub min_effect: f64,
    /// The family whose edits are the yardstick of success and magnitude. Default `supervised-mean`, the paper's.
    pub reference: String,
    /// Pairs of families, trained on samples that share no prompt, that are asked whether they split an attribute alike on the
    /// prompts of a third; each pair once, in either order. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub split_alike: Vec<Compare>,
    /// Pairs of families whose difference is reported with a paired interval, each at most once. Default: `sae-topk` minus
    /// `random`.
    pub compare: Vec<Compare>,
}

/// Reports of models in `f32` say nothing of the type.
fn is_f32(dtype: &Dtype) -> bool {
    *dtype == Dtype::F32
}

impl Default for EvalFile {
    fn default() -> Self {
        Self {
            prompts: 500,
            seed: 0,
            ks: vec![2, 4, 6],
            compare_k: 4,
            edits: vec![EditMethod::Greedy, EditMethod::Guided],
            thresholds: vec![0.8],
            baselines: vec![Baseline::Random, Baseline::RandomFvu, Baseline::Neurons, Baseline::Pca],
            matched_to: "sae-topk".to_owned(),
            refactor_attention: false,
            model_dtype: Dtype::F32,
            interpretability_prompts: 2000,
            max_kept: 0.5,
            draws: 10,
            resamples: 2000,
            batch: 50,
            min_denominator: 0.1,
            min_effect: 0.05,
            reference: "supervised-mean".to_owned(),
            split_alike: Vec::new(),
            compare: vec![Compare {
                left: "sae-topk".to_owned(),
                right: "random".to_owned(),
            }],
        }
    }
}

/// Checked settings: the fields of [`EvalFile`], all in range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "EvalFile", into = "EvalFile")]
pub struct EvalConfig(EvalFile);

impl Deref for EvalConfig {
    type Target = EvalFile;

    fn deref(&self) -> &EvalFile {
        &self.0
    }
}

impl From<EvalConfig> for EvalFile {
    fn from(config: EvalConfig) -> Self {
        config.0
    }
}

impl TryFrom<EvalFile> for EvalConfig {
    type Error = Error;

    /// # Errors
    /// [`Error::Config`] names the field that is out of range.
    fn try_from(file: EvalFile) -> Result<Self, Error> {
        let positive = [
            ("prompts", file.prompts, 2),
            ("interpretability_prompts", file.interpretability_prompts, 4),
            ("draws", file.draws, 1),
            ("resamples", file.resamples, 1),
            ("batch", file.batch, 1),
        ];
        for (field, value, least) in positive {
            if value < least {
                return refuse(field, format!("is {value}; it must be at least {least}"));
            }
        }
        if file.ks.is_empty() || file.ks[0] == 0 || file.ks.windows(2).any(|pair| pair[0] >= pair[1]) {
            let reason = format!("is {:?}; it must be a rising list of positive numbers", file.ks);
            return refuse("ks", reason);
        }
        if file.edits.contains(&EditMethod::Supervised) || twice(&file.edits, PartialEq::eq).is_some() {
            let reason = "lists each of greedy, beam, exhaustive and guided at most once".to_owned();
            return refuse("edits", reason);
        }
        if let Some(baseline) = twice(&file.baselines, PartialEq::eq) {
            return refuse("baselines", format!("lists {baseline:?} twice"));
        }
        let in_range = |t: &f64| (0.0..=1.0).contains(t);
        if !file.thresholds.iter().all(in_range) || file.thresholds.windows(2).any(|pair| pair[0] >= pair[1]) {
            let reason = format!(
                "is {:?}; it must be a rising list of numbers from 0 to 1",
                file.thresholds
            );
            return refuse("thresholds", reason);
        }
        if !(file.min_effect > 0.0 && file.min_effect < 1.0) {
            let reason = format!("is {}; it must be a share between 0 and 1", file.min_effect);
            return refuse("min_effect", reason);
        }
        if !file.ks.contains(&file.compare_k) {
            let reason = format!("is {}; it must be one of `ks` {:?}", file.compare_k, file.ks);
            return refuse("compare_k", reason);
        }
        if let Some(first) = file.edits.first().filter(|first| !first.exchanges(file.compare_k)) {
            let reason = format!(
                "is {}, which {first} edits, the first of `edits`, cannot exchange",
                file.compare_k
            );
            return refuse("compare_k", reason);
        }
        if !(file.min_denominator > 0.0 && file.min_denominator.is_finite()) {
            let reason = format!("is {}; it must be a positive number of logits", file.min_denominator);
            return refuse("min_denominator", reason);
        }
        if !(file.max_kept > 0.0 && file.max_kept.is_finite()) {
            let reason = format!("is {}; it must be a positive share", file.max_kept);
            return refuse("max_kept", reason);
        }
        check_pairs("compare", &file.compare, PartialEq::eq)?;
        // Whether two families split alike does not depend on which is named first.
        let either_way = |a: &Compare, b: &Compare| a == b || (&a.left, &a.right) == (&b.right, &b.left);
        check_pairs("split_alike", &file.split_alike, either_way)?;
        Ok(Self(file))
    }
}

/// Refuses a family that is paired with itself, and a pair that is named twice.
fn check_pairs(field: &'static str, pairs: &[Compare], same: impl Fn(&Compare, &Compare) -> bool) -> Result<(), Error> {
    if let Some(pair) = pairs.iter().find(|pair| pair.left == pair.right) {
        let reason = format!(
            "pairs {} with itself; seeds of one family are compared anyway",
            pair.left
        );
        return refuse(field, reason);
    }
    match twice(pairs, same) {
        Some(pair) => refuse(field, format!("pairs {} and {} twice", pair.left, pair.right)),
        None => Ok(()),
    }
}

/// The first of several that is the same as one before it.
fn twice<T>(all: &[T], same: impl Fn(&T, &T) -> bool) -> Option<&T> {
    let repeats = |(place, one): &(usize, &T)| all[..*place].iter().any(|other| same(one, other));
    all.iter().enumerate().find(repeats).map(|(_, one)| one)
}

fn refuse<T>(field: &'static str, reason: String) -> Result<T, Error> {
    Err(Error::Config { field, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_round_trip() {
        let config = EvalConfig::try_from(EvalFile::default()).unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<EvalConfig>(&text).unwrap(), config);
        assert_eq!(serde_json::from_str::<EvalConfig>("{}").unwrap(), config);
    }

    /// Every key at its least and largest value, beyond them, empty and doubled: taken, or refused under its own name.
    #[test]
    fn every_key_is_taken_at_its_borders_and_refused_beyond() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("prompts", &["2", "1000000000"], &["0", "1", "-1"]),
            ("seed", &["0", "9223372036854775807"], &["-1", "1.5"]),
            (
                "ks",
                &["[4]", "[1, 4]", "[4, 1000000000]"],
                &["[]", "[0, 4]", "[4, 4]", "[4, 2]"],
            ),
            ("compare_k", &["2", "6"], &["0", "3", "8"]),
            (
                "edits",
                &["[]", "[\"guided\", \"beam\"]"],
                &["[\"greedy\", \"greedy\"]", "[\"supervised\"]", "[\"best\"]"],
            ),
            (
                "thresholds",
                &["[]", "[0.0, 1.0]"],
                &["[0.8, 0.4]", "[0.5, 0.5]", "[-0.1]", "[1.1]"],
            ),
            (
                "baselines",
                &["[]", "[\"pca\", \"random\"]"],
                &["[\"pca\", \"random\", \"pca\"]", "[\"nothing\"]"],
            ),
            ("matched_to", &["\"sae-relu\""], &["1"]),
            ("refactor_attention", &["true"], &["1"]),
            ("model_dtype", &["\"f32\"", "\"bf16\"", "\"f16\""], &["\"f64\"", "16"]),
            ("interpretability_prompts", &["4"], &["0", "3"]),
            ("draws", &["1", "10"], &["0"]),
            ("max_kept", &["1e-9", "0.5", "1e300"], &["0.0", "-0.5"]),
            ("resamples", &["1"], &["0"]),
            ("batch", &["1"], &["0"]),
            ("min_denominator", &["1e-300", "1e300"], &["0.0", "-1.0"]),
            ("min_effect", &["1e-9", "0.999"], &["0.0", "1.0", "-0.5"]),
            ("reference", &["\"supervised-lstsq\""], &["[]"]),
            (
                "split_alike",
                &["[]", "[{\"left\": \"a\", \"right\": \"b\"}]"],
                &[
                    "[{\"left\": \"a\", \"right\": \"a\"}]",
                    "[{\"left\": \"a\", \"right\": \"b\"}, {\"left\": \"b\", \"right\": \"a\"}]",
                ],
            ),
            (
                "compare",
                &[
                    "[]",
                    "[{\"left\": \"a\", \"right\": \"b\"}, {\"left\": \"b\", \"right\": \"a\"}]",
                ],
                &[
                    "[{\"left\": \"a\", \"right\": \"a\"}]",
                    "[{\"left\": \"a\", \"right\": \"b\"}, {\"left\": \"a\", \"right\": \"b\"}]",
                    "[{\"left\": \"a\"}]",
                ],
            ),
        ];
        let defaults = serde_json::to_value(EvalFile::default()).unwrap();
        let keys: Vec<&str> = cases.iter().map(|(key, ..)| *key).collect();
        // Those that are left out where they are empty, or f32, stand in no default.
        let missing = defaults
            .as_object()
            .unwrap()
            .keys()
            .find(|key| !keys.contains(&key.as_str()));
        assert_eq!((missing, cases.len()), (None, defaults.as_object().unwrap().len() + 2));
        let parse = |key: &str, value: &str| serde_json::from_str::<EvalConfig>(&format!("{{\"{key}\": {value}}}"));
        for (key, taken, refused) in cases {
            for value in *taken {
                parse(key, value).unwrap_or_else(|error| panic!("{key} = {value}: {error}"));
            }
            for value in *refused {
                let message = parse(key, value).expect_err(value).to_string();
                // What serde refuses gets its key from the reader of the file.
                let by_serde = message.contains("expected") || message.contains("missing field");
                assert!(
                    by_serde || message.contains(&format!("`{key}`")),
                    "{key} = {value}: {message}"
                );
            }
        }
    }

    #[test]
    fn keys_that_depend_on_each_other_are_named() {
        let cases = [
            (r#"{"ks": [2, 3]}"#, "`compare_k`"),
            (r#"{"ks": [3, 4], "compare_k": 3, "edits": ["guided"]}"#, "`compare_k`"),
            (r#"{"edits": ["exhaustive", "greedy"]}"#, "`compare_k`"),
            (r#"{"promts": 3}"#, "promts"),
        ];
        for (text, part) in cases {
            let message = serde_json::from_str::<EvalConfig>(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
