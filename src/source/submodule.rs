//! Where a submodule's objects are.

use git2::{ErrorCode, Oid};

use super::fetch;
use super::location::Location;
use super::repository::{Repository, open_local};
use super::{Result, SourceError};

/// One section of a `.gitmodules` file (gitmodules(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submodule {
    pub name: String,
    pub path: Vec<u8>,
    pub url: String,
}

impl Repository {
    /// The submodules that the `.gitmodules` file of a tree names. The index and the working directory do not count.
    pub(super) fn declared_submodules(&self, root: &git2::Tree<'_>) -> Result<Vec<Submodule>> {
        let Some(entry) = root.get_name(".gitmodules") else { return Ok(Vec::new()) };
        let Ok(blob) = self.git.find_blob(entry.id()) else { return Ok(Vec::new()) };
        // libgit2 reads configuration from files only.
        let bad = |reason: String| SourceError::BadSubmodule { path: ".gitmodules".into(), reason };
        let file = tempfile::NamedTempFile::new().map_err(|e| bad(e.to_string()))?;
        std::fs::write(file.path(), blob.content()).map_err(|e| bad(e.to_string()))?;
        // git ignores `[include]` there; libgit2 would open whatever file it names.
        if blob.content().to_ascii_lowercase().windows(8).any(|text| text == b"[include") {
            return Err(bad("it includes other files".into()));
        }
        let mut config = git2::Config::new().map_err(|e| bad(e.message().to_owned()))?;
        config
            .add_file(file.path(), git2::ConfigLevel::Local, false)
            .map_err(|e| bad(e.message().to_owned()))?;
        let mut found: Vec<Submodule> = Vec::new();
        let entries = config.entries(None).map_err(|e| bad(e.message().to_owned()))?;
        entries
            .for_each(|entry| {
                let key = String::from_utf8_lossy(entry.name_bytes()).into_owned();
                let Some((name, field)) = key.strip_prefix("submodule.").and_then(|k| k.rsplit_once('.'))
                else {
                    return;
                };
                if !found.iter().any(|submodule| submodule.name == name) {
                    found.push(Submodule { name: name.to_owned(), path: Vec::new(), url: String::new() });
                }
                if let Some(submodule) = found.iter_mut().find(|submodule| submodule.name == name) {
                    let value = if entry.has_value() { entry.value_bytes() } else { b"" };
                    match field {
                        "path" => submodule.path = value.strip_suffix(b"/").unwrap_or(value).to_vec(),
                        "url" => submodule.url = String::from_utf8_lossy(value).into_owned(),
                        _ => {}
                    }
                }
            })
            .map_err(|e| bad(e.message().to_owned()))?;
        Ok(found)
    }

    /// The repository that holds commit `id` of a submodule: the one beside this repository's own objects, the one in
    /// the working directory, or else a fetched copy.
    pub(super) fn submodule_repository(&self, submodule: &Submodule, id: Oid) -> Result<Self> {
        let path = String::from_utf8_lossy(&submodule.path).into_owned();
        // CVE-2018-11235: a name is a path below .git/modules.
        if submodule.name.split(['/', '\\']).any(|part| matches!(part, "" | "." | "..")) {
            return Err(SourceError::BadSubmodule { path, reason: "its name is not a plain path".into() });
        }
        if submodule.url.is_empty() {
            return Err(SourceError::BadSubmodule { path, reason: "it has no `url` in .gitmodules".into() });
        }
        let base = self.origin();
        let location = base.submodule(&submodule.url);
        let beside = self.git.commondir().join("modules").join(&submodule.name);
        let inside = self.git.workdir().map(|top| top.join(&path));
        for folder in [Some(beside), inside].into_iter().flatten() {
            let Ok(git) = open_local(&folder, false) else { continue };
            if git.find_commit(id).is_ok() {
                // A submodule's own relative addresses start at its address.
                let location = location.unwrap_or(Location::Local(folder));
                return Ok(Self { git, location, cache_dir: self.cache_dir.clone() });
            }
        }
        let location = location?;
        self.fetched(&location, id).map_err(|source| SourceError::MissingSubmodule {
            name: submodule.name.clone(),
            url: location.to_string(),
            commit: id.to_string(),
            source: Box::new(source),
        })
    }

    /// A fetched copy of `location` that holds commit `id`.
    fn fetched(&self, location: &Location, id: Oid) -> Result<Self> {
        let open = |path| -> Result<Self> {
            let git = open_local(path, false)?;
            Ok(Self { git, location: location.clone(), cache_dir: self.cache_dir.clone() })
        };
        let path = fetch::mirror(location, &self.cache_dir)?;
        let repository = open(&path)?;
        match repository.git.find_commit(id) {
            Ok(_) => {}
            Err(error) if error.code() == ErrorCode::NotFound => {
                fetch::mirror_one(location, &self.cache_dir, &id.to_string())?;
                return open(&path);
            }
            Err(error) => return Err(repository.object_error(&id.to_string(), error)),
        }
        Ok(repository)
    }

    /// What relative addresses of submodules start at: the address this repository came from, or where it is
    /// (git-submodule(1), `add`).
    fn origin(&self) -> Location {
        let Location::Local(_) = &self.location else { return self.location.clone() };
        let top = self.git.workdir().unwrap_or_else(|| self.git.path()).to_owned();
        self.git
            .find_remote("origin")
            .ok()
            .and_then(|remote| remote.url().ok().map(str::to_owned))
            .and_then(|url| Location::parse(&url, &top).ok())
            .unwrap_or(Location::Local(top))
    }
}
