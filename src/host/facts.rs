use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Cpu, Disk, Listener, Survey};

/// What the machine said, in one piece: an input of `plan::make`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Host name.
    pub hostname: String,
    /// Distribution.
    pub os: Os,
    /// Kernel release, as `uname -r` prints it.
    pub kernel: String,
    /// Numeric user and group this program runs as.
    pub user: (u32, u32),
    /// Whether systemd is the init system and running.
    pub systemd: bool,
    /// The processor.
    pub cpu: Cpu,
    /// All memory, bytes.
    pub memory_total_bytes: u64,
    /// Memory that new work can have without swapping, bytes.
    pub memory_available_bytes: u64,
    /// Room at each path asked for; a path whose room could not be learned is absent.
    pub disks: Vec<Disk>,
    /// TCP ports somebody listens on, on loopback or on all addresses.
    pub listeners: BTreeMap<u16, Listener>,
    /// The folders asked for.
    pub folders: Vec<Folder>,
    /// Graphics cards; nothing where nobody asked for them (see [`crate::gpus`]).
    #[serde(default)]
    pub gpus: Option<crate::Gpus>,
}

/// The distribution, from `/etc/os-release`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// For instance `debian`; empty when unknown.
    pub id: String,
    /// For instance `12`.
    pub version: String,
    /// For people.
    pub name: String,
}

/// One data folder, as it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Folder {
    /// The path asked for.
    pub path: PathBuf,
    /// What it is.
    pub state: FolderState,
    /// What it holds, when it is readable.
    pub survey: Option<Survey>,
}

/// What a path to a data folder turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderState {
    /// A folder whose entries can be listed.
    Readable,
    /// There is nothing.
    Missing,
    /// There is something else.
    NotAFolder,
    /// It may not be listed by this user.
    Denied,
}

/// Collects the facts, with the room at each of `paths` and a survey of each of `folders` (all of them share `budget`).
pub fn facts(paths: &[PathBuf], folders: &[PathBuf], budget: Duration) -> Facts {
    let uname = rustix::system::uname();
    let (memory_total_bytes, memory_available_bytes) = memory();
    let share = budget / u32::try_from(folders.len()).unwrap_or(u32::MAX).max(1);
    Facts {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        os: os(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
        kernel: uname.release().to_string_lossy().into_owned(),
        user: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        systemd: systemd_is_running(),
        cpu: crate::cpu::cpu(),
        memory_total_bytes,
        memory_available_bytes,
        disks: paths.iter().filter_map(|path| crate::disk(path).ok()).collect(),
        listeners: crate::listeners(),
        folders: folders.iter().map(|path| folder(path, share)).collect(),
        gpus: None,
    }
}

/// Looks at one data folder for at most `budget`.
pub fn folder(path: &Path, budget: Duration) -> Folder {
    let state = match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => FolderState::NotAFolder,
        Ok(_) => match std::fs::read_dir(path) {
            Ok(_) => FolderState::Readable,
            Err(_) => FolderState::Denied,
        },
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => FolderState::Denied,
        Err(_) => FolderState::Missing,
    };
    let survey = (state == FolderState::Readable).then(|| crate::survey(path, budget));
    Folder { path: path.to_owned(), state, survey }
}

/// Returns whether systemd runs this machine; the test is the one `sd_booted(3)` documents.
pub fn systemd_is_running() -> bool {
    std::fs::symlink_metadata("/run/systemd/system").is_ok_and(|metadata| metadata.is_dir())
}

/// Returns all memory and what new work can have of it, in bytes; 0 where nobody says.
pub(crate) fn memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    };
    let host = (field("MemTotal:"), field("MemAvailable:"));
    // Inside a container the limit of the control group is the truth, and the kernel's file still shows the whole host.
    match std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(limit) if limit < host.0 => (limit, host.1.min(limit)),
        _ => host,
    }
}

fn os(text: &str) -> Os {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
            .unwrap_or_default()
    };
    Os { id: field("ID"), version: field("VERSION_ID"), name: field("PRETTY_NAME") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_os_release() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        let expect = Os { id: "debian".into(), version: "12".into(), name: "Debian GNU/Linux 12 (bookworm)".into() };
        assert_eq!(os(text), expect);
        assert_eq!(os(""), Os::default());
    }

    #[test]
    fn learns_this_machine() {
        let facts =
            facts(&["/".into()], &["/no-such-folder-0711".into(), "/etc/passwd".into()], Duration::from_secs(1));
        assert!(facts.memory_total_bytes >= facts.memory_available_bytes && facts.memory_available_bytes > 0);
        assert!(facts.cpu.cores > 0 && !facts.hostname.is_empty() && !facts.kernel.is_empty());
        assert_eq!(facts.disks.len(), 1);
        let states: Vec<_> = facts.folders.iter().map(|folder| folder.state).collect();
        assert_eq!(states, [FolderState::Missing, FolderState::NotAFolder]);
    }
}
