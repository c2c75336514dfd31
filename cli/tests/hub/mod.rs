//! A Hugging Face hub on this machine that can be told what to do wrong, and a storage host such as it sends its users to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The commit of every model.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A config that this program understands.
pub(crate) const CONFIG: &str =
    r#"{"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "vocab_size": 50257}"#;

/// What goes wrong with a file.
#[derive(Debug, Clone, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Every question is answered with this status and, if it is not empty, this error code.
    Status(u16, &'static str),
    /// The bytes are not there, though the hub says so.
    OnlyHead(u16),
    /// The connection ends after half of the bytes.
    Half,
    /// The whole is sent, whatever part was asked for.
    NoRanges,
    /// One byte is another.
    OtherBytes,
    /// There is a byte too many.
    TooMany,
    /// The bytes take their time.
    Slow,
    /// A few bytes come ten times a second, for as long as the client waits.
    Drip,
    /// Another entity tag; none when it is empty.
    Etag(&'static str),
    /// The bytes lie with the host of this address.
    SentOn(String),
    /// They lie elsewhere on the hub.
    SentOnWithin,
    /// They lie where they were asked for.
    Ring,
}

/// A question that was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) token: Option<String>,
    file: String,
    /// Bytes of a file that were sent.
    bytes: usize,
    /// Whether a part of it was asked for.
    pub(crate) is_part: bool,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// A storage host knows bytes, and nothing of commits and hashes.
    storage: bool,
    faults: Mutex<BTreeMap<String, Fault>>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

/// A host on this machine; gone when dropped.
pub(crate) struct Server {
    state: Arc<State>,
    address: String,
    thread: Option<JoinHandle<()>>,
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    artifacts::sha256_hex(bytes)
}

/// The hash by which the hub names bytes: by `git hash-object` for what lies in its repositories.
fn hash(bytes: &[u8]) -> String {
    match bytes {
        _ if bytes == CONFIG.as_bytes() => "51815fda7ae3c930f23218f8384e982b525d2755".to_owned(),
        b"{}" => "9e26dfeeb6e641a33dae4961196235bdb965b21b".to_owned(),
        _ => sha256(bytes),
    }
}

impl Server {
    /// A hub that has these files of `owner/model`.
    pub(crate) fn hub(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::start(files, false)
    }

    /// A host that has these files and knows nothing else.
    pub(crate) fn storage(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::start(files, true)
    }

    fn start(files: BTreeMap<String, Vec<u8>>, storage: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            files,
            storage,
            faults: Mutex::default(),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                // A client that goes away is no fault of ours.
                std::thread::spawn(move || state.answer(&stream.unwrap()).ok());
            }
        });
        Self {
            state,
            address,
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn host(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    pub(crate) fn fault(&self, file: &str, fault: Fault) {
        self.state.faults.lock().unwrap().insert(file.to_owned(), fault);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Bytes of a file that were sent in all.
    pub(crate) fn bytes_of(&self, file: &str) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.file == file)
            .map(|request| request.bytes)
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        TcpStream::connect(self.host()).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl State {
    /// Answers one question and closes the connection.
    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().unwrap()?;
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let (method, path) = first.split_once(' ').unwrap();
        let path = path.split([' ', '?']).next().unwrap();
        let file = path.rsplit('/').next().unwrap().to_owned();
        let drips = matches!(self.faults.lock().unwrap().get(&file), Some(Fault::Drip));
        let (head, body) = self.reply(method, path, &file, headers.get("range"));
        let log = Request {
            token: headers.get("authorization").cloned(),
            file,
            bytes: body.len(),
            is_part: headers.contains_key("range"),
        };
        self.requests.lock().unwrap().push(log);
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {head}connection: close\r\n\r\n")?;
        if drips {
            for piece in body.chunks(10) {
                stream.write_all(piece)?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(100));
            }
            return Ok(());
        }
        stream.write_all(&body)
    }

    /// Status and headers, and the body.
    fn reply(&self, method: &str, path: &str, file: &str, range: Option<&String>) -> (String, Vec<u8>) {
        let fault = self.faults.lock().unwrap().get(file).cloned().unwrap_or_default();
        let status = |status: u16, code: &str| {
            let code = if code.is_empty() {
                String::new()
            } else {
                format!("x-error-code: {code}\r\n")
            };
            (format!("{status} Said\r\n{code}content-length: 0\r\n"), Vec::new())
        };
        let Some(bytes) = self.files.get(file) else {
            return status(404, "EntryNotFound");
        };
        let linked = format!(
            "x-repo-commit: {COMMIT}\r\nx-linked-etag: \"{}\"\r\nx-linked-size: {}\r\n",
            hash(bytes),
            bytes.len()
        );
        let get = method == "GET";
        match &fault {
            Fault::Status(number, code) => return status(*number, code),
            Fault::OnlyHead(number) if get => return status(*number, ""),
            Fault::SentOn(address) => {
                let location = format!("location: {address}/storage/{file}?signature=secret\r\n");
                return (
                    format!("302 Found\r\n{linked}{location}content-length: 0\r\n"),
                    Vec::new(),
                );
            }
            Fault::SentOnWithin if !path.starts_with("/elsewhere/") => {
                let location = format!("location: /elsewhere/{file}?signature=secret\r\n");
                return (format!("307 Moved\r\n{location}content-length: 0\r\n"), Vec::new());
            }
            Fault::Ring => {
                return (
                    format!("307 Moved\r\nlocation: {path}\r\ncontent-length: 0\r\n"),
                    Vec::new(),
                );
            }
            Fault::Slow if get => std::thread::sleep(Duration::from_millis(500)),
            _ => {}
        }
        let known = match (self.storage, &fault) {
            (true, _) => "etag: \"of the storage host\"\r\n".to_owned(),
            (false, Fault::Etag(etag)) => {
                let etag = if etag.is_empty() {
                    String::new()
                } else {
                    format!("etag: {etag}\r\n")
                };
                format!("x-repo-commit: {COMMIT}\r\n{etag}")
            }
            // Large files are known by two tags, small ones by one that a cache on the way may have made weak.
            (false, _) if bytes.len() > 1_000_000 => format!("{linked}etag: \"something else\"\r\n"),
            (false, _) => format!("x-repo-commit: {COMMIT}\r\netag: W/\"{}\"\r\n", hash(bytes)),
        };
        let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let start = start.filter(|_| !matches!(fault, Fault::NoRanges));
        let mut body = bytes[start.unwrap_or(0)..].to_vec();
        match fault {
            Fault::OtherBytes if get => body[0] ^= 1,
            Fault::TooMany if get => body.push(0),
            _ => {}
        }
        let length = body.len();
        if matches!(fault, Fault::Half) {
            body.truncate(length / 2);
        }
        if !get {
            body.clear();
        }
        let status = match start {
            Some(start) => format!(
                "206 Part\r\ncontent-range: bytes {start}-{}/{}\r\n",
                bytes.len() - 1,
                bytes.len()
            ),
            None => "200 OK\r\n".to_owned(),
        };
        (format!("{status}{known}content-length: {length}\r\n"), body)
    }
}
