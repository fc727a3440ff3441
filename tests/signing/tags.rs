//! Releases from signed tags.

use std::process::Command;

use packhold::sign::{Signer, verify_detached};
use packhold::source::Repository;

use crate::gpg::{Gpg, run, text};
use crate::open;

#[test]
fn a_tag_that_git_signed_is_of_the_key_that_signed_it() {
    let gpg = Gpg::new();
    let own = gpg.key("own", "ed25519", "sign", "never", "");
    let other = gpg.key("other", "ed25519", "sign", "never", "");
    let script = format!(
        "git init --quiet --initial-branch=main work && cd work && git config user.name T && git config user.email t@b.invalid &&
         git commit --quiet --allow-empty --message one && git -c user.signingkey={own} tag --sign --message 'Release 1' v1.0"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(gpg.folder.path()).env("GNUPGHOME", gpg.home());
    let output = run(&mut command, b"");
    assert!(output.status.success(), "{}", text(&output));
    let repository = Repository::open("work", gpg.folder.path(), &gpg.path("cache")).unwrap();
    let commit = repository.resolve("v1.0").unwrap();
    let tag = repository.signed_tag("v1.0", &commit).unwrap();
    assert_eq!(tag.commit, commit.id);
    let certificates = |fingerprint: &str| open(&gpg, &[fingerprint]).unwrap().certificates().unwrap();
    let by = certificates(&own);
    assert_eq!(verify_detached(&by, &tag.payload, &tag.signature).unwrap().fingerprint, own);
    verify_detached(&certificates(&other), &tag.payload, &tag.signature).unwrap_err();
    let mut changed = tag.payload.clone();
    changed.push(b'\n');
    verify_detached(&by, &changed, &tag.signature).unwrap_err();
}
