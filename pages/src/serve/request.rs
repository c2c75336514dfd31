//! A request, whether it may be answered, and an answer.

use std::net::{IpAddr, SocketAddr};

/// What a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<'a> {
    /// GET, HEAD or another.
    pub method: &'a str,
    /// Path and query.
    pub url: &'a str,
    /// Values of all `Host` headers.
    pub hosts: Vec<&'a str>,
    /// Values of all `Origin` headers.
    pub origins: Vec<&'a str>,
}

/// What is sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status of HTTP.
    pub status: u16,
    /// Headers: name and value.
    pub headers: Vec<(&'static str, String)>,
    /// The contents.
    pub body: Vec<u8>,
}

impl Asked<'_> {
    /// Refuses what is no reading of a page of this machine.
    pub(super) fn check(&self, address: SocketAddr) -> Result<(), Answer> {
        if !["GET", "HEAD"].contains(&self.method) {
            return Err(Answer::refuse(405, "only reading is possible here"));
        }
        let [host] = self.hosts.as_slice() else {
            return Err(Answer::refuse(400, "the request must name one host"));
        };
        if !is_here(host, address) {
            return Err(Answer::refuse(403, "the request is for another host"));
        }
        let same = |origin: &&str| {
            origin
                .strip_prefix("http://")
                .is_some_and(|named| named.eq_ignore_ascii_case(host))
        };
        match self.origins.iter().all(same) {
            true => Ok(()),
            false => Err(Answer::refuse(403, "the request comes from a page of another origin")),
        }
    }
}

/// Whether a `Host` header names this server by its address: a number cannot be made to point here by a name server, as a name can.
fn is_here(host: &str, address: SocketAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    if port != Some(address.port()) {
        return false;
    }
    let is_loopback = address.ip().is_loopback();
    if name.eq_ignore_ascii_case("localhost") {
        return is_loopback;
    }
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    match bare.parse::<IpAddr>() {
        Ok(ip) if is_loopback => ip.is_loopback(),
        Ok(ip) => address.ip().is_unspecified() || ip == address.ip(),
        Err(_) => false,
    }
}

impl Answer {
    pub(super) fn ok(kind: &str, body: Vec<u8>, policy: Option<String>) -> Self {
        let always = [
            ("Content-Type", kind.to_owned()),
            (
                "Content-Security-Policy",
                policy.unwrap_or_else(|| "default-src 'none'".to_owned()),
            ),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("X-Frame-Options", "DENY".to_owned()),
            ("Cross-Origin-Resource-Policy", "same-origin".to_owned()),
            ("Cross-Origin-Opener-Policy", "same-origin".to_owned()),
            ("Referrer-Policy", "no-referrer".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ];
        Self {
            status: 200,
            headers: always.to_vec(),
            body,
        }
    }

    pub(super) fn page(status: u16, text: String, policy: String) -> Self {
        Self {
            status,
            ..Self::ok("text/html; charset=utf-8", text.into_bytes(), Some(policy))
        }
    }

    pub(super) fn download(kind: &str, body: Vec<u8>, name: &str) -> Self {
        let mut answer = Self::ok(kind, body, None);
        answer
            .headers
            .push(("Content-Disposition", format!("attachment; filename=\"{name}\"")));
        answer
    }

    pub(super) fn redirect(to: &str) -> Self {
        let mut answer = Self::ok("text/plain; charset=utf-8", Vec::new(), None);
        answer.status = 308;
        answer.headers.push(("Location", to.to_owned()));
        answer
    }

    pub(super) fn refuse(status: u16, reason: &str) -> Self {
        Self {
            status,
            ..Self::ok("text/plain; charset=utf-8", format!("{reason}\n").into_bytes(), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_this_machine_by_number_or_localhost() {
        let address: SocketAddr = "127.0.0.1:8000".parse().unwrap();
        for host in ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000"] {
            assert!(is_here(host, address), "{host}");
        }
        for host in [
            "evil.example:8000",
            "127.0.0.1",
            "127.0.0.1:80",
            "10.0.0.1:8000",
            "localhost.evil.example:8000",
            "127.0.0.1.evil.example:8000",
            "",
            ":8000",
        ] {
            assert!(!is_here(host, address), "{host}");
        }
        let open: SocketAddr = "0.0.0.0:8000".parse().unwrap();
        assert!(
            is_here("10.0.0.1:8000", open) && !is_here("evil.example:8000", open) && !is_here("localhost:8000", open)
        );
    }
}
