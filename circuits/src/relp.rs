//! The backward rules of relevance patching (arXiv 2508.21258): the forward pass keeps its values, and gradients take these ways.
//!
//! * A norm divides by a constant; the mean that LayerNorm subtracts keeps its gradient. Norms of single queries and keys keep theirs.
//! * An activation function is a product with the constant `act(x) / x`.
//! * Of a product of two (a gated MLP) each factor gets half of what arrives.
//! * With frozen patterns, attention is a sum with constant weights.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;
use lm::{HookPoint, Nonlinearity, NormAt, Patch, Spec};

/// What is added to a number that a value is divided by, away from zero.
const STABILISER: f32 = 1e-6;

/// The patches that make a recorded pass follow the rules.
pub(crate) fn patches(spec: &Spec, freezes_patterns: bool) -> Vec<Patch> {
    let frozen = |hook| Patch::map(hook, |x| if x.is_autodiff() { constant(x) } else { x });
    let norm = |at| frozen(HookPoint::NormScale(at));
    let mut patches = vec![norm(NormAt::Final)];
    for l in 0..spec.n_layer {
        patches.extend([norm(NormAt::Ln1(l)), norm(NormAt::Ln2(l))]);
        if spec.post_norms {
            patches.extend([norm(NormAt::Ln1Post(l)), norm(NormAt::Ln2Post(l))]);
        }
        if freezes_patterns {
            patches.extend([frozen(HookPoint::Q(l)), frozen(HookPoint::K(l))]);
        }
        patches.extend(mlp(l, spec));
    }
    patches
}

/// A tensor that one hook leaves for a later one of the same pass, `[B, T, M]`.
#[derive(Debug, Clone, Default)]
struct Passed(Arc<Mutex<Option<Tensor<3>>>>);

impl Passed {
    fn put(&self, x: Tensor<3>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(x);
    }

    fn take(&self) -> Option<Tensor<3>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The rules inside an MLP.
fn mlp(l: usize, spec: &Spec) -> Vec<Patch> {
    let (before, linear) = (Passed::default(), Passed::default());
    let keep = |hook, passed: &Passed| {
        let passed = passed.clone();
        Patch::map(hook, move |x| {
            passed.put(x.clone());
            x
        })
    };
    let mut patches = vec![keep(HookPoint::MlpPre(l), &before)];
    if spec.gated {
        patches.push(keep(HookPoint::MlpPreLinear(l), &linear));
    }
    let (activation, gated) = (spec.activation, spec.gated);
    patches.push(Patch::map(HookPoint::MlpPost(l), move |post| {
        let (before, linear) = (before.take(), linear.take());
        match (before, linear) {
            _ if !post.is_autodiff() => post,
            (Some(gate), Some(linear)) if gated => half(post, gate, linear, activation),
            (Some(before), _) if !gated => {
                let way = before.clone() * share(before, activation); // [B, T, M]
                with_way(post, way)
            }
            _ => unreachable!("the hooks before an activation function come before the one behind it"),
        }
    }));
    patches
}

/// A recorded tensor as one that nothing depends on.
fn constant(x: Tensor<3>) -> Tensor<3> {
    x.inner().autodiff()
}

/// What an activation function multiplies with, a constant, `[B, T, M]`.
fn share(x: Tensor<3>, activation: Nonlinearity) -> Tensor<3> {
    let x = x.inner();
    let is_negative = x.clone().lower_elem(0.0).float(); // [B, T, M]
    let away = (is_negative * -2.0 + 1.0) * STABILISER;
    (activation.apply(x.clone()) / (x + away)).autodiff()
}

/// A gated MLP: each of both factors gets half.
fn half(post: Tensor<3>, gate: Tensor<3>, linear: Tensor<3>, activation: Nonlinearity) -> Tensor<3> {
    let activated = gate.clone() * share(gate, activation); // [B, T, M]
    let way = (activated.clone() * constant(linear.clone()) + constant(activated) * linear) * 0.5;
    with_way(post, way)
}

/// The values of `post` with the gradient of `way`.
fn with_way(post: Tensor<3>, way: Tensor<3>) -> Tensor<3> {
    constant(post) + (way.clone() - constant(way))
}
