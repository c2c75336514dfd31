//! Every kernel that takes tensors of any device, at sizes that fill no block.

use burn::tensor::{Device, Tensor};
use kernels::{
    Adam, AdamConfig, Auxiliary, Encoding, Entries, Nonlinearity, Precision, Rule, Update, Weight, encode, from_vec,
    linear, linear_activated, linear_gated, matmul, rms_norm, sparse_decode, sparse_encode, squared_norm, sum, to_vec,
    top_k, top_k_mask, variance,
};

use crate::compare::{Case, Closeness, Numbers};
use crate::{coarse, draw};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    products(&mut cases);
    reported_products(&mut cases);
    mixed_products(&mut cases);
    transformer(&mut cases);
    selections(&mut cases);
    encoders(&mut cases);
    sparse(&mut cases);
    sums(&mut cases);
    optimiser(&mut cases);
    cases
}

fn one<const R: usize>(name: &str, tensor: Tensor<R>) -> (String, Vec<f32>) {
    (name.to_owned(), to_vec(tensor.inner()))
}

fn products(cases: &mut Vec<Case>) {
    for (m, n, p) in [(1, 1, 1), (1, 33, 7), (3, 1, 5), (33, 65, 31), (130, 257, 129)] {
        let run = move |device: &Device| {
            let a = draw("a", [m, n], 1.0, &device.clone().autodiff()).require_grad();
            let b = draw("b", [p, n], 1.0, &device.clone().autodiff()).require_grad();
            let product = matmul(a.clone(), b.clone().transpose()); // [M, P]
            let grads = product.clone().square().sum().backward();
            vec![
                one("product", product),
                one("gradient of a", a.grad(&grads).unwrap()),
                one("gradient of b", b.grad(&grads).unwrap()),
            ]
        };
        cases.push(Case::new(format!("matmul {m} x {n} x {p}"), Closeness::Operation, run));
    }
}

/// Shapes and layouts at which burn's tracker reports wrong products on GPUs: many rows, a transposed left side, batches of few
/// rows, and gradients of the parameters only.
fn reported_products(cases: &mut Vec<Case>) {
    for rows in [500, 1000, 2048, 4096] {
        for transposed in [false, true] {
            let run = move |device: &Device| {
                let autodiff = device.clone().autodiff();
                let x = match transposed {
                    true => draw("x", [64, rows], 1.0, &autodiff).transpose(),
                    false => draw("x", [rows, 64], 1.0, &autodiff),
                }; // [M, N]
                let weight = draw("w", [64, 48], 1.0, &autodiff).require_grad();
                let product = matmul(x, weight.clone()); // [M, P]
                let grads = (product.clone().square().sum() / rows as f64).backward();
                vec![
                    one("product", product),
                    one("gradient of the weight", weight.grad(&grads).unwrap()),
                ]
            };
            let side = if transposed { ", left side transposed" } else { "" };
            cases.push(Case::new(
                format!("matmul {rows} x 64 x 48 of a constant{side}"),
                Closeness::Operation,
                run,
            ));
        }
    }
    let run = |device: &Device| {
        let autodiff = device.clone().autodiff();
        let a = draw("a", [3, 8, 512], 1.0, &autodiff).require_grad();
        let b = draw("b", [3, 512, 32], 1.0, &autodiff).require_grad();
        let product = a.clone().matmul(b.clone()); // [3, 8, 32]
        let grads = (product.clone().square().sum() / 512.0).backward();
        vec![
            one("product", product),
            one("gradient of a", a.grad(&grads).unwrap()),
            one("gradient of b", b.grad(&grads).unwrap()),
        ]
    };
    cases.push(Case::new(
        "batched matmul 8 x 512 x 32".to_owned(),
        Closeness::Operation,
        run,
    ));
}

/// Whole numbers that 16 bits hold, and their products and sums too: every order of summation gives the same.
fn mixed_products(cases: &mut Vec<Case>) {
    for precision in [Precision::Bf16, Precision::F16] {
        let run = move |device: &Device| {
            let (a, b) = (coarse("a", [33, 7], device), coarse("b", [7, 31], device));
            let precision = match precision.is_supported(device) {
                true => precision,
                false => Precision::F32,
            };
            vec![one("product", precision.matmul(a, b))]
        };
        let name = format!("matmul in {precision:?}, where the device has it");
        cases.push(Case::new(name, Closeness::Exact, run));
    }
}

