//! The training loop: it learns, and a resumed run ends with the same bytes as one that was never stopped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use kernels::{cpu, to_vec};
use lm::interchange::{Interchange, Pair};
use lm::train::{PretrainConfig, Pretrainer};
use lm::{HookPoint, Logits, Model, Patch, Request, Spec, Start, TokenBatch};

fn config() -> PretrainConfig {
    PretrainConfig {
        steps: 60,
        learning_rate: 1e-2,
        warmup_steps: 5,
        weight_decay: 0.01,
        clip_norm: 1.0,
        init_std: 0.08,
        seed: 7,
    }
}

/// Rows that count upwards from a start that depends on the batch: the next token is always known.
fn batch(step: usize) -> TokenBatch {
    let rows: Vec<Vec<u32>> = (0..8)
        .map(|row| (0..9).map(|t| ((step * 3 + row + t) % 11) as u32).collect())
        .collect();
    TokenBatch::new(&rows).unwrap()
}

fn run(trainer: &mut Pretrainer, until: usize) -> f32 {
    let mut loss = f32::NAN;
    while trainer.steps_done() < until {
        loss = trainer.step(&batch(trainer.steps_done()), None).unwrap().text;
    }
    loss
}

#[test]
fn learns_to_count_and_resumes_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let model = Spec::gpt2(1, 2, 16, 8, 11);
    let mut whole = Pretrainer::new(config(), model.clone(), &cpu());
    let loss = run(&mut whole, 60);
    assert!(loss < 0.2, "loss {loss} after 60 steps");
    whole.export(&folder.path().join("whole"), 0).unwrap();

    let mut first = Pretrainer::new(config(), model.clone(), &cpu());
    run(&mut first, 23);
    let checkpoint = folder.path().join("checkpoint.safetensors");
    first.save(&checkpoint, "a").unwrap();
    let mut second = Pretrainer::resume(config(), model, &checkpoint, "a", &cpu()).unwrap();
    run(&mut second, 60);
    second.export(&folder.path().join("resumed"), 0).unwrap();
    let bytes = |name: &str| std::fs::read(folder.path().join(name).join("model.safetensors")).unwrap();
    assert_eq!(bytes("whole"), bytes("resumed"));
}

#[test]
fn a_checkpoint_that_was_changed_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = Spec::gpt2(1, 2, 4, 8, 11);
    let mut trainer = Pretrainer::new(config(), model.clone(), &cpu());
    run(&mut trainer, 2);
    let path = folder.path().join("checkpoint.safetensors");
    trainer.save(&path, "settings").unwrap();
    let resume = |settings: &str| Pretrainer::resume(config(), model.clone(), &path, settings, &cpu());
    assert_eq!(resume("settings").unwrap().steps_done(), 2);
    let line = resume("other").unwrap_err().to_string();
    assert!(
        line.contains("checkpoint.safetensors") && line.contains("settings"),
        "{line}"
    );
    let whole = std::fs::read(&path).unwrap();
    // One bit, at places that reach the header and all tensors.
    for place in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&path, &bytes).unwrap();
        match resume("settings") {
            Err(error) => assert!(matches!(error, lm::Error::Checkpoint { .. }), "{place}: {error}"),
            // White space, or the case of a digit, of the header.
            Ok(trainer) => {
                trainer.save(&path, "settings").unwrap();
                assert_eq!(
                    std::fs::read(&path).unwrap(),
                    whole,
                    "bit {place} counts and is not seen"
                );
            }
        }
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(
        resume("settings")
            .unwrap_err()
            .to_string()
            .contains("checkpoint.safetensors")
    );
}

/// Of two words the first or the second is said again, as a mark demands: `[0, word, word, mark]` and the answer.
fn prompt(index: usize) -> [u32; 5] {
    let (first, second, mark) = (index % 6, (index / 6) % 5, (index / 30) % 2);
    let words = [1 + first as u32, 1 + ((first + 1 + second) % 6) as u32];
    [0, words[0], words[1], 7 + mark as u32, words[mark]]
}

/// Five pairs in three groups: no numbers that the threads share evenly.
fn pairs(step: usize) -> Interchange {
    let pair = |i: usize| {
        let (source, base) = (prompt((step * 5 + i) * 37 % 60), prompt((step * 5 + i) * 23 % 60));
        let bit = source[3] == 7;
        Pair {
            source: source[..4].to_vec(),
            base: base[..4].to_vec(),
            bit,
            clue: 3,
            answer: base[if bit { 1 } else { 2 }],
        }
    };
    Interchange {
        layer: 1,
        clue_layer: 1,
        bit_weight: 1.0,
        answer_weight: 1.0,
        groups: [0..2, 2..3, 3..5].map(|group| group.map(pair).collect()).into(),
    }
}

