//! What this machine was like when all was well, and what is different now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base::{Digest, Timestamp, file};
use serde::{Deserialize, Serialize};

/// Facts about the machine, by name. A fact that could not be learned is not there.
///
/// On disk: `var/agent/fingerprint.json`, written by the agent alone when every role has been ready for some minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// Version of this format: 1.
    format: u32,
    /// When it was taken.
    pub(crate) at: Timestamp,
    facts: BTreeMap<String, String>,
}

const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 1 << 20;
const SMALL_FILE_BYTES_MAX: u64 = 1 << 20;
const COMMAND_PATIENCE: Duration = Duration::from_secs(5);

/// Where to look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// Our paths and the data folders, with what each is for.
    pub(crate) paths: Vec<(String, PathBuf)>,
    /// The link to the binary.
    pub(crate) binary: PathBuf,
    /// What the engine said of itself, by name.
    pub(crate) engine: Vec<(String, String)>,
}

impl Fingerprint {
    /// Looks. Takes some milliseconds, and seconds where a command hangs.
    pub(crate) fn take(places: &Places, at: Timestamp) -> Self {
        let mut facts = BTreeMap::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                facts.insert(name.to_owned(), value);
            }
        };
        let uname = rustix::system::uname();
        put("the kernel", uname.release().to_str().ok().map(str::to_owned));
        put("the start of the machine", line("/proc/sys/kernel/random/boot_id"));
        put("the number of processors", std::thread::available_parallelism().ok().map(|count| count.to_string()));
        put("the memory", memory());
        put("the time zone", time_zone());
        put("the driver of the graphics card", line("/proc/driver/nvidia/version"));
        put("the name servers (`/etc/resolv.conf`)", name_servers());
        put("the engine's settings (`/etc/docker/daemon.json`)", digest("/etc/docker/daemon.json"));
        put("the firewall's rules", firewall());
        put("the binary", places.binary.read_link().ok().map(|path| path.display().to_string()));
        for (name, value) in &places.engine {
            put(name, Some(value.clone()));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for (purpose, path) in &places.paths {
            put(&format!("the mount of {purpose} (`{}`)", path.display()), mount(&mounts, path));
        }
        Self { format: FORMAT, at, facts }
    }

    /// Reads the one that was kept; none where there is none, or of another version.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let bytes = file::read_bounded(path, BYTES_MAX).ok()?;
        serde_json::from_slice::<Self>(&bytes).ok().filter(|found| found.format == FORMAT)
    }

    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        file::write_atomic(path, &bytes, 0o600)
    }

    /// Returns what is different in `now`, each in one sentence. What is known on one side only says nothing.
    pub(crate) fn changes(&self, now: &Self) -> Vec<String> {
        let both = self.facts.iter().filter_map(|(name, was)| Some((name, was, now.facts.get(name)?)));
        both.filter(|(_, was, is)| was != is).map(|(name, was, is)| sentence(name, was, is)).collect()
    }
}

fn sentence(name: &str, was: &str, is: &str) -> String {
    let means_nothing = |value: &str| value.parse::<Digest>().is_ok();
    match name {
        "the start of the machine" => "the machine was started anew".to_owned(),
        _ if means_nothing(was) && means_nothing(is) => format!("{name} changed"),
        _ => format!("{name} changed from `{was}` to `{is}`"),
    }
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    let bytes = file::read_bounded(path.as_ref(), SMALL_FILE_BYTES_MAX).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn line(path: &str) -> Option<String> {
    Some(text(path)?.lines().next()?.trim().to_owned())
}

fn digest(path: &str) -> Option<String> {
    Some(Digest::of(text(path)?.as_bytes()).to_string())
}

/// Memory comes and goes by some pages with each kernel; hundreds of megabytes are a change.
fn memory() -> Option<String> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 =
        info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(format!("{:.1} GiB", kib as f64 / f64::from(1 << 20)))
}

fn time_zone() -> Option<String> {
    let link = std::fs::read_link("/etc/localtime").ok().map(|path| path.display().to_string());
    link.or_else(|| line("/etc/timezone"))
}

/// Comments are written anew by whoever manages the file.
fn name_servers() -> Option<String> {
    let text = text("/etc/resolv.conf")?;
    let lines: Vec<_> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])).collect();
    Some(Digest::of(lines.join("\n").as_bytes()).to_string())
}

