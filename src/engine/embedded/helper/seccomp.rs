//! The system calls that a container may use.
//!
//! As Docker's documentation has it ("Seccomp security profiles for Docker"): what is safe or needed is allowed by name,
//! some of it only with the capability that it is for; what is known and not allowed says EPERM; and what is not known
//! says ENOSYS, so that a program falls back to what it used before. Programs for another kind of processor (32 bit ones on
//! a 64 bit machine) are ended at their first call.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::sync::Arc;

use libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use crate::engine::embedded::cgroup::guards_devices;

/// In the order in which they are to be applied; the last one counts first.
pub(super) type Filters = Arc<Vec<BpfProgram>>;

/// Allowed to all, on every architecture.
const ALLOWED: &[c_long] = &[
    SYS_accept,
    SYS_accept4,
    SYS_adjtimex,
    SYS_bind,
    SYS_brk,
    SYS_capget,
    SYS_capset,
    SYS_chdir,
    SYS_clock_adjtime,
    SYS_clock_getres,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_close,
    SYS_close_range,
    SYS_connect,
    SYS_copy_file_range,
    SYS_dup,
    SYS_dup3,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_execve,
    SYS_execveat,
    SYS_exit,
    SYS_exit_group,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fadvise64,
    SYS_fallocate,
    SYS_fanotify_mark,
    SYS_fchdir,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchmodat2,
    SYS_fchown,
    SYS_fchownat,
    SYS_fcntl,
    SYS_fdatasync,
    SYS_fgetxattr,
    SYS_flistxattr,
    SYS_flock,
    SYS_fremovexattr,
    SYS_fsetxattr,
    SYS_fstat,
    SYS_fstatfs,
    SYS_fsync,
    SYS_ftruncate,
    SYS_futex,
    SYS_futex_waitv,
    SYS_getcpu,
    SYS_getcwd,
    SYS_getdents64,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getgroups,
    SYS_getitimer,
    SYS_getpeername,
    SYS_getpgid,
    SYS_getpid,
    SYS_getppid,
    SYS_getpriority,
    SYS_getrandom,
    SYS_getresgid,
    SYS_getresuid,
    SYS_getrlimit,
    SYS_get_robust_list,
    SYS_getrusage,
    SYS_getsid,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_gettid,
    SYS_gettimeofday,
    SYS_getuid,
    SYS_getxattr,
    SYS_inotify_add_watch,
    SYS_inotify_init1,
    SYS_inotify_rm_watch,
    SYS_io_cancel,
    SYS_ioctl,
    SYS_io_destroy,
    SYS_io_getevents,
    SYS_ioprio_get,
    SYS_ioprio_set,
    SYS_io_setup,
    SYS_io_submit,
    SYS_kill,
    SYS_landlock_add_rule,
    SYS_landlock_create_ruleset,
    SYS_landlock_restrict_self,
    SYS_lgetxattr,
    SYS_linkat,
    SYS_listen,
    SYS_listxattr,
    SYS_llistxattr,
    SYS_lremovexattr,
    SYS_lseek,
    SYS_lsetxattr,
    SYS_madvise,
    SYS_membarrier,
    SYS_memfd_create,
    SYS_mincore,
    SYS_mkdirat,
    SYS_mlock,
    SYS_mlock2,
    SYS_mlockall,
    SYS_mmap,
    SYS_mprotect,
    SYS_mq_getsetattr,
    SYS_mq_notify,
    SYS_mq_open,
    SYS_mq_timedreceive,
    SYS_mq_timedsend,
    SYS_mq_unlink,
    SYS_mremap,
    SYS_msgctl,
    SYS_msgget,
    SYS_msgrcv,
    SYS_msgsnd,
    SYS_msync,
    SYS_munlock,
    SYS_munlockall,
    SYS_munmap,
    SYS_name_to_handle_at,
    SYS_nanosleep,
    SYS_newfstatat,
    SYS_openat,
    SYS_openat2,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_pipe2,
    SYS_pkey_alloc,
    SYS_pkey_free,
    SYS_pkey_mprotect,
    SYS_ppoll,
    SYS_prctl,
    SYS_pread64,
    SYS_preadv,
    SYS_preadv2,
    SYS_prlimit64,
    SYS_process_mrelease,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pselect6,
    SYS_ptrace,
    SYS_pwrite64,
    SYS_pwritev,
    SYS_pwritev2,
    SYS_read,
    SYS_readahead,
    SYS_readlinkat,
    SYS_readv,
    SYS_recvfrom,
    SYS_recvmmsg,
    SYS_recvmsg,
    SYS_remap_file_pages,
    SYS_removexattr,
    SYS_renameat,
    SYS_renameat2,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigpending,
    SYS_rt_sigprocmask,
    SYS_rt_sigqueueinfo,
    SYS_rt_sigreturn,
    SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait,
    SYS_rt_tgsigqueueinfo,
    SYS_sched_getaffinity,
    SYS_sched_getattr,
    SYS_sched_getparam,
    SYS_sched_get_priority_max,
    SYS_sched_get_priority_min,
    SYS_sched_getscheduler,
    SYS_sched_rr_get_interval,
    SYS_sched_setaffinity,
    SYS_sched_setattr,
    SYS_sched_setparam,
    SYS_sched_setscheduler,
    SYS_sched_yield,
    SYS_seccomp,
    SYS_semctl,
    SYS_semget,
    SYS_semop,
    SYS_semtimedop,
    SYS_sendfile,
    SYS_sendmmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_setfsgid,
    SYS_setfsuid,
    SYS_setgid,
    SYS_setgroups,
    SYS_setitimer,
    SYS_setpgid,
    SYS_setpriority,
    SYS_setregid,
    SYS_setresgid,
    SYS_setresuid,
    SYS_setreuid,
    SYS_setrlimit,
    SYS_set_robust_list,
    SYS_setsid,
    SYS_setsockopt,
    SYS_set_tid_address,
    SYS_setuid,
    SYS_setxattr,
    SYS_shmat,
    SYS_shmctl,
    SYS_shmdt,
    SYS_shmget,
    SYS_shutdown,
    SYS_sigaltstack,
    SYS_signalfd4,
    SYS_socketpair,
    SYS_splice,
    SYS_statfs,
    SYS_statx,
    SYS_symlinkat,
    SYS_sync,
    SYS_sync_file_range,
    SYS_syncfs,
    SYS_sysinfo,
    SYS_tee,
    SYS_tgkill,
    SYS_timer_create,
    SYS_timer_delete,
    SYS_timer_getoverrun,
    SYS_timer_gettime,
    SYS_timer_settime,
    SYS_timerfd_create,
    SYS_timerfd_gettime,
    SYS_timerfd_settime,
    SYS_times,
    SYS_tkill,
    SYS_truncate,
    SYS_umask,
    SYS_uname,
    SYS_unlinkat,
    SYS_utimensat,
    SYS_vmsplice,
    SYS_wait4,
    SYS_waitid,
    SYS_write,
    SYS_writev,
];

