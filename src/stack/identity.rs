use serde::{Deserialize, Serialize};

/// What tells a process from every other one that ever had its pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (`proc(5)`, field 22 of `stat`).
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`: ticks begin anew with each boot, while records below `--root` stay.
    pub boot_id: String,
}

impl Identity {
    /// Returns the identity of the living process `pid`, or `None` when there is none (or only a dead one nobody has
    /// waited for).
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold blanks and parentheses; fields are counted from behind the last one.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        if matches!(fields.first(), None | Some(&"Z" | &"X" | &"x")) {
            return None;
        }
        Some(Self { pid, start_ticks: fields.get(19)?.parse().ok()?, boot_id: boot_id()? })
    }

    /// Returns whether exactly this process lives.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

/// Returns the kernel's name of this boot.
pub(crate) fn boot_id() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

/// Returns the command line of a process; `None` when it is gone or hidden.
pub(crate) fn command_line(pid: u32) -> Option<Vec<String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    Some(text.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect())
}
