use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use base::job;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::printer::{Printer, duration};

/// How often a line is printed where there is no terminal to redraw.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Shows one piece of work at a time, on standard error: a bar on a terminal, plain lines elsewhere, events with `--json`. Standard
/// output stays the result's alone.
pub struct Progress {
    printer: Printer,
    label: String,
    started: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts to show the work called `label`.
    pub fn start(printer: Printer, label: impl Into<String>) -> Self {
        let label = label.into();
        let bar = (!printer.json && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(spinner());
            bar.set_message(label.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if printer.json {
            printer.note(json!({"event": "started", "what": label}).to_string());
        } else if bar.is_none() {
            printer.note(format!("· {label}"));
        }
        Self { printer, label, started: Instant::now(), last_line: Instant::now(), bar }
    }

    /// Shows how far it is.
    pub fn update(&mut self, progress: &job::Progress) {
        if let Some(bar) = &self.bar {
            if progress.total > 0 && bar.length() != Some(progress.total) {
                bar.set_style(meter());
                bar.set_length(progress.total);
            }
            bar.set_position(progress.done);
            bar.set_message(format!("{}  {}", self.label, describe(progress)));
            return;
        }
        if self.last_line.elapsed() < PLAIN_EVERY {
            return;
        }
        self.last_line = Instant::now();
        if self.printer.json {
            self.printer.note(json!({"event": "progress", "what": self.label, "progress": progress}).to_string());
        } else {
            self.printer.note(format!("  {}: {}", self.label, describe(progress)));
        }
    }

    /// Ends the work with one line that says what came of it.
    pub fn finish(self, outcome: &str) {
        let seconds = self.started.elapsed().as_secs();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.printer.json {
            let value = json!({"event": "finished", "what": self.label, "outcome": outcome, "seconds": seconds});
            self.printer.note(value.to_string());
            return;
        }
        let took = if seconds >= 1 { format!("  ({})", duration(seconds)) } else { String::new() };
        let outcome = if outcome.is_empty() { String::new() } else { format!(": {outcome}") };
        self.printer.note(format!("✓ {}{outcome}{took}", self.label));
    }

    /// Ends the display without saying that the work succeeded.
    pub fn abandon(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn meter() -> ProgressStyle {
    let style =
        ProgressStyle::with_template("{spinner} [{bar:24}] {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─")
}

fn describe(progress: &job::Progress) -> String {
    let mut parts = Vec::new();
    match (progress.total, progress.unit.as_str()) {
        (0, _) if progress.done == 0 => {}
        (0, unit) => parts.push(format!("{} {unit}", progress.done)),
        (total, unit) => parts.push(format!("{} of {total} {unit}", progress.done)),
    }
    if !progress.note.is_empty() {
        parts.push(progress.note.clone());
    }
    if let Some(seconds) = progress.eta_seconds {
        parts.push(format!("about {} left", duration(seconds)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_well() {
        let mut progress = job::Progress { done: 3, total: 30, unit: "files".into(), ..job::Progress::default() };
        progress.eta_seconds = Some(75);
        assert_eq!(describe(&progress), "3 of 30 files, about 1 min 15 s left");
        assert_eq!(describe(&job::Progress::default()), "");
    }
}
