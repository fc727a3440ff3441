use super::{Channel, Context, Result};
use crate::model::Format;
use crate::versions::{self, Candidate, Known, Place, Verdict};

/// Refuses what would be no upgrade for users of an index of the channel, which offers `there`, if the repository is guarded. Gives what is no
/// upgrade and may be none.
///
/// An rpm is signed when it is put into a repository, so of one with the same version the bytes are compared where that is done.
pub(super) fn check(
    context: &Context<'_>,
    channel: &Channel,
    new: &[Candidate],
    there: impl Iterator<Item = Candidate>,
) -> Result<Vec<Candidate>> {
    let Some(allowed) = &context.options.guard else { return Ok(Vec::new()) };
    let there: Vec<Candidate> =
        there.filter(|there| new.iter().any(|new| new.package == there.package)).collect();
    let mut lowered = Vec::new();
    for new in new {
        let mut known = there.clone();
        for package in known.iter_mut().filter(|package| package.format == Format::Rpm) {
            if package.version == new.version {
                package.digest = new.digest;
            }
        }
        let place = || Place::Published(channel.to_string());
        let known: Vec<Known> = known.into_iter().map(|package| Known { package, place: place() }).collect();
        if versions::check(new, &known, allowed)? == Verdict::Overridden {
            lowered.push(new.clone());
        }
    }
    Ok(lowered)
}
