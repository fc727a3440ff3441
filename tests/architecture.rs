//! The layers of the crate documentation, enforced.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the source fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module → layer, as in the diagram of `src/lib.rs`.
const LAYERS: [(&str, u8); 24] = [
    ("cli", 7),
    ("run", 6),
    ("stage", 5),
    ("provenance", 4),
    ("notify", 4),
    ("publish", 4),
    ("remote", 4),
    ("sandbox", 4),
    ("init", 4),
    ("plan", 4),
    ("report", 4),
    ("engine", 3),
    ("archive", 3),
    ("source", 3),
    ("compare", 3),
    ("config", 3),
    ("sign", 3),
    ("versions", 3),
    ("bucket", 2),
    ("chunks", 2),
    ("model", 1),
    ("registry", 1),
    ("serve", 1),
    ("support", 0),
];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Module → its files' paths and texts without comments.
fn modules() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for path in rust_files(&src) {
        let inner = path.strip_prefix(&src).unwrap().to_owned();
        let first = inner.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        let text = fs::read_to_string(&path).unwrap();
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|l| l.to_owned() + "\n")
            .collect();
        modules.entry(first).or_default().push((inner, code));
    }
    modules
}

/// Whether a text has this word, and not at the end of a longer one.
fn names(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// The modules that a text names after `crate::`, those in braces too.
fn imports(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(inner) => inner.split('}').next().unwrap_or_default(),
            None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default(),
        };
        for part in list.split(',') {
            let name: String = part.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            names.push(name);
        }
    }
    names
}

#[test]
fn every_module_has_a_layer() {
    for module in modules().keys().filter(|module| !["lib", "main"].contains(&module.as_str())) {
        assert!(
            layer(module).is_some(),
            "src/{module} is in no layer: put it into the diagram of src/lib.rs and here"
        );
    }
}

#[test]
fn a_module_imports_only_from_layers_below_its_own() {
    let mut wrong = Vec::new();
    for (module, files) in modules() {
        let Some(own) = layer(&module) else { continue };
        for (path, text) in files {
            for import in imports(&text) {
                if import != module && layer(&import).is_some_and(|other| other >= own) {
                    wrong.push(format!("src/{}: crate::{import}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "upward imports:\n{}", wrong.join("\n"));
}

#[test]
fn foreign_interfaces_stay_in_their_place() {
    for (module, files) in modules() {
        for (path, text) in files {
            let path = path.to_string_lossy();
            let docker = path.starts_with("engine/docker");
            assert!(docker || !text.contains("bollard::"), "src/{path} names bollard");
            let embedded = path.starts_with("engine/embedded");
            // The container library has its own copy of oci-spec's types.
            assert!(
                module == "archive" || embedded || !text.contains("oci_spec"),
                "src/{path} names oci-spec"
            );
            for word in ["libcontainer::", "seccompiler::", "caps::", "nix::", "libc::"] {
                assert!(embedded || !names(&text, word), "src/{path} names {word}");
            }
            let registries = ["remote/", "registry/", "engine/embedded/store/pull.rs"];
            assert!(
                registries.iter().any(|place| path.starts_with(place)) || !text.contains("oci_client"),
                "src/{path} names oci-client"
            );
            let buckets = ["bucket.rs", "remote/bucket.rs", "publish/place/bucket.rs"];
            assert!(
                buckets.contains(&&*path) || !names(&text, "object_store::"),
                "src/{path} names object_store"
            );
            assert!(
                path.starts_with("archive/catalogue") || !text.contains("rusqlite::"),
                "src/{path} names rusqlite"
            );
            assert!(module == "sign" || !names(&text, "pgp::"), "src/{path} names pgp");
            assert!(module == "source" || !text.contains("git2::"), "src/{path} names git2");
            assert!(module == "cli" || !text.contains("clap"), "src/{path} names clap");
        }
    }
}

#[test]
fn only_the_command_line_prints_reads_the_environment_or_exits() {
    for (module, files) in modules() {
        if module == "cli" || module == "main" {
            continue;
        }
        for (path, text) in files {
            // Tests of a module may do what they like.
            if path.iter().any(|part| part == "tests") {
                continue;
            }
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            // A helper is a process of its own, which ends as its command does.
            let helper = path.starts_with("engine/embedded/helper");
            for word in ["println!", "eprintln!", "print!(", "env::var", "process::exit"] {
                if helper && word == "process::exit" {
                    continue;
                }
                assert!(!code.contains(word), "src/{} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn the_program_itself_is_short() {
    let main = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    assert!(main.lines().count() < 30);
}

#[test]
fn the_engine_trait_has_at_most_twelve_methods() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/mod.rs")).unwrap();
    let body = text.split("pub trait Engine").nth(1).unwrap();
    assert!(body.matches("async fn ").count() <= 12);
}
