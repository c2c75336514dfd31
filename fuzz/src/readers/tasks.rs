//! A user's own task: the task file, and the JSON lines of its prompts.

use tasks::{FileTask, Sample, Task};
use text::Tokenizer;

use super::message;
use crate::scratch::{Scratch, bytes, repository};
use crate::{Form, Reader, Target};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "task-file",
            form: Form::Toml,
            seeds: || vec![task()],
            reader: || reader("task.toml"),
        },
        Target {
            name: "task-lines",
            form: Form::JsonLines,
            seeds: || vec![lines()],
            reader: || reader("prompts.jsonl"),
        },
    ]
}

fn task() -> Vec<u8> {
    bytes(&repository("configs/agreement/task.toml"))
}

/// Every two hundredth of the committed lines, which are some of each sample.
fn lines() -> Vec<u8> {
    let all = bytes(&repository("configs/agreement/prompts.jsonl"));
    let lines: Vec<&[u8]> = all.split(|byte| *byte == b'\n').step_by(200).collect();
    lines.join(&b'\n')
}

/// Reads the task with the input as one of its files, and draws all that there is.
fn reader(name: &'static str) -> Reader {
    let scratch = Scratch::new();
    let path = scratch.put("task.toml", &task());
    scratch.put("prompts.jsonl", &lines());
    let tokenizer = Tokenizer::from_dir(&repository("models/small-world")).expect("the shipped model has a tokenizer");
    Box::new(move |input| {
        scratch.put(name, input);
        let task = message(FileTask::open(&path, &tokenizer))?;
        for sample in Sample::ALL {
            let prompts = task.sample(sample, usize::MAX, 0);
            for &attribute in task.attributes() {
                task.counterfactuals(&prompts, attribute, 0);
            }
        }
        Ok(())
    })
}
