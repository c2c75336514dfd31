//! Names of the tensors of a forward pass, in TransformerLens's vocabulary.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Spec};

/// A named tensor of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookPoint {
    /// `hook_embed` `[B, T, D]`: token embedding.
    Embed,
    /// `hook_pos_embed` `[B, T, D]`: position embedding.
    PosEmbed,
    /// `blocks.L.hook_resid_pre` `[B, T, D]`: residual stream before block L.
    ResidPre(usize),
    /// `blocks.L.hook_resid_mid` `[B, T, D]`: between attention and MLP.
    ResidMid(usize),
    /// `blocks.L.hook_resid_post` `[B, T, D]`: after block L.
    ResidPost(usize),
    /// `blocks.L.hook_attn_out` `[B, T, D]`: what attention adds.
    AttnOut(usize),
    /// `blocks.L.hook_mlp_out` `[B, T, D]`: what the MLP adds.
    MlpOut(usize),
    /// `blocks.L.attn.hook_q` `[B, T, H, Dh]`: queries.
    Q(usize),
    /// `blocks.L.attn.hook_k` `[B, T, H, Dh]`: keys.
    K(usize),
    /// `blocks.L.attn.hook_v` `[B, T, H, Dh]`: values.
    V(usize),
    /// `blocks.L.attn.hook_z` `[B, T, H, Dh]`: attention-weighted values, before the output matrix.
    Z(usize),
    /// `blocks.L.attn.hook_pattern` `[B, H, T, T]`: attention after softmax, query by key.
    Pattern(usize),
    /// `blocks.L.mlp.hook_post` `[B, T, d_mlp]`: MLP after its activation function.
    MlpPost(usize),
    /// `ln_final.hook_normalized` `[B, T, D]`: the last layer norm before its scale and shift.
    LnFinal,
}

impl HookPoint {
    /// The block it belongs to.
    pub fn layer(&self) -> Option<usize> {
        use HookPoint::*;
        match *self {
            ResidPre(l) | ResidMid(l) | ResidPost(l) | AttnOut(l) | MlpOut(l) | Q(l) | K(l) | V(l) | Z(l)
            | Pattern(l) | MlpPost(l) => Some(l),
            Embed | PosEmbed | LnFinal => None,
        }
    }

    /// Whether it is one vector a head and token (q, k, v, z).
    pub fn has_heads(&self) -> bool {
        matches!(self, Self::Q(_) | Self::K(_) | Self::V(_) | Self::Z(_))
    }

    /// Length of its vectors: of one head where [`HookPoint::has_heads`]; of a pattern it varies with the text, so 0.
    pub fn width(&self, config: &Spec) -> usize {
        match self {
            _ if self.has_heads() => config.d_head,
            Self::MlpPost(_) => config.d_mlp,
            Self::Pattern(_) => 0,
            _ => config.d_model,
        }
    }

    /// How many blocks must run to compute it; those after them are never run for its sake.
    pub fn blocks_needed(&self, config: &Spec) -> usize {
        match *self {
            Self::Embed | Self::PosEmbed => 0,
            Self::ResidPre(layer) => layer,
            Self::LnFinal => config.n_layer,
            _ => self.layer().map_or(0, |layer| layer + 1),
        }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embed => write!(f, "hook_embed"),
            Self::PosEmbed => write!(f, "hook_pos_embed"),
            Self::ResidPre(l) => write!(f, "blocks.{l}.hook_resid_pre"),
            Self::ResidMid(l) => write!(f, "blocks.{l}.hook_resid_mid"),
            Self::ResidPost(l) => write!(f, "blocks.{l}.hook_resid_post"),
            Self::AttnOut(l) => write!(f, "blocks.{l}.hook_attn_out"),
            Self::MlpOut(l) => write!(f, "blocks.{l}.hook_mlp_out"),
            Self::Q(l) => write!(f, "blocks.{l}.attn.hook_q"),
            Self::K(l) => write!(f, "blocks.{l}.attn.hook_k"),
            Self::V(l) => write!(f, "blocks.{l}.attn.hook_v"),
            Self::Z(l) => write!(f, "blocks.{l}.attn.hook_z"),
            Self::Pattern(l) => write!(f, "blocks.{l}.attn.hook_pattern"),
            Self::MlpPost(l) => write!(f, "blocks.{l}.mlp.hook_post"),
            Self::LnFinal => write!(f, "ln_final.hook_normalized"),
        }
    }
}

impl FromStr for HookPoint {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownHook(name.to_owned());
        match name {
            "hook_embed" => return Ok(Self::Embed),
            "hook_pos_embed" => return Ok(Self::PosEmbed),
            "ln_final.hook_normalized" => return Ok(Self::LnFinal),
            _ => {}
        }
        let (layer, part) = name
            .strip_prefix("blocks.")
            .and_then(|rest| rest.split_once('.'))
            .ok_or_else(unknown)?;
        let l: usize = layer.parse().map_err(|_| unknown())?;
        let hook = match part {
            "hook_resid_pre" => Self::ResidPre(l),
            "hook_resid_mid" => Self::ResidMid(l),
            "hook_resid_post" => Self::ResidPost(l),
            "hook_attn_out" => Self::AttnOut(l),
            "hook_mlp_out" => Self::MlpOut(l),
            "attn.hook_q" => Self::Q(l),
            "attn.hook_k" => Self::K(l),
            "attn.hook_v" => Self::V(l),
            "attn.hook_z" => Self::Z(l),
            "attn.hook_pattern" => Self::Pattern(l),
            "mlp.hook_post" => Self::MlpPost(l),
            _ => return Err(unknown()),
        };
        // `blocks.01.…` would be a second name of the same hook.
        if hook.to_string() == name {
            Ok(hook)
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
        for name in [
            "hook_embed",
            "blocks.11.hook_resid_mid",
            "blocks.0.attn.hook_pattern",
            "ln_final.hook_normalized",
        ] {
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
}
