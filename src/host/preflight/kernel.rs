//! The kernel: what of it the services use, control groups, SELinux.

use std::path::Path;

use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::check::Check;

/// What the kernel says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// As `uname -r` prints it.
    pub(super) release: String,
    /// Whether a process can be held by a descriptor: how services are stopped without hitting a stranger.
    pub(super) has_pidfd: bool,
    /// Version of Landlock's interface, `None` without it: how parsers of foreign files are kept from other files.
    pub(super) landlock: Option<u32>,
    pub(super) groups: Groups,
    pub(super) selinux: Selinux,
}

/// How control groups are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// Version 2, with the controllers of the root group.
    Unified(Vec<String>),
    /// Version 1, with the controllers that are mounted.
    Legacy(Vec<String>),
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selinux {
    /// The kernel runs without it.
    Off,
    Permissive,
    Enforcing,
    /// The kernel has it, and its state cannot be read.
    Hidden,
}

pub(super) fn look() -> Kernel {
    Kernel {
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        has_pidfd: pidfd_open(getpid(), PidfdFlags::empty()).is_ok(),
        landlock: landlock(),
        groups: groups(Path::new("/sys/fs/cgroup")),
        selinux: selinux(),
    }
}

/// Asks for the version of the interface, as landlock_create_ruleset(2) documents; nothing is created.
fn landlock() -> Option<u32> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag, a null attribute and size 0 the call reads and writes no memory of ours.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

fn groups(root: &Path) -> Groups {
    if let Ok(text) = std::fs::read_to_string(root.join("cgroup.controllers")) {
        return Groups::Unified(text.split_ascii_whitespace().map(str::to_owned).collect());
    }
    let mounted = |name: &&str| root.join(name).is_dir();
    let legacy: Vec<_> = ["cpu", "memory", "pids"].into_iter().filter(mounted).map(str::to_owned).collect();
    if legacy.is_empty() { Groups::Absent } else { Groups::Legacy(legacy) }
}

fn selinux() -> Selinux {
    // The kernel offers the file system only when SELinux is on.
    let Ok(offered) = std::fs::read_to_string("/proc/filesystems") else { return Selinux::Hidden };
    if !offered.lines().any(|line| line.ends_with("\tselinuxfs")) {
        return Selinux::Off;
    }
    match std::fs::read_to_string("/sys/fs/selinux/enforce").as_deref().map(str::trim) {
        Ok("0") => Selinux::Permissive,
        Ok("1") => Selinux::Enforcing,
        _ => Selinux::Hidden,
    }
}

/// The oldest kernel this was run on is Debian 11's; pidfd_open(2) came with 5.3.
const OLDEST_TESTED: (u32, u32) = (5, 10);
const PIDFD_SINCE: (u32, u32) = (5, 3);

/// `kernel.version`, `kernel.pidfd`, `kernel.landlock`, `cgroups.version` and `selinux`; `with_docker` says that limits and
/// mounts of containers will depend on them.
pub(super) fn kernel(kernel: &Kernel, with_docker: bool) -> Vec<Check> {
    vec![
        version(&kernel.release),
        pidfd(kernel.has_pidfd),
        confinement(kernel.landlock),
        control_groups(&kernel.groups, with_docker),
        labels(kernel.selinux, with_docker),
    ]
}

fn version(release: &str) -> Check {
    let id = "kernel.version";
    match numbers(release) {
        Some(found) if found >= OLDEST_TESTED => Check::ok(id, release),
        Some(found) if found >= PIDFD_SINCE => {
            Check::warning(id, format!("{release}, older than what was tested (5.10)"), "update the distribution")
        }
        Some(_) => Check::warning(
            id,
            format!("{release}, older than 5.3; a distribution may have brought what is needed back to it"),
            "update the distribution; `kernel.pidfd` says whether it must be",
        ),
        None => Check::unknown(id, format!("`{release}` is no version"), "compare it with 5.10 yourself"),
    }
}

/// `6.1.0-18-amd64` is `(6, 1)`.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn pidfd(has_pidfd: bool) -> Check {
    if has_pidfd {
        return Check::ok("kernel.pidfd", "services can be stopped without hitting another process");
    }
    Check::failed(
        "kernel.pidfd",
        "the kernel (or the container this runs in) has no `pidfd_open`, which stopping a service needs",
        "use Linux 5.3 or newer; in a container, allow the system call",
    )
}

fn confinement(landlock: Option<u32>) -> Check {
    match landlock {
        Some(version) => {
            Check::ok("kernel.landlock", format!("Landlock, interface {version}: parsers see only their file"))
        }
        None => Check::warning(
            "kernel.landlock",
            "no Landlock: parsers of foreign files are held by seccomp and limits alone",
            "use Linux 5.13 or newer with `landlock` in the kernel's `lsm=` list",
        ),
    }
}

