//! Names of the tensors of a forward pass, in TransformerLens's vocabulary.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::spec::Spec;
use crate::{Error, run};

/// A norm of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NormAt {
    /// `blocks.L.ln1`: before attention.
    Ln1(usize),
    /// `blocks.L.ln1_post`: of what attention adds (Gemma).
    Ln1Post(usize),
    /// `blocks.L.ln2`: before the MLP.
    Ln2(usize),
    /// `blocks.L.ln2_post`: of what the MLP adds (Gemma).
    Ln2Post(usize),
    /// `ln_final`: before the unembedding.
    Final,
}

/// A named tensor of the forward pass. `K` heads of keys and values are fewer than the `H` of queries in some models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookPoint {
    /// `hook_embed` `[B, T, D]`: token embedding, times its factor (Gemma).
    Embed,
    /// `hook_pos_embed` `[B, T, D]`: position embedding (GPT-2).
    PosEmbed,
    /// `blocks.L.hook_resid_pre` `[B, T, D]`: residual stream before block L.
    ResidPre(usize),
    /// `blocks.L.hook_resid_mid` `[B, T, D]`: between attention and MLP; not where they are parallel.
    ResidMid(usize),
    /// `blocks.L.hook_resid_post` `[B, T, D]`: after block L.
    ResidPost(usize),
    /// `blocks.L.hook_attn_out` `[B, T, D]`: what attention adds.
    AttnOut(usize),
    /// `blocks.L.hook_mlp_out` `[B, T, D]`: what the MLP adds.
    MlpOut(usize),
    /// `blocks.L.attn.hook_q` `[B, T, H, Dh]`: queries, before norm and rotation.
    Q(usize),
    /// `blocks.L.attn.hook_k` `[B, T, K, Dh]`: keys, before norm and rotation.
    K(usize),
    /// `blocks.L.attn.hook_v` `[B, T, K, Dh]`: values.
    V(usize),
    /// `blocks.L.attn.hook_z` `[B, T, H, Dh]`: attention-weighted values, before the output matrix.
    Z(usize),
    /// `blocks.L.attn.hook_pattern` `[B, H, T, T]`: attention after softmax, query by key.
    Pattern(usize),
    /// `blocks.L.mlp.hook_post` `[B, T, M]`: MLP after its activation function, times the linear part where it is gated.
    MlpPost(usize),
    /// `blocks.L.attn.hook_q_normed` `[B, T, H, Dh]`: queries after their norm (Qwen 3, Gemma 3).
    QNormed(usize),
    /// `blocks.L.attn.hook_k_normed` `[B, T, K, Dh]`: keys after their norm.
    KNormed(usize),
    /// `blocks.L.attn.hook_rot_q` `[B, T, H, Dh]`: queries after the rotation.
    RotQ(usize),
    /// `blocks.L.attn.hook_rot_k` `[B, T, K, Dh]`: keys after the rotation.
    RotK(usize),
    /// `blocks.L.attn.hook_attn_scores` `[B, H, T, T]`: scores, scaled, capped and masked.
    AttnScores(usize),
    /// `blocks.L.attn.hook_result` `[B, T, H, D]`: what each head adds, without the bias.
    AttnResult(usize),
    /// `blocks.L.hook_q_input` `[B, T, H, D]`: the residual stream as the queries of one head read it, before the norm.
    QInput(usize),
    /// `blocks.L.hook_k_input` `[B, T, K, D]`: as the keys of one head read it.
    KInput(usize),
    /// `blocks.L.hook_v_input` `[B, T, K, D]`: as the values of one head read it.
    VInput(usize),
    /// `blocks.L.hook_mlp_in` `[B, T, D]`: the residual stream as the MLP reads it, before the norm.
    MlpIn(usize),
    /// `blocks.L.mlp.hook_in` `[B, T, D]`: what the MLP's first layer reads: the norm after its scale and shift (TransformerLens's
    /// bridge).
    MlpNormed(usize),
    /// `blocks.L.mlp.hook_pre` `[B, T, M]`: MLP before its activation function; the gate where it is gated.
    MlpPre(usize),
    /// `blocks.L.mlp.hook_pre_linear` `[B, T, M]`: what the activated gate is multiplied with.
    MlpPreLinear(usize),
    /// `ln*.hook_scale` `[B, T, 1]`: standard deviation or root mean square that a norm divides by.
    NormScale(NormAt),
    /// `ln*.hook_normalized` `[B, T, D]`: a norm before its scale and shift.
    Normalized(NormAt),
}

