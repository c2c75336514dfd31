//! Time and memory of EAP-IG at GPT-2 small's geometry, with random weights:
//! `cargo run --release --workspace --example speed -- [PAIRS] [TOKENS] [STEPS] [BATCH]`.

#![allow(clippy::print_stdout, reason = "an example tells what it measured")]

use std::time::Instant;

use circuits::{Graph, Pair, ScoreOptions};
use lm::{Model, Spec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<usize> = std::env::args()
        .skip(1)
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let [pairs, tokens, steps, batch] =
        [(0, 32), (1, 20), (2, 5), (3, 32)].map(|(i, default)| given.get(i).copied().unwrap_or(default));
    let spec = Spec::gpt2(12, 12, 768, 1024, 50_257);
    let edges = Graph::new(&spec).n_edges();
    let d_vocab = spec.d_vocab;
    let model = Model::hashed(spec, &kernels::cpu());
    let token = |i: usize| ((i * 7919 + 13) % d_vocab) as u32;
    let all: Vec<Pair> = (0..pairs)
        .map(|row| {
            let clean: Vec<u32> = (0..tokens).map(|i| token(row * tokens + i)).collect();
            let mut corrupted = clean.clone();
            corrupted[tokens / 2] = token(row + 100_000);
            Pair {
                clean,
                corrupted,
                answer: vec![token(row)],
                wrong: vec![token(row + 1)],
                positions: None,
            }
        })
        .collect();
    let options = ScoreOptions {
        steps,
        batch,
        ..ScoreOptions::default()
    };
    let start = Instant::now();
    circuits::score(&model, &all, &options, None, &|_| ())?;
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or("unknown")
        .trim();
    println!(
        "{edges} edges, {pairs} pairs of {tokens} tokens, {steps} steps, batches of {batch}: {seconds:.1} s, peak {peak}"
    );
    Ok(())
}
