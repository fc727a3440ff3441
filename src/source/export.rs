use std::collections::HashSet;
use std::io::Write;

use git2::Oid;

use crate::model::{Digest, Hasher};

use super::repository::{Commit, Repository};
use super::tarball::Tarball;
use super::tree::TreeEntryKind;
use super::{AddedFile, Result, SourceError};

/// A source tree that was written: what identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedTree {
    /// The digest of the tar.
    pub digest: Digest,
    /// Bytes of the tar.
    pub size: u64,
}

impl Repository {
    /// Writes the folder `subdir` of a commit (empty: all of it) to `writer` as a tar that is the same, byte for byte,
    /// on every machine and from every clone.
    ///
    /// The tar is in GNU format. Paths are relative to `subdir`, without a leading `./`, and sorted by their bytes; a
    /// folder comes before what is in it and ends in `/`. Owner and group are 0 without names; files have mode 0644
    /// or, with git's executable bit, 0755; folders 0755, symbolic links 0777 and their target untouched. Every entry
    /// carries the committer time of the commit. A path or target of more than 100 bytes is in a GNU long-name entry.
    ///
    /// The tree is exactly the commit's: no attribute of gitattributes(5) is applied, neither those that change bytes
    /// (`text`, `eol`, `working-tree-encoding`, `ident`, `filter` with git-lfs among them, `export-subst`) nor
    /// `export-ignore`, since all of them depend on configuration outside of the commit or make the tree differ from
    /// what was reviewed.
    ///
    /// With `submodules`, the commit that the tree names for a submodule stands in its place, recursively; without, an
    /// empty folder. Files in `added` come last, in the order of their paths, each after the folders that the commit lacks.
    /// Memory use is bounded by the largest file.
    pub fn export(
        &self,
        commit: &Commit,
        subdir: &str,
        submodules: bool,
        added: &[AddedFile],
        writer: impl Write,
    ) -> Result<ExportedTree> {
        let tree = self.subtree(commit, subdir)?;
        let mtime = u64::try_from(commit.epoch).unwrap_or(0);
        let mut tarball = Tarball::new(Hasher::around(writer), mtime);
        let root = self.lookup(commit)?.tree().map_err(|e| self.object_error(&commit.id, e))?;
        let mut inside: Vec<u8> = super::tree::components(subdir)?.collect::<Vec<_>>().join("/").into_bytes();
        if !inside.is_empty() {
            inside.push(b'/');
        }
        let export = Export { repository: self, root, submodules, depth: 0 };
        export.folder(&mut tarball, &tree, b"", &inside)?;
        self.add(&mut tarball, &tree, added)?;
        let mut hasher = tarball.finish().map_err(SourceError::Write)?;
        hasher.flush().map_err(SourceError::Write)?;
        let (digest, size, _) = hasher.finish();
        Ok(ExportedTree { digest, size })
    }
}

/// Submodules within submodules, and folders within folders: more than any project has, and few enough for the stack.
const MAX_SUBMODULE_DEPTH: usize = 16;
const MAX_FOLDER_DEPTH: usize = 256;

/// One repository's part of an export.
struct Export<'r> {
    repository: &'r Repository,
    /// The commit's whole tree, which holds `.gitmodules`.
    root: git2::Tree<'r>,
    submodules: bool,
    /// In how many submodules this is.
    depth: usize,
}

