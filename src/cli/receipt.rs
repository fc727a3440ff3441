use std::path::Path;

use super::archive::json;
use super::args::{Common, OutputFormat};
use super::context;
use super::error::CliError;
use crate::archive::{Archive, FileRole, Run};
use crate::model::Digest;
use crate::provenance::{Envelope, RECEIPT, SIGNATURES, public_key};

fn envelope(archive: &Archive, run: &Run) -> Result<Envelope, CliError> {
    let read = |name: &str| -> Result<Option<Vec<u8>>, CliError> {
        let mut files = run.files.iter();
        let Some(file) = files.find(|file| file.role == FileRole::Receipt && file.name == name) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        archive.copy_blob(&file.digest, &mut bytes)?;
        Ok(Some(bytes))
    };
    let statement = read(RECEIPT)?.ok_or_else(|| CliError::Usage {
        message: format!("run {} has no receipt", run.record.id),
        hint: "a run that made no packages has none, and neither have runs of earlier versions".to_owned(),
    })?;
    Ok(Envelope::of_parts(&statement, read(SIGNATURES)?.as_deref())?)
}

/// `packhold archive show RUN --receipt`
pub(super) fn show(common: &Common, run: &str, dsse: bool) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    let envelope = envelope(&archive, &archive.run(run)?)?;
    if dsse {
        json(&envelope);
        return Ok(0);
    }
    let statement = envelope.statement()?;
    match common.format {
        OutputFormat::Json => json(&statement),
        _ => println!("{}", serde_json::to_string_pretty(&statement).unwrap_or_default()),
    }
    Ok(0)
}

/// `packhold archive check-receipt`
pub(super) fn check(common: &Common, run: &str, key: Option<&Path>) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    let run = archive.run(run)?;
    let envelope = envelope(&archive, &run)?;
    if let Some(key) = key {
        envelope.verify(&public_key(key)?)?;
    }
    let statement = envelope.statement()?;
    let (mut checked, mut wrong) = (0_u64, Vec::new());
    let dependencies = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    let named = [&statement["subject"], dependencies, &statement["predicate"]["runDetails"]["byproducts"]];
    for resource in named.iter().filter_map(|list| list.as_array()).flatten() {
        // Files of distro packages have no name here: they were installed, and are not kept.
        if resource["name"].is_null() {
            continue;
        }
        let Some(digest) = resource["digest"]["sha256"].as_str().and_then(|hex| Digest::from_hex(hex).ok())
        else {
            continue;
        };
        let name = resource["name"].as_str().unwrap_or_default();
        let is_image = resource["mediaType"] == "application/vnd.oci.image.config.v1+json";
        // Images of verify are not archived: no build needs them.
        if is_image && !archive.has(&digest) {
            continue;
        }
        checked += 1;
        let listed = is_image || run.files.iter().any(|file| file.digest == digest && file.path() == name);
        if !listed || archive.copy_blob(&digest, &mut std::io::sink()).is_err() {
            wrong.push(name.to_owned());
        }
    }
    // And nothing was put in that the receipt does not know.
    let subjects = statement["subject"].as_array().map_or(0, Vec::len);
    let artifacts = run.files.iter().filter(|file| file.role == FileRole::Artifact).count();
    if subjects != artifacts {
        wrong.push(format!("it names {subjects} files and the run has {artifacts}"));
    }
    match common.format {
        OutputFormat::Json => json(&serde_json::json!({
            "run": run.record.id, "signed": envelope.is_signed(), "verified": key.is_some(), "checked": checked, "wrong": wrong,
        })),
        _ => {
            wrong.iter().for_each(|name| println!("wrong: {name}"));
            let signed = match (key.is_some(), envelope.is_signed()) {
                (true, _) => "signed by this key",
                (false, true) => "signed; give --public-key to check by whom",
                (false, false) => "not signed",
            };
            println!(
                "run {}: {checked} files and images checked, {} wrong, {signed}",
                run.record.id,
                wrong.len()
            );
        }
    }
    Ok(u8::from(!wrong.is_empty()))
}
