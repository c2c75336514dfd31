//! What evaluation runs besides autoencoders: supervised dictionaries and baselines, fitted and applied.

use activations::NodeRows;
use burn::tensor::Device;
use dictionaries::baseline::{neurons, pca};
use dictionaries::{LabelledEncoder, RandomDictionary};
use kernels::{cpu, to_vec};
use supervised::{Columns, FitMethod, Parametrization, fit};
use tasks::{ByAttribute, Labels, Role};

use crate::compare::{Case, Closeness, Numbers};
use crate::draw;

const WIDTH: usize = 11;
const N_VALUES: [usize; 3] = [5, 4, 2];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in [FitMethod::Mean, FitMethod::LeastSquares] {
        for parametrization in [
            Parametrization::Independent,
            Parametrization::Coupled,
            Parametrization::Names,
        ] {
            let run = move |device: &Device| {
                let columns = Columns::new(parametrization, ByAttribute::ioi(N_VALUES), Role::END).unwrap();
                applied(&fit(&rows(), columns, method, device).unwrap(), device)
            };
            cases.push(Case::new(
                format!("supervised {method:?} {parametrization:?}"),
                Closeness::Pass,
                run,
            ));
        }
    }
    let baseline = |name: &str, make: fn(&Device) -> Box<dyn LabelledEncoder<Labels>>| {
        Case::new(name, Closeness::Pass, move |device| {
            applied(make(device).as_ref(), device)
        })
    };
    cases.push(baseline("neurons", |device| {
        Box::new(neurons(&rows().values, WIDTH, device).unwrap())
    }));
    cases.push(baseline("principal axes", |device| {
        Box::new(pca(&rows().values, WIDTH, device).unwrap())
    }));
    cases.push(baseline("random directions", |device| {
        let node = "blocks.0.attn.hook_z.1@END".parse().unwrap();
        Box::new(RandomDictionary::new(
            &RandomDictionary::mean(&rows().values, WIDTH),
            33,
            4,
            0,
            &node,
            device,
        ))
    }));
    cases
}

fn rows() -> NodeRows {
    let labels: Vec<Labels> = (0..120)
        .map(|i| Labels::ioi([i % 5, i * 7 / 3 % 4, i / 2 % 2]))
        .collect();
    NodeRows {
        width: WIDTH,
        values: to_vec(draw("rows", [labels.len(), WIDTH], 1.0, &cpu()) + 2.0),
        labels,
    }
}

fn applied(dictionary: &dyn LabelledEncoder<Labels>, device: &Device) -> Numbers {
    let rows = rows();
    let x = kernels::from_vec(rows.values, [rows.labels.len(), WIDTH], device); // [B, D]
    let codes = dictionary.encode_labelled(x, &rows.labels); // [B, F]
    vec![
        ("codes".to_owned(), to_vec(codes.clone())),
        ("reconstruction".to_owned(), to_vec(dictionary.decode(codes))),
        ("directions".to_owned(), to_vec(dictionary.directions())),
    ]
}
