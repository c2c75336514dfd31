//! What `explain` reads: recordings of a language model's server, and FIND's own files.

use std::time::Duration;

use explain::agent::{Cassette, ChatError, Client, Message, Server};
use explain::find::{Control, Executes, run_control};
use explain::find_data::{MissingMlps, read};
use serde_json::Value;

use super::message;
use crate::scratch::{Scratch, bytes, repository};
use crate::{Form, Reader, Target};

pub(super) fn targets() -> Vec<Target> {
    let target = |name, form, seeds, reader| Target {
        name,
        form,
        seeds,
        reader,
    };
    vec![
        target("cassette", Form::JsonLines, || vec![recording()], cassette),
        target(
            "find-numeric",
            Form::Json,
            || vec![fixture(FILES[0])],
            || find(FILES[0]),
        ),
        target("find-served", Form::Json, || vec![fixture(FILES[1])], || find(FILES[1])),
        target("find-words", Form::Json, || vec![fixture(FILES[2])], || find(FILES[2])),
        target("find-tests", Form::Json, || vec![fixture(FILES[3])], || find(FILES[3])),
        target(
            "find-relations",
            Form::Json,
            || vec![fixture(FILES[5])],
            || find(FILES[5]),
        ),
    ]
}

/// FIND's files, small.
const FILES: [&str; 6] = [
    "numeric/data.json",
    "numeric/func_name_dict.json",
    "neurons_entities/data.json",
    "neurons_entities/unit_test_data.json",
    "neurons_relations/data.json",
    "neurons_relations/unit_test_data.json",
];

fn fixture(file: &str) -> Vec<u8> {
    bytes(&repository("explain/tests/fixtures/find-dataset").join(file))
}

/// What llama.cpp's server answered in a run of `make test-llm`.
fn recording() -> Vec<u8> {
    bytes(&repository("explain/tests/fixtures/llama-cpp.jsonl"))
}

/// The conversations of the recording, and the tokens that each reply may have.
fn asked() -> Vec<(Vec<Message>, u32)> {
    let text = String::from_utf8(recording()).expect("the recording is text");
    let of_line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("the recording holds JSON");
        let messages = serde_json::from_value(line["request"]["messages"].clone()).expect("a request has messages");
        (
            messages,
            line["request"]["max_tokens"].as_u64().expect("a request has a limit") as u32,
        )
    };
    text.lines().map(of_line).collect()
}

/// Plays a recording back, and asks all that was asked when it was made.
fn cassette() -> Reader {
    let scratch = Scratch::new();
    let asked = asked();
    Box::new(move |input| {
        let path = scratch.put("f.jsonl", input);
        let mut server = message(Server::new("http://127.0.0.1:1/v1", "smollm2", false))?;
        server.timeout = Duration::from_secs(1);
        let client = Client::new(server, message(Cassette::replay(&path))?);
        for (messages, most) in &asked {
            client.chat(messages, *most).map_err(|error| match error {
                ChatError::Endpoint(reason) => reason,
                ChatError::Refused => "refused".to_owned(),
                ChatError::OutOfTokens => "out of tokens".to_owned(),
                ChatError::Stop(error) => error.to_string(),
            })?;
        }
        assert_eq!(client.requests(), 0, "nothing is asked in playback");
        Ok(())
    })
}

/// Reads the folder with the input as one of its files; its functions are asked, and its unit tests decided.
fn find(file: &'static str) -> Reader {
    let scratch = Scratch::new();
    for file in FILES {
        scratch.put(file, &fixture(file));
    }
    Box::new(move |input| {
        scratch.put(file, input);
        let mut problems = message(read(scratch.path(), MissingMlps::Formulas, 0))?;
        problems.truncate(20);
        for control in Control::ALL {
            message(run_control(&problems, control, &Executes))?;
        }
        for problem in &problems {
            let mut of = problem.black_box(10, 0);
            let inputs = problem.exemplars.iter().take(5).cloned().map(explain::Input::Text);
            message(of.call(&inputs.chain([explain::Input::Number(0.5)]).collect::<Vec<_>>()))?;
        }
        Ok(())
    })
}
