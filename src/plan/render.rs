use std::fmt::Write;

use crate::forecast::{Forecast, Note};
use crate::{Plan, Proposal, Step, Supervision};

impl Proposal {
    /// Returns the plan for people, with what it will probably need and what they should know.
    pub fn render(&self) -> String {
        let mut text = self.plan.render();
        text += &render_forecast(&self.forecast);
        if !self.notes.is_empty() {
            text += "\nWorth knowing\n";
            for note in &self.notes {
                text += &format!("  - {note}\n");
            }
        }
        text
    }
}

impl Plan {
    /// Returns the plan for people: the same plan gives the same bytes.
    pub fn render(&self) -> String {
        let mut text = format!("Plan for {} (`{}`)\n", self.customer_name, self.slug);
        let root = self.root.as_ref().map_or_else(|| "this machine".to_owned(), |root| root.display().to_string());
        let folders: Vec<_> = self.answers.folders.iter().map(|folder| folder.display().to_string()).collect();
        for (name, value) in [
            ("version", self.version.clone()),
            ("where", root),
            ("folders", folders.join("\n                ")),
            (
                "console",
                format!(
                    "http://{}:{}",
                    self.answers.console.bind,
                    self.slot.port_base + base::Role::Console.port_offset()
                ),
            ),
            ("plan digest", self.digest().to_string()),
        ] {
            text += &format!("  {name:<12}  {value}\n");
        }
        if !self.answers.permissions.is_off() {
            text += &format!("  {:<12}  people find only what they may read\n", "permissions");
        }
        text += "\nSteps\n";
        for (number, step) in (1..).zip(&self.steps) {
            text += &format!("  {number:>2}. {:<12} {}\n", step.id(), step.describe());
        }
        text += "\nServices, in start order\n";
        for service in &self.services {
            text += &format!(
                "  {:<8} 127.0.0.1:{:<6} about {} of memory\n",
                service.role,
                service.port,
                bytes_for_people(service.memory_bytes)
            );
        }
        text += "\nPorts\n";
        for port in &self.ports {
            text += &format!("  {:<6} {}\n", port.port, port.purpose);
        }
        text
    }
}

impl Step {
    /// Returns what the step does, in one line for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Folders { paths } => match paths.first() {
                Some(first) => format!("make {} private folders, the first `{}`", paths.len(), first.display()),
                None => "make no folder".to_owned(),
            },
            Self::Slot { slot, .. } => format!("keep the ports {} to {}", slot.port_base, slot.port_base + 99),
            Self::License { id, to, .. } => format!("put license {id} at `{}`", to.display()),
            Self::Secrets { to } => format!("generate token and console password in `{}`", to.display()),
            Self::Model { model, size_bytes, .. } => {
                format!("put {} ({}) at `{}`", model.name, bytes_for_people(*size_bytes), model.path.display())
            }
            Self::Binary { version, size_bytes, to, .. } => {
                format!("put version {version} ({}) at `{}`", bytes_for_people(*size_bytes), to.display())
            }
            Self::Images { images } => {
                let bytes = images.iter().map(|image| image.size_bytes).sum();
                format!(
                    "bring {} image{} ({}) into the engine",
                    images.len(),
                    plural(images.len()),
                    bytes_for_people(bytes)
                )
            }
            Self::Config { to, .. } => format!("write `{}`", to.display()),
            Self::Containers { to, .. } => format!("make the containers of `{}`", to.display()),
            Self::Agent { supervision: Supervision::Systemd } => "start the agent as a systemd unit".to_owned(),
            Self::Agent { supervision: Supervision::Detached } => "start the agent as a process of its own".to_owned(),
            Self::Roles { roles } => format!("wait until {} services are ready", roles.len()),
            Self::Ingest { folders } if folders.len() == 1 => "read 1 folder".to_owned(),
            Self::Ingest { folders } => format!("read {} folders", folders.len()),
            Self::Train { minutes } => format!("train the first adapter, at most {minutes} min"),
            Self::Check => "search once and generate one token".to_owned(),
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn render_forecast(forecast: &Forecast) -> String {
    let mut text = "\nEstimates\n".to_owned();
    let at_least = if forecast.is_complete { "" } else { "at least " };
    for (name, value) in [
        (
            "to read",
            format!("{at_least}{} files, {}", count_for_people(forecast.files), bytes_for_people(forecast.file_bytes)),
        ),
        ("disk when done", bytes_for_people(forecast.disk_bytes)),
        ("disk at peak", bytes_for_people(forecast.disk_peak_bytes)),
        ("disk still missing", bytes_for_people(forecast.disk_needed_bytes)),
        ("memory at rest", bytes_for_people(forecast.memory_bytes)),
        ("memory at peak", bytes_for_people(forecast.memory_peak_bytes)),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<19} {value}");
    }
    text
}

impl std::fmt::Display for Note {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MoreFilesThanDocuments { files, max_documents } => write!(
                out,
                "the folders hold {} files; the license allows {} documents, the rest will be listed as left out",
                count_for_people(*files),
                count_for_people(*max_documents)
            ),
            Self::LicenseEnds { days, is_grace: false } => write!(out, "the license ends in {days} days"),
            Self::LicenseEnds { days, is_grace: true } => {
                write!(out, "the license has ended; {days} days of grace are left")
            }
            Self::LittleMemoryForTraining { needed_bytes, total_bytes } => write!(
                out,
                "training wants {} of memory, this machine has {}",
                bytes_for_people(*needed_bytes),
                bytes_for_people(*total_bytes)
            ),
            Self::NoTrainingOnGpu => out.write_str(
                "no adapter is trained: that of a model on graphics cards has a trainer of its own, which this version lacks",
            ),
            Self::EmptyFolder { path } => write!(out, "folder `{}` is empty", path.display()),
        }
    }
}

/// Returns a size as people read it: decimal units, three digits at most (`98 MB`, `1.2 GB`).
pub fn bytes_for_people(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, 0);
    while tenths >= 9_995 && unit + 1 < units.len() {
        tenths = (tenths + 500) / 1000;
        unit += 1;
    }
    if unit > 0 && tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
    } else {
        format!("{} {}", (tenths + 5) / 10, units[unit])
    }
}

/// Returns a count with thousands separated: `12,345`.
pub fn count_for_people(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (98_400_000, "98 MB"),
            (1_234_567_890, "1.2 GB"),
            (999_999, "1.0 MB"),
            (24 << 30, "26 GB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, expect) in cases {
            assert_eq!(bytes_for_people(bytes), expect);
        }
    }

    #[test]
    fn counts_read_well() {
        for (count, expect) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count_for_people(count), expect);
        }
    }
}
