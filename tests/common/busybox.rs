//! What several tests need.

use std::path::Path;
use std::process::Command;

use packhold::model::Digest;
use serde_json::json;

/// A `docker save` archive of a small Linux userland: Debian's static busybox with all its applets. Made here from one
/// file, so that no test needs a registry or a mirror.
pub fn busybox_image() -> Vec<u8> {
    archive(busybox_layer())
}

/// The tar of its layer.
pub fn busybox_layer() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox")
        .expect("/bin/busybox makes the tests' image: install Debian's package busybox-static");
    let mut layer = tar::Builder::new(Vec::new());
    for (folder, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("sys", 0o755),
        ("tmp", 0o1777),
    ] {
        append(&mut layer, folder, tar::EntryType::Directory, mode, b"", None);
    }
    append(&mut layer, "bin/busybox", tar::EntryType::Regular, 0o755, &busybox, None);
    append(
        &mut layer,
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\n",
        None,
    );
    append(&mut layer, "etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\n", None);
    for applet in applets() {
        append(&mut layer, &format!("bin/{applet}"), tar::EntryType::Symlink, 0o777, b"", Some("busybox"));
    }
    layer.into_inner().expect("a tar in memory")
}

/// A `docker save` archive of one layer.
pub fn archive(layer: Vec<u8>) -> Vec<u8> {
    archive_of(&[layer])
}

/// A `docker save` archive of these layers, the lowest first.
pub fn archive_of(layers: &[Vec<u8>]) -> Vec<u8> {
    let digests: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let names: Vec<String> = (0..layers.len()).map(|number| format!("layer-{number}.tar")).collect();
    let config = json!({
        "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
        "os": "linux",
        "created": "2001-09-09T01:46:40Z",
        "config": {
            "Env": ["PATH=/bin", "PACKHOLD_LEAK=1"],
            "Cmd": ["/bin/sh"],
            "Labels": {"org.opencontainers.image.title": "busybox"},
        },
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": [{"created": "2001-09-09T01:46:40Z", "created_by": "test"}],
    })
    .to_string();
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([{"Config": config_name, "RepoTags": null, "Layers": names}]).to_string();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, layer) in names.iter().zip(layers) {
        append(&mut archive, name, tar::EntryType::Regular, 0o644, layer, None);
    }
    append(&mut archive, &config_name, tar::EntryType::Regular, 0o644, config.as_bytes(), None);
    append(&mut archive, "manifest.json", tar::EntryType::Regular, 0o644, manifest.as_bytes(), None);
    archive.into_inner().expect("a tar in memory")
}

fn applets() -> Vec<String> {
    let list = Command::new("/bin/busybox").arg("--list").output().expect("busybox runs");
    assert!(list.status.success(), "/bin/busybox --list failed");
    let names = String::from_utf8(list.stdout).expect("names of applets");
    names.lines().filter(|name| *name != "busybox").map(str::to_owned).collect()
}

pub fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
    link: Option<&str>,
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(bytes.len() as u64);
    let path = Path::new(path);
    match link {
        Some(target) => tar.append_link(&mut header, path, target).expect("a link in a tar in memory"),
        None => tar.append_data(&mut header, path, bytes).expect("a file in a tar in memory"),
    }
}
