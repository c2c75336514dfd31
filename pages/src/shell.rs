//! What all pages have around their contents: head, policy, styles, scripts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::glossary;

/// The chart library and what it stands on; `vendor/README.md` says where they come from.
const D3: &str = include_str!("../vendor/d3-7.9.0.min.js");
const PLOT: &str = include_str!("../vendor/plot-0.6.17.umd.min.js");
/// What all pages do, and what the pages of latents do.
const PAGE: &str = include_str!("../assets/page.js");
const LATENTS: &str = include_str!("../assets/latents.js");
const STYLE: &str = include_str!("../assets/page.css");

/// What a page needs besides its own contents.
pub(crate) struct Shell<'a> {
    /// Its title, in the window and on top.
    pub(crate) title: &'a str,
    /// Links to its parts: fragment or address, and name.
    pub(crate) links: Vec<(String, String)>,
    /// Whether the data of latents is loaded from files beside the page.
    pub(crate) latents: bool,
    /// Its contents.
    pub(crate) main: Markup,
}

fn scripts(latents: bool) -> Vec<&'static str> {
    let latents = latents.then_some(LATENTS);
    [D3, PLOT, PAGE].into_iter().chain(latents).collect()
}

/// The Content-Security-Policy of a page: nothing but its own scripts, known by their hashes, and styles; no network. Scripts from
/// files beside the page, which hold data, only on pages of latents; forms, which ask the server, only on its own pages.
pub(crate) fn policy(latents: bool, forms: bool) -> String {
    let hash = |script: &&str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script.as_bytes())));
    let mut sources: Vec<String> = scripts(latents).iter().map(hash).collect();
    if latents {
        sources.extend(["'self'", "file:"].map(str::to_owned));
    }
    format!(
        "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action {}",
        sources.join(" "),
        if forms { "'self'" } else { "'none'" }
    )
}

impl Shell<'_> {
    /// The whole page.
    pub(crate) fn render(self) -> String {
        let policy = policy(self.latents, false);
        self.render_under(&policy)
    }

    /// A page of the server, which can ask it for others.
    pub(crate) fn render_with_forms(self) -> String {
        let policy = policy(self.latents, true);
        self.render_under(&policy)
    }

    fn render_under(self, policy: &str) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="referrer" content="no-referrer";
                    title { (self.title) }
                    link rel="icon" href="data:,";
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a class="skip" href="#main" { "To the contents" }
                    header {
                        h1 { bdi { (self.title) } }
                        button type="button" id="theme" { "Dark" }
                    }
                    main id="main" {
                        nav aria-label="Parts of the page" {
                            ul { @for (address, name) in &self.links { li { a href=(address) { (name) } } } }
                        }
                        (self.main)
                        (glossary::section())
                    }
                    footer { p class="soft" { "Made by saelab. Charts: Observable Plot and D3 (ISC licence)." } }
                    div id="live" role="status" aria-live="polite" class="soft" {}
                    @for script in scripts(self.latents) { script { (PreEscaped(script)) } }
                }
            }
        };
        page.into_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_styles_end_where_they_should() {
        for script in [D3, PLOT, PAGE, LATENTS] {
            assert!(!script.contains("</script") && !script.contains("<!--"));
        }
        assert!(!STYLE.contains("</style"));
        let shell = Shell {
            title: "<script>alert(1)</script>",
            links: Vec::new(),
            latents: false,
            main: html! { p { "text" } },
        };
        let page = shell.render();
        assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert"));
        assert!(!page.contains("src=") || !page.contains("http-equiv=\"refresh\""));
    }
}
