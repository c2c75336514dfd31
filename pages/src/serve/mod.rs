//! The pages over HTTP: a list of the runs in a folder, read anew for every request, and what the list leads to.
//!
//! Nothing outside the folder is answered: names in addresses are decoded, refused where they climb or hide, and what they lead to
//! must lie in the folder after all links are followed. A request must name a host that is this machine (a page elsewhere could
//! otherwise reach the server under a name of its own), and where it says from which page it comes, that must be one of these.
//! Files of runs are never sent as they are, except `report.json`, as a download, and data of latents, as JSON that was parsed.

mod list;
mod paths;
mod request;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use eval::compare::{Evaluation, Pairing, compare};
use eval::report::{REPORT, RESAMPLES};
use eval::{Metric, Report, columns};
use tiny_http::{Header, Response, Server as Http};

use crate::comparison::{self, Side};
use crate::run::{self, Run};
use crate::{Error, latents, shell};

pub use list::{Listed, State, runs};
pub use request::{Answer, Asked};

/// Threads that answer.
const THREADS: usize = 4;

/// A server of a folder.
pub struct Server {
    http: Http,
    root: PathBuf,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address` (port 0: any that is free) for the runs in `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::List`] for a folder that is not there; [`Error::Listen`].
    pub fn bind(folder: &Path, address: SocketAddr) -> Result<Self, Error> {
        let list = |source| Error::List {
            path: folder.to_owned(),
            source,
        };
        let root = folder.canonicalize().map_err(list)?;
        std::fs::read_dir(&root).map_err(list)?;
        let failed = |reason: String| Error::Listen {
            address: address.to_string(),
            reason,
        };
        let http = Http::http(address).map_err(|error| failed(error.to_string()))?;
        let address = http
            .server_addr()
            .to_ip()
            .ok_or_else(|| failed("it is no IP address".to_owned()))?;
        Ok(Self { http, root, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process ends.
    pub fn run(&self) {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| self.work());
            }
        });
    }

    fn work(&self) {
        while let Ok(request) = self.http.recv() {
            let header = |name: &str| -> Vec<&str> {
                let of = request
                    .headers()
                    .iter()
                    .filter(|header| header.field.as_str().as_str().eq_ignore_ascii_case(name));
                of.map(|header| header.value.as_str()).collect()
            };
            let asked = Asked {
                method: request.method().as_str(),
                url: request.url(),
                hosts: header("Host"),
                origins: header("Origin"),
            };
            let answer = answer(&self.root, self.address, &asked);
            let mut response = Response::from_data(answer.body).with_status_code(answer.status);
            for (name, value) in &answer.headers {
                if let Ok(header) = Header::from_bytes(name.as_bytes(), value.as_bytes()) {
                    response.add_header(header);
                }
            }
            // Who asked may be gone; that concerns nobody else.
            let _ = request.respond(response);
        }
    }
}

/// The answer to a request for something below `root`, by a server that listens on `address`.
pub fn answer(root: &Path, address: SocketAddr, asked: &Asked<'_>) -> Answer {
    if let Err(refused) = asked.check(address) {
        return refused;
    }
    let (path, query) = asked.url.split_once('?').unwrap_or((asked.url, ""));
    let Some(parts) = paths::parts(path) else {
        return Answer::refuse(400, "the address names nothing that could be here");
    };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [] => page(list::page(root), shell::policy(false, true)),
        ["compare"] => compared(root, query),
        ["run", rest @ ..] => of_run(root, rest, path.ends_with('/')),
        _ => Answer::refuse(404, "there is no such page"),
    }
}

fn page(text: Result<String, Error>, policy: String) -> Answer {
    match text {
        Ok(text) => Answer::page(200, text, policy),
        Err(error) => damaged("this page", &error.to_string()),
    }
}

/// A page that says what is wrong.
fn damaged(what: &str, reason: &str) -> Answer {
    Answer::page(200, list::damaged(what, reason), shell::policy(false, true))
}

/// What lies under a run: `run/<folders>/` and, behind them, `report.json` or `latents/...`.
fn of_run(root: &Path, parts: &[&str], ends_in_slash: bool) -> Answer {
    let latents_at = parts.iter().position(|part| *part == latents::FOLDER);
    let (folders, file) = match (latents_at, parts.split_last()) {
        (Some(at), _) => (&parts[..at], &parts[at..]),
        (None, Some((last, folders))) if ["report.json", run::PAGE].contains(last) => {
            (folders, &parts[folders.len()..])
        }
        _ => (parts, &parts[parts.len()..]),
    };
    let Some(dir) = paths::inside(root, folders).filter(|dir| dir.is_dir()) else {
        return Answer::refuse(404, "there is no such run");
    };
    match file {
        [] if !ends_in_slash => Answer::redirect(&format!("/run/{}", paths::address(folders))),
        [] | [run::PAGE] => match Run::read(&dir).and_then(|run| run::page(&run)) {
            Ok(text) => Answer::page(200, text, shell::policy(false, false)),
            Err(error) => damaged(&run::name_of(&dir), &list::reason(&dir, &error)),
        },
        ["report.json"] => match paths::inside(root, parts).and_then(|path| std::fs::read(path).ok()) {
            Some(body) => Answer::download("application/json", body, "report.json"),
            None => Answer::refuse(404, "this run has no report"),
        },
        [_, rest @ ..] => of_latents(root, parts, rest, ends_in_slash),
    }
}

/// The pages of latents are made anew; their data are parsed before they are sent.
fn of_latents(root: &Path, parts: &[&str], rest: &[&str], ends_in_slash: bool) -> Answer {
    let is_data = rest.last().is_some_and(|name| name.ends_with(".js"));
    if is_data {
        let data = paths::inside(root, parts).and_then(|path| latents::checked_data(&path));
        return match data {
            Some(body) => Answer::ok("text/javascript; charset=utf-8", body, None),
            None => Answer::refuse(404, "there are no such data of latents, or they are damaged"),
        };
    }
    let folder = match rest.last() {
        Some(&latents::PAGE) => &parts[..parts.len() - 1],
        _ if !ends_in_slash => return Answer::redirect(&format!("/run/{}", paths::address(parts))),
        _ => parts,
    };
    let exists = paths::inside(root, folder).filter(|dir| dir.join(latents::INDEX).is_file());
    match (exists, folder) {
        (Some(_), [.., set, site]) => Answer::page(200, latents::shell_of(set, site), shell::policy(true, false)),
        _ => Answer::refuse(404, "there is no such page of latents"),
    }
}

/// The comparison of the runs that the query names, in the metrics of `saelab compare`.
fn compared(root: &Path, query: &str) -> Answer {
    let named: Vec<Vec<String>> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("run="))
        .filter_map(paths::form_value)
        .filter_map(|run| paths::parts(&run))
        .collect();
    let compare = || -> Result<String, Error> {
        let folders = named
            .iter()
            .filter_map(|parts| paths::inside(root, &parts.iter().map(String::as_str).collect::<Vec<_>>()));
        let folders: Vec<PathBuf> = folders.collect();
        let runs = folders
            .iter()
            .map(|dir| evaluation(dir))
            .collect::<Result<Vec<Evaluation>, Error>>()?;
        let sides = runs.iter().zip(&folders).map(|(evaluation, dir)| {
            let spliced = run::spliced(dir)?;
            Ok(Side { evaluation, spliced })
        });
        let sides = sides.collect::<Result<Vec<_>, Error>>()?;
        let config = runs.first().map(|run| &run.report.config);
        let k = config.map_or(0, |config| config.compare_k);
        let method = config
            .and_then(|config| config.edits.first().copied())
            .unwrap_or(eval::EditMethod::Supervised);
        let found = compare(
            &runs,
            &[Metric::Sufficiency, Metric::EditAccuracy, Metric::Mcc],
            method,
            k,
            Pairing::Each,
        )?;
        comparison::page(&sides, &found, method, k)
    };
    match named.is_empty() {
        true => damaged("Comparison", "choose runs in the list first"),
        false => match compare() {
            Ok(text) => Answer::page(200, text, shell::policy(false, false)),
            Err(error) => damaged("Comparison", &error.to_string()),
        },
    }
}

/// A run as a comparison takes it.
fn evaluation(dir: &Path) -> Result<Evaluation, Error> {
    let report = Report::read(&dir.join(REPORT))?;
    report.check_columns(dir)?;
    Ok(Evaluation {
        name: run::name_of(dir),
        report,
        entries: columns::read_resamples(&dir.join(RESAMPLES))?,
    })
}
