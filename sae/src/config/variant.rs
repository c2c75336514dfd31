//! One table `[[autoencoder]]` of a train config, and the autoencoders it stands for: a list makes a grid.

use dictionaries::{Architecture, Variant};
use lm::HookPoint;
use serde::Deserialize;

use super::{is_positive, refuse};
use crate::Error;

/// Default of `bandwidth` for the two penalties that count latents.
const DEFAULT_BANDWIDTH: f64 = 0.5;
/// Default of `bandwidth` for the tanh penalty.
const DEFAULT_TANH_BANDWIDTH: f64 = 2.0;
/// Default of `levels`.
const DEFAULT_LEVELS: usize = 6;
/// Default of `anneal_k` where there is a `k`.
const DEFAULT_ANNEAL_K: f64 = 4.0;
/// Most levels: the smallest of them is a 32,768th of the latents.
const MOST_LEVELS: usize = 16;
/// What the weight of a penalty starts from where it is to come to a number of active latents: near what the architectures
/// take for 8 of them on the shipped model.
const FIRST_L1: f64 = 1.0;
const FIRST_WEIGHT: f64 = 0.2;
/// Characters of a name: it is a part of file names.
const LONGEST_NAME: usize = 100;
/// Default of `p_end`.
const DEFAULT_P_END: f64 = 0.2;

/// A number, or several of which each makes an autoencoder of its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a number or a list of numbers")]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// A list.
    Many(Vec<T>),
}

/// Some autoencoders of a train config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantFile {
    /// What makes codes sparse: `"relu"`, `"relu-april"`, `"p-anneal"`, `"gated"`, `"jumprelu"`, `"jumprelu-l0"`, `"jumprelu-tanh"`, `"topk"`,
    /// `"batch-topk"` or `"matryoshka"`.
    pub architecture: String,
    /// Name of the dictionary. Default `sae-` or `transcoder-`, the architecture, and `-frozen` with a frozen decoder. Each number that stands in a list is
    /// appended, as in `sae-topk-k8-seed1`.
    pub name: Option<String>,
    /// `"relu"`, `"relu-april"`, `"p-anneal"`, `"gated"`: weight of the L1 penalty, for inputs of mean norm root(width).
    /// 0.5 to 5 in the follow-up to the paper. Default none: those architectures need it.
    pub l1: Option<OneOrMany<f64>>,
    /// `"p-anneal"`: the exponent that the penalty ends with. Default 0.2.
    pub p_end: Option<f64>,
    /// `"topk"`, `"batch-topk"`, `"matryoshka"`: active latents of a row. 3 to 24 on the indirect-object task in the
    /// follow-up to the paper. Default none: those architectures need it.
    pub k: Option<OneOrMany<usize>>,
    /// `"topk"`, `"batch-topk"`, `"matryoshka"`: at the first step so many times `k` latents are active, and fewer along a line until after half of the
    /// steps it is `k`; at least 1, which is `k` at every step. Default 4: latents find one feature each more often (docs/synthetic.md).
    pub anneal_k: Option<f64>,
    /// Active latents of a row to aim at, at most as many as there are latents. `"jumprelu"`: what its penalty is about. Every other
    /// architecture with a penalty: instead of `l1` or `weight`, which is then raised and lowered while it trains.
    /// Default none: `jumprelu` needs it.
    pub l0: Option<OneOrMany<f64>>,
    /// `"jumprelu-l0"`: weight of an active latent; `"jumprelu-tanh"`: weight of the tanh, 5 to 20 in the field. Both for
    /// inputs of mean norm root(width). Default none: those architectures need it.
    pub weight: Option<OneOrMany<f64>>,
    /// `"jumprelu..."`: width of the window around a threshold in which its gradient is estimated, for inputs of mean norm
    /// root(width). Default 2 with the tanh as in its source; else 0.5: with the 0.03 that suits billions of activations,
    /// runs this short hardly move thresholds.
    pub bandwidth: Option<f64>,
    /// `"matryoshka"`: nested dictionaries, each twice as large as the one before; 1 to 16, and no more than leave the smallest
    /// one a latent. Default 6.
    pub levels: Option<usize>,
    /// Seed of the weights. Default: that of the file.
    pub seed: Option<OneOrMany<u64>>,
    /// Peak learning rate. Default: that of the file.
    pub learning_rate: Option<f64>,
    /// Another hook of the store, for example `"blocks.2.hook_mlp_out"`, whose activations at the same places are to be
    /// reconstructed: this makes a transcoder. Default: the inputs themselves.
    pub target: Option<HookPoint>,
    /// Decoder rows stay as they were drawn at random, and all else is trained around them: the paper's baseline, which
    /// says what an architecture reaches without learning a single direction. Default false. Only where decoder rows have
    /// norm 1: an architecture whose penalty is made of their norms has nothing left of it with rows of one norm. Not for
    /// transcoders.
    pub frozen_decoder: Option<bool>,
}

