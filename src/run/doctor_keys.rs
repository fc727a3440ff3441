//! What the keys that sign repositories need of this machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::doctor::{Finding, Health};
use crate::sign::{KeySource, Keys, Options, SignError, Signer};
use crate::support::Hint;

/// Looks for the programs of the keys in the folders of `path`, and at the keys themselves as far as that asks nobody for anything. No key is
/// used. It blocks.
pub(super) fn examine_keys(keys: &[KeySource], path: &[PathBuf]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |what: String, state, detail: String| findings.push(Finding { what, state, detail });
    let mut looked_for = BTreeSet::new();
    for key in keys {
        let mut has_all = true;
        for (program, package) in key.programs() {
            let found = find(program, path);
            has_all &= found.is_some();
            if !looked_for.insert(program) {
                continue;
            }
            match found {
                Some(found) => {
                    say(program.to_owned(), Health::Good, format!("{} for {key}", found.display()))
                }
                None => {
                    let install = package.map(|package| format!(": install {package}")).unwrap_or_default();
                    say(
                        program.to_owned(),
                        Health::Bad,
                        format!("not installed, and {key} needs it{install}"),
                    );
                }
            }
        }
        if !has_all {
            continue;
        }
        match Keys::open(std::slice::from_ref(key), None, Options::default()) {
            Ok(keys) => {
                let who = keys.certificates().unwrap_or_default().into_iter().map(|key| key.user_id);
                let words = [who.collect::<Vec<_>>(), keys.warnings()].concat().join("; ");
                let state = if keys.warnings().is_empty() { Health::Good } else { Health::Unknown };
                say(key.to_string(), state, words);
            }
            // Whoever publishes has the passphrase.
            Err(SignError::Locked { .. }) => {
                say(key.to_string(), Health::Good, "it is locked: --passphrase-fd opens it".to_owned());
            }
            Err(error) => say(key.to_string(), Health::Bad, format!("{error}: {}", error.hint())),
        }
    }
    findings
}

/// Where a program is, as a shell would find it.
fn find(program: &str, path: &[PathBuf]) -> Option<PathBuf> {
    let is_program = |file: &Path| {
        use std::os::unix::fs::PermissionsExt;
        file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    match program.contains('/') {
        true => Some(PathBuf::from(program)).filter(|file| is_program(file)),
        false => path.iter().map(|folder| folder.join(program)).find(|file| is_program(file)),
    }
}