fn text(step: usize) -> TokenBatch {
    let rows: Vec<[u32; 5]> = (0..8).map(|row| prompt((step * 8 + row) * 7 % 60)).collect();
    TokenBatch::new(&rows).unwrap()
}

/// Mean loss of the answers after the exchange, of a model on disk and through its hooks alone.
fn exchange_loss(folder: &std::path::Path, interchange: &Interchange) -> f32 {
    let model = Model::load(folder, &cpu()).unwrap();
    let (hook, n) = (HookPoint::ResidPre(interchange.layer), interchange.n_pairs());
    let batch = |part: fn(&Pair) -> &Vec<u32>| {
        TokenBatch::new(&interchange.groups.iter().flatten().map(part).collect::<Vec<_>>()).unwrap()
    };
    let capture = Request {
        capture: vec![hook],
        ..Request::default()
    };
    let sources = batch(|pair| &pair.source);
    let ends = model.run(Start::Tokens(&sources), &capture).unwrap();
    let exchange = Request {
        patches: vec![Patch::set(
            hook,
            None,
            (0..n).map(|row| (row, 3)).collect(),
            ends.at(hook, None, &vec![3; n]).unwrap(),
        )],
        logits: Logits::At(vec![3; n]),
        ..Request::default()
    };
    let bases = batch(|pair| &pair.base);
    let logits = to_vec(
        model
            .run(Start::Tokens(&bases), &exchange)
            .unwrap()
            .logits_at()
            .unwrap(),
    );
    let width = logits.len() / n;
    let of_row = |(row, pair): (usize, &Pair)| {
        let row = &logits[row * width..][..width];
        let all: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        all.ln() - f64::from(row[pair.answer as usize])
    };
    (interchange.groups.iter().flatten().enumerate().map(of_row).sum::<f64>() / n as f64) as f32
}

/// The text alone teaches the task; with pairs the answer comes by way of the bit at the place and along the direction that
/// were asked for. A second model, trained on the text alone, says that this is not so anyway.
#[test]
fn an_interchange_plants_where_the_answer_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let config = PretrainConfig { steps: 400, ..config() };
    let model = Spec::gpt2(2, 2, 16, 4, 9);
    let mut last = Vec::new();
    for (name, is_taught) in [("taught", true), ("text", false)] {
        let mut trainer = Pretrainer::new(config.clone(), model.clone(), &cpu());
        while trainer.steps_done() < 400 {
            let given = pairs(trainer.steps_done());
            trainer
                .step(&text(trainer.steps_done()), is_taught.then_some(&given))
                .unwrap();
        }
        let dir = folder.path().join(name);
        trainer.export(&dir, 0).unwrap();
        let given = pairs(1000);
        let losses = trainer.step(&text(1000), Some(&given)).unwrap();
        let [_, bits, answers] = losses.interchange.unwrap();
        let expected = exchange_loss(&dir, &given);
        assert!(
            (answers - expected).abs() <= 1e-4 * expected.max(1.0),
            "{answers} {expected}"
        );
        last.push((bits, answers));
    }
    let [(bits, answers), (untaught_bits, untaught_answers)] = last[..] else {
        unreachable!("two models were trained");
    };
    assert!(bits < 0.1 && answers < 0.2, "{bits} {answers}");
    assert!(
        untaught_bits > 0.4 && untaught_answers > 1.0,
        "{untaught_bits} {untaught_answers}"
    );
}

/// A batch of one row is no reason to leave out pairs: there were two parts of pairs and one of rows.
#[test]
fn all_pairs_count_whatever_the_number_of_rows() {
    let losses = [1, 8].map(|rows| {
        let mut trainer = Pretrainer::new(config(), Spec::gpt2(2, 2, 16, 4, 9), &cpu());
        let rows = TokenBatch::new(&(0..rows).map(prompt).collect::<Vec<_>>()).unwrap();
        trainer.step(&rows, Some(&pairs(0))).unwrap().interchange.unwrap()
    });
    for (one, eight) in losses[0].into_iter().zip(losses[1]) {
        assert!((one - eight).abs() <= 1e-5 * eight, "{one} {eight}");
    }
}
