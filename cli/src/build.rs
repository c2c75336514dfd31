//! What this program was built from; the build script finds it out.

use lab::made::Program;

/// SHA-256 of all sources of the workspace and of `Cargo.lock`, in hexadecimal digits: another one where any code is another,
/// with or without git. What depends on the code, such as a cache of results, is named after it.
const SOURCES: &str = env!("SAELAB_SOURCES");

/// The commit of the sources, with `-dirty` behind it where they differ from it; none where they were built outside git.
const GIT_REVISION: Option<&str> = option_env!("SAELAB_GIT_REVISION");

/// This program, as it was built.
pub(crate) fn program() -> Program {
    Program {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_revision: GIT_REVISION.filter(|revision| !revision.is_empty()).map(str::to_owned),
        sources: SOURCES.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_have_a_digest_and_the_commit_a_name() {
        let hexadecimal = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        assert!(SOURCES.len() == 64 && hexadecimal(SOURCES), "{SOURCES}");
        // The same as git's own, where the tests run in the tree that they were built from and git is there.
        let head = std::process::Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"])
            .output();
        if let Some(head) = head.ok().filter(|output| output.status.success()) {
            let head = String::from_utf8(head.stdout).unwrap();
            let revision = GIT_REVISION.unwrap();
            assert_eq!(revision.strip_suffix("-dirty").unwrap_or(revision), head.trim());
        }
    }
}