/// Allowed to all; the newer architectures have only what replaced them.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    SYS_access,
    SYS_alarm,
    SYS_arch_prctl,
    SYS_chmod,
    SYS_chown,
    SYS_creat,
    SYS_dup2,
    SYS_epoll_create,
    SYS_epoll_ctl_old,
    SYS_epoll_wait,
    SYS_epoll_wait_old,
    SYS_eventfd,
    SYS_fork,
    SYS_futimesat,
    SYS_getdents,
    SYS_getpgrp,
    SYS_get_thread_area,
    SYS_inotify_init,
    SYS_lchown,
    SYS_link,
    SYS_lstat,
    SYS_mkdir,
    SYS_modify_ldt,
    SYS_open,
    SYS_pause,
    SYS_pipe,
    SYS_poll,
    SYS_readlink,
    SYS_rename,
    SYS_rmdir,
    SYS_select,
    SYS_set_thread_area,
    SYS_signalfd,
    SYS_stat,
    SYS_symlink,
    SYS_time,
    SYS_unlink,
    SYS_utime,
    SYS_utimes,
    SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

/// Allowed with a capability, and otherwise known and refused.
const PRIVILEGED: &[(&str, &[c_long])] = &[
    (
        "SYS_ADMIN",
        &[
            SYS_bpf,
            SYS_fanotify_init,
            SYS_fsconfig,
            SYS_fsmount,
            SYS_fsopen,
            SYS_fspick,
            SYS_mount,
            SYS_mount_setattr,
            SYS_move_mount,
            SYS_open_tree,
            SYS_perf_event_open,
            SYS_quotactl,
            SYS_quotactl_fd,
            SYS_setdomainname,
            SYS_sethostname,
            SYS_setns,
            SYS_syslog,
            SYS_umount2,
            SYS_unshare,
        ],
    ),
    ("DAC_READ_SEARCH", &[SYS_open_by_handle_at]),
    ("SYS_BOOT", &[SYS_reboot]),
    ("SYS_CHROOT", &[SYS_chroot]),
    ("SYS_MODULE", &[SYS_delete_module, SYS_finit_module, SYS_init_module]),
    ("SYS_NICE", &[SYS_get_mempolicy, SYS_mbind, SYS_set_mempolicy]),
    ("SYS_PACCT", &[SYS_acct]),
    ("SYS_PTRACE", &[SYS_kcmp, SYS_pidfd_getfd, SYS_process_madvise]),
    ("SYS_TIME", &[SYS_clock_settime, SYS_settimeofday]),
    ("SYS_TTY_CONFIG", &[SYS_vhangup]),
];