fn transformer(cases: &mut Vec<Case>) {
    for (b, t, n, p) in [(1, 1, 1, 1), (2, 17, 48, 144), (3, 5, 7, 33)] {
        let run = move |device: &Device| {
            let (x, weight) = (
                draw("x", [b, t, n], 1.0, device),
                Weight::from(draw("w", [n, p], 1.0, device)),
            );
            let (bias, residual) = (draw("b", [p], 1.0, device), draw("r", [b, t, p], 1.0, device));
            vec![
                one("linear", linear(x.clone(), &weight, Some(&bias), None)),
                one(
                    "with a residual",
                    linear(x.clone(), &weight, None, Some(residual.clone())),
                ),
                one(
                    "with a bias and a residual",
                    linear(x.clone(), &weight, Some(&bias), Some(residual)),
                ),
                one("norm", rms_norm(x, &draw("s", [n], 1.0, device), 1e-6)),
            ]
        };
        cases.push(Case::new(
            format!("linear {b} x {t} x {n} x {p}"),
            Closeness::Operation,
            run,
        ));
    }
    for n in [1, 1001] {
        let run = move |device: &Device| vec![one("gelu", gelu(draw("gelu", [1, n, 1], 4.0, device)))];
        cases.push(Case::new(format!("gelu of {n}"), Closeness::Operation, run));
    }
    for activation in [Nonlinearity::Silu, Nonlinearity::GeluTanh, Nonlinearity::GeluErf] {
        let run = move |device: &Device| {
            let (x, weight) = (
                draw("x", [2, 5, 7], 1.0, device),
                Weight::from(draw("w", [7, 66], 1.0, device)),
            );
            vec![one("gated", linear_gated(x, &weight, None, activation))]
        };
        cases.push(Case::new(format!("gated {activation:?}"), Closeness::Operation, run));
    }
    let far = |device: &Device| {
        let x = from_vec(vec![-1e4, -30.0, -0.0, 0.0, 30.0, 1e4], [1, 6, 1], device);
        vec![one("gelu", gelu(x))]
    };
    cases.push(Case::new("gelu far out", Closeness::Operation, far));
}

/// GELU alone: behind a product with 1.
fn gelu(x: Tensor<3>) -> Tensor<3> {
    let device = x.device();
    linear_activated(
        x,
        &Weight::from(Tensor::ones([1, 1], &device)),
        None,
        Nonlinearity::GeluTanh,
    )
}

fn selections(cases: &mut Vec<Case>) {
    // The longest rows are dealt to several workers.
    for (rows, width) in [(1, 1), (1, 33), (5, 31), (64, 100), (2, 9001)] {
        for k in [0, 1, 3, width, width + 5] {
            let run = move |device: &Device| {
                let fine = draw("z", [rows, width], 1.0, &device.clone().autodiff()).require_grad();
                let kept = top_k(fine.clone(), k);
                let grads = kept.clone().square().sum().backward();
                let gradient = fine.grad(&grads).map(|gradient| one("gradient", gradient));
                let ties = coarse("ties", [rows, width], device);
                let none = Tensor::<2>::ones([rows, width], device).neg();
                vec![
                    one("mask", top_k_mask(&fine, k)),
                    one("values", kept),
                    one("ties", top_k_mask(&ties, k)),
                    one("all below zero", top_k(none, k)),
                ]
                .into_iter()
                .chain(gradient)
                .collect()
            };
            cases.push(Case::new(format!("top {k} of {rows} x {width}"), Closeness::Exact, run));
        }
    }
    let many = |device: &Device| vec![one("mask", top_k_mask(&coarse("many", [65_537, 3], device), 2))];
    cases.push(Case::new("more rows than one launch takes", Closeness::Exact, many));
}

