//! One list of cases for every device, each computed on the CPU's own kernels and on the device under test.
//!
//! `SAELAB_TEST_DEVICE` names the device (`make test-wgpu`: `wgpu`). Without it the other side is the CPU through burn's
//! operations instead of this project's kernels, which is the way that every other device takes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod autoencoders;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod dictionaries;
mod kernel;
mod language_model;
mod program;

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};
use compare::{Case, Precision, gaps};
use kernels::{cpu, from_vec, random};

/// Name of the device under test, if one was asked for.
fn device_name() -> Option<String> {
    std::env::var("SAELAB_TEST_DEVICE").ok()
}

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| match device_name() {
        Some(name) => kernels::open(&name).unwrap_or_else(|error| panic!("{error}")),
        None => cpu().autodiff(),
    })
}

/// Runs every case on both sides and names all that differ.
fn agree(cases: Vec<Case>) {
    let precision = Precision::of(device());
    let failures: Vec<String> = cases
        .into_iter()
        .flat_map(|case| {
            let (expected, found) = ((case.run)(&cpu()), (case.run)(device()));
            let gaps = gaps(&expected, &found, case.closeness, precision);
            gaps.into_iter().map(move |gap| format!("{}: {gap}", case.name))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} differences on {:?} ({precision:?}):\n{}",
        failures.len(),
        device(),
        failures.join("\n")
    );
}

/// Standard normal numbers times `size`, the same on every device.
fn draw<const R: usize>(stream: &str, shape: [usize; R], size: f32, device: &Device) -> Tensor<R> {
    let values = random::normal(&mut random::rng(0, stream), shape.iter().product(), size);
    from_vec(values, shape, device)
}

/// The same, rounded to few values, so that entries tie and every order of summation is exact.
fn coarse<const R: usize>(stream: &str, shape: [usize; R], device: &Device) -> Tensor<R> {
    let values = random::normal(&mut random::rng(0, stream), shape.iter().product(), 1.5);
    from_vec(values.into_iter().map(|x| x.round() + 0.0).collect(), shape, device)
}

#[test]
fn kernels_agree() {
    agree(kernel::cases());
}

#[test]
fn language_models_agree() {
    agree(language_model::cases());
}

#[test]
fn autoencoders_agree() {
    agree(autoencoders::cases());
}

#[test]
fn a_training_step_does_not_depend_on_timing() {
    let [first, second] = autoencoders::repeated(device());
    // The value of a loss is told and nothing more; burn sums it by atomics.
    let differ = first.iter().zip(&second);
    let differ = differ.filter(|(a, b)| a != b && !a.0.contains("losses"));
    let names: Vec<&str> = differ.map(|((name, _), _)| name.as_str()).collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn dictionaries_agree() {
    agree(dictionaries::cases());
}
