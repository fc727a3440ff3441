//! Pages for browsers: each is one file that loads nothing. They can be read without JavaScript, in light and dark, on a phone, with a
//! keyboard and a screen reader.
//!
//! What they show comes from packages and builds of strangers. Templates escape all of it; what could steer a terminal or turn
//! the direction of text is made visible; and a content security policy names the digests of the page's own script and style,
//! so that no other runs.

mod changes;
mod checks;
mod logs;
mod origin;
mod overview;
mod packages;
mod page;
mod site;
mod trend;

use base64::Engine as _;
use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use page::{Page, Receipt, page};
pub use site::{Listed, Site, Trend, site};
pub use trend::Point;

use crate::model::{Digest, Outcome};
use crate::support::terminal_text::neutralise;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What is said of who wrote a page; a page that says something else is of another version.
pub const GENERATOR: &str = concat!("packhold ", env!("CARGO_PKG_VERSION"));

/// A whole document around `main`.
fn document(title: &str, head: &Markup, navigation: &Markup, main: &Markup) -> String {
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        source(SCRIPT),
        source(STYLE)
    );
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="generator" content=(GENERATOR);
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top { (head) }
                nav aria-label="Sections" { (navigation) }
                main id="content" tabindex="-1" { (main) }
                footer { p { "Written by " (GENERATOR) "." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    document.into_string()
}

/// The digest by which a content security policy knows an inline script or style (CSP Level 3, 2.3.1).
fn source(text: &str) -> String {
    format!("sha256-{}", base64::engine::general_purpose::STANDARD.encode(Digest::of(text).bytes()))
}

/// Text of strangers as visible text.
fn safe(text: &str) -> String {
    neutralise(text.as_bytes())
}

/// An outcome as a coloured word that does not need its colour.
fn badge(outcome: &Outcome) -> Markup {
    badge_of(&outcome.summary())
}

/// The same of an outcome's summary.
fn badge_of(summary: &str) -> Markup {
    let state = summary.split('(').next().unwrap_or_default();
    let (class, mark) = match state {
        "passed" => ("badge passed", "✓"),
        "skipped" => ("badge skipped", "–"),
        "infra" => ("badge infra", "!"),
        _ => ("badge failed", "✗"),
    };
    html! { span class=(class) { span aria-hidden="true" { (mark) } " " (safe(summary)) } }
}

/// A wide table that scrolls by itself.
fn scrolled(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(label) tabindex="0" { (table) } }
}

/// A digest, of which the beginning is enough for people; the whole of it can be copied.
fn digest(digest: &Digest) -> Markup {
    html! { code.digest { (digest.hex()) } }
}

/// A time for people and for programs.
fn time(at: jiff::Timestamp) -> Markup {
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) { (at.strftime("%Y-%m-%d %H:%M")) " UTC" } }
}

/// A command that can be copied.
fn command(what: &str, line: &str) -> Markup {
    html! { dt { (what) } dd { pre.command { code { (line) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_one_script_and_one_style_that_its_policy_names() {
        let page = document("<x>", &html! {}, &html! {}, &html! { (safe("<script>\u{202e}")) });
        assert_eq!((page.matches("<script>").count(), page.matches("<style>").count()), (1, 1));
        assert!(page.contains("&lt;script&gt;&lt;U+202E&gt;"));
        assert!(page.contains("<title>&lt;x&gt;</title>"));
        assert!(page.contains(&source(SCRIPT)) && page.contains(&source(STYLE)));
        // Nothing in them ends them early, as the parser of a browser sees it (HTML, 13.2.5.17).
        assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!--") && !STYLE.contains("</"));
    }
}
