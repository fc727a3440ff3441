use maud::{Markup, html};

use super::{badge_of, digest, safe, scrolled, time};
use crate::compare::Comparison;
use crate::model::short_commit;
use crate::report::Side;
use crate::report::changes::{Changes, FileChange, ImagePackages};
use crate::report::text::bytes;

pub(super) fn changes(changes: Option<&Changes>) -> Markup {
    let Some(changes) = changes else {
        return html! { p { "The archive has no earlier run of this package to compare with." } };
    };
    let Side { run, version, commit, started, outcome, .. } = &changes.before;
    html! {
        p {
            "Since " (safe(version)) " (commit " code { (safe(short_commit(commit))) } "), run "
            @match &changes.page { Some(page) => { a href=(page) { (run) } } None => { code { (run) } } }
            " of " (time(*started)) " " (badge_of(outcome))
        }
        @for target in &changes.targets {
            h3 { (safe(&target.target.to_string())) }
            (scrolled(&format!("Packages of {} then and now", target.target), &sizes(&target.files)))
            @for file in &target.files { (inside(file)) }
            @for image in &target.images { (image_packages(image)) }
            @if target.images.is_empty() { p { "The images have the same packages." } }
        }
    }
}

fn sizes(files: &[FileChange]) -> Markup {
    let size = |size: Option<u64>| size.map_or_else(|| "–".to_owned(), bytes);
    html! {
        table {
            thead { tr { th scope="col" { "Package" } th.number scope="col" { "Then" } th.number scope="col" { "Now" } th.number scope="col" { "Difference" } th scope="col" { "Contents" } } }
            tbody {
                @for file in files {
                    tr {
                        th.name scope="row" { (safe(&file.package)) }
                        td.number { (size(file.old)) }
                        td.number { (size(file.new)) }
                        td.number { (file.growth()) }
                        td { (file.verdict()) }
                    }
                }
            }
        }
    }
}

fn inside(file: &FileChange) -> Markup {
    let Some(Comparison::Differs { differences, more, causes }) = &file.comparison else { return html! {} };
    let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
    let table = html! {
        table {
            thead { tr { th scope="col" { "Member" } th scope="col" { "What of it" } } }
            tbody {
                @for difference in differences { tr { td.name { (safe(&difference.member)) } td { (safe(&difference.what)) } } }
                @if *more > 0 { tr { td colspan="2" { (more) " more" } } }
            }
        }
    };
    html! {
        @for change in &file.relations {
            p.relation {
                (safe(&file.package)) " " (safe(&change.kind)) ": "
                @for added in &change.added { ins { "+ " (safe(added)) } " " }
                @for removed in &change.removed { del { "− " (safe(removed)) } " " }
            }
        }
        details {
            summary { "What differs in " (safe(&file.package)) @if !causes.is_empty() { ", only in " (causes.join(", ")) } }
            (scrolled(&format!("Differences in {}", safe(&file.package)), &table))
        }
    }
}

fn image_packages(image: &ImagePackages) -> Markup {
    let version = |version: &Option<String>| version.as_deref().map_or_else(|| "–".to_owned(), safe);
    let table = html! {
        table {
            thead { tr { th scope="col" { "Package" } th scope="col" { "Then" } th scope="col" { "Now" } } }
            tbody {
                @for package in &image.packages {
                    tr {
                        th.name scope="row" { (safe(&package.name)) " " span.aside { (safe(&package.arch)) } }
                        td { (version(&package.old)) @if let Some((Some(old), _)) = &package.files { " " (digest(old)) } }
                        td { (version(&package.new)) @if let Some((_, Some(new))) = &package.files { " " (digest(new)) } }
                    }
                }
            }
        }
    };
    html! {
        details {
            summary { "Other packages in the " (image.role) " image: " (image.packages.len()) }
            (scrolled(&format!("Packages of the {} image", image.role), &table))
        }
    }
}
