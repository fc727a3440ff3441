//! Signed tags.

use git2::ObjectType;

use super::repository::{Commit, Repository};
use super::{Result, SourceError};

/// An annotated tag of a commit and the signature over it, which nobody has checked yet: `sign::verify_detached` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTag {
    /// Its name, as the signed text has it.
    pub name: String,
    /// The full id of the commit that the signed text names.
    pub commit: String,
    /// What is signed: the tag object up to its signature.
    pub payload: Vec<u8>,
    /// The armored OpenPGP signature.
    pub signature: Vec<u8>,
}

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNATURE-----\n";

impl Repository {
    /// The signed tag `name` that stands on `commit`. A tag that is lightweight, not signed, on another object than its reference says
    /// or signed under another name is an error: whoever can write references could else give an old signature to a new release.
    pub fn signed_tag(&self, name: &str, commit: &Commit) -> Result<SignedTag> {
        let fail = |reason| SourceError::NotSigned { tag: name.to_owned(), reason };
        let location = self.location();
        let error = SourceError::git("read the tags of", &location);
        let reference = match self.git.find_reference(&format!("refs/tags/{name}")) {
            Ok(reference) => reference,
            Err(found) if found.code() == git2::ErrorCode::NotFound => return Err(fail("there is none")),
            Err(found) => return Err(error(found)),
        };
        let id = reference.target().ok_or_else(|| fail("it is a reference to another one"))?;
        let odb = self.git.odb().map_err(SourceError::git("read the tags of", &location))?;
        let object = odb.read(id).map_err(|source| self.object_error(&id.to_string(), source))?;
        if object.kind() != ObjectType::Tag {
            return Err(fail("it is a lightweight tag, which nobody can sign"));
        }
        let (payload, signature) = split(object.data()).ok_or_else(|| fail("it has no OpenPGP signature"))?;
        let header = |field: &str| header(payload, field);
        if header("type").as_deref() != Some("commit") {
            return Err(fail("it is no tag of a commit"));
        }
        if header("tag").as_deref() != Some(name) {
            return Err(fail("it was signed under another name"));
        }
        match header("object") {
            Some(id) if id == commit.id => Ok(SignedTag {
                name: name.to_owned(),
                commit: id,
                payload: payload.to_vec(),
                signature: signature.to_vec(),
            }),
            _ => Err(fail("it stands on another commit")),
        }
    }

    /// The commit that the tag `name` stands on; `None` if there is no such tag.
    pub fn tagged(&self, name: &str) -> Result<Option<Commit>> {
        let reference = format!("refs/tags/{name}");
        if !git2::Reference::is_valid_name(&reference) {
            return Err(SourceError::NoTag { tag: name.to_owned(), reason: "git allows no such name" });
        }
        match self.git.find_reference(&reference) {
            Ok(_) => self.resolve(&reference).map(Some),
            Err(found) if found.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(found) => Err(SourceError::git("read the tags of", &self.location())(found)),
        }
    }

    /// Takes a tag away that [`Repository::create_tag`] has made.
    pub fn remove_tag(&self, name: &str) -> Result<()> {
        self.git.tag_delete(name).map_err(SourceError::git("remove a tag from", &self.location()))
    }

    /// Makes an annotated tag on a commit, by the person that git's configuration names. A repository that was fetched from an address
    /// gets none.
    pub fn create_tag(&self, name: &str, commit: &Commit) -> Result<()> {
        let bad = |reason| SourceError::NoTag { tag: name.to_owned(), reason };
        if !matches!(self.location, super::Location::Local(_)) {
            return Err(bad("the repository at the address has no such tag, and only its owners make one"));
        }
        let tagger = self.git.signature().map_err(|_| bad("git does not know who makes it"))?;
        let id = self.lookup(commit)?;
        let made = self.git.tag(name, id.as_object(), &tagger, &format!("{name}\n"), false);
        made.map(|_| ()).map_err(SourceError::git("make a tag in", &self.location()))
    }
}

/// A tag object before and after the last line that begins a signature, as git itself has it (gpg-interface.c, `parse_signature`).
fn split(object: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut starts = (0..object.len()).filter(|at| *at == 0 || object[at - 1] == b'\n');
    let start = starts.rfind(|at| object[*at..].starts_with(BEGIN))?;
    Some(object.split_at(start))
}

/// A field before the first empty line; the first of several.
fn header(payload: &[u8], field: &str) -> Option<String> {
    let mut lines = payload.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let value = lines.find_map(|line| line.strip_prefix(field.as_bytes())?.strip_prefix(b" "))?;
    String::from_utf8(value.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use crate::source::testing::TestRepository;

    /// Stores a tag object as it is and lets a reference stand on it.
    fn put(test: &TestRepository, reference: &str, object: &str) {
        test.write("../object", object.as_bytes());
        let id = test.git(["hash-object", "-w", "-t", "tag", "--literally", "../object"]);
        test.git(["update-ref", &format!("refs/tags/{reference}"), &id]);
    }

    #[test]
    fn a_tag_is_split_at_its_last_signature() {
        let test = TestRepository::new();
        let id = test.commit("one");
        let head = format!("object {id}\ntype commit\ntag v1\ntagger T <t@b.invalid> 1 +0000\n\n");
        let begin = "-----BEGIN PGP SIGNATURE-----\n";
        let payload = format!("{head}quoted:\n{begin}end\n");
        put(&test, "v1", &format!("{payload}{begin}\nabc\n-----END PGP SIGNATURE-----\n"));
        let repository = test.open();
        let commit = repository.resolve("main").unwrap();
        let tag = repository.signed_tag("v1", &commit).unwrap();
        assert_eq!(tag.payload, payload.as_bytes());
        assert!(tag.signature.starts_with(begin.as_bytes()));
        assert_eq!(tag.commit, id);
    }

    #[test]
    fn a_tag_that_is_not_signed_or_not_for_this_name_and_commit_is_refused() {
        let test = TestRepository::new();
        let old = test.commit("one");
        test.commit("two");
        test.git(["tag", "light"]);
        test.git(["tag", "--annotate", "--message", "unsigned", "plain"]);
        let signature = "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n";
        let object = |name: &str, kind: &str| {
            format!("object {old}\ntype {kind}\ntag {name}\ntagger T <t@b.invalid> 1 +0000\n\nm\n{signature}")
        };
        put(&test, "moved", &object("moved", "commit"));
        put(&test, "v2", &object("v1", "commit"));
        put(&test, "nested", &object("nested", "tag"));
        let repository = test.open();
        let commit = repository.resolve("main").unwrap();
        for (name, reason) in [
            ("none", "there is none"),
            ("light", "lightweight"),
            ("plain", "no OpenPGP signature"),
            ("moved", "another commit"),
            ("v2", "another name"),
            ("nested", "no tag of a commit"),
        ] {
            let error = repository.signed_tag(name, &commit).unwrap_err();
            assert!(error.to_string().contains(reason), "{name}: {error}");
        }
    }
}
