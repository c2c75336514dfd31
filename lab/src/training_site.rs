//! Where autoencoders are trained: what names their folders, and where their activations are in a store.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};
use activations::{HookRows, Node, Store};
use lm::HookPoint;

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

    /// Its activations, in the order of the store.
    pub(crate) fn rows(&self, store: &Store) -> Result<HookRows, activations::Error> {
        match *self {
            Self::Node(node) => store.node_rows(&node),
            Self::Hook(hook, head) => store.hook(hook, head),
        }
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
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // A node's folder has a position too, and is none of these.
        if let Ok(hook) = text.parse::<HookPoint>() {
            return Ok(Self::Hook(hook, None));
        }
        let (hook, head) = text.rsplit_once('.').unwrap_or((text, ""));
        let named = hook.parse::<HookPoint>().ok().zip(head.parse().ok());
        match named {
            Some((hook, head)) => Ok(Self::Hook(hook, Some(head))),
            None => bail!("{text} names no hook, and no head of one"),
        }
    }
}