/// Hooks of a block: the part of the name behind `blocks.L.`, and the hook.
type OfBlock = (&'static str, fn(usize) -> HookPoint);

/// All hooks of a block.
const OF_BLOCK: [OfBlock; 32] = [
    ("hook_resid_pre", HookPoint::ResidPre),
    ("hook_resid_mid", HookPoint::ResidMid),
    ("hook_resid_post", HookPoint::ResidPost),
    ("hook_attn_out", HookPoint::AttnOut),
    ("hook_mlp_out", HookPoint::MlpOut),
    ("attn.hook_q", HookPoint::Q),
    ("attn.hook_k", HookPoint::K),
    ("attn.hook_v", HookPoint::V),
    ("attn.hook_z", HookPoint::Z),
    ("attn.hook_pattern", HookPoint::Pattern),
    ("mlp.hook_post", HookPoint::MlpPost),
    ("attn.hook_q_normed", HookPoint::QNormed),
    ("attn.hook_k_normed", HookPoint::KNormed),
    ("attn.hook_rot_q", HookPoint::RotQ),
    ("attn.hook_rot_k", HookPoint::RotK),
    ("attn.hook_attn_scores", HookPoint::AttnScores),
    ("attn.hook_result", HookPoint::AttnResult),
    ("hook_q_input", HookPoint::QInput),
    ("hook_k_input", HookPoint::KInput),
    ("hook_v_input", HookPoint::VInput),
    ("hook_mlp_in", HookPoint::MlpIn),
    ("mlp.hook_in", HookPoint::MlpNormed),
    ("mlp.hook_pre", HookPoint::MlpPre),
    ("mlp.hook_pre_linear", HookPoint::MlpPreLinear),
    ("ln1.hook_scale", |l| HookPoint::NormScale(NormAt::Ln1(l))),
    ("ln1.hook_normalized", |l| HookPoint::Normalized(NormAt::Ln1(l))),
    ("ln1_post.hook_scale", |l| HookPoint::NormScale(NormAt::Ln1Post(l))),
    ("ln1_post.hook_normalized", |l| {
        HookPoint::Normalized(NormAt::Ln1Post(l))
    }),
    ("ln2.hook_scale", |l| HookPoint::NormScale(NormAt::Ln2(l))),
    ("ln2.hook_normalized", |l| HookPoint::Normalized(NormAt::Ln2(l))),
    ("ln2_post.hook_scale", |l| HookPoint::NormScale(NormAt::Ln2Post(l))),
    ("ln2_post.hook_normalized", |l| {
        HookPoint::Normalized(NormAt::Ln2Post(l))
    }),
];

/// Hooks that belong to no block.
const OF_MODEL: [(&str, HookPoint); 4] = [
    ("hook_embed", HookPoint::Embed),
    ("hook_pos_embed", HookPoint::PosEmbed),
    ("ln_final.hook_scale", HookPoint::NormScale(NormAt::Final)),
    ("ln_final.hook_normalized", HookPoint::Normalized(NormAt::Final)),
];

impl NormAt {
    fn layer(self) -> Option<usize> {
        match self {
            Self::Ln1(l) | Self::Ln1Post(l) | Self::Ln2(l) | Self::Ln2Post(l) => Some(l),
            Self::Final => None,
        }
    }
}

impl HookPoint {
    /// The block it belongs to.
    pub fn layer(&self) -> Option<usize> {
        use HookPoint::*;
        match *self {
            ResidPre(l) | ResidMid(l) | ResidPost(l) | AttnOut(l) | MlpOut(l) | Q(l) | K(l) | V(l) | Z(l)
            | Pattern(l) | MlpPost(l) | QNormed(l) | KNormed(l) | RotQ(l) | RotK(l) | AttnScores(l) | AttnResult(l)
            | QInput(l) | KInput(l) | VInput(l) | MlpIn(l) | MlpNormed(l) | MlpPre(l) | MlpPreLinear(l) => Some(l),
            NormScale(norm) | Normalized(norm) => norm.layer(),
            Embed | PosEmbed => None,
        }
    }

    /// Whether it is one vector a head and token.
    pub fn has_heads(&self) -> bool {
        use HookPoint::*;
        self.is_of_keys_or_values() || matches!(self, Q(_) | Z(_) | QNormed(_) | RotQ(_) | AttnResult(_) | QInput(_))
    }

    /// Whether it is query by key, `[B, H, T, T]`.
    pub fn is_by_key(&self) -> bool {
        matches!(self, Self::Pattern(_) | Self::AttnScores(_))
    }

    fn is_of_keys_or_values(&self) -> bool {
        use HookPoint::*;
        matches!(self, K(_) | V(_) | KNormed(_) | RotK(_) | KInput(_) | VInput(_))
    }

    /// Heads of its vectors: `K` of keys and values, `H` of all else that has heads, none otherwise.
    pub fn heads(&self, spec: &Spec) -> Option<usize> {
        match self {
            _ if self.is_of_keys_or_values() => Some(spec.n_kv_head),
            _ if self.has_heads() || self.is_by_key() => Some(spec.n_head),
            _ => None,
        }
    }

    /// Length of its vectors: of one head where [`HookPoint::has_heads`]; of scores and patterns it varies with the text, so 0.
    pub fn width(&self, spec: &Spec) -> usize {
        use HookPoint::*;
        match self {
            AttnResult(_) | QInput(_) | KInput(_) | VInput(_) => spec.d_model,
            _ if self.has_heads() => spec.d_head,
            MlpPost(_) | MlpPre(_) | MlpPreLinear(_) => spec.d_mlp,
            Pattern(_) | AttnScores(_) => 0,
            NormScale(_) => 1,
            _ => spec.d_model,
        }
    }

    /// Checks that a model has this hook.
    ///
    /// # Errors
    ///
    /// A block that does not exist; what this kind of model does not compute.
    pub fn check(&self, spec: &Spec) -> Result<(), Error> {
        use HookPoint::*;
        if let Some(layer) = self.layer().filter(|&layer| layer >= spec.n_layer) {
            let reason = format!("the model has {} blocks, block {layer} does not exist", spec.n_layer);
            return Err(run::wrong(*self, &reason));
        }
        let missing = match self {
            PosEmbed if !spec.learned_positions => "has no position embedding",
            RotQ(_) | RotK(_) if spec.learned_positions => "does not rotate queries and keys",
            ResidMid(_) if spec.parallel => "has attention and MLP side by side, with nothing between them",
            QNormed(_) | KNormed(_) if !spec.qk_norm => "does not norm queries and keys",
            MlpPreLinear(_) if !spec.gated => "has no gated MLP",
            NormScale(NormAt::Ln1Post(_) | NormAt::Ln2Post(_))
            | Normalized(NormAt::Ln1Post(_) | NormAt::Ln2Post(_))
                if !spec.post_norms =>
            {
                "does not norm what attention and MLP add"
            }
            _ => return Ok(()),
        };
        Err(run::wrong(*self, &format!("this model {missing}")))
    }

    /// How many blocks must run to compute it; those after them are never run for its sake.
    pub fn blocks_needed(&self, spec: &Spec) -> usize {
        match *self {
            Self::Embed | Self::PosEmbed => 0,
            Self::ResidPre(layer) => layer,
            Self::NormScale(NormAt::Final) | Self::Normalized(NormAt::Final) => spec.n_layer,
            _ => self.layer().map_or(0, |layer| layer + 1),
        }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = OF_MODEL.iter().find(|(_, hook)| hook == self) {
            return f.write_str(name);
        }
        let l = self.layer().unwrap_or(0);
        match OF_BLOCK.iter().find(|(_, hook)| hook(l) == *self) {
            Some((part, _)) => write!(f, "blocks.{l}.{part}"),
            None => unreachable!("every hook is in one of the two tables"),
        }
    }
}

/// The hook whose name is most similar to `name`: of the same block where the name tells one.
fn nearest(name: &str) -> String {
    let layer = name.split('.').find_map(|part| part.parse::<usize>().ok()).unwrap_or(0);
    let of_block = OF_BLOCK.iter().map(|(part, _)| format!("blocks.{layer}.{part}"));
    let all = OF_MODEL.iter().map(|(known, _)| (*known).to_owned()).chain(of_block);
    let similarity = |known: &String| strsim::normalized_damerau_levenshtein(known, name);
    match all.max_by(|a, b| similarity(a).total_cmp(&similarity(b))) {
        Some(nearest) => nearest,
        None => unreachable!("there are hooks"),
    }
}

impl FromStr for HookPoint {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        if let Some((_, hook)) = OF_MODEL.iter().find(|(known, _)| *known == name) {
            return Ok(*hook);
        }
        let unknown = || {
            let parts = OF_MODEL.iter().map(|(name, _)| *name);
            let parts = parts.chain(["and of each block (blocks.0.)"]);
            let known: Vec<&str> = parts.chain(OF_BLOCK.iter().map(|(part, _)| *part)).collect();
            Error::UnknownHook {
                found: name.to_owned(),
                nearest: nearest(name),
                known: known
                    .join(", ")
                    .replace(", and of each block (blocks.0.),", " and of each block (blocks.0.)"),
            }
        };
        let (layer, part) = name
            .strip_prefix("blocks.")
            .and_then(|rest| rest.split_once('.'))
            .ok_or_else(unknown)?;
        let l: usize = layer.parse().map_err(|_| unknown())?;
        let (_, hook) = OF_BLOCK.iter().find(|(known, _)| *known == part).ok_or_else(unknown)?;
        // `blocks.01.…` would be a second name of the same hook.
        if l.to_string() == layer {
            Ok(hook(l))
        } else {
            Err(unknown())
        }
    }
}

impl Serialize for HookPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HookPoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let of_blocks = OF_BLOCK.iter().map(|(part, _)| format!("blocks.11.{part}"));
        let names: Vec<String> = of_blocks
            .chain(OF_MODEL.iter().map(|(name, _)| (*name).to_owned()))
            .collect();
        let hooks: std::collections::BTreeSet<HookPoint> = names.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(hooks.len(), OF_BLOCK.len() + OF_MODEL.len());
        for name in names {
            assert_eq!(name.parse::<HookPoint>().unwrap().to_string(), name);
        }
        for name in [
            "blocks.01.hook_resid_pre",
            "blocks.x.hook_resid_pre",
            "blocks.1.hook_nothing",
            "",
        ] {
            assert!(name.parse::<HookPoint>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_no_hook_is_answered_with_the_nearest() {
        for (name, nearest) in [
            ("blocks.1.hook_resid_pr", "blocks.1.hook_resid_pre"),
            ("blocks.3.resid_post", "blocks.3.hook_resid_post"),
            ("blocks.2.attn.hook_zz", "blocks.2.attn.hook_z"),
            ("hook_embeds", "hook_embed"),
        ] {
            let error = name.parse::<HookPoint>().unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean `{nearest}`?")), "{error}");
        }
    }
}
