//! Seccomp: system calls nobody here needs fail with EPERM.
//!
//! A list of what is forbidden rather than of what is allowed: the allocator, the runtime and the C library may change what
//! they call with any update, and a worker that dies of it would be worse than one that may still ask for the time.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use super::Policy;

/// Reaching into other processes, the kernel, mounts or name spaces. io_uring is among them because it does its work past
/// these very filters.
const ALWAYS: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
];

/// Not `socketpair`: the asynchronous runtime wakes itself through one, and it leads nowhere.
const SOCKETS: &[libc::c_long] =
    &[libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4];

const PROGRAMS: &[libc::c_long] = &[libc::SYS_execve, libc::SYS_execveat];

pub(super) fn restrict(policy: &Policy) -> Result<(), Box<dyn std::error::Error>> {
    let mut forbidden: Vec<libc::c_long> = ALWAYS.to_vec();
    if !policy.sockets {
        forbidden.extend(SOCKETS);
    }
    if !policy.programs {
        forbidden.extend(PROGRAMS);
    }
    // No conditions on the arguments: each call is forbidden whatever it is asked for.
    let rules: BTreeMap<i64, Vec<_>> = forbidden.into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(())
}