fn control_groups(groups: &Groups, with_docker: bool) -> Check {
    let id = "cgroups.version";
    let lacking = |found: &[String]| {
        let lacks = |name: &&str| !found.iter().any(|found| found == name);
        ["memory", "pids"].into_iter().filter(lacks).collect::<Vec<_>>().join(" and ")
    };
    let (version, found) = match groups {
        Groups::Unified(found) => (2, found),
        Groups::Legacy(found) => (1, found),
        Groups::Absent => {
            let remedy = "mount them, or start with systemd; without Docker nothing depends on them";
            return Check::unknown(id, "no control groups are mounted at `/sys/fs/cgroup`", remedy);
        }
    };
    let text = format!("version {version} with {}", found.join(", "));
    match (lacking(found), version) {
        (lacking, _) if !lacking.is_empty() && with_docker => Check::warning(
            id,
            format!("{text}, without {lacking}: limits of containers would not hold"),
            "start the kernel with `cgroup_enable=memory`, or let systemd mount version 2",
        ),
        (_, 1) if with_docker => Check::warning(
            id,
            format!("{text}; engines are about to give version 1 up"),
            "start the kernel with `systemd.unified_cgroup_hierarchy=1`",
        ),
        _ => Check::ok(id, text),
    }
}

fn labels(selinux: Selinux, with_docker: bool) -> Check {
    let id = "selinux";
    match selinux {
        Selinux::Off => Check::ok(id, "off"),
        Selinux::Permissive => Check::ok(id, "permissive: it logs and forbids nothing"),
        Selinux::Enforcing if with_docker => Check::warning(
            id,
            "enforcing: containers may read only folders labelled for them",
            "label each data folder: `chcon -Rt container_file_t FOLDER`",
        ),
        Selinux::Enforcing => Check::warning(
            id,
            "enforcing; not tested by us",
            "if a service is refused a file, see `ausearch -m avc -ts recent` and run `restorecon -R` on our folders",
        ),
        Selinux::Hidden => {
            Check::unknown(id, "the kernel has it, and its state cannot be read", "run `getenforce` as root")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Failed, Ok, Unknown, Warning};
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, expect) in [
            ("6.1.0-18-amd64", Ok),
            ("5.10.0-28-amd64", Ok),
            ("5.4.0-150-generic", Warning),
            ("4.18.0-513.el8.x86_64", Warning),
            ("10.0", Ok),
            ("Linux", Unknown),
            ("", Unknown),
        ] {
            assert_eq!(version(release).verdict, expect, "{release}");
        }
    }

    #[test]
    fn control_groups_matter_to_containers_only() {
        let verdict = |groups: &Groups, with_docker| control_groups(groups, with_docker).verdict;
        let whole = Groups::Unified(names(&["cpu", "memory", "pids"]));
        let part = Groups::Unified(names(&["cpu"]));
        let legacy = Groups::Legacy(names(&["cpu", "memory", "pids"]));
        assert_eq!([verdict(&whole, true), verdict(&part, true), verdict(&legacy, true)], [Ok, Warning, Warning]);
        assert_eq!([verdict(&whole, false), verdict(&part, false), verdict(&legacy, false)], [Ok, Ok, Ok]);
        assert_eq!(verdict(&Groups::Absent, true), Unknown);
    }

    #[test]
    fn reads_both_trees_of_control_groups() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(groups(dir.path()), Groups::Absent);
        std::fs::create_dir(dir.path().join("memory")).unwrap();
        assert_eq!(groups(dir.path()), Groups::Legacy(names(&["memory"])));
        std::fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu memory\n").unwrap();
        assert_eq!(groups(dir.path()), Groups::Unified(names(&["cpuset", "cpu", "memory"])));
    }

    #[test]
    fn what_is_missing_is_told_by_its_weight() {
        let verdicts: Vec<Verdict> = [
            pidfd(false),
            confinement(None),
            labels(Selinux::Off, true),
            labels(Selinux::Enforcing, true),
            labels(Selinux::Hidden, false),
        ]
        .into_iter()
        .map(|check| check.verdict)
        .collect();
        assert_eq!(verdicts, [Failed, Warning, Ok, Warning, Unknown]);
    }

    #[test]
    fn knows_this_kernel() {
        let found = look();
        assert!(found.has_pidfd, "the services of this product could not be stopped here");
        assert!(numbers(&found.release).is_some(), "{found:?}");
    }
}
