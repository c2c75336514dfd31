use burn::tensor::Tensor;

use super::*;
use crate::{Weight, cpu, from_vec, random, to_vec};

fn tensor<const R: usize>(name: &str, shape: [usize; R]) -> Tensor<R> {
    let values = random::normal(&mut random::rng(0, name), shape.iter().product(), 1.0);
    from_vec(values, shape, &cpu())
}

/// The same tensor where gradients are kept, so that burn's operations are taken.
fn tracked<const R: usize>(tensor: &Tensor<R>) -> Tensor<R> {
    from_vec(to_vec(tensor.clone()), tensor.dims(), &cpu().autodiff())
}

fn assert_close(found: Vec<f32>, expected: Vec<f32>) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() <= 2e-5 * expected.abs().max(1.0),
            "{found} {expected}"
        );
    }
}

#[test]
fn linear_layers_equal_burns() {
    let (x, tensor_of_weight, bias) = (tensor("x", [3, 5, 7]), tensor("w", [7, 9]), tensor("b", [9]));
    let (weight, tracked_weight) = (
        Weight::from(tensor_of_weight.clone()),
        Weight::from(tracked(&tensor_of_weight)),
    );
    for bias in [None, Some(&bias)] {
        for residual in [None, Some(tensor("r", [3, 5, 9]))] {
            let found = linear(x.clone(), &weight, bias, residual.clone());
            let burn = linear(
                tracked(&x),
                &tracked_weight,
                bias.map(tracked).as_ref(),
                residual.map(|r| tracked(&r)),
            );
            assert_close(to_vec(found), to_vec(burn));
        }
    }
}

#[test]
fn activations_equal_burns() {
    let (x, tensor_of_weight) = (tensor("x", [3, 50, 7]), tensor("w", [7, 900]) * 1.5);
    let (weight, tracked_weight) = (
        Weight::from(tensor_of_weight.clone()),
        Weight::from(tracked(&tensor_of_weight)),
    );
    let bias = tensor("b", [900]);
    let all = [
        Nonlinearity::GeluTanh,
        Nonlinearity::GeluErf,
        Nonlinearity::Relu,
        Nonlinearity::Silu,
    ];
    for activation in all {
        for bias in [None, Some(&bias)] {
            for layer in [linear_activated, linear_gated] {
                let found = layer(x.clone(), &weight, bias, activation);
                let burn = layer(tracked(&x), &tracked_weight, bias.map(tracked).as_ref(), activation);
                assert_close(to_vec(found), to_vec(burn));
            }
        }
    }
}

#[test]
fn norms_equal_burns() {
    let (x, weight) = (tensor("x", [3, 700, 33]), tensor("w", [33]));
    let found = rms_norm(x.clone(), &weight, 1e-5);
    assert_close(to_vec(found), to_vec(rms_norm(tracked(&x), &tracked(&weight), 1e-5)));
}

#[test]
fn heads_are_normed_and_rotated_as_in_the_textbook() {
    let ([b, t, d], (query, key_value, width)) = ([2, 5, 6], (4, 2, 8));
    let all = (query + 2 * key_value) * width;
    let (x, weight, bias) = (
        tensor("x", [b, t, d]),
        Weight::from(tensor("w", [d, all])),
        tensor("b", [all]),
    );
    let (query_norm, key_norm) = (tensor("q", [width]), tensor("k", [width]));
    let frequencies = [0.7, 0.1, 0.01];
    let rotation = Rotation::new(&frequencies, 1.1, 3, t);
    let norms = HeadNorms {
        query: &query_norm,
        key: &key_norm,
        epsilon: 1e-5,
    };
    let heads = Heads {
        query,
        key_value,
        width,
        norms: Some(norms),
        rotation: Some(&rotation),
    };
    let found = to_vec(linear_heads(&x, &weight, Some(&bias), heads).unwrap());
    assert!(linear_heads(&tracked(&x), &weight, Some(&bias), heads).is_none());
    let plain = to_vec(linear(x, &weight, Some(&bias), None));
    let scales = [to_vec(query_norm.clone()), to_vec(key_norm.clone())];
    for row in 0..b * t {
        for head in 0..query + 2 * key_value {
            let place = row * all + head * width;
            let mut expected: Vec<f64> = plain[place..place + width].iter().map(|x| f64::from(*x)).collect();
            if head < query + key_value {
                let mean = expected.iter().map(|x| x * x).sum::<f64>() / width as f64;
                let scale = &scales[usize::from(head >= query)];
                for (x, scale) in expected.iter_mut().zip(scale) {
                    *x *= f64::from(*scale) / (mean + 1e-5).sqrt();
                }
                for (i, frequency) in frequencies.iter().enumerate() {
                    let angle = (3 + row % t) as f64 * frequency;
                    let (a, b) = (expected[i], expected[i + 3]);
                    expected[i] = 1.1 * (a * angle.cos() - b * angle.sin());
                    expected[i + 3] = 1.1 * (b * angle.cos() + a * angle.sin());
                }
            }
            let expected = expected.into_iter().map(|x| x as f32).collect();
            assert_close(found[place..place + width].to_vec(), expected);
        }
    }
}

#[test]
fn attention_equals_the_textbook() {
    for (b, t, query, key_value, width, cap, window) in [
        (1, 1, 1, 1, 1, None, None),
        (2, 7, 3, 3, 4, None, None),
        (2, 150, 4, 2, 8, Some(0.8), None),
        (1, 150, 3, 1, 8, None, Some(5)),
        (1, 200, 2, 2, 4, Some(2.0), Some(100)),
    ] {
        let heads = query + 2 * key_value;
        let qkv = tensor("qkv", [b, t, heads * width]);
        let attention = Attention {
            query,
            key_value,
            width,
            scale: 0.3,
            cap,
            window,
        };
        let values = to_vec(qkv.clone());
        let at = |row: usize, token: usize, head: usize| &values[((row * t + token) * heads + head) * width..][..width];
        let mut expected = vec![0.0_f32; b * t * query * width];
        for row in 0..b {
            for head in 0..query {
                let key_head = query + head / (query / key_value);
                for token in 0..t {
                    let score = |key: usize| {
                        let pairs = at(row, token, head).iter().zip(at(row, key, key_head));
                        let score = 0.3 * pairs.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>();
                        cap.map_or(score, |cap| cap * (score / cap).tanh()).exp()
                    };
                    let first = window.map_or(0, |window| (token + 1_usize).saturating_sub(window));
                    let total: f64 = (first..=token).map(score).sum();
                    for place in 0..width {
                        let value = |key: usize| f64::from(at(row, key, key_head + key_value)[place]);
                        let z: f64 = (first..=token).map(|key| score(key) * value(key)).sum();
                        expected[((row * t + token) * query + head) * width + place] = (z / total) as f32;
                    }
                }
            }
        }
        assert_close(to_vec(causal_attention(&qkv, attention).unwrap()), expected);
        assert!(causal_attention(&tracked(&qkv), attention).is_none());
    }
}
