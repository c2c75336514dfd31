//! What the server answers, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use pages::serve::{Server, State, runs};

/// A folder of a damaged run, one in evaluation, and a link out of it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    for dir in ["damaged", "half/eval-unfinished", "deep/er/sae", "empty"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::write(root.join("damaged/report.json"), "{\"format_version\": ").unwrap();
    std::fs::write(root.join("damaged/notes.txt"), "notes").unwrap();
    std::fs::create_dir_all(folder.path().join("secret/sae")).unwrap();
    std::fs::write(folder.path().join("secret/report.json"), "secret").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("secret"), root.join("out")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        folder.path().join("secret/report.json"),
        root.join("half/report.json.lnk"),
    )
    .unwrap();
    folder
}

fn serve(root: &Path) -> SocketAddr {
    let server = Server::bind(root, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.address();
    std::thread::spawn(move || server.run());
    address
}

/// Status line, headers and body of the answer to a raw request.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"),
    )
}

#[test]
fn the_list_shows_what_state_runs_are_in_and_nothing_outside() {
    let folder = folder();
    let root = folder.path().join("root").canonicalize().unwrap();
    let found = runs(&root);
    let names: Vec<String> = found.iter().map(|run| run.parts.join("/")).collect();
    assert_eq!(names, ["damaged", "deep/er", "half"]);
    assert!(
        matches!(found[0].state, State::Damaged(_))
            && found[1].state == State::Trained
            && found[2].state == State::InEvaluation
    );
    let address = serve(&root);
    let list = get(address, "/", "");
    assert!(
        list.starts_with("HTTP/1.1 200") && list.contains("deep/er") && !list.contains("secret"),
        "{list:.300}"
    );
    let damaged = get(address, "/run/damaged/", "");
    assert!(damaged.starts_with("HTTP/1.1 200") && damaged.contains("cannot be shown"));
    assert!(get(address, "/run/half/", "").contains("not finished"));
    // A run that was damaged meanwhile takes nothing down.
    assert!(get(address, "/", "").starts_with("HTTP/1.1 200"));
}

#[test]
fn nothing_outside_the_folder_is_answered() {
    let folder = folder();
    let address = serve(&folder.path().join("root"));
    for path in [
        "/../secret/report.json",
        "/run/../../secret/report.json",
        "/run/%2e%2e/secret/report.json",
        "/run/..%2fsecret/report.json",
        "/run/%252e%252e/secret/report.json",
        "/run/..\\secret/report.json",
        "/run/out/report.json",
        "/run/out/",
        "/run//etc/passwd",
        "/run/damaged/latents/../../../secret/report.json",
        "/run/damaged/latents/%2e%2e/x.js",
        "/run/damaged/notes.txt",
        "/run/.hidden/",
        "/run/a%00/",
        "/secret",
    ] {
        let answer = get(address, path, "");
        assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer:.60}");
        assert!(!answer.contains("secret\""), "{path}");
    }
}

#[test]
fn foreign_hosts_origins_and_methods_are_refused() {
    let folder = folder();
    let address = serve(&folder.path().join("root"));
    let with_host = |host: &str| {
        ask(
            address,
            &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        )
    };
    assert!(with_host(&address.to_string()).starts_with("HTTP/1.1 200"));
    assert!(with_host(&format!("localhost:{}", address.port())).starts_with("HTTP/1.1 200"));
    for host in [
        "evil.example",
        &format!("evil.example:{}", address.port()),
        "127.0.0.1:1",
        &format!("10.1.2.3:{}", address.port()),
    ] {
        assert!(with_host(host).starts_with("HTTP/1.1 403"), "{host}");
    }
    let no_host = ask(address, "GET / HTTP/1.0\r\n\r\n");
    assert!(
        no_host.starts_with("HTTP/1.0 400") || no_host.starts_with("HTTP/1.1 400"),
        "{no_host:.60}"
    );
    let two = get(address, "/", "Host: evil.example\r\n");
    assert!(two.starts_with("HTTP/1.1 400"), "{two:.60}");
    for origin in [
        "http://evil.example",
        "null",
        &format!("https://{address}"),
        &format!("http://localhost.evil:{}", address.port()),
    ] {
        assert!(
            get(address, "/", &format!("Origin: {origin}\r\n")).starts_with("HTTP/1.1 403"),
            "{origin}"
        );
    }
    assert!(get(address, "/", &format!("Origin: http://{address}\r\n")).starts_with("HTTP/1.1 200"));
    let post = ask(
        address,
        &format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    );
    assert!(post.starts_with("HTTP/1.1 405"), "{post:.60}");
}

#[test]
fn every_answer_has_a_policy() {
    let folder = folder();
    let address = serve(&folder.path().join("root"));
    for path in ["/", "/run/damaged/", "/nothing", "/compare", "/compare?run=damaged"] {
        let answer = get(address, path, "");
        assert!(
            answer.contains("Content-Security-Policy: default-src 'none'"),
            "{path}: {answer:.400}"
        );
        assert!(answer.contains("X-Content-Type-Options: nosniff"), "{path}");
    }
}
