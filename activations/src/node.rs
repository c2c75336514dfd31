//! Names of single activation vectors.
//!
//! A [`Node`] is a hook, a head where the hook has heads, and a semantic position: one vector per prompt. It is written
//! `blocks.3.attn.hook_z.1@END` or `blocks.2.hook_resid_pre@S2`.

use std::fmt;
use std::str::FromStr;

use lm::{HookPoint, Spec};
use serde::{Deserialize, Serialize};
use tasks::Role;

use crate::Error;

/// One activation vector of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Node {
    /// The tensor it is read from.
    pub hook: HookPoint,
    /// The head: present exactly for the hooks that have one vector per head (`q`, `k`, `v`, `z`).
    pub head: Option<usize>,
    /// The semantic position it is read at.
    pub role: Role,
}

impl Node {
    /// Numbers in the vector: `d_head` for a head's vector, the hook's width otherwise.
    pub fn width(&self, config: &Spec) -> usize {
        self.hook.width(config)
    }

    /// Checks that the node exists in a model of this configuration.
    pub fn validate(&self, config: &Spec) -> Result<(), Error> {
        self.check_head()?;
        validate_hook(self.hook, config).map_err(|error| match error {
            Error::Hook { reason, .. } => self.refuse(reason),
            other => other,
        })?;
        match self.head {
            Some(head) if head >= config.n_head => Err(self.refuse(format!(
                "head {head} asked for, the model has heads 0 to {}",
                config.n_head - 1
            ))),
            _ => Ok(()),
        }
    }

    /// The name as a folder name: letters, digits, `.`, `_` and `-` only (`blocks.3.attn.hook_z.1-S1p1`).
    pub fn dir_name(&self) -> String {
        self.to_string().replace('@', "-").replace('+', "p")
    }

    /// A head is named exactly where there are heads, and the hook has a vector per position.
    fn check_head(&self) -> Result<(), Error> {
        match (self.hook.has_heads(), self.head) {
            (true, None) => Err(self.refuse(format!("this hook has one vector per head: write {}.0@..", self.hook))),
            (false, Some(head)) => {
                Err(self.refuse(format!("only hook_q, hook_k, hook_v, hook_z have heads, not {head}")))
            }
            _ if matches!(self.hook, HookPoint::Pattern(_)) => {
                Err(self.refuse("attention patterns are no vector at a position".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Node {
            node: self.to_string(),
            reason,
        }
    }
}

/// Checks that the hook exists in a model of this configuration and has one vector per position.
pub(crate) fn validate_hook(hook: HookPoint, config: &Spec) -> Result<(), Error> {
    if matches!(hook, HookPoint::Pattern(_)) {
        let reason = "attention patterns are no vector at a position".to_owned();
        return Err(Error::Hook { hook, reason });
    }
    match hook.layer() {
        Some(layer) if layer >= config.n_layer => {
            let reason = format!(
                "layer {layer} asked for, the model has layers 0 to {}",
                config.n_layer - 1
            );
            Err(Error::Hook { hook, reason })
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.head {
            Some(head) => write!(out, "{}.{head}@{}", self.hook, self.role),
            None => write!(out, "{}@{}", self.hook, self.role),
        }
    }
}

impl FromStr for Node {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Node {
            node: text.to_owned(),
            reason,
        };
        let example = "expected HOOK[.HEAD]@ROLE, for example blocks.3.attn.hook_z.1@END";
        let (place, role) = text.rsplit_once('@').ok_or_else(|| refuse(example.to_owned()))?;
        let role = Role::from_str(role).map_err(|error| refuse(error.to_string()))?;
        // A trailing number is a head only when the whole is not already the name of a hook.
        let (hook, head) = match (HookPoint::from_str(place), place.rsplit_once('.')) {
            (Ok(hook), _) => (hook, None),
            (Err(_), Some((hook, head))) if head.bytes().all(|byte| byte.is_ascii_digit()) => {
                let hook = HookPoint::from_str(hook).map_err(|error| refuse(error.to_string()))?;
                (hook, Some(head.parse().map_err(|_| refuse(example.to_owned()))?))
            }
            (Err(error), _) => return Err(refuse(error.to_string())),
        };
        let node = Self { hook, head, role };
        node.check_head()?;
        Ok(node)
    }
}

impl From<Node> for String {
    fn from(node: Node) -> Self {
        node.to_string()
    }
}

impl TryFrom<String> for Node {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "blocks.3.attn.hook_z.1@END",
            "blocks.2.hook_resid_pre@S2",
            "blocks.0.attn.hook_q.11@S1+1",
        ] {
            let node: Node = name.parse().unwrap();
            assert_eq!(node.to_string(), name);
            let json = serde_json::to_string(&node).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Node>(&json).unwrap(), node);
        }
        let node: Node = "blocks.0.attn.hook_q.11@S1+1".parse().unwrap();
        assert_eq!(
            (node.hook, node.head, node.role),
            (HookPoint::Q(0), Some(11), Role::S1_PLUS_1)
        );
        assert_eq!(node.dir_name(), "blocks.0.attn.hook_q.11-S1p1");
    }

    #[test]
    fn wrong_names_say_why() {
        for (name, part) in [
            ("blocks.3.attn.hook_z@END", "one vector per head"),
            ("blocks.3.hook_resid_pre.1@END", "only hook_q"),
            ("blocks.3.attn.hook_pattern@END", "no vector"),
            ("blocks.3.attn.hook_z.1", "HOOK[.HEAD]@ROLE"),
            ("blocks.3.attn.hook_z.1@THE MIDDLE", "THE MIDDLE"),
            ("blocks.3.hook_nothing@END", "hook_nothing"),
        ] {
            let message = name.parse::<Node>().unwrap_err().to_string();
            assert!(message.contains(part) && message.contains(name), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
