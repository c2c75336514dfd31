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
    let (start, processor) = (Instant::now(), processor_seconds()?);
    circuits::score(&model, &all, &options, None, &|_| ())?;
    let (seconds, processor) = (start.elapsed().as_secs_f64(), processor_seconds()? - processor);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or("unknown")
        .trim();
    println!(
        "{edges} edges, {pairs} pairs of {tokens} tokens, {steps} steps, batches of {batch}: {seconds:.1} s, {processor:.1} s of processor time, peak {peak}"
    );
    Ok(())
}

/// Seconds that all threads of this process have run for, in the kernel and outside.
fn processor_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the program's name in parentheses; Linux counts in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat names no program")?;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