/// Refused to all: keys are not kept apart by namespaces, a process that handles faults of pages can stop the kernel
/// where it wants to, and io_uring goes around filters like this one.
const REFUSED: &[c_long] = &[
    SYS_add_key,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_migrate_pages,
    SYS_move_pages,
    SYS_nfsservctl,
    SYS_pivot_root,
    SYS_request_key,
    SYS_swapoff,
    SYS_swapon,
    SYS_userfaultfd,
];

/// Execution domains that are harmless (personality(2)): Linux, Linux without address randomisation, 32 bit machines'
/// names and versions, and the question which it is.
const PERSONALITIES: [u64; 5] = [0x0, 0x0008, 0x20000, 0x20008, 0xffff_ffff];

/// The flags of clone(2) that make namespaces.
const NEW_NAMESPACES: u64 = (CLONE_NEWNS
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
    | CLONE_NEWCGROUP) as u64;

/// Devices that a container may make a node of where no control group keeps it from using one of a disk: those that it
/// has in `/dev`, and overlayfs's mark of a removed file (devices.txt of the kernel).
const DEVICES: [u64; 8] = [0x000, 0x103, 0x105, 0x107, 0x108, 0x109, 0x500, 0x502];

/// The calls that make a node, and the number of the argument that says of what kind; the next one says of which device.
const NODES: &[(c_long, u8)] = &[
    (SYS_mknodat, 2),
    #[cfg(target_arch = "x86_64")]
    (SYS_mknod, 1),
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters of a container with these capabilities.
pub(super) fn filters(capabilities: &[String]) -> Result<Filters, String> {
    let guard = !guards_devices();
    let filters = [allowed(capabilities, guard)?, refused(capabilities, guard)?, unknown(capabilities)?];
    Ok(Arc::new(filters.into_iter().flatten().collect()))
}

/// Applies the filters to this process, for ever.
pub(super) fn apply(filters: &Filters) -> Result<(), String> {
    filters
        .iter()
        .try_for_each(|filter| apply_filter(filter))
        .map_err(|error| format!("cannot filter system calls: {error}"))
}

fn has(capabilities: &[String], name: &str) -> bool {
    capabilities.iter().any(|capability| capability == name)
}

/// What is allowed; all else does not exist. `guard` is whether no control group guards devices.
fn allowed(capabilities: &[String], guard: bool) -> Result<Option<BpfProgram>, String> {
    let mut rules: Rules = ALLOWED.iter().chain(ALLOWED_HERE).map(|&call| (call, vec![])).collect();
    let granted = PRIVILEGED.iter().filter(|(name, _)| has(capabilities, name));
    rules.extend(granted.flat_map(|(_, calls)| calls.iter().map(|&call| (call, vec![]))));
    let equal = |argument, value| condition(argument, SeccompCmpOp::Eq, value);
    let personalities = PERSONALITIES.map(|value| rule(vec![equal(0, value)?]));
    rules.insert(SYS_personality, personalities.into_iter().collect::<Result<_, _>>()?);
    // A virtual machine's host is not for what runs in its containers.
    let not_vsock = condition(0, SeccompCmpOp::Ne, AF_VSOCK as u64)?;
    rules.insert(SYS_socket, vec![rule(vec![not_vsock])?]);
    match has(capabilities, "SYS_ADMIN") {
        true => {
            rules.insert(SYS_clone, vec![]);
            rules.insert(SYS_clone3, vec![]);
        }
        false => {
            let no_namespaces = condition(0, SeccompCmpOp::MaskedEq(NEW_NAMESPACES), 0)?;
            rules.insert(SYS_clone, vec![rule(vec![no_namespaces])?]);
        }
    }
    for &(call, mode) in NODES {
        rules.insert(call, if guard { harmless_nodes(mode)? } else { vec![] });
    }
    compile(rules, SeccompAction::Errno(ENOSYS as u32), SeccompAction::Allow).map(Some)
}

/// Pipes, sockets and files, and the nodes of some devices.
fn harmless_nodes(mode: u8) -> Result<Vec<SeccompRule>, String> {
    let mut rules = Vec::new();
    for harmless in [0, S_IFREG, S_IFIFO, S_IFSOCK] {
        rules.push(rule(vec![is_kind(mode, harmless)?])?);
    }
    for device in DEVICES {
        rules.push(rule(vec![is_kind(mode, S_IFCHR)?, condition(mode + 1, SeccompCmpOp::Eq, device)?])?);
    }
    Ok(rules)
}

/// All others.
fn harmful_nodes(mode: u8) -> Result<Vec<SeccompRule>, String> {
    let mut other = vec![is_kind(mode, S_IFCHR)?];
    for device in DEVICES {
        other.push(condition(mode + 1, SeccompCmpOp::Ne, device)?);
    }
    Ok(vec![rule(vec![is_kind(mode, S_IFBLK)?])?, rule(other)?])
}

fn is_kind(mode: u8, kind: mode_t) -> Result<SeccompCondition, String> {
    condition(mode, SeccompCmpOp::MaskedEq(S_IFMT.into()), kind.into())
}

/// What is known and not allowed.
fn refused(capabilities: &[String], guard: bool) -> Result<Option<BpfProgram>, String> {
    let missing = PRIVILEGED.iter().filter(|(name, _)| !has(capabilities, name));
    let mut rules: Rules = REFUSED
        .iter()
        .chain(missing.flat_map(|(_, calls)| calls.iter()))
        .map(|&call| (call, vec![]))
        .collect();
    if !has(capabilities, "SYS_ADMIN") {
        let mut making = Vec::new();
        for bit in (0..u64::BITS).map(|bit| 1_u64 << bit).filter(|bit| NEW_NAMESPACES & bit != 0) {
            making.push(rule(vec![condition(0, SeccompCmpOp::MaskedEq(bit), bit)?])?);
        }
        rules.insert(SYS_clone, making);
    }
    for &(call, mode) in NODES.iter().filter(|_| guard) {
        rules.insert(call, harmful_nodes(mode)?);
    }
    compile(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM as u32)).map(Some)
}

