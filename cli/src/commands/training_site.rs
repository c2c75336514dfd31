//! Where autoencoders are trained: what names their folders, and where their activations are in a store.

use std::fmt;
use std::str::FromStr;

use activations::{Node, Store};
use lm::HookPoint;
use sae::Rows;

/// Shards of the sample from which mean and scale of a streamed training come.
const SAMPLE_SHARDS: usize = 4;

/// Where activations come from: a node of the prompts, or all positions of a hook of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TrainingSite {
    Node(Node),
    Hook(HookPoint, Option<usize>),
}

impl fmt::Display for TrainingSite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(out, "{node}"),
            Self::Hook(hook, Some(head)) => write!(out, "{hook}.{head}"),
            Self::Hook(hook, None) => write!(out, "{hook}"),
        }
    }
}

impl TrainingSite {
    /// The name as a folder name.
    pub(crate) fn dir_name(&self) -> String {
        match self {
            Self::Node(node) => node.dir_name(),
            Self::Hook(..) => self.to_string(),
        }
    }

    /// Its activations.
    pub(crate) fn rows(&self, store: &Store) -> anyhow::Result<Rows> {
        Ok(match *self {
            Self::Node(node) => {
                let rows = store.node(&node)?;
                Rows {
                    width: rows.width,
                    values: rows.values,
                }
            }
            Self::Hook(hook, head) => {
                // In the order of the documents, so that what is held out are documents of their own.
                let found = store.hook(hook, head)?;
                let mut order: Vec<usize> = (0..found.rows.len()).collect();
                order.sort_by_key(|&row| (found.rows[row].document, found.rows[row].row, found.rows[row].position));
                let width = found.width;
                let of = |row: usize| found.values[row * width..][..width].iter().copied();
                Rows {
                    width,
                    values: order.into_iter().flat_map(of).collect(),
                }
            }
        })
    }

    /// A sample of its activations for a training that streams the rest, and the shards that are streamed: of a text, four
    /// shards spread over those that are trained on, and behind them what is held out, the last window that was shuffled.
    pub(crate) fn sample(&self, store: &Store, held_out: f64) -> anyhow::Result<(Rows, usize)> {
        let Self::Hook(hook, head) = *self else {
            anyhow::bail!("{self} is a node of prompts, which are always read into memory; leave out --stream");
        };
        let manifest = store.manifest();
        let shards = manifest.hooks.get(&hook).map_or(0, |entry| entry.shards.len());
        let window = manifest.shuffle.map_or(1, |shuffle| shuffle.shards.max(1));
        let trained = match held_out > 0.0 {
            true => (shards.div_ceil(window).saturating_sub(1)) * window,
            false => shards,
        };
        anyhow::ensure!(
            trained > 0,
            "the store has one window of {window} shards, of which nothing is left to train on; leave out --stream, \
             or harvest more text"
        );
        let spread = (0..SAMPLE_SHARDS.min(trained)).map(|i| i * trained / SAMPLE_SHARDS.min(trained));
        let rows = store.shards_of(hook, head, &spread.chain(trained..shards).collect())?;
        let rows = Rows {
            width: rows.width,
            values: rows.values,
        };
        Ok((rows, trained))
    }

    /// The hook and head in a store of text.
    pub(crate) fn place(&self) -> (HookPoint, Option<usize>) {
        match *self {
            Self::Node(node) => (node.hook, node.head),
            Self::Hook(hook, head) => (hook, head),
        }
    }

    /// The same places at another hook.
    pub(crate) fn at(&self, hook: HookPoint) -> Self {
        match *self {
            Self::Node(node) => Self::Node(Node {
                hook,
                head: None,
                ..node
            }),
            Self::Hook(..) => Self::Hook(hook, None),
        }
    }
}

impl FromStr for TrainingSite {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        // A node's folder has a position too, and is none of these.
        if let Ok(hook) = text.parse::<HookPoint>() {
            return Ok(Self::Hook(hook, None));
        }
        let (hook, head) = text.rsplit_once('.').unwrap_or((text, ""));
        let named = hook.parse::<HookPoint>().ok().zip(head.parse().ok());
        match named {
            Some((hook, head)) => Ok(Self::Hook(hook, Some(head))),
            None => anyhow::bail!("{text} names no hook, and no head of one"),
        }
    }
}