fn encoders(cases: &mut Vec<Case>) {
    for (rows, d, f) in [(1, 3, 33), (7, 5, 31), (600, 4, 65)] {
        for k in [1, 4, f] {
            let run = move |device: &Device| {
                let (x, w_enc) = (coarse("x", [rows, d], device), coarse("w_enc", [f, d], device));
                let b_enc = coarse("b_enc", [f], device);
                let scales: Vec<f32> = (0..f).map(|i| [0.5, 1.0, 2.0][i % 3]).collect();
                let dead: Vec<u32> = (0..f as u32).filter(|latent| latent % 3 == 1).collect();
                let auxiliary = Some(Auxiliary { latents: &dead, k });
                let bounds = vec![1.0; f];
                let found = |rule, scales, auxiliary| {
                    encode(&x, &w_enc, &b_enc, rule, scales, auxiliary, Precision::F32).unwrap()
                };
                let none_alive = b_enc.clone() - 1e4;
                let nothing = encode(&x, &w_enc, &none_alive, Rule::PerRow(k), None, None, Precision::F32).unwrap();
                [
                    ("by row", found(Rule::PerRow(k), None, auxiliary)),
                    ("by batch", found(Rule::PerBatch(k * rows / 2), Some(&scales), None)),
                    ("above a bound", found(Rule::Above(&bounds), None, None)),
                    ("all dead", nothing),
                ]
                .into_iter()
                .flat_map(|(name, found)| entries(name, found))
                .collect()
            };
            cases.push(Case::new(
                format!("encode {rows} x {d} x {f}, k = {k}"),
                Closeness::Exact,
                run,
            ));
        }
    }
}

/// Orders, decoder and gradients of active entries: of a mask with latents that are active in every row, so that their
/// entries fill several segments, and latents that are active in none; of one entry; and of all.
fn sparse(cases: &mut Vec<Case>) {
    let sizes = [
        (1, 1, 1),
        (1, 7, 33),
        (37, 13, 61),
        (600, 5, 65),
        (300, 130, 31),
        (520, 3, 300),
    ];
    let sizes = sizes
        .into_iter()
        .flat_map(|size| [0.0, 0.3, 1.0].map(|share| (size, share)));
    // More cubes than there are along one dimension; few entries, as Mesa's driver leaves a loop after 65,535 turns.
    let large = [(1, 2, 70_001), (66_000, 2, 3)]
        .into_iter()
        .flat_map(|size| [0.0, 0.01].map(|share| (size, share)));
    for ((rows, d, f), share) in sizes.chain(large) {
        let run = move |device: &Device| {
            let draws = to_vec(draw("mask", [rows, f], 1.0, device));
            let mark = |(place, x): (usize, f32)| {
                let latent = place % f;
                let often = (latent % 7 == 3 && share > 0.1) || x.abs() < share;
                f32::from(u8::from(place == 0 || share == 1.0 || (often && latent % 5 != 1)))
            };
            let marks: Vec<f32> = match share {
                0.0 => (0..rows * f)
                    .map(|place| f32::from(u8::from(place == rows * f / 2)))
                    .collect(),
                _ => draws.into_iter().enumerate().map(mark).collect(),
            };
            let n = marks.iter().filter(|mark| **mark > 0.0).count();
            let entries = Entries::of_mask(&from_vec(marks, [rows, f], device), n);
            let tracked = device.clone().autodiff();
            let w_enc = draw("w_enc", [f, d], 1.0, &tracked).require_grad();
            let b_enc = draw("b_enc", [f], 1.0, &tracked).require_grad();
            let w_dec = draw("w_dec", [f, d], 1.0, &tracked).require_grad();
            let b_dec = draw("b_dec", [d], 1.0, &tracked).require_grad();
            let values = entries.pick(&draw("h", [rows, f], 1.0, device));
            let centred = draw("x", [rows, d], 1.0, &tracked);
            let bias = (b_enc.clone(), b_dec.clone());
            let h = sparse_encode(
                values.clone().autodiff(),
                centred,
                w_enc.clone(),
                bias.0,
                bias.1,
                &entries,
            );
            let out = sparse_decode(h, w_dec.clone(), &entries);
            let grads = out.clone().square().sum().backward();
            let latents = entries.latents(device).into_data().try_into_vec_as::<i32>().unwrap();
            let counts = entries.sum_by_latent(values.ones_like());
            vec![
                (
                    "latents".to_owned(),
                    latents.into_iter().map(|latent| latent as f32).collect(),
                ),
                one("entries of each latent", counts),
                one("values", values),
                one("decoded", out),
                one("gradient of w_enc", w_enc.grad(&grads).unwrap()),
                one("gradient of b_enc", b_enc.grad(&grads).unwrap()),
                one("gradient of w_dec", w_dec.grad(&grads).unwrap()),
                one("gradient of b_dec", b_dec.grad(&grads).unwrap()),
            ]
        };
        let name = format!("sparse steps of {rows} x {d} x {f}, {share} of the entries");
        cases.push(Case::new(name, Closeness::Operation, run));
    }
}

