//! A scripted server on this machine: HTTP/1.1, one thread a connection, replies in order.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// What the server does with one request.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "not every test file needs every kind")]
pub(crate) enum Step {
    /// A reply of the model.
    Say(String),
    /// A status, headers and a body.
    Raw(u16, Vec<(&'static str, String)>, String),
    /// A body that is shorter than its `Content-Length` says.
    Short(String),
    /// A status of 200, then headers and body as they stand here; the connection stays open for a while.
    Lie(String),
    /// The connection is closed without an answer.
    Hang,
    /// Nothing is sent for a while.
    Stall(Duration),
    /// The answer is made of the request.
    Rule(fn(&Value) -> String),
}

/// One request as it came in.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "not every test file looks at everything")]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// An answer with this text.
pub(crate) fn completion(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    })
}

impl Scripted {
    /// A server that takes these steps; the last is repeated.
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, steps) = (shared.clone(), steps.clone());
                std::thread::spawn(move || serve(stream, &shared, &steps));
            }
        });
        Self { base, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Seen>>, steps: &[Step]) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim().split_once(':') {
                Some((name, value)) => headers.push((name.to_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(0, |(_, value)| value.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(Seen {
                path: first.split(' ').nth(1).unwrap().to_owned(),
                headers,
                body: body.clone(),
            });
            seen.len() - 1
        };
        let step = steps.get(number).or(steps.last()).unwrap();
        let send = |stream: &mut TcpStream, status: u16, headers: &[(&str, String)], body: &str, length: usize| {
            let headers: String = headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .collect();
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
            );
            stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body.as_bytes()))
                .is_ok()
        };
        let goes_on = match step {
            Step::Say(text) => {
                let answer = completion(text).to_string();
                send(&mut stream, 200, &[], &answer, answer.len())
            }
            Step::Rule(rule) => {
                let answer = completion(&rule(&body)).to_string();
                send(&mut stream, 200, &[], &answer, answer.len())
            }
            Step::Raw(status, headers, answer) => send(&mut stream, *status, headers, answer, answer.len()),
            Step::Short(answer) => {
                send(&mut stream, 200, &[], answer, answer.len() + 100);
                false
            }
            Step::Lie(rest) => {
                let _ = stream.write_all(format!("HTTP/1.1 200 X\r\n{rest}").as_bytes());
                std::thread::sleep(Duration::from_millis(500));
                false
            }
            Step::Hang => false,
            Step::Stall(time) => {
                std::thread::sleep(*time);
                false
            }
        };
        if !goes_on {
            return;
        }
    }
}
