//! Names of nodes, slots and destinations: `a5.h1`, `q`, `a5.h1<q>`.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A component of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The token embedding, `input`.
    Input,
    /// An attention head, `a5.h1`: what it adds to the residual stream, without the bias of its layer.
    Head {
        /// The block.
        layer: usize,
        /// The head of queries.
        head: usize,
    },
    /// A head of keys and values that several heads of queries share, `a5.kv1`. It is read for them and adds nothing by itself.
    KeyValue {
        /// The block.
        layer: usize,
        /// The head of keys and values.
        head: usize,
    },
    /// An MLP, `m3`.
    Mlp {
        /// The block.
        layer: usize,
    },
    /// The logits, `logits`: they read the residual stream behind the last block, before the last norm.
    Logits,
}

/// What a head reads the residual stream for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase", parse_err_ty = Error, parse_err_fn = unknown_slot)]
pub enum Slot {
    /// Queries, `q`.
    Q,
    /// Keys, `k`.
    K,
    /// Values, `v`.
    V,
}

/// One reading of the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Who reads.
    pub node: Node,
    /// What for, where the reader is a head.
    pub slot: Option<Slot>,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("input"),
            Self::Head { layer, head } => write!(f, "a{layer}.h{head}"),
            Self::KeyValue { layer, head } => write!(f, "a{layer}.kv{head}"),
            Self::Mlp { layer } => write!(f, "m{layer}"),
            Self::Logits => f.write_str("logits"),
        }
    }
}

impl FromStr for Node {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let parsed = || -> Option<Self> {
            if let Some(layer) = name.strip_prefix('m') {
                return Some(Self::Mlp {
                    layer: layer.parse().ok()?,
                });
            }
            let (layer, head) = name.strip_prefix('a')?.split_once('.')?;
            let layer = layer.parse().ok()?;
            if let Some(head) = head.strip_prefix("kv") {
                let head = head.parse().ok()?;
                return Some(Self::KeyValue { layer, head });
            }
            let head = head.strip_prefix('h')?.parse().ok()?;
            Some(Self::Head { layer, head })
        };
        let node = match name {
            "input" => Some(Self::Input),
            "logits" => Some(Self::Logits),
            _ => parsed(),
        };
        // `a05.h1` would be a second name of the same node.
        node.filter(|node| node.to_string() == name)
            .ok_or_else(|| Error::UnknownName {
                what: "node",
                found: name.to_owned(),
                known: "nodes are named input, a5.h1, a5.kv1, m3 and logits".to_owned(),
            })
    }
}

fn unknown_slot(name: &str) -> Error {
    Error::UnknownName {
        what: "slot",
        found: name.to_owned(),
        known: "slots are q, k and v".to_owned(),
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.slot {
            Some(slot) => write!(f, "{}<{slot}>", self.node),
            None => self.node.fmt(f),
        }
    }
}
