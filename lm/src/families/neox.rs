//! GPT-NeoX and Pythia: `y = x + A(N1 x) + P(N2 x)` with layer norms (or serial blocks), of every head a part that is turned, an MLP
//! of two matrices, and biases everywhere.
//!
//! Source: `GPTNeoXForCausalLM` of transformers.

use super::Family;
use super::config::Config;
use super::rope::{self, Keys};
use crate::entry::{Entry, Form, Kind, Part, Slot};
use crate::spec::{LayerSpec, NormKind};
use crate::{Error, Spec};

/// The config of a GPT-NeoX.
pub(super) fn spec(config: &Config) -> Result<Spec, Error> {
    let (n_layer, n_head) = (config.layers("num_hidden_layers")?, config.size("num_attention_heads")?);
    let d_model = config.size("hidden_size")?;
    if !d_model.is_multiple_of(n_head) {
        return Err(config.unsupported("hidden_size", d_model, "a multiple of num_attention_heads"));
    }
    let d_head = d_model / n_head;
    let n_ctx = config.size_or("max_position_embeddings", 2048)?;
    let share = rope::partial(config, "rotary_pct", 0.25)?;
    let dims = (d_head as f64 * share) as usize;
    if dims < 2 || !dims.is_multiple_of(2) {
        return Err(config.unsupported("rotary_pct", share, "a share that turns an even number of dimensions"));
    }
    let rotary = rope::rotary(
        config,
        &Keys {
            kind: None,
            theta: "rotary_emb_base",
            default_theta: config.number_or("rope_theta", 1e4)?,
            scaled: true,
            dims,
            n_ctx,
        },
    )?;
    let bias = config.flag_or("attention_bias", true)?;
    let layer = LayerSpec {
        window: None,
        rotary: Some(rotary),
        score_scale: (d_head as f64).powf(-0.5),
    };
    Ok(Spec {
        family: Family::Neox,
        n_layer,
        n_head,
        n_kv_head: n_head,
        d_model,
        d_head,
        d_mlp: config.size("intermediate_size")?,
        n_ctx,
        d_vocab: config.size("vocab_size")?,
        norm: NormKind::LayerNorm,
        epsilon: config.number_or("layer_norm_eps", 1e-5)?,
        parallel: config.flag_or("use_parallel_residual", true)?,
        post_norms: false,
        qk_norm: false,
        gated: false,
        activation: config.activation("hidden_act", "gelu")?,
        layers: vec![layer; n_layer],
        score_cap: None,
        logit_cap: None,
        embed_scale: None,
        learned_positions: false,
        qkv_bias: bias,
        attn_out_bias: bias,
        mlp_bias: true,
        unembed_bias: false,
        tied: config.flag_or("tie_word_embeddings", false)?,
    })
}

/// The parameters; q, k and v are one tensor with the rows of each head together.
pub(super) fn entries(spec: &Spec) -> Vec<Entry> {
    let (d, m) = (spec.d_model, spec.d_mlp);
    let mut entries = vec![Entry::matrix(spec.family.embed_name(), Slot::Embed, [spec.d_vocab, d])];
    for l in 0..spec.n_layer {
        let name = |part: &str, kind: &str| format!("layers.{l}.{part}.{kind}");
        let slot = |part| Slot::Block(l, part);
        for (kind, suffix) in [(Kind::Weight, "weight"), (Kind::Bias, "bias")] {
            let norms = [
                ("input_layernorm", Part::AttnNorm),
                ("post_attention_layernorm", Part::MlpNorm),
            ];
            entries.extend(norms.map(|(part, place)| Entry::vector(&name(part, suffix), slot(place), kind, d)));
            let layers = [
                (
                    "attention.query_key_value",
                    Part::Qkv,
                    d,
                    3 * d,
                    kind == Kind::Weight || spec.qkv_bias,
                ),
                (
                    "attention.dense",
                    Part::AttnOut,
                    d,
                    d,
                    kind == Kind::Weight || spec.attn_out_bias,
                ),
                ("mlp.dense_h_to_4h", Part::MlpIn, d, m, true),
                ("mlp.dense_4h_to_h", Part::MlpOut, m, d, true),
            ];
            for (part, place, from, to, there) in layers {
                if !there {
                    continue;
                }
                let entry = Entry::columns(&name(part, suffix), slot(place), kind, from, to);
                entries.push(match place {
                    Part::Qkv => entry.in_form(Form::HeadsOfQkv {
                        heads: spec.n_head,
                        transposed: kind == Kind::Weight,
                    }),
                    _ => entry,
                });
            }
        }
    }
    for (kind, suffix) in [(Kind::Weight, "weight"), (Kind::Bias, "bias")] {
        entries.push(Entry::vector(
            &format!("final_layer_norm.{suffix}"),
            Slot::FinalNorm,
            kind,
            d,
        ));
    }
    if !spec.tied {
        entries.push(Entry::matrix(
            spec.family.unembed_name(),
            Slot::Unembed,
            [spec.d_vocab, d],
        ));
    }
    entries
}
