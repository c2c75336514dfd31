//! `saelab find` and `saelab explain` from the command line.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;

use common::{saelab, succeeds};

/// A few functions of each family, and networks that are hardly trained.
const FEW: [&str; 12] = [
    "--set",
    "numeric=6",
    "--set",
    "strings=4",
    "--set",
    "entities=4",
    "--set",
    "relations=4",
    "--set",
    "text=3",
    "--set",
    "mlp={epochs=20, points=50}",
];

fn find(out: &Path, more: &[&str]) -> std::process::Command {
    let mut command = saelab(&["find", "configs/find/quick.toml", "--out"]);
    command.arg(out).args(FEW).args(more);
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// T14.
#[test]
fn the_offline_run_opens_no_socket_and_gives_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let mut first = find(&one, &[]);
    without_sockets(&mut first);
    let first = first.output().unwrap();
    succeeds(first.clone());
    let text = stdout(&first);
    for word in [
        "numeric: 6 functions",
        "strings: 4",
        "entities: 4",
        "relations: 4",
        "text: 3",
        "chance",
        "shuffled",
        "interpolation of 20",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let second = find(&two, &[]).env("RAYON_NUM_THREADS", "1").output().unwrap();
    assert_eq!(stdout(&second), text);
    let read = |folder: &Path| std::fs::read(folder.join("find.jsonl")).unwrap();
    assert_eq!(read(&one), read(&two));
    // The same filter ends a program that opens one.
    let lm = [
        "--explainer",
        "lm:aia",
        "--lm",
        "m",
        "--base-url",
        "http://127.0.0.1:1/v1",
    ];
    let mut asking = find(&folder.path().join("three"), &lm);
    if without_sockets(&mut asking) {
        assert!(
            asking.output().unwrap().status.code().is_none(),
            "a socket was not noticed"
        );
    }
}

/// Lets the kernel end the program at its first `socket`; `false` where this is not known how.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[allow(
    unsafe_code,
    reason = "a filter of system calls in the child, before the program begins"
)]
fn without_sockets(command: &mut std::process::Command) -> bool {
    use std::os::unix::process::CommandExt as _;

    const LOAD_NUMBER: libc::sock_filter = libc::sock_filter {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    const IS_SOCKET: libc::sock_filter = libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: 1,
        k: libc::SYS_socket as u32,
    };
    const fn give(action: u32) -> libc::sock_filter {
        libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: action,
        }
    }
    let mut program = [
        LOAD_NUMBER,
        IS_SOCKET,
        give(libc::SECCOMP_RET_KILL_PROCESS),
        give(libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: two system calls, on memory that the closure owns.
    unsafe {
        command.pre_exec(move || {
            let filter = libc::sock_fprog {
                len: program.len() as u16,
                filter: program.as_mut_ptr(),
            };
            let refused = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0;
            match refused {
                true => Err(std::io::Error::last_os_error()),
                false => Ok(()),
            }
        });
    }
    true
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn without_sockets(_command: &mut std::process::Command) -> bool {
    false
}

#[test]
fn what_cannot_be_meant_is_said_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    for (more, expected) in [
        (vec!["--explainer", "lm:aia"], "--base-url"),
        (
            vec!["--explainer", "lm:aia", "--base-url", "http://127.0.0.1:1/v1"],
            "--lm",
        ),
        (
            vec!["--judge", "lm", "--lm", "m", "--base-url", "http://example.com/v1"],
            "--allow-insecure",
        ),
        (
            vec![
                "--explainer",
                "lm:aia",
                "--lm",
                "m",
                "--base-url",
                "http://127.0.0.1:1/v1",
                "--api-key-env",
                "SAELAB_NO_SUCH_KEY",
            ],
            "SAELAB_NO_SUCH_KEY is not set",
        ),
        (vec!["--set", "budget=3"], "`budget` is below 120"),
        (vec!["--set", "numbers=3"], "did you mean `numeric`"),
    ] {
        let output = find(&folder.path().join("out"), &more).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {error}");
        assert!(error.contains(expected), "{more:?}: {error}");
    }
    let output = find(&folder.path().join("out"), &["--data", "configs"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("find-dataset"));
}

/// A server that gives each request to `answer`, which says a status and a body; an error asks for no wait before the next attempt.
fn serve(answer: fn(&str) -> (u16, String)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || while exchange(&stream, answer).is_some() {});
        }
    });
    base
}