/// The rules as far as they may be read, without counters and without those of containers, which come and go with them.
fn firewall() -> Option<String> {
    let rules = said("nft", &["--stateless", "list", "ruleset"]).or_else(|| said("iptables-save", &[]))?;
    let is_ours = |line: &&str| !["docker", "DOCKER", "br-", "br711-", "veth"].iter().any(|word| line.contains(word));
    // `iptables-save` says when, and counts in brackets.
    let lines = rules.lines().filter(|line| !line.starts_with('#')).filter(is_ours);
    let lines: Vec<_> = lines.map(|line| line.split(" [").next().unwrap_or_default().trim()).collect();
    Some(Digest::of(lines.join("\n").as_bytes()).to_string())
}

/// Runs a command of the system for at most [`COMMAND_PATIENCE`]; none where it is not there or fails.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let output = child.stdout.take()?;
    // What it says is read beside: a long answer would fill the pipe and never end.
    let reader = std::thread::spawn(move || {
        use std::io::Read;
        let mut bytes = Vec::new();
        output.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if begun.elapsed() < COMMAND_PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                // Already ended is as good as ended now.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let bytes = reader.join().ok()??;
    status.filter(std::process::ExitStatus::success)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns device, file system and options of the mount that holds `path`, by the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn mount(table: &str, path: &Path) -> Option<String> {
    let rows = table.lines().filter_map(|row| {
        let (before, after) = row.split_once(" - ")?;
        let fields: Vec<&str> = before.split(' ').collect();
        let point = fields.get(4)?.replace("\\040", " ");
        let mut after = after.split(' ');
        let (kind, source) = (after.next()?, after.next()?);
        path.starts_with(&point).then(|| (point.len(), format!("{source} {kind} {}", fields[5])))
    });
    // Among mounts on the same point the last one lies on top.
    rows.max_by_key(|(length, _)| *length).map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(facts: &[(&str, &str)]) -> Fingerprint {
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Fingerprint { format: FORMAT, at: Timestamp::from_millis(0), facts }
    }

    #[test]
    fn what_changed_is_said_and_what_is_unknown_is_not() {
        let (a, b) = (Digest::of(b"a").to_string(), Digest::of(b"b").to_string());
        let was = print(&[("the kernel", "6.1"), ("the firewall's rules", &a), ("the memory", "31.2 GiB"), ("x", "1")]);
        let is = print(&[("the kernel", "6.12"), ("the firewall's rules", &b), ("the memory", "31.2 GiB"), ("y", "2")]);
        assert_eq!(was.changes(&is), ["the firewall's rules changed", "the kernel changed from `6.1` to `6.12`"]);
        assert_eq!(was.changes(&was), Vec::<String>::new());
    }

    #[test]
    fn a_fingerprint_of_this_machine_is_kept_and_is_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fingerprint.json");
        let places = Places { paths: vec![("the data".to_owned(), dir.path().to_owned())], ..Places::default() };
        let taken = Fingerprint::take(&places, Timestamp::from_millis(7));
        assert!(taken.facts.contains_key("the kernel") && taken.facts.contains_key("the memory"), "{taken:?}");
        assert!(taken.facts.keys().any(|name| name.starts_with("the mount of the data")), "{taken:?}");
        taken.write(&path).unwrap();
        let again = Fingerprint::take(&places, Timestamp::from_millis(9));
        assert_eq!(Fingerprint::read(&path).unwrap().changes(&again), Vec::<String>::new());
    }

    #[test]
    fn the_innermost_mount_counts_and_the_last_on_a_point() {
        let table = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                     30 22 8:2 / /var/lib\\040x rw - xfs /dev/sdb1 rw\n\
                     31 22 8:3 / /var/lib\\040x ro - xfs /dev/sdc1 rw\n";
        assert_eq!(mount(table, Path::new("/var/lib x/0711")).unwrap(), "/dev/sdc1 xfs ro");
        assert_eq!(mount(table, Path::new("/home")).unwrap(), "/dev/sda1 ext4 rw,relatime");
    }

    #[test]
    fn a_command_that_hangs_or_is_not_there_says_nothing() {
        assert_eq!(said("no-such-program-0711", &[]), None);
        assert_eq!(said("false", &[]), None);
        assert_eq!(said("echo", &["rules"]).as_deref(), Some("rules\n"));
    }
}
