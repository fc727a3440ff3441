use serde_json::{Value, json};

use super::purl;
use super::statement::format_of;
use crate::model::{Artifact, ImageRecord, ImageRole, RunRecord, TargetRecord};

/// The bill of materials of an image (CycloneDX 1.5): every package that is installed in it. It follows from the image alone, so
/// that runs which use the same image share it.
pub fn image_sbom(record: &RunRecord, image: &ImageRecord) -> Value {
    let format = format_of(record, image);
    let components: Vec<Value> = image
        .packages
        .iter()
        .map(|package| {
            let purl = purl::of_installed(format, &image.builder, package);
            let mut component = json!({
                "type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl,
            });
            if let Some(digest) = &package.sha256 {
                component["hashes"] = json!([{ "alg": "SHA-256", "content": digest.hex() }]);
            }
            // It is no digest of the component, but what rpm knows an installed package by.
            if let Some(digest) = &package.header_sha256 {
                component["properties"] = json!([{ "name": "packhold:rpm:header-sha256", "value": digest.hex() }]);
            }
            component
        })
        .collect();
    document(
        json!({
            "type": "container",
            "bom-ref": image.id,
            "name": format!("{} image of {}", image.role, image.builder),
            "version": image.id,
            "hashes": [{ "alg": "SHA-256", "content": image.id.hex() }],
        }),
        components,
    )
}

/// The bill of materials of a package (CycloneDX 1.5): the package, and that it was built in its target's deps image, whose own
/// bill says what that holds.
pub fn package_sbom(record: &RunRecord, target: &TargetRecord, artifact: &Artifact) -> Value {
    let name = &target.target;
    let (package, version, arch) = match &artifact.package {
        Some(package) => (package.name.clone(), package.version.clone(), package.arch.clone()),
        None => (artifact.name.clone(), target.package_version.clone(), String::new()),
    };
    let purl = purl::of(name.format, &name.builder, &package, &version, &arch);
    let used = record
        .images
        .iter()
        .filter(|image| image.role == ImageRole::Deps && target.images.contains(&image.id));
    let images: Vec<Value> = used
        .map(|image| {
            json!({
                "type": "container", "bom-ref": image.id, "scope": "excluded",
                "name": format!("{} image of {}", image.role, image.builder),
                "hashes": [{ "alg": "SHA-256", "content": image.id.hex() }],
            })
        })
        .collect();
    document(
        json!({
            "type": "application",
            "bom-ref": purl,
            "name": package,
            "version": version,
            "purl": purl,
            "hashes": [{ "alg": "SHA-256", "content": artifact.digest.hex() }],
        }),
        images,
    )
}

fn document(about: Value, components: Vec<Value>) -> Value {
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": about },
        "components": components,
    })
}
