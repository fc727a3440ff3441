//! What a process has from the user who started the program, and a container is not to have: it would build differently
//! on another machine.
//!
//! | what | in a container |
//! |---|---|
//! | limits of a process (getrlimit(2)) | those of the table below, as far as this process may raise its hard limits |
//! | `oom_score_adj` (proc_pid_oom_score_adj(5)) | 0, or the lowest that this process may have |
//! | a negative nice value (nice(2)) | 0 |
//! | a positive nice value, processors that may be used | the user's: they say what of the machine a run may take |

use std::fs;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use rustix::process::{getpriority_process, setpriority_process};

use super::{Stop, Trying};

/// Soft and hard limits. Files and core dumps are as systemd gives them to a service: programs that loop over all possible
/// files stay fast. The others are those of Linux for its first process (`include/asm-generic/resource.h`), but for the number
/// of processes, which the container's control group limits, and of signals that wait.
const LIMITS: [(Resource, rlim_t, rlim_t); 16] = [
    (Resource::RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_CORE, 0, 0),
    (Resource::RLIMIT_CPU, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_LOCKS, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_MEMLOCK, 8 << 20, 8 << 20),
    (Resource::RLIMIT_MSGQUEUE, 819_200, 819_200),
    (Resource::RLIMIT_NICE, 0, 0),
    (Resource::RLIMIT_NOFILE, 1024, 4096),
    (Resource::RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_RSS, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_RTPRIO, 0, 0),
    (Resource::RLIMIT_RTTIME, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_SIGPENDING, 16_384, 16_384),
    (Resource::RLIMIT_STACK, 8 << 20, RLIM_INFINITY),
];

/// Gives this process, and with it all that it starts, what is the same everywhere.
pub(super) fn reset() -> Result<(), Stop> {
    for (resource, soft, hard) in LIMITS {
        limit(resource, soft, hard).trying("set the limits of a process")?;
    }
    // Lowering it below what this process was given needs a privilege that it may not have.
    _ = fs::write("/proc/self/oom_score_adj", "0");
    if getpriority_process(None).trying("ask for the nice value")? < 0 {
        setpriority_process(None, 0).trying("set the nice value")?;
    }
    Ok(())
}

fn limit(resource: Resource, soft: rlim_t, hard: rlim_t) -> Result<(), Errno> {
    match setrlimit(resource, soft, hard) {
        // Only who has CAP_SYS_RESOURCE may raise a hard limit.
        Err(Errno::EPERM) => {
            let (_, most) = getrlimit(resource)?;
            setrlimit(resource, soft.min(most), hard.min(most))
        }
        done => done,
    }
}
