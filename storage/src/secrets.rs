//! Keeps credentials out of messages.

/// Variables whose values are secrets, or end in one of these.
const SECRET: [&str; 8] = [
    "SECRET_ACCESS_KEY",
    "SESSION_TOKEN",
    "ACCOUNT_KEY",
    "ACCESS_KEY",
    "CLIENT_SECRET",
    "SAS_TOKEN",
    "SAS_KEY",
    "SERVICE_ACCOUNT_KEY",
];

/// Shorter values are no secrets, and would be found in ordinary words.
const SHORTEST: usize = 6;

/// `text` on one line, without values of the environment that are secrets and without the queries of addresses.
pub(crate) fn without_secrets(text: &str) -> String {
    let is_secret = |name: &str| SECRET.iter().any(|end| name.to_ascii_uppercase().ends_with(end));
    let values = std::env::vars_os().filter_map(|(name, value)| {
        let value = value.into_string().ok()?;
        (is_secret(name.to_str()?) && value.len() >= SHORTEST).then_some(value)
    });
    hide(text, &values.collect::<Vec<_>>())
}

fn hide(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret.as_str(), "***");
    }
    let words = text
        .split_whitespace()
        .map(|word| match (word.contains("://"), word.split_once('?')) {
            (true, Some((address, _))) => format!("{address}?***"),
            _ => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_queries_are_hidden() {
        let secrets = ["wJalrXUtnFEMI/K7".to_owned()];
        let text = "PUT\n http://h:1/b?sig=abc&x=1 failed: key wJalrXUtnFEMI/K7, why?";
        assert_eq!(hide(text, &secrets), "PUT http://h:1/b?*** failed: key ***, why?");
    }
}