/// What an architecture is chosen sparse by: the field, its values and whether they were a list.
type Sparsity = (&'static str, Vec<f64>, bool);

impl VariantFile {
    /// The autoencoders of this table.
    pub(super) fn expand(&self, seed: u64, learning_rate: f64) -> Result<Vec<Variant>, Error> {
        let (field, values, listed) = self.sparsity()?;
        let (seeds, seeds_listed) = list(self.seed.as_ref(), "seed")?.unwrap_or((vec![seed], false));
        let learning_rate = self.learning_rate.unwrap_or(learning_rate);
        let frozen_decoder = self.frozen_decoder.unwrap_or(false);
        if frozen_decoder && self.target.is_some() {
            return refuse("frozen_decoder", "is not for transcoders, remove it or `target`");
        }
        let base = self.name.clone().unwrap_or_else(|| {
            let kind = if self.target.is_some() { "transcoder" } else { "sae" };
            let frozen = if frozen_decoder { "-frozen" } else { "" };
            format!("{kind}-{}{frozen}", self.architecture)
        });
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if base.is_empty() || base.starts_with('.') || !base.chars().all(fits) {
            return refuse("name", &format!("is \"{base}\", must be letters, digits, - _ ."));
        }
        if base.len() > LONGEST_NAME {
            let reason = format!("has {} characters, must have at most {LONGEST_NAME}", base.len());
            return refuse("name", &reason);
        }
        let anneal_k = match self.anneal_k {
            Some(times) if !(times >= 1.0 && times.is_finite()) => {
                return refuse("anneal_k", &format!("is {times}, must be at least 1"));
            }
            given => {
                let default = (field == "k").then_some(DEFAULT_ANNEAL_K);
                given.or(default).filter(|times| *times > 1.0)
            }
        };
        let mut variants = Vec::new();
        for &value in &values {
            let controlled = field == "l0" && self.architecture != "jumprelu";
            let architecture = self.architecture(match (controlled, self.architecture.starts_with("jumprelu")) {
                (false, _) => value,
                (true, false) => FIRST_L1,
                (true, true) => FIRST_WEIGHT,
            })?;
            if frozen_decoder && !architecture.has_unit_decoder() {
                let reason = format!(
                    "means nothing for \"{}\", whose decoder rows have no fixed norm",
                    self.architecture
                );
                return refuse("frozen_decoder", &reason);
            }
            for &seed in &seeds {
                let mut name = base.clone();
                if listed {
                    // `k8`, but `l1_0.5`.
                    let between = if field.ends_with(|c: char| c.is_ascii_digit()) {
                        "_"
                    } else {
                        ""
                    };
                    name += &format!("-{field}{between}{value}");
                }
                if seeds_listed {
                    name += &format!("-seed{seed}");
                }
                variants.push(Variant {
                    name,
                    architecture,
                    seed,
                    learning_rate,
                    target: self.target,
                    l0: controlled.then_some(value),
                    anneal_k,
                    frozen_decoder,
                });
            }
        }
        Ok(variants)
    }

    /// The field that says how sparse; every other such field must be absent.
    fn sparsity(&self) -> Result<Sparsity, Error> {
        let floats =
            |field: &'static str, given: &Option<OneOrMany<f64>>, zero: bool| match list(given.as_ref(), field)? {
                Some((values, _)) if values.iter().any(|&v| !(is_positive(v) || (v == 0.0 && zero))) => {
                    let kind = if zero {
                        "be 0 or a positive number"
                    } else {
                        "be a positive number"
                    };
                    refuse(field, &format!("must {kind}"))
                }
                Some((values, listed)) => Ok(Some((field, values, listed))),
                None => Ok(None),
            };
        let k = match list(self.k.as_ref(), "k")? {
            Some((values, _)) if values.contains(&0) => return refuse("k", "is 0, must be at least 1"),
            given => given.map(|(values, listed)| ("k", values.into_iter().map(|k| k as f64).collect(), listed)),
        };
        let l1 = floats("l1", &self.l1, true)?;
        let l0 = floats("l0", &self.l0, false)?;
        let weight = floats("weight", &self.weight, true)?;
        let name = self.architecture.as_str();
        let wanted = match name {
            "relu" | "relu-april" | "gated" | "p-anneal" => "l1",
            "jumprelu" => "l0",
            "jumprelu-l0" | "jumprelu-tanh" => "weight",
            "topk" | "batch-topk" | "matryoshka" => "k",
            other => {
                let reason = format!(
                    "is \"{other}\", expected \"relu\", \"relu-april\", \"p-anneal\", \"gated\", \"jumprelu\", \
                     \"jumprelu-l0\", \"jumprelu-tanh\", \"topk\", \"batch-topk\" or \"matryoshka\""
                );
                return refuse("architecture", &reason);
            }
        };
        let others = [
            ("bandwidth", self.bandwidth.is_some() && !name.starts_with("jumprelu")),
            ("levels", self.levels.is_some() && name != "matryoshka"),
            ("p_end", self.p_end.is_some() && name != "p-anneal"),
            ("anneal_k", self.anneal_k.is_some() && wanted != "k"),
        ];
        let unused = others.into_iter().find(|(_, unused)| *unused).map(|(field, _)| field);
        let mut found: Option<Sparsity> = None;
        for given in [k, l1, l0, weight].into_iter().flatten() {
            if given.0 != wanted && !(given.0 == "l0" && wanted != "k") {
                return unwanted(given.0, name);
            }
            if let Some((other, ..)) = found {
                return refuse(given.0, &format!("is given beside `{other}`, remove one of them"));
            }
            found = Some(given);
        }
        match (unused, found) {
            (Some(field), _) => unwanted(field, name),
            (None, Some(found)) => Ok(found),
            (None, None) => refuse(wanted, &format!("is missing for architecture \"{name}\"")),
        }
    }

    fn architecture(&self, value: f64) -> Result<Architecture, Error> {
        let bandwidth = |default: f64| match self.bandwidth.unwrap_or(default) {
            width if is_positive(width) => Ok(width),
            _ => refuse("bandwidth", "must be a positive number"),
        };
        let k = value as usize;
        Ok(match self.architecture.as_str() {
            "relu" => Architecture::Relu { l1: value },
            "relu-april" => Architecture::ReluApril { l1: value },
            "gated" => Architecture::Gated { l1: value },
            "p-anneal" => match self.p_end.unwrap_or(DEFAULT_P_END) {
                p_end if is_positive(p_end) && p_end <= 1.0 => Architecture::PAnneal { l1: value, p_end },
                p_end => return refuse("p_end", &format!("is {p_end}, must be above 0 and at most 1")),
            },
            "jumprelu" => Architecture::Jumprelu {
                l0: value,
                bandwidth: bandwidth(DEFAULT_BANDWIDTH)?,
            },
            "jumprelu-l0" => Architecture::JumpreluL0 {
                weight: value,
                bandwidth: bandwidth(DEFAULT_BANDWIDTH)?,
            },
            "jumprelu-tanh" => Architecture::JumpreluTanh {
                weight: value,
                bandwidth: bandwidth(DEFAULT_TANH_BANDWIDTH)?,
            },
            "topk" => Architecture::Topk { k },
            "batch-topk" => Architecture::BatchTopk { k },
            _ => match self.levels.unwrap_or(DEFAULT_LEVELS) {
                levels @ 1..=MOST_LEVELS => Architecture::Matryoshka { k, levels },
                levels => return refuse("levels", &format!("is {levels}, must be 1 to {MOST_LEVELS}")),
            },
        })
    }
}

fn unwanted<T>(field: &'static str, architecture: &str) -> Result<T, Error> {
    refuse(
        field,
        &format!("means nothing for architecture \"{architecture}\", remove it"),
    )
}

/// The values of a field, and whether they were a list.
fn list<T: Copy>(given: Option<&OneOrMany<T>>, field: &'static str) -> Result<Option<(Vec<T>, bool)>, Error> {
    match given {
        None => Ok(None),
        Some(OneOrMany::One(value)) => Ok(Some((vec![*value], false))),
        Some(OneOrMany::Many(values)) if values.is_empty() => refuse(field, "is an empty list"),
        Some(OneOrMany::Many(values)) => Ok(Some((values.clone(), true))),
    }
}