impl Export<'_> {
    /// Adds what is in `tree`, which stands at `prefix` in the tar and at `inside` in its repository.
    fn folder<W: Write>(
        &self,
        tarball: &mut Tarball<W>,
        tree: &git2::Tree<'_>,
        prefix: &[u8],
        inside: &[u8],
    ) -> Result<()> {
        if inside.iter().filter(|b| **b == b'/').count() > MAX_FOLDER_DEPTH {
            return Err(bad_tree(prefix, "folders are nested too deeply"));
        }
        let repository = self.repository;
        for (name, kind, id) in sorted_entries(tree, prefix)? {
            let path = [prefix, &name].concat();
            let object_error = |e| repository.object_error(&id.to_string(), e);
            match kind {
                TreeEntryKind::Folder => {
                    tarball.entry(&path, kind, b"").map_err(SourceError::Write)?;
                    let tree = repository.git.find_tree(id).map_err(object_error)?;
                    self.folder(tarball, &tree, &path, &[inside, &name].concat())?;
                }
                TreeEntryKind::Submodule => {
                    tarball.entry(&path, kind, b"").map_err(SourceError::Write)?;
                    if self.submodules {
                        self.submodule(tarball, &path, &[inside, &name].concat(), id)?;
                    }
                }
                _ => {
                    let blob = repository.git.find_blob(id).map_err(object_error)?;
                    tarball.entry(&path, kind, blob.content()).map_err(SourceError::Write)?;
                }
            }
        }
        Ok(())
    }

    fn submodule<W: Write>(
        &self,
        tarball: &mut Tarball<W>,
        path: &[u8],
        inside: &[u8],
        id: Oid,
    ) -> Result<()> {
        let bad = |reason: &str| SourceError::BadSubmodule {
            path: String::from_utf8_lossy(path).trim_end_matches('/').to_owned(),
            reason: reason.to_owned(),
        };
        if self.depth == MAX_SUBMODULE_DEPTH {
            return Err(bad("submodules are nested too deeply"));
        }
        let declared = self.repository.declared_submodules(&self.root)?;
        let wanted = inside.strip_suffix(b"/").unwrap_or(inside);
        let submodule = declared
            .iter()
            .find(|submodule| submodule.path == wanted)
            .ok_or_else(|| bad(".gitmodules does not describe it"))?;
        let repository = self.repository.submodule_repository(submodule, id)?;
        let commit =
            repository.git.find_commit(id).map_err(|e| repository.object_error(&id.to_string(), e))?;
        let root = commit.tree().map_err(|e| repository.object_error(&id.to_string(), e))?;
        let export =
            Export { repository: &repository, root: root.clone(), submodules: true, depth: self.depth + 1 };
        export.folder(tarball, &root, path, b"")
    }
}

