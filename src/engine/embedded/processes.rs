use std::io;

use super::cgroup::Group;
use super::record::{Folder, Process};
use super::rootless;

/// The processes of one container, by whatever holds them together.
#[derive(Clone, Debug)]
pub(super) enum Processes {
    /// The container's control groups.
    Group(Group),
    /// The engine is an ordinary user's, which need not have any.
    Loose {
        /// The container's id.
        id: String,
        /// The container's first process, if there is one.
        first: Option<Process>,
        /// Those of a group that was delegated to this process; that of the process that made the container may be another.
        group: Group,
    },
}

impl Processes {
    /// Those of a container, whether they are there or not.
    pub(super) fn of(folder: &Folder) -> io::Result<Self> {
        Ok(match rootless::is_inside() {
            true => Self::Loose {
                id: folder.id.clone(),
                first: folder.last_first_process(),
                group: Group::of(&folder.id)?,
            },
            false => Self::Group(Group::of(&folder.id)?),
        })
    }

    /// Ends all of them, and those that they make meanwhile.
    pub(super) fn kill(&self) -> io::Result<()> {
        match self {
            Self::Group(group) => group.kill(),
            Self::Loose { id, first, group } => {
                rootless::processes::kill(id, *first)?;
                group.kill()
            }
        }
    }

    /// Stops all of them where they are, or lets them go on.
    pub(super) fn freeze(&self, frozen: bool) -> io::Result<()> {
        match self {
            Self::Group(group) => group.freeze(frozen),
            Self::Loose { first: Some(first), .. } => rootless::processes::freeze(*first, frozen),
            Self::Loose { first: None, .. } => Ok(()),
        }
    }

    /// Removes what held them together, when all of them have ended.
    pub(super) fn remove(&self) -> io::Result<()> {
        match self {
            Self::Group(group) | Self::Loose { group, .. } => group.remove(),
        }
    }
}