fn entries(name: &str, found: Encoding) -> Numbers {
    let parts = [("active", Some(found.active)), ("auxiliary", found.auxiliary)];
    let parts = parts
        .into_iter()
        .filter_map(|(part, found)| found.map(|found| (part, found)));
    parts
        .flat_map(|(part, found)| {
            let latents = found.set.latents().iter().map(|&latent| latent as f32).collect();
            [
                (format!("{name}, {part} latents"), latents),
                (format!("{name}, {part} values"), found.values),
            ]
        })
        .collect()
}

fn sums(cases: &mut Vec<Case>) {
    for (rows, width) in [(1, 1), (3, 5), (700, 33), (65_600, 2)] {
        let run = move |device: &Device| {
            // Squares, so that the sum is no small rest of large numbers.
            let numbers = draw("numbers", [rows, width], 1.0, device).square();
            vec![one("variance", variance(&numbers)), one("sum", sum(numbers))]
        };
        cases.push(Case::new(format!("sum of {rows} x {width}"), Closeness::Operation, run));
    }
}

fn optimiser(cases: &mut Vec<Case>) {
    for (rows, width, unit_rows) in [(1, 1, false), (1, 1, true), (37, 53, false), (33, 7, true)] {
        let run = move |device: &Device| {
            let mut parameter = draw("parameter", [rows, width], 1.0, device);
            if unit_rows {
                parameter = parameter.clone() / parameter.square().sum_dim(1).sqrt(); // [F, D]
            }
            let mut adam = Adam::new(AdamConfig::default(), 1);
            for step in 0..3 {
                let gradient = draw(&format!("gradient {step}"), [rows, width], 1.0, device);
                let update = Update {
                    learning_rate: 0.01,
                    weight_decay: 0.1,
                    gradient_scale: 0.7.into(),
                    unit_rows,
                };
                adam.begin_step();
                adam.update(0, &mut parameter, gradient, &update);
                if step == 1 {
                    adam.reset_rows(0, &[rows as u32 - 1], rows);
                }
            }
            let moments = adam.slots()[0].clone().unwrap();
            let gradient = draw("gradient", [rows, width], 1.0, device);
            let norm = |rows: Option<&Tensor<2>>| vec![squared_norm(&gradient, rows).read() as f32];
            let mut numbers = vec![
                one("parameter", parameter.clone()),
                one("first moment", moments.first),
                one("second moment", moments.second),
                ("squared norm".to_owned(), norm(None)),
            ];
            // Of a single number nothing is left beside the row's direction but rounding.
            if unit_rows && width > 1 {
                numbers.push(("squared norm beside the rows".to_owned(), norm(Some(&parameter))));
            }
            numbers
        };
        let name = format!("three steps of Adam, {rows} x {width}, unit rows {unit_rows}");
        cases.push(Case::new(name, Closeness::Operation, run));
    }
    // Numbers that somebody else holds stay as they are.
    let shared = |device: &Device| {
        let mut parameter = draw("parameter", [33, 13], 1.0, device);
        let held = parameter.clone();
        let mut adam = Adam::new(AdamConfig::default(), 1);
        adam.begin_step();
        adam.update(
            0,
            &mut parameter,
            draw("gradient", [33, 13], 1.0, device),
            &Update::plain(0.1),
        );
        vec![one("held", held), one("moved", parameter)]
    };
    cases.push(Case::new(
        "Adam with a parameter that is shared",
        Closeness::Operation,
        shared,
    ));
    let still = |device: &Device| {
        let mut parameter = draw("parameter", [33, 5], 1.0, device);
        let mut adam = Adam::new(AdamConfig::default(), 1);
        adam.begin_step();
        adam.update(0, &mut parameter, Tensor::zeros([33, 5], device), &Update::plain(0.1));
        vec![one("parameter", parameter)]
    };
    cases.push(Case::new("Adam without a gradient", Closeness::Exact, still));
}
