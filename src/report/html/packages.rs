use maud::{Markup, html};

use super::{Page, digest, safe, scrolled};
use crate::compare::Contents;
use crate::model::{Artifact, ArtifactKind, TargetRecord};
use crate::report::text::bytes;

/// How many files of a package and relations of a kind are listed.
const MOST: usize = 2000;

/// The artifacts of each target, and what is in its packages.
pub(super) fn packages(page: &Page<'_>) -> Markup {
    let some = page.record.targets.iter().filter(|target| !target.artifacts.is_empty());
    html! {
        @if page.record.targets.iter().all(|target| target.artifacts.is_empty()) { p { "No package was built." } }
        @for target in some { h3 { (safe(&target.target.to_string())) } (of_target(page, target)) }
    }
}

fn of_target(page: &Page<'_>, target: &TargetRecord) -> Markup {
    let table = html! {
        table {
            thead { tr { th scope="col" { "File" } th scope="col" { "Kind" } th.number scope="col" { "Size" } th scope="col" { "sha256" } } }
            tbody {
                @for artifact in &target.artifacts {
                    tr {
                        th.name scope="row" { (safe(&artifact.name)) }
                        td { (kind(artifact.kind)) }
                        td.number { (bytes(artifact.size)) }
                        td { (digest(&artifact.digest)) }
                    }
                }
            }
        }
    };
    html! {
        (scrolled(&format!("Files of {}", target.target), &table))
        @for artifact in &target.artifacts {
            @if let Some(contents) = page.contents.get(&artifact.digest) { (inside(artifact, contents)) }
        }
    }
}

fn kind(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::Package => "package",
        ArtifactKind::Debug => "debugging symbols",
        ArtifactKind::Installer => "package for the installer",
        ArtifactKind::Source => "source package",
        ArtifactKind::Description => "description",
    }
}

fn inside(artifact: &Artifact, contents: &Result<Contents, String>) -> Markup {
    let name = safe(&artifact.name);
    html! {
        details {
            @match contents {
                Err(why) => { summary { "In " (name) } p { "It cannot be looked into: " (safe(why)) } }
                Ok(contents) => {
                    summary { "In " (name) ": " (contents.files.len()) " files, relations, scripts" }
                    (about(contents))
                    (scrolled(&format!("Contents of {name}"), &files(contents)))
                }
            }
        }
    }
}

fn about(contents: &Contents) -> Markup {
    html! {
        dl.about {
            @for (name, value) in &contents.fields { dt { (name) } dd { (safe(value)) } }
            @for (kind, all) in &contents.relations {
                dt { (kind) }
                dd {
                    ul { @for relation in all.iter().take(MOST) { li { code { (safe(relation)) } } } }
                    @if all.len() > MOST { (all.len() - MOST) " more" }
                }
            }
            @if !contents.scripts.is_empty() { dt { "Scripts" } dd { (contents.scripts.join(", ")) } }
        }
    }
}

fn files(contents: &Contents) -> Markup {
    html! {
        table.files {
            thead { tr { th scope="col" { "Path" } th scope="col" { "Mode" } th scope="col" { "Owner" } th.number scope="col" { "Size" } } }
            tbody {
                @for file in contents.files.iter().take(MOST) {
                    tr {
                        td.name { (safe(&file.path)) @if let Some(link) = &file.link { " → " (safe(link)) } }
                        td { code { (format!("{:04o}", file.mode)) } }
                        td { (safe(&file.owner)) }
                        td.number { (bytes(file.size)) }
                    }
                }
                @if contents.files.len() > MOST { tr { td colspan="4" { (contents.files.len() - MOST) " more" } } }
            }
        }
    }
}
