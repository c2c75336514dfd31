//! The hook that a folder says it is of. Every library spells hooks in its own way; this knows what most spellings mean.

use std::fmt;

use lm::HookPoint;
use serde::{Deserialize, Serialize};

use super::shown;

/// The hook that a folder names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedHook {
    /// Its name, as the library spells it.
    pub name: String,
    /// The attention head, where it is of one head only.
    pub head: Option<usize>,
}

impl NamedHook {
    /// Whether the name is understood, and means another place than `hook` and `head`.
    pub fn contradicts(&self, hook: HookPoint, head: Option<usize>) -> bool {
        let other_hook = understood(&self.name).is_some_and(|name| place(name) != place(hook.to_string()));
        other_hook || (self.head.is_some() && self.head != head)
    }

    /// The hook, where the name is understood and the model has it by that name.
    pub fn hook(&self) -> Option<HookPoint> {
        understood(&self.name)?.parse().ok()
    }

    /// The name in TransformerLens's spelling where it is understood, else as it stands.
    pub(crate) fn transformer_lens(&self) -> String {
        understood(&self.name).unwrap_or_else(|| self.name.clone())
    }
}

/// The hooks that a folder names: of its inputs, and of a transcoder's outputs.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) hook: Option<NamedHook>,
    pub(crate) writes: Option<NamedHook>,
}

impl fmt::Display for NamedHook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", shown(&self.name))?;
        match self.head {
            Some(head) => write!(out, " of head {head}"),
            None => Ok(()),
        }
    }
}

/// A name's TransformerLens spelling: of its own names, of the modules of Hugging Face's models (sparsify), and of the names
/// that users of dictionary_learning give (`resid_post_layer_3`). None where the name says nothing certain.
pub(super) fn understood(name: &str) -> Option<String> {
    if name.parse::<HookPoint>().is_ok() {
        return Some(name.to_owned());
    }
    if let Some((layer, part)) = block("blocks.", name).filter(|(_, part)| part.contains("hook_")) {
        // What the newer TransformerBridge calls the same tensors; any other name is that of another tensor.
        let part = match part {
            "hook_in" => "hook_resid_pre",
            "hook_out" => "hook_resid_post",
            "attn.hook_out" => "hook_attn_out",
            "mlp.hook_out" => "hook_mlp_out",
            other => other,
        };
        return Some(format!("blocks.{layer}.{part}"));
    }
    of_module(name).or_else(|| of_user(name)).map(|hook| hook.to_string())
}

/// The output of a module, by its path in a model of Hugging Face: `transformer.h.3.mlp`, `model.layers.3`.
pub(super) fn of_module(name: &str) -> Option<HookPoint> {
    let mut path = name;
    for prefix in ["transformer.", "gpt_neox.", "model."] {
        path = path.strip_prefix(prefix).unwrap_or(path);
    }
    let path = path.strip_suffix(".output").unwrap_or(path);
    let (layer, part) = block("h.", path).or_else(|| block("layers.", path))?;
    match part {
        "" => Some(HookPoint::ResidPost(layer)),
        "attn" | "self_attn" | "attention" => Some(HookPoint::AttnOut(layer)),
        "mlp" => Some(HookPoint::MlpOut(layer)),
        "mlp.act" => Some(HookPoint::MlpPost(layer)),
        _ => None,
    }
}

fn of_user(name: &str) -> Option<HookPoint> {
    let (part, layer) = name.split_once("_layer_")?;
    let layer = layer.parse().ok()?;
    match part {
        "resid_pre" => Some(HookPoint::ResidPre(layer)),
        "resid_post" => Some(HookPoint::ResidPost(layer)),
        "attn_out" => Some(HookPoint::AttnOut(layer)),
        "mlp_out" => Some(HookPoint::MlpOut(layer)),
        _ => None,
    }
}

/// The number of a block, and what of it is named.
fn block<'a>(prefix: &str, name: &'a str) -> Option<(usize, &'a str)> {
    let rest = name.strip_prefix(prefix)?;
    let (layer, part) = rest.split_once('.').unwrap_or((rest, ""));
    Some((layer.parse().ok()?, part))
}

/// One name for the two of the residual stream between two blocks.
fn place(name: String) -> String {
    match name.parse() {
        Ok(HookPoint::ResidPost(layer)) => HookPoint::ResidPre(layer.saturating_add(1)).to_string(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_hook_agree_and_of_others_do_not() {
        let of = |name: &str, head| NamedHook {
            name: name.to_owned(),
            head,
        };
        let (mlp, resid) = (HookPoint::MlpOut(3), HookPoint::ResidPost(3));
        for (name, hook) in [
            ("blocks.3.hook_mlp_out", mlp),
            ("blocks.3.mlp.hook_out", mlp),
            ("layers.3.mlp", mlp),
            ("transformer.h.3.mlp", mlp),
            ("mlp_out_layer_3", mlp),
            ("resid_post_layer_3", resid),
            ("model.layers.3", resid),
            ("model.layers.3.output", resid),
            ("blocks.4.hook_resid_pre", resid),
            ("blocks.3.hook_resid_post", HookPoint::ResidPre(4)),
            // Not understood, so not contradicted.
            ("my SAE", mlp),
            ("layer 2", mlp),
            ("blocks.x.hook_mlp_out", mlp),
        ] {
            assert!(!of(name, None).contradicts(hook, None), "{name}");
        }
        for name in [
            "blocks.2.hook_mlp_out",
            "layers.2.mlp",
            "h.3",
            "resid_post_layer_3",
            "blocks.3.ln2.hook_normalized",
            "hook_embed",
        ] {
            assert!(of(name, None).contradicts(mlp, None), "{name}");
        }
        let z = HookPoint::Z(1);
        assert!(!of("blocks.1.attn.hook_z", Some(2)).contradicts(z, Some(2)));
        assert!(of("blocks.1.attn.hook_z", Some(2)).contradicts(z, Some(1)));
        assert!(of("blocks.1.attn.hook_z", Some(2)).contradicts(z, None));
        // All heads side by side; that is for the width to tell.
        assert!(!of("blocks.1.attn.hook_z", None).contradicts(z, Some(1)));
    }
}
