use jiff::Timestamp;
use maud::{Markup, html};

use super::trend::{Point, plot};
use super::{badge_of, document, safe, scrolled, time};
use crate::model::{RunId, short_commit};
use crate::report::text::{bytes, duration};

/// What the list of an archive's runs is drawn from.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// The archive's folder.
    pub archive: String,
    /// Its runs, newest first.
    pub runs: Vec<Listed>,
    /// Whether there are older ones.
    pub more: bool,
    /// How packages went, by name and target.
    pub trends: Vec<Trend>,
}

/// A run in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The run.
    pub id: RunId,
    /// The package.
    pub package: String,
    /// The version.
    pub version: String,
    /// The full commit id.
    pub commit: String,
    /// UTC; `None` if the archive does not say.
    pub started: Option<Timestamp>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// The outcome in a word or two.
    pub outcome: String,
    /// The targets with their outcomes.
    pub targets: Vec<(String, String)>,
    /// The address of its page, if it has one.
    pub page: Option<String>,
}

/// How a target of a package went from run to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trend {
    /// The package.
    pub package: String,
    /// The target.
    pub target: String,
    /// Milliseconds of all its stages, the oldest run first. Runs that reused a build are not in it.
    pub durations: Vec<Point>,
    /// Bytes of all its packages.
    pub sizes: Vec<Point>,
}

/// The list of an archive's runs as one HTML document.
pub fn site(site: &Site) -> String {
    let head = html! {
        h1 { "Runs" }
        p { (site.runs.len()) " runs of the archive " code { (safe(&site.archive)) } @if site.more { "; older ones are not listed" } }
    };
    let navigation = html! {
        ul { li { a href="#runs" { "Runs" } } li { a href="#trends" { "Trends" } } }
    };
    let main = html! {
        section aria-labelledby="runs" { h2 id="runs" { "Runs" } (runs(site)) }
        section aria-labelledby="trends" { h2 id="trends" { "Trends" } (trends(site)) }
    };
    document("Runs", &head, &navigation, &main)
}

fn runs(site: &Site) -> Markup {
    if site.runs.is_empty() {
        return html! { p { "The archive has no runs." } };
    }
    let table = html! {
        table.runs {
            caption { "The newest first" }
            thead {
                tr {
                    th scope="col" { "Started" }
                    th scope="col" { "Package" }
                    th scope="col" { "Version" }
                    th scope="col" { "Outcome" }
                    th scope="col" { "Targets" }
                    th.number scope="col" { "Took" }
                    th scope="col" { "Commit" }
                    th scope="col" { "Run" }
                }
            }
            tbody { @for run in &site.runs { (row(run)) } }
        }
    };
    html! {
        form.search.filter role="search" hidden {
            label for="filter" { "Package, version, outcome, target, date or commit" }
            input id="filter" type="search" autocomplete="off" spellcheck="false";
            output id="shown" aria-live="polite" for="filter" {}
        }
        (scrolled("Runs", &table))
    }
}

fn row(run: &Listed) -> Markup {
    html! {
        tr {
            td { @if let Some(started) = run.started { (time(started)) } }
            td.name { (safe(&run.package)) }
            td.name { (safe(&run.version)) }
            td { (badge_of(&run.outcome)) }
            td {
                @for (target, outcome) in &run.targets {
                    @if outcome == "passed" { span.target { (safe(target)) } " " }
                    @else { span.target.bad { (safe(target)) ": " (safe(outcome)) } " " }
                }
            }
            td.number { (duration(run.duration_ms)) }
            td { code title=(safe(&run.commit)) { (safe(short_commit(&run.commit))) } }
            th.name scope="row" { @match &run.page { Some(page) => { a href=(page) { (run.id) } } None => { (run.id) } } }
        }
    }
}

fn trends(site: &Site) -> Markup {
    let some = site.trends.iter().filter(|trend| !trend.durations.is_empty() || !trend.sizes.is_empty());
    html! {
        @if site.trends.is_empty() { p { "No package was built." } }
        div.trends {
            @for trend in some {
                article.trend {
                    h3 { (safe(&trend.package)) " " span.version { (safe(&trend.target)) } }
                    (plot("Time", &trend.durations, duration))
                    (plot("Size", &trend.sizes, bytes))
                }
            }
        }
    }
}
