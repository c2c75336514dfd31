//! The latents behind a score of axis 3, by their numbers.

use std::fmt;
use std::str::FromStr;

use activations::Node;
use serde::{Deserialize, Serialize};

use crate::interpretability::Chosen;

/// The latent that agrees best with one value of an attribute. In files it is text: `3: 117`, the value and the latent, and
/// `3: 117 at blocks.2.hook_resid_pre@S2` where its site has several nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BestLatent {
    /// The value, by its number among those of the attribute (the number that stores label their rows with).
    pub value: usize,
    /// The latent, by its number in the dictionary of the node, from 0.
    pub latent: u32,
    /// The node, where the site has several.
    pub node: Option<Node>,
}

impl BestLatent {
    /// The latents that were chosen at a site with these nodes.
    pub(crate) fn all(chosen: &[Chosen], nodes: &[Node]) -> Vec<Self> {
        let several = nodes.len() > 1;
        let of = |chosen: &Chosen| Self {
            value: chosen.value,
            latent: chosen.latent,
            node: nodes.get(chosen.node).copied().filter(|_| several),
        };
        chosen.iter().map(of).collect()
    }
}

impl fmt::Display for BestLatent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.value, self.latent)?;
        self.node.map_or(Ok(()), |node| write!(out, " at {node}"))
    }
}

impl FromStr for BestLatent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no value with its latent, such as `3: 117`");
        let (value, rest) = text.split_once(": ").ok_or_else(wrong)?;
        let (latent, node) = match rest.split_once(" at ") {
            Some((latent, node)) => (latent, Some(node.parse().map_err(|_| wrong())?)),
            None => (rest, None),
        };
        Ok(Self {
            value: value.parse().map_err(|_| wrong())?,
            latent: latent.parse().map_err(|_| wrong())?,
            node,
        })
    }
}

impl From<BestLatent> for String {
    fn from(best: BestLatent) -> Self {
        best.to_string()
    }
}

impl TryFrom<String> for BestLatent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let nodes: Vec<Node> = ["blocks.1.hook_resid_pre@S2", "blocks.2.attn.hook_z.1@END"]
            .map(|node| node.parse().unwrap())
            .to_vec();
        let chosen = [(3, 0, 117), (4, 1, 0)].map(|(value, node, latent)| Chosen { value, node, latent });
        let texts = [
            "3: 117 at blocks.1.hook_resid_pre@S2",
            "4: 0 at blocks.2.attn.hook_z.1@END",
        ];
        for (best, text) in BestLatent::all(&chosen, &nodes).into_iter().zip(texts) {
            assert_eq!(best.to_string(), text);
            assert_eq!(text.parse::<BestLatent>(), Ok(best));
        }
        assert_eq!(BestLatent::all(&chosen[..1], &nodes[..1])[0].to_string(), "3: 117");
        for text in ["", "3", "3: ", "x: 1", "3: -1", "3: 1 at nowhere", "3: 4294967296"] {
            assert!(text.parse::<BestLatent>().is_err(), "{text}");
        }
    }
}
