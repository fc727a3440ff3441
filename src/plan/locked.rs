use super::{base_key, builder_key, deps_key};
use crate::config::{Builder, Lock, LockedImage};
use crate::model::{Digest, TargetName};
use crate::support::terminal_text::neutralise;

/// A deps image that a run needs, by what a lock has to say of it.
#[derive(Clone, Copy, Debug)]
pub struct LockNeed<'a> {
    /// The target; `None` is the shared prepare stage.
    pub target: Option<&'a TargetName>,
    /// The builder.
    pub builder: &'a Builder,
    /// The key of its userland.
    pub userland: Digest,
    /// What the packaging declares; `None` if it is not known before a spec file was read in the locked builder image.
    pub declared: Option<&'a [String]>,
    /// What the pipeline adds.
    pub own: &'a [String],
}

/// The locked images of a need, each with the words for it; lowest first. An error says what does not hold any more.
///
/// Every key is computed here, from the builder's scripts and the locked image below: a lock says which image of Packhold's own is
/// meant, and can name no other.
pub fn locked_images<'a>(
    lock: &'a Lock,
    need: LockNeed<'_>,
) -> Result<Vec<(String, &'a LockedImage)>, String> {
    let builder = need.builder;
    let name = &builder.place();
    let images = lock.builders.get(name).ok_or_else(|| format!("it knows no builder `{name}`"))?;
    let deps = match need.target {
        Some(target) => lock.targets.get(target),
        None => lock.prepare.as_ref().filter(|(locked, _)| locked == name).map(|(_, deps)| deps),
    };
    let who = need.target.map_or("prepare".to_owned(), ToString::to_string);
    let deps = deps.ok_or_else(|| format!("it knows no `{who}` on `{name}`"))?;
    let mut all = Vec::new();
    let mut lowest = &images.base;
    if builder.has("base.sh") {
        lowest = images.userland.as_ref().ok_or_else(|| format!("it has no userland of `{name}`"))?;
        all.push((format!("{name} userland"), lowest));
    }
    if lowest.key != need.userland {
        return Err(format!("`{name}` starts from another base than the one that is locked"));
    }
    if builder.has("base.sh") && images.base.key != base_key(builder, lowest.id) {
        return Err(format!("base.sh of `{name}`, or a file that it reads, has changed"));
    }
    all.push((format!("{name} base"), &images.base));
    if images.builder.key != builder_key(builder, images.base.id) {
        return Err(format!("prepare.sh of `{name}`, or a file that it reads, has changed"));
    }
    all.push((format!("{name} builder"), &images.builder));
    let declared = need.declared.unwrap_or(&deps.declared);
    changed_dependencies(&who, [(&deps.declared, declared), (&deps.deps, need.own)])?;
    if deps.image.key != deps_key(builder, images.builder.id, declared, need.own) {
        return Err(format!("deps.sh of `{name}`, or a file that it reads, has changed"));
    }
    all.push((format!("{who} deps"), &deps.image));
    Ok(all)
}

/// Compares lists of dependencies, as locked and as they are now. An error says what changed for whom.
pub fn changed_dependencies<const N: usize>(
    who: &str,
    lists: [(&[String], &[String]); N],
) -> Result<(), String> {
    let mut changes = Vec::new();
    // Whoever proposes a lock may write anything into it.
    let shown = |word: &str| neutralise(word.as_bytes());
    for (old, new) in lists {
        changes
            .extend(old.iter().filter(|word| !new.contains(word)).map(|word| format!("- {}", shown(word))));
        changes
            .extend(new.iter().filter(|word| !old.contains(word)).map(|word| format!("+ {}", shown(word))));
    }
    match changes.is_empty() {
        true => Ok(()),
        false => Err(format!("the dependencies of {who} have changed: {}", changes.join("; "))),
    }
}
