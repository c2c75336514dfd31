//! Addresses and folders: what a path in a request may lead to.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is written as it is in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'@')
    .remove(b'+');

/// The names in the path of an address; none where one of them climbs, hides, or is no name.
pub(super) fn parts(path: &str) -> Option<Vec<String>> {
    let named = path.split('/').filter(|part| !part.is_empty());
    let decode = |part: &str| {
        let name = percent_decode_str(part).decode_utf8().ok()?;
        is_name(&name).then(|| name.into_owned())
    };
    named.map(decode).collect()
}

/// A value as a form sends it.
pub(super) fn form_value(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .ok()
        .map(|text| text.into_owned())
}

/// Whether it is the name of one file or folder that is not hidden. `..` begins with a dot.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']) && !name.contains(char::is_control)
}

/// What the names lead to below `root`, which must be canonical, if it is there and lies below it after all links are followed.
pub(super) fn inside(root: &Path, parts: &[&str]) -> Option<PathBuf> {
    if !parts.iter().all(|part| is_name(part)) {
        return None;
    }
    let path = parts
        .iter()
        .fold(root.to_owned(), |path, part| path.join(part))
        .canonicalize()
        .ok()?;
    path.starts_with(root).then_some(path)
}

/// The address of a folder: its names, each with a slash behind it.
pub(super) fn address<S: AsRef<str>>(parts: &[S]) -> String {
    parts
        .iter()
        .map(|part| format!("{}/", utf8_percent_encode(part.as_ref(), PLAIN)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_climb_hide_or_are_none_are_refused() {
        for path in [
            "/../x",
            "/a/..",
            "/%2e%2e/x",
            "/%2E%2e",
            "/a/.hidden",
            "/a%2fb",
            "/a%5cb",
            "/a%00",
            "/%ff",
            "/a%0ab",
            "/..%2f..%2fetc",
        ] {
            assert_eq!(parts(path), None, "{path}");
        }
        assert_eq!(parts("//a//b%20c/").unwrap(), ["a", "b c"]);
        assert_eq!(parts("/").unwrap(), [""; 0]);
        assert_eq!(address(&["a b", "x/y", "é"]), "a%20b/x%2Fy/%C3%A9/");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_folder_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("root");
        std::fs::create_dir_all(root.join("run")).unwrap();
        std::fs::create_dir_all(folder.path().join("other")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("other"), root.join("out")).unwrap();
        std::os::unix::fs::symlink(root.join("run"), root.join("same")).unwrap();
        assert_eq!(inside(&root, &["run"]), Some(root.join("run")));
        assert_eq!(inside(&root, &["same"]), Some(root.join("run")));
        assert_eq!(inside(&root, &["out"]), None);
        assert_eq!(inside(&root, &["run", ".."]), None);
        assert_eq!(inside(&root, &["missing"]), None);
    }
}