/// The entries of a tree in the order of their paths in the tar; folders' names end in `/`. What git itself would never
/// write into a tree is refused.
fn sorted_entries(tree: &git2::Tree<'_>, prefix: &[u8]) -> Result<Vec<(Vec<u8>, TreeEntryKind, Oid)>> {
    let mut names = HashSet::new();
    let mut entries = Vec::with_capacity(tree.len());
    for entry in tree {
        let mut name = entry.name_bytes().to_vec();
        let bad = |reason| bad_tree(&[prefix, entry.name_bytes()].concat(), reason);
        if matches!(name.as_slice(), b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(bad("the name would leave the folder"));
        }
        if name.eq_ignore_ascii_case(b".git") {
            return Err(bad("a repository's own folder cannot be committed"));
        }
        if !names.insert(name.clone()) {
            return Err(bad("the name occurs twice"));
        }
        let kind = TreeEntryKind::of_mode(entry.filemode_raw()).ok_or_else(|| bad("its mode is unknown"))?;
        if matches!(kind, TreeEntryKind::Folder | TreeEntryKind::Submodule) {
            name.push(b'/');
        }
        entries.push((name, kind, entry.id()));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

fn bad_tree(path: &[u8], reason: &'static str) -> SourceError {
    SourceError::BadTree { path: String::from_utf8_lossy(path).into_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::*;
    use crate::source::testing::{TestRepository, git};
    use crate::support::Hint;

    fn export(
        repository: &Repository,
        rev: &str,
        subdir: &str,
        submodules: bool,
    ) -> Result<(ExportedTree, Vec<u8>)> {
        let commit = repository.resolve(rev)?;
        let mut bytes = Vec::new();
        let tree = repository.export(&commit, subdir, submodules, &[], &mut bytes)?;
        assert_eq!(tree, ExportedTree { digest: Digest::of(&bytes), size: bytes.len() as u64 });
        Ok((tree, bytes))
    }

    /// Path, mode, content or link target of every entry; asserts what all entries have in common.
    fn entries(tar: &[u8]) -> Vec<(Vec<u8>, u32, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in tar::Archive::new(tar).entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!((header.username_bytes(), header.groupname_bytes()), (Some(&b""[..]), Some(&b""[..])));
            // 2025-03-01T02:00:00Z: the committer's time.
            assert_eq!(header.mtime().unwrap(), 1_740_794_400);
            let mode = header.mode().unwrap();
            let path = entry.path_bytes().into_owned();
            let mut content = entry.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
            entry.read_to_end(&mut content).unwrap();
            found.push((path, mode, content));
        }
        found
    }

    fn names(tar: &[u8]) -> Vec<String> {
        entries(tar).into_iter().map(|(path, _, _)| String::from_utf8_lossy(&path).into_owned()).collect()
    }

    /// A tree with everything that is awkward.
    fn awkward() -> TestRepository {
        let test = TestRepository::new();
        test.write(
            ".gitattributes",
            b"* text=auto\nident.c ident\nsecret export-ignore\nv export-subst\nx filter=up\n",
        );
        test.write("text", b"one\ntwo\n");
        test.write("ident.c", b"$Id$\n");
        test.write("secret", b"not for export\n");
        test.write("v", b"$Format:%H$\n");
        test.write("x", b"lower\n");
        test.write("a/b", b"");
        test.write("a.txt", b"");
        test.write("a-", b"");
        test.executable("bin/run");
        test.symlink(".././/bin//run", "a/odd");
        test.symlink("/etc/passwd", "absolute");
        test.symlink(&"t/".repeat(120), "far");
        test.write(format!("{}/{}", "d".repeat(150), "f".repeat(150)), b"deep");
        test.write(Path::new(OsStr::from_bytes(b"gr\xfc\xdfe")), b"latin1");
        test.commit("awkward");
        test
    }

    #[test]
    fn the_tar_holds_exactly_the_commit_in_order() {
        let test = awkward();
        let (_, tar) = export(&test.open(), "HEAD", "", true).unwrap();
        let entries = entries(&tar);
        let long = "d".repeat(150);
        let file = |path: &str, content: &str| (path.as_bytes().to_vec(), 0o644, content.as_bytes().to_vec());
        let folder = |path: &str| (path.as_bytes().to_vec(), 0o755, Vec::new());
        let link = |path: &str, target: &str| (path.as_bytes().to_vec(), 0o777, target.as_bytes().to_vec());
        let attributes = "* text=auto\nident.c ident\nsecret export-ignore\nv export-subst\nx filter=up\n";
        let expected = vec![
            file(".gitattributes", attributes),
            file("a-", ""),
            file("a.txt", ""),
            folder("a/"),
            file("a/b", ""),
            link("a/odd", ".././/bin//run"),
            link("absolute", "/etc/passwd"),
            folder("bin/"),
            (b"bin/run".to_vec(), 0o755, b"#!/bin/sh\n".to_vec()),
            folder(&format!("{long}/")),
            file(&format!("{long}/{}", "f".repeat(150)), "deep"),
            link("far", &"t/".repeat(120)),
            (b"gr\xfc\xdfe".to_vec(), 0o644, b"latin1".to_vec()),
            file("ident.c", "$Id$\n"),
            file("secret", "not for export\n"),
            file("text", "one\ntwo\n"),
            file("v", "$Format:%H$\n"),
            file("x", "lower\n"),
        ];
        assert_eq!(entries, expected);
        let paths: Vec<_> = entries.iter().map(|entry| &entry.0).collect();
        assert!(paths.is_sorted());
    }

    #[test]
    fn gnu_tar_reads_it() {
        let test = awkward();
        let (_, tar) = export(&test.open(), "HEAD", "", true).unwrap();
        let path = test.folder.path().join("out.tar");
        std::fs::write(&path, tar).unwrap();
        let out = test.folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let status =
            std::process::Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(&out).status().unwrap();
        assert!(status.success());
        let deep = out.join("d".repeat(150)).join("f".repeat(150));
        assert_eq!(std::fs::read(deep).unwrap(), b"deep");
        assert_eq!(std::fs::read_link(out.join("far")).unwrap().as_os_str().len(), 240);
    }

    #[test]
    fn the_digest_of_a_tree_is_the_same_everywhere() {
        let test = TestRepository::new();
        test.write("a/file", b"text\n");
        test.executable("run");
        test.symlink("a/file", "link");
        test.commit("one");
        let (tree, _) = export(&test.open(), "HEAD", "", false).unwrap();
        assert_eq!(
            tree,
            ExportedTree {
                digest: "sha256:fc57ed427406237875535fabe53c752be0bc4fc9d66d60e5bb05a9bf3500b920"
                    .parse()
                    .unwrap(),
                size: 4096
            }
        );
    }

    #[test]
    fn clones_with_other_settings_give_the_same_bytes() {
        let test = awkward();
        let expected = export(&test.open(), "HEAD", "", true).unwrap().1;
        let top = test.folder.path();
        let script = "umask 077; git -c core.autocrlf=true -c filter.up.smudge='tr a-z A-Z' -c filter.up.clean=cat \
                      -c core.symlinks=false -c core.fileMode=false clone --quiet work crlf";
        let status = std::process::Command::new("sh").args(["-c", script]).current_dir(top).status().unwrap();
        assert!(status.success());
        let clone = top.join("crlf");
        for (name, value) in
            [("core.autocrlf", "true"), ("core.eol", "crlf"), ("filter.up.smudge", "tr a-z A-Z")]
        {
            git(&clone, ["config", name, value]);
        }
        assert_eq!(std::fs::read(clone.join("text")).unwrap(), b"one\r\ntwo\r\n");
        assert_eq!(std::fs::read(clone.join("x")).unwrap(), b"LOWER\r\n");
        let cloned = Repository::open("crlf", top, &test.cache()).unwrap();
        assert!(export(&cloned, "HEAD", "", true).unwrap().1 == expected);

        git(top, ["clone", "--quiet", "--bare", "work", "bare.git"]);
        git(&top.join("bare.git"), ["gc", "--quiet"]);
        let bare = Repository::open("bare.git", top, &test.cache()).unwrap();
        assert!(export(&bare, "HEAD", "", true).unwrap().1 == expected);
    }

    #[test]
    fn edits_in_the_working_directory_do_not_show() {
        let test = TestRepository::new();
        test.write("a", b"committed");
        test.commit("one");
        let before = export(&test.open(), "HEAD", "", true).unwrap();
        test.write("a", b"edited");
        test.write("b", b"staged");
        test.git(["add", "b"]);
        test.write(".git/info/attributes", b"a export-ignore\n");
        assert_eq!(export(&test.open(), "HEAD", "", true).unwrap(), before);
    }

    #[test]
    fn a_folder_is_exported_as_if_it_were_the_whole() {
        let test = TestRepository::new();
        test.write("agents/one/src/main.c", b"");
        test.write("agents/two/x", b"");
        test.commit("one");
        let repository = test.open();
        let (_, tar) = export(&repository, "HEAD", "./agents/one/", true).unwrap();
        assert_eq!(names(&tar), ["src/", "src/main.c"]);
        assert!(matches!(
            export(&repository, "HEAD", "agents/three", true),
            Err(SourceError::NoFolder { .. })
        ));
        assert!(matches!(
            export(&repository, "HEAD", "agents/two/x", true),
            Err(SourceError::NoFolder { .. })
        ));
        assert!(matches!(
            export(&repository, "HEAD", "agents/../..", true),
            Err(SourceError::BadPath { .. })
        ));
    }

    /// A repository `work` with the submodule `third/lib`, which has the submodule `inner` of its own.
    fn with_submodules() -> TestRepository {
        let test = TestRepository::new();
        for name in ["inner", "lib"] {
            let folder = test.folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            git(&folder, ["init", "--quiet", "--template=", "--initial-branch=main", "."]);
            std::fs::write(folder.join(format!("{name}.c")), name).unwrap();
            if name == "lib" {
                git(&folder, ["submodule", "--quiet", "add", "../inner", "inner"]);
            }
            git(&folder, ["add", "--all"]);
            git(&folder, ["commit", "--quiet", "--message", name]);
        }
        test.write("sub/main.c", b"");
        test.git(["submodule", "--quiet", "add", "../lib", "sub/third/lib"]);
        test.commit("uses lib");
        test
    }

    const WITH_SUBMODULES: [&str; 7] = [
        "main.c",
        "third/",
        "third/lib/",
        "third/lib/.gitmodules",
        "third/lib/inner/",
        "third/lib/inner/inner.c",
        "third/lib/lib.c",
    ];

    #[test]
    fn a_submodule_stands_in_its_place_wherever_its_objects_are() {
        let test = with_submodules();
        // `lib` is in .git/modules; `inner` is fetched from its relative address.
        let (_, here) = export(&test.open(), "HEAD", "sub", true).unwrap();
        assert_eq!(names(&here), WITH_SUBMODULES);

        test.git(["submodule", "--quiet", "update", "--init", "--recursive"]);
        let empty = test.folder.path().join("empty");
        let repository = Repository::open(".", &test.path(), &empty).unwrap();
        assert!(export(&repository, "HEAD", "sub", true).unwrap().1 == here);
        assert!(!empty.exists(), "nothing had to be fetched");

        let url = format!("file://{}", test.path().display());
        let fetched = Repository::open(&url, Path::new("/"), &test.cache()).unwrap();
        assert!(export(&fetched, "HEAD", "sub", true).unwrap().1 == here);
    }

    #[test]
    fn without_submodules_their_folder_is_empty() {
        let test = with_submodules();
        let (_, tar) = export(&test.open(), "HEAD", "", false).unwrap();
        assert_eq!(names(&tar), [".gitmodules", "sub/", "sub/main.c", "sub/third/", "sub/third/lib/"]);
    }

    #[test]
    fn a_missing_submodule_is_named_with_its_address() {
        let test = with_submodules();
        let top = test.folder.path();
        git(top, ["clone", "--quiet", "work", "clone"]);
        std::fs::remove_dir_all(top.join("lib")).unwrap();
        let clone = Repository::open("clone", top, &test.cache()).unwrap();
        let error = export(&clone, "HEAD", "", true).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, SourceError::MissingSubmodule { .. }), "{message}");
        assert!(
            message.contains("`sub/third/lib`") && message.contains(top.join("lib").to_str().unwrap()),
            "{message}"
        );
        assert!(error.hint().contains("git submodule update"));
        assert!(export(&clone, "HEAD", "", false).is_ok());
    }

    #[test]
    fn a_gitlink_that_gitmodules_does_not_describe_safely_is_refused() {
        let test = TestRepository::new();
        let id = test.commit("one");
        test.git(["update-index", "--add", "--cacheinfo", &format!("160000,{id},lib")]);
        for gitmodules in [
            "",
            "[submodule \"../../x\"]\npath = lib\nurl = ../x\n",
            "[submodule \"x\"]\npath = lib\n",
            "[submodule \"x\"]\npath = lib\nurl = ../x\n[Include]\npath = /dev/zero\n",
        ] {
            test.write(".gitmodules", gitmodules.as_bytes());
            test.git(["add", ".gitmodules"]);
            test.git(["commit", "--quiet", "--message", "gitlink"]);
            let error = export(&test.open(), "HEAD", "", true).unwrap_err();
            assert!(matches!(error, SourceError::BadSubmodule { .. }), "{gitmodules}: {error}");
        }
    }

    #[test]
    fn a_tree_that_git_would_not_write_is_refused() {
        let test = TestRepository::new();
        test.write("a", b"");
        test.commit("one");
        let blob = test.git(["rev-parse", "HEAD:a"]);
        let raw = hex::decode(&blob).unwrap();
        for (mode, name) in
            [("100644", ".."), ("100644", ".Git"), ("100644", "a/b"), ("100644", "."), ("110000", "x")]
        {
            let bytes = [format!("{mode} {name}\0").as_bytes(), &raw].concat();
            let repository = test.open();
            let objects = repository.git.odb().unwrap();
            let tree = objects.write(git2::ObjectType::Tree, &bytes).unwrap().to_string();
            let commit = test.git(["commit-tree", "-m", "hostile", &tree]);
            let error = export(&test.open(), &commit, "", false).unwrap_err();
            assert!(matches!(error, SourceError::BadTree { .. }), "{name}: {error}");
        }
    }
}
