use maud::{Markup, html};

use super::page::Receipt;
use super::{Page, command, digest, safe, scrolled, time};
use crate::model::{Changes, ImageRecord, Origin, RunRecord, short_commit};
use crate::report::text::counted;

/// The images that a run used, with their packages.
pub(super) fn images(record: &RunRecord) -> Markup {
    html! {
        @if record.images.is_empty() { p { "No image was used." } }
        @for image in &record.images {
            details {
                summary {
                    (safe(&image.builder)) " " (image.role)
                    @if let Some(platform) = &image.platform { " " (safe(platform)) }
                    " " span.aside { (image.packages.len()) " packages" }
                }
                dl.about {
                    dt { "Id" } dd { (digest(&image.id)) }
                    dt { "Key" } dd { (digest(&image.key)) }
                    dt { "This run took it from" } dd { (safe(&image.obtained)) }
                    dt { "Made from" } dd { (origin_of(&image.origin)) }
                    dt { "Layers" } dd { ol { @for layer in &image.layers { li { (digest(layer)) } } } }
                }
                @if !image.packages.is_empty() { (scrolled(&format!("Packages of {} {}", image.builder, image.role), &packages(image))) }
            }
        }
    }
}

fn origin_of(origin: &Origin) -> Markup {
    match origin {
        Origin::Registry { reference, digest } => {
            html! { code { (safe(reference)) } @if let Some(digest) = digest { " " code.digest { (safe(digest)) } } }
        }
        Origin::Bootstrap { suite, mirror, tool } => html! {
            (safe(tool)) " of " (safe(suite))
            @if let Some(mirror) = mirror { " from " code { (safe(mirror)) } }
        },
        Origin::Tar { path, digest: id } => html! { code { (safe(path)) } " " (digest(id)) },
        Origin::Built { from } => html! { "image " (digest(from)) },
    }
}

fn packages(image: &ImageRecord) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Package" } th scope="col" { "Version" } th scope="col" { "Architecture" } } }
            tbody {
                @for package in &image.packages {
                    tr { th.name scope="row" { (safe(&package.name)) } td { (safe(&package.version)) } td { (safe(&package.arch)) } }
                }
            }
        }
    }
}

/// What the run made its packages of, and how everything is got back.
pub(super) fn origin(page: &Page<'_>) -> Markup {
    let record = page.record;
    let source = &record.source;
    let committed = jiff::Timestamp::from_second(source.epoch).ok();
    html! {
        dl.about {
            dt { "Repository" } dd { code { (safe(&source.repository)) } " at " code { (safe(&source.revision)) } }
            dt { "Commit" } dd { code { (safe(&source.commit)) } @if let Some(committed) = committed { " of " (time(committed)) } }
            dt { "Source tree" } dd { (digest(&source.tree)) @if source.dirty { " (the working directory had changes, which were not built)" } }
            dt { "Pipeline" } dd { code { (safe(&record.pipeline)) } " " (digest(&record.pipeline_digest)) }
            @if let Some(lock) = &record.lock { dt { "Lock" } dd { code { (safe(&lock.file)) } " " (digest(&lock.digest)) } }
            dt { "Built by" } dd { (safe(&record.tool.name)) " " (safe(&record.tool.version)) " on " (safe(&record.engine.kind)) " " (safe(&record.engine.version)) @if let Some(kernel) = &record.engine.kernel { ", Linux " (safe(kernel)) } }
            dt { "Receipt" }
            dd {
                @match page.receipt {
                    Receipt::None => { "none: nothing was made" }
                    Receipt::Unsigned => { "an in-toto statement with SLSA provenance, not signed" }
                    Receipt::Signed => { "an in-toto statement with SLSA provenance, signed; who signed it is found out with a public key" }
                }
            }
        }
        @if let Some(changes) = &source.changes { (commits(changes)) }
        @if let Some(archive) = &page.archive { (restore(record, archive, page.receipt)) }
        @else { p { "The run is not in an archive." } }
    }
}

/// The commits that the entries of changelogs are made of.
fn commits(changes: &Changes) -> Markup {
    let told = changes.changes.len() + changes.left_out;
    html! {
        details {
            summary {
                (counted(told, "commit"))
                @match &changes.since { Some(tag) => { " since " (safe(tag)) } None => { ", the first release" } }
            }
            ol.commits {
                @for change in &changes.changes {
                    li {
                        (safe(&change.subject)) " "
                        span.aside { code { (safe(short_commit(&change.commit))) } " by " (safe(&change.author.name)) }
                    }
                }
            }
            @if changes.left_out > 0 { p { (changes.left_out) " older ones are not listed." } }
        }
    }
}

fn restore(record: &RunRecord, archive: &str, receipt: Receipt) -> Markup {
    let (run, archive) = (&record.id, shell_words::quote(archive).into_owned());
    let packhold = |words: &str| format!("packhold archive --archive {archive} {words}");
    let target = record.targets.first().map(|target| target.target.to_string());
    html! {
        h3 { "Get it back" }
        dl.commands {
            (command("The packages as files, checked", &packhold(&format!("restore {run} --to DIR"))))
            @if let Some(target) = &target {
                (command("The image that it was built in", &packhold(&format!("restore {run} --target {target} --image deps --as NAME:TAG"))))
            }
            (command("Build it again, with no network, and compare", &packhold(&format!("replay {run}"))))
            @if receipt != Receipt::None { (command("Check where it came from", &packhold(&format!("check-receipt {run} --public-key KEY.pub")))) }
        }
    }
}