/// clone3's flags are in memory, where a filter does not see them: without the capability it does not exist, and the C
/// library uses clone.
fn unknown(capabilities: &[String]) -> Result<Option<BpfProgram>, String> {
    if has(capabilities, "SYS_ADMIN") {
        return Ok(None);
    }
    let rules = Rules::from([(SYS_clone3, vec![])]);
    compile(rules, SeccompAction::Allow, SeccompAction::Errno(ENOSYS as u32)).map(Some)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        .map_err(|error| error.to_string())
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, String> {
    SeccompRule::new(conditions).map_err(|error| error.to_string())
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, String> {
    let architecture = ARCH.try_into().map_err(|_| format!("no filter of system calls for {ARCH}"))?;
    let filter = SeccompFilter::new(rules, otherwise, matched, architecture);
    filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_can_be_made_for_every_set_of_capabilities() {
        for capabilities in [vec![], vec!["SYS_ADMIN".to_owned()], vec!["SYS_CHROOT".to_owned()]] {
            let filters = filters(&capabilities).expect("filters");
            // The kernel takes no longer ones (BPF_MAXINSNS).
            assert!(filters.iter().all(|filter| filter.len() < 4096));
        }
    }

    #[test]
    fn where_no_control_group_guards_devices_a_node_of_a_disk_cannot_be_made() {
        let with = |guard| allowed(&[], guard).expect("a filter").map(|filter| filter.len());
        assert!(with(true) > with(false));
        // In a thread, since a filter stays.
        let filters =
            [allowed(&[], true), refused(&[], true)].map(|filter| filter.expect("a filter").expect("one"));
        let place = tempfile::tempdir().expect("a folder");
        let tried = std::thread::spawn(move || {
            filters.iter().for_each(|filter| apply_filter(filter).expect("the filter applies"));
            let node = |name: &str, kind, device| {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(rustix::fs::CWD, place.path().join(name), kind, mode, device).err()
            };
            use rustix::fs::{FileType, makedev};
            [
                node("pipe", FileType::Fifo, 0),
                node("disk", FileType::BlockDevice, makedev(254, 0)),
                node("memory", FileType::CharacterDevice, makedev(1, 1)),
            ]
        });
        let refused = Some(rustix::io::Errno::PERM);
        assert_eq!(tried.join().expect("no panic"), [None, refused, refused]);
    }

    #[test]
    fn no_call_is_both_allowed_and_refused() {
        let privileged: Vec<c_long> =
            PRIVILEGED.iter().flat_map(|(_, calls)| calls.iter().copied()).collect();
        for call in ALLOWED.iter().chain(ALLOWED_HERE) {
            assert!(!REFUSED.contains(call) && !privileged.contains(call), "{call}");
        }
    }
}
