use super::diagnose::Infrastructure;
use super::image_store::{Wanted, peek};
use super::streams::blocking;
use super::{SourceTree, Workshop};
use crate::model::{Digest, ImageRole};
use crate::plan::{BuildInputs, Declared, TargetPlan, base_key, build_key, builder_key, deps_key};

/// What a run would do for one target: a line a stage, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// What is looked at, whether it would run, and why.
    pub lines: Vec<(String, bool, String)>,
}

impl Foreseen {
    fn say(&mut self, what: &str, runs: bool, why: impl Into<String>) {
        self.lines.push((what.to_owned(), runs, why.into()));
    }
}

/// Looks at what is known, and does nothing.
pub async fn foresee(
    shop: &Workshop,
    plan: &TargetPlan,
    tree: &SourceTree,
    shares_prepare: bool,
) -> Result<Foreseen, Box<dyn Infrastructure>> {
    let mut foreseen = Foreseen::default();
    let builder = &plan.builder;
    let image = async |foreseen: &mut Foreseen,
                       role,
                       key,
                       how: &str|
           -> Result<Option<Digest>, Box<dyn Infrastructure>> {
        let wanted = Wanted { builder, role, key };
        let found = peek(shop, wanted).await?;
        let what = format!("{role} image");
        match (&found, shop.policy.identity(wanted)) {
            (Some((id, place)), _) => foreseen.say(&what, false, format!("{} is {place}", id.short())),
            (None, None) => foreseen.say(&what, true, how),
            (None, Some(id)) => {
                let why = format!("{how}; it is taken only as the locked {}", id.short());
                foreseen.say(&what, true, why);
                // What follows from it is looked up as if it were there.
                return Ok(Some(id));
            }
        }
        Ok(found.map(|(id, _)| id))
    };
    let unknown = "it follows from an image that is to be made";
    let userland = match shop.base.tar(builder) {
        // What is wrong with them is for the run to say.
        Ok(Some(_)) | Err(_) => None,
        Ok(None) => {
            image(&mut foreseen, ImageRole::Base, builder.userland_key(), "pull or bootstrap it").await?
        }
    };
    let base = match userland {
        Some(id) if builder.has("base.sh") => {
            image(&mut foreseen, ImageRole::Base, base_key(builder, id), "base.sh makes it").await?
        }
        other => other,
    };
    let tools = match base {
        Some(id) => {
            image(&mut foreseen, ImageRole::Builder, builder_key(builder, id), "prepare.sh makes it").await?
        }
        None => None,
    };
    let declared = tools.map(|id| declared(shop, plan, id));
    let deps = match (tools, &declared) {
        (Some(id), Some(Some(declared))) => {
            let own = &plan.section.deps;
            let key = deps_key(builder, id, declared, own);
            let how = format!("install {} declared and {} own dependencies", declared.len(), own.len());
            image(&mut foreseen, ImageRole::Deps, key, &how).await?
        }
        (Some(_), _) => {
            let why = "what the spec file asks for is found out in a container of the builder image";
            foreseen.say("deps image", true, why);
            None
        }
        (None, _) => None,
    };
    for (known, what) in [(base, "base image"), (tools, "builder image"), (deps, "deps image")] {
        if known.is_none() && !foreseen.lines.iter().any(|(line, ..)| line == what) {
            foreseen.say(what, true, unknown);
        }
    }
    match deps {
        _ if shares_prepare => {
            foreseen.say("build", true, "unless the shared prepare stage and it are known")
        }
        None if matches!(declared, Some(None)) => {
            foreseen.say("build", true, "it follows from what the spec file asks for")
        }
        None => foreseen.say("build", true, unknown),
        Some(image) => {
            let key = build_key(BuildInputs { plan, commit: &tree.commit, image, prepared: None });
            let archive = shop.archive.clone();
            match blocking(move || archive.find_build(&key)).await? {
                Some((run, _)) => foreseen.say("build", false, format!("run {run} built the same")),
                None => {
                    foreseen.say("build", true, format!("nothing was built under the key {}", key.short()))
                }
            }
        }
    }
    Ok(foreseen)
}

/// What the packaging declares, as far as it is known: from the text, from the last time that this spec file was read in this builder
/// image, or from a lock, which a run then keeps to.
fn declared(shop: &Workshop, plan: &TargetPlan, image: Digest) -> Option<Vec<String>> {
    let known = match &plan.declared {
        Declared::Listed(list) => Some(list.clone()),
        Declared::SpecFile(spec) => shop.declared_lists.get(image, &plan.builder, spec),
    };
    let locked = || shop.policy.declared(&plan.section.name).map(<[String]>::to_vec);
    known.map(|list| list.lines().to_vec()).or_else(locked)
}
