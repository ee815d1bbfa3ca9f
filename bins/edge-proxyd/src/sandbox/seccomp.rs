//! Restriction of system calls by seccomp (seccomp(2)) to those that a proxy and its libraries make.
//!
//! A rejected call fails with an error and does not kill the process: it is of no use to an attacker, while a missing
//! call in the list would stop the service. There are two filters, of which the stricter result applies. The first
//! rejects calls that are useful to an attacker, with `EPERM`. The second allows the listed calls, and rejects all
//! others with `ENOSYS`, like a kernel without them, for which C libraries have fallbacks.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// The conditions of each system call, by its number. A call with an empty list matches for all arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The system calls that the first filter always rejects: access to other processes and the kernel, mounts, namespaces,
/// keys, clocks and io_uring.
const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// The system calls that run another program.
const PROGRAMS: &[i64] = &[libc::SYS_execve, libc::SYS_execveat];

/// The system calls that the second filter allows on every architecture: those of the program, its runtime, its
/// cryptography and the C library.
const LET_THROUGH: &[i64] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mbind,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munmap,
    // Threads, children, signals.
    libc::SYS_clone,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_kill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_times,
    libc::SYS_uname,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Time and randomness.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    // Files.
    libc::SYS_chdir,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync_file_range,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting, pipes, moving bytes.
    libc::SYS_copy_file_range,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_ioctl,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_sendfile,
    libc::SYS_signalfd4,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    // Sockets.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socket,
    libc::SYS_socketpair,
    // Further confinement.
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_seccomp,
];

/// Further system calls that the second filter allows, which newer architectures replace by others.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_getpgrp,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_vfork,
];
/// Further system calls that the second filter allows: none on this architecture.
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

/// The flags of clone(2) that create namespaces, with which the first filter rejects the call.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// The address families of sockets that are allowed unless external programs may be run.
const FAMILIES: [i32; 4] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_UNIX];

/// Returns the architecture of this program. `None` if filters cannot be compiled for it.
fn architecture() -> Option<TargetArch> {
    std::env::consts::ARCH.try_into().ok()
}

/// Restricts the system calls of this thread, and of all threads and processes that it starts. If `programs`, external
/// programs may be run, and only the first filter applies, without its restrictions of memory and address families,
/// since the needs of such programs are not known.
///
/// # Errors
/// The architecture is not supported, or a filter could not be compiled or installed. If installing the second filter
/// fails, the first remains in effect.
pub(super) fn enter(programs: bool) -> Result<(), String> {
    let architecture =
        architecture().ok_or_else(|| format!("unsupported architecture: {}", std::env::consts::ARCH))?;
    let failed = |why: &dyn std::fmt::Display| why.to_string();
    let refused = compile(refused_calls(programs).map_err(|why| failed(&why))?, false, architecture)?;
    let listed = if programs { None } else { Some(compile(allowed_calls(), true, architecture)?) };
    seccompiler::apply_filter(&refused).map_err(|why| failed(&why))?;
    if let Some(listed) = listed {
        seccompiler::apply_filter(&listed).map_err(|why| failed(&why))?;
    }
    Ok(())
}

/// Compiles a filter. If `listed`, the calls in `rules` are allowed, and others fail with `ENOSYS`. Otherwise the calls
/// in `rules` fail with `EPERM`, and others are allowed.
///
/// # Errors
/// The message of the compiler.
fn compile(rules: Rules, listed: bool, architecture: TargetArch) -> Result<BpfProgram, String> {
    let (mismatch, matched) = if listed {
        (SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow)
    } else {
        (SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))
    };
    let filter = SeccompFilter::new(rules, mismatch, matched, architecture).map_err(|why| why.to_string())?;
    filter.try_into().map_err(|why: seccompiler::BackendError| why.to_string())
}

/// Returns the rules of the first filter: the calls in [`REFUSED`], new namespaces by clone(2), and injecting
/// characters into a terminal (`TIOCSTI`). Unless `programs`, also running programs, memory that is both writable and
/// executable, making memory executable, and sockets of other address families than [`FAMILIES`].
///
/// # Errors
/// The compiler rejects a condition.
fn refused_calls(programs: bool) -> Result<Rules, seccompiler::BackendError> {
    let one = |argument, length, operator, value| {
        SeccompCondition::new(argument, length, operator, value).map(|condition| vec![condition])
    };
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let mut when = |call: i64, conditions: Vec<SeccompCondition>| {
        SeccompRule::new(conditions).map(|rule| rules.entry(call).or_default().push(rule))
    };
    for namespace in NAMESPACES {
        let flag = u64::from(namespace as u32);
        when(libc::SYS_clone, one(0, Len::Qword, Op::MaskedEq(flag), flag)?)?;
    }
    // Characters injected into a terminal would be read by the shell behind it.
    when(libc::SYS_ioctl, one(1, Len::Dword, Op::Eq, libc::TIOCSTI as _)?)?;
    if !programs {
        let families: Result<Vec<_>, _> = FAMILIES
            .iter()
            .map(|family| SeccompCondition::new(0, Len::Dword, Op::Ne, *family as u64))
            .collect();
        when(libc::SYS_socket, families?)?;
        // Writable memory is never executed: code is mapped from files.
        let (write, execute) = (libc::PROT_WRITE as u64, libc::PROT_EXEC as u64);
        when(libc::SYS_mmap, one(2, Len::Dword, Op::MaskedEq(write | execute), write | execute)?)?;
        when(libc::SYS_mprotect, one(2, Len::Dword, Op::MaskedEq(execute), execute)?)?;
        rules.extend(PROGRAMS.iter().map(|call| (*call, Vec::new())));
    }
    Ok(rules)
}

/// Returns the rules of the second filter: the allowed calls, and those that the first filter rejects, whose error thus
/// remains `EPERM`.
fn allowed_calls() -> Rules {
    let all = LET_THROUGH.iter().chain(OLD).chain(REFUSED).chain(PROGRAMS);
    all.map(|call| (*call, Vec::new())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_let_through_and_refused() {
        for call in LET_THROUGH.iter().chain(OLD) {
            assert!(!REFUSED.contains(call) && !PROGRAMS.contains(call), "{call}");
        }
    }

    #[test]
    fn filters_are_made() {
        let architecture = architecture().expect("a filter can be made for the machine that tests run on");
        for programs in [false, true] {
            let found =
                compile(refused_calls(programs).expect("rules"), false, architecture).expect("a filter");
            // A filter has at most 4096 instructions.
            assert!(found.len() < 4096);
        }
        assert!(compile(allowed_calls(), true, architecture).expect("a filter").len() < 4096);
    }
}