/// One request, headers and body, and its answer; `None` at the end of a connection.
fn exchange(mut stream: &TcpStream, answer: fn(&str) -> (u16, String)) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
        request += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request += &String::from_utf8_lossy(&body);
    let (status, body) = answer(&request);
    let head = format!(
        "HTTP/1.1 {status} X\r\nRetry-After: 0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()
}

/// T3 and T5 from the command line: a server that fails for some functions costs exit code 3 and nothing of the others, and a key that
/// it sends back in every answer is in nothing that the program leaves behind.
#[test]
fn a_server_that_fails_ends_with_exit_code_3_and_the_key_is_nowhere() {
    const SECRET: &str = "sk-in-the-environment-9876";
    fn answer(request: &str) -> (u16, String) {
        let key = request
            .split("Bearer ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        let key = key.unwrap_or("no key");
        // Of different functions different words are shown, so some requests are of an even length and others are not.
        if request.len().is_multiple_of(2) {
            return (500, format!(r#"{{"error": {{"message": "broken for {key}"}}}}"#));
        }
        let text = format!("[DESCRIPTION]: words, and your key is {key}");
        let message = serde_json::json!({"role": "assistant", "content": text});
        let choices = serde_json::json!([{"index": 0, "finish_reason": "stop", "message": message}]);
        (200, serde_json::json!({"choices": choices, "id": key}).to_string())
    }
    let folder = tempfile::tempdir().unwrap();
    let (out, tape) = (folder.path().join("out"), folder.path().join("f.jsonl"));
    let base = serve(answer);
    let none = ["numeric", "strings", "relations", "text"].map(|family| format!("{family}=0"));
    let mut command = saelab(&["find", "configs/find/quick.toml", "--out"]);
    command.arg(&out).args(none.iter().flat_map(|set| ["--set", set]));
    command.args([
        "--set",
        "entities=12",
        "--explainer",
        "lm:milan",
        "--lm",
        "m",
        "--base-url",
        &base,
    ]);
    command
        .args(["--api-key-env", "SAELAB_TEST_KEY", "--record"])
        .arg(&tape);
    let output = command
        .env("SAELAB_TEST_KEY", SECRET)
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{error}");
    let found = std::fs::read_to_string(out.join("find.jsonl")).unwrap();
    let of_model: Vec<serde_json::Value> = found
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["explainer"].as_str().unwrap().starts_with("lm"))
        .collect();
    let failed = of_model
        .iter()
        .filter(|line| line["status"] == "endpoint_failed")
        .count();
    assert!(
        of_model.len() == 12 && (1..12).contains(&failed),
        "{failed} of {}: {found}",
        of_model.len()
    );
    assert!(
        error.contains(&format!("{failed} of 12 explanations are missing")),
        "{error}"
    );
    let recorded = std::fs::read_to_string(&tape).unwrap();
    assert!(found.contains("your key is [key]") && recorded.contains("your key is [key]"));
    for left in [&error, &stdout(&output), &found, &recorded] {
        assert!(!left.contains(SECRET), "{left}");
    }
}

/// One architecture on a little text, and supervised features of a few prompts.
#[test]
fn latents_of_text_and_of_prompts_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (train, run) = (path("train.toml"), path("run"));
    std::fs::write(&train, "steps = 300\nbatch = 256\nexpansion = 2\nlearning_rate = 3e-3\n[[autoencoder]]\narchitecture = \"topk\"\nk = 8\n").unwrap();
    let store = path("run/activations");
    let harvest = [
        "harvest",
        "configs/explain/harvest-text.toml",
        "--set",
        "source.documents=300",
        "--set",
        "hooks=[\"blocks.1.hook_resid_pre\"]",
        "--out",
        &store,
    ];
    succeeds(saelab(&harvest).output().unwrap());
    succeeds(saelab(&["train", &train, "--run", &run]).output().unwrap());
    let explain = |run: &str, more: &[&str]| {
        let settings = ["latents=6", "standing=3", "planted=32", "resamples=50"].map(|set| ["--set", set]);
        let output = saelab(&[
            "explain",
            "configs/explain/quick.toml",
            "--model",
            "models/small-world",
            "--run",
            run,
        ])
        .args(settings.as_flattened())
        .args(more)
        .output()
        .unwrap();
        succeeds(output.clone());
        stdout(&output)
    };
    let (lines, delphi) = (path("neuronpedia.jsonl"), path("delphi"));
    let text = explain(&run, &["--neuronpedia", &lines, "--delphi", &delphi]);
    for word in [
        "sae-topk",
        "labels",
        "random",
        "planted",
        "directions",
        "offline",
        "truth",
        "shuffled",
        "null",
        "stand",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path("run/explain.json")).unwrap()).unwrap();
    let dictionaries = json["dictionaries"].as_array().unwrap();
    let scores = |dictionary: &serde_json::Value, method: &str, score: &str| -> Vec<f64> {
        let latents = dictionary["latents"].as_array().unwrap().iter();
        let methods = latents.flat_map(|latent| latent["methods"].as_array().unwrap());
        methods
            .filter(|of| of["method"] == method)
            .filter_map(|of| of["scores"][score].as_f64())
            .collect()
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let learnt = dictionaries
        .iter()
        .find(|dictionary| dictionary["dictionary"] == "sae-topk")
        .unwrap();
    let latents = learnt["latents"].as_array().unwrap();
    let (drawn, standing): (Vec<_>, Vec<_>) = latents.iter().partition(|latent| latent["drawn"] == true);
    assert!(
        drawn.len() == 6 && standing.len() <= 3,
        "{} and {}",
        drawn.len(),
        standing.len()
    );
    assert!(
        standing
            .iter()
            .all(|latent| latent["stands"]["f1"].as_f64().unwrap() >= 0.8)
    );
    // Of planted predicates what is active is what is true, so an explanation agrees with the one as with the other.
    let of = |name: &str| dictionaries.iter().find(|of| of["dictionary"] == name).unwrap();
    assert_eq!(
        scores(of("planted"), "offline", "agree"),
        scores(of("planted"), "offline", "behaviour")
    );
    assert!(mean(scores(of("planted"), "truth", "detection")) == 1.0);
    assert_ne!(
        scores(of("directions"), "offline", "agree"),
        scores(of("directions"), "offline", "behaviour")
    );
    let found = mean(scores(learnt, "offline", "detection"));
    let shuffled = mean(scores(learnt, "shuffled", "detection"));
    assert!(
        found > 0.65 && found > shuffled + 0.1,
        "detection {found}, shuffled {shuffled}"
    );
    assert!(scores(learnt, "null", "detection").iter().all(|score| *score == 0.5));
    assert!(mean(scores(learnt, "offline", "generation")) > mean(scores(learnt, "null", "generation")));
    // Neuronpedia's lines and delphi's files speak of the same latents.
    let latent = learnt["latents"][0]["latent"].as_u64().unwrap();
    let line = std::fs::read_to_string(&lines).unwrap();
    assert!(
        line.lines()
            .any(|line| line.contains(&format!("\"index\":\"{latent}\"")))
    );
    let module = format!("blocks.1.hook_resid_pre.sae-topk_latent{latent}.txt");
    let examples = std::fs::read(Path::new(&delphi).join("scores/detection").join(&module)).unwrap();
    let examples: Vec<serde_json::Value> = serde_json::from_slice(&examples).unwrap();
    assert!(
        examples.iter().any(|example| example["activating"] == true)
            && examples.iter().any(|example| example["activating"] == false)
    );
    // Named latents, and the same again.
    let named = [latent.to_string()];
    let once = explain(&run, &["--dictionary", "sae-topk", "--latents", &named[0]]);
    assert_eq!(
        explain(&run, &["--dictionary", "sae-topk", "--latents", &named[0]]),
        once
    );
    assert!(once.contains("all of them together"), "{once}");
    supervised(&path("prompts"), &explain);
}

fn supervised(run: &str, explain: &dyn Fn(&str, &[&str]) -> String) {
    let sites = "configs/quality/sites.toml";
    let store = format!("{run}/activations");
    let site = format!("sites={sites}");
    let harvest = [
        "harvest",
        "configs/ioi/harvest.toml",
        "--set",
        &site,
        "--set",
        "source.n=6000",
        "--out",
        &store,
    ];
    succeeds(saelab(&harvest).output().unwrap());
    succeeds(
        saelab(&["fit", "configs/ioi/fit.toml", "--run", run, "--sites", sites])
            .output()
            .unwrap(),
    );
    let text = explain(run, &[]);
    assert!(text.contains("supervised"), "{text}");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(format!("{run}/explain.json")).unwrap()).unwrap();
    let latents = json["dictionaries"][0]["latents"].as_array().unwrap();
    // A supervised feature stands for its own label.
    assert!(
        !latents.is_empty()
            && latents
                .iter()
                .all(|latent| latent["stands"]["f1"].as_f64().unwrap() > 0.99)
    );
}
