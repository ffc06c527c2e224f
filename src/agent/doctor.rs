//! Looks for what is wrong, with or without an agent, and says what mends each thing. Changes nothing.

mod machine;
mod stack_of;

use std::path::Path;

use base::{Clock, Explain, Layout, Role, Slug};
use install::control::{Client, Status};
use serde::Serialize;
use stack::http::CallError;

use crate::settings::Settings;
use crate::supervisor::chain;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Version of this format: 1.
    pub format: u32,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What was looked at, in the order of looking.
    pub looked_at: Vec<String>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Whose, where it is one customer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<Slug>,
    /// Which, where it is one role's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What is wrong, in one sentence.
    pub what: String,
    /// What was seen, for who wants to know more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub seen: String,
    /// The act that mends it.
    pub remedy: String,
}

/// How bad a finding is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work.
    Broken,
    /// Something will not work before long, or works less well.
    Warning,
    /// Good to know.
    Note,
}

impl Diagnosis {
    /// Returns whether something does not work, or will not before long.
    pub fn is_ill(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity != Severity::Note)
    }
}

/// Collects findings.
pub(crate) struct Notes {
    customer: Option<Slug>,
    diagnosis: Diagnosis,
}

const FORMAT: u32 = 1;

impl Notes {
    fn new() -> Self {
        Self { customer: None, diagnosis: Diagnosis { format: FORMAT, findings: Vec::new(), looked_at: Vec::new() } }
    }

    pub(crate) fn look_at(&mut self, what: impl Into<String>) {
        self.diagnosis.looked_at.push(what.into());
    }

    pub(crate) fn add(
        &mut self,
        severity: Severity,
        role: Option<Role>,
        what: impl Into<String>,
        seen: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.diagnosis.findings.push(Finding {
            severity,
            customer: self.customer.clone(),
            role,
            what: what.into(),
            seen: seen.into(),
            remedy: remedy.into(),
        });
    }

    fn finish(mut self) -> Diagnosis {
        self.diagnosis.findings.sort_by_key(|finding| finding.severity);
        self.diagnosis
    }
}

/// Looks at an installation: at one customer of it, or at all.
pub async fn doctor(layout: &Layout, only: Option<&Slug>) -> Diagnosis {
    let mut notes = Notes::new();
    let clock = Clock::system();
    let status = agent(layout, &mut notes).await;
    unit(layout, &mut notes).await;
    settings(layout, &mut notes);
    machine::look(layout, status.as_ref(), &mut notes, clock).await;
    match install::installed(layout) {
        Ok(slugs) if slugs.is_empty() => {
            notes.add(Severity::Broken, None, "nothing is installed here", "", "run `0711 install`");
        }
        Ok(slugs) => {
            for slug in slugs.into_iter().filter(|slug| only.is_none_or(|only| only == slug)) {
                notes.customer = Some(slug.clone());
                stack_of::look(layout, &slug, status.as_ref(), &mut notes, clock).await;
            }
            notes.customer = None;
        }
        Err(error) => {
            let remedy =
                error.remedy().map_or_else(|| "restore `slots.json` from a backup".to_owned(), |remedy| remedy.0);
            notes.add(Severity::Broken, None, "the table of customers cannot be read", chain(&error), remedy);
        }
    }
    notes.finish()
}

async fn agent(layout: &Layout, notes: &mut Notes) -> Option<Status> {
    notes.look_at("the agent");
    let socket = layout.agent_socket();
    match Client::new(layout).status().await {
        Ok(status) => {
            let link = layout.binary();
            let current = link.canonicalize().unwrap_or(link);
            if status.agent.binary != current {
                let seen =
                    format!("it runs `{}`, and `{}` is in place", status.agent.binary.display(), current.display());
                notes.add(
                    Severity::Warning,
                    None,
                    "the agent is of another version than the installation",
                    seen,
                    "run `0711 install` again",
                );
            }
            Some(status)
        }
        Err(CallError::Connect { source, .. }) => {
            let seen = match source.kind() {
                std::io::ErrorKind::NotFound => format!("there is no `{}`", socket.display()),
                std::io::ErrorKind::ConnectionRefused => {
                    format!("`{}` was left behind by an agent that ended without a farewell", socket.display())
                }
                std::io::ErrorKind::PermissionDenied => {
                    let remedy = "run the same command as root, or as the user who installed";
                    let seen = format!("`{}` is another user's", socket.display());
                    notes.add(Severity::Broken, None, "the agent may not be asked by this user", seen, remedy);
                    return None;
                }
                _ => source.to_string(),
            };
            let log =
                last_line(&layout.agent_log()).map(|line| format!("; its last words: {line}")).unwrap_or_default();
            notes.add(Severity::Broken, None, "the agent does not run", seen + &log, "run `0711 start`");
            None
        }
        Err(error) => {
            let seen = chain(&error);
            notes.add(
                Severity::Broken,
                None,
                "the agent runs and does not answer",
                seen,
                "see `0711 logs`, then end it and run `0711 start`",
            );
            None
        }
    }
}

async fn unit(layout: &Layout, notes: &mut Notes) {
    let Some(path) = layout.agent_unit().filter(|_| host::systemd_is_running()) else { return };
    notes.look_at("the unit of systemd");
    let name = install::UNIT_NAME;
    if !path.exists() {
        let seen = format!("there is no `{}`", path.display());
        notes.add(
            Severity::Warning,
            None,
            "the agent does not start with the machine",
            seen,
            "run `0711 install` again",
        );
        return;
    }
    let asked = tokio::process::Command::new("systemctl").args(["is-enabled", name]).kill_on_drop(true).output();
    match tokio::time::timeout(std::time::Duration::from_secs(10), asked).await {
        Ok(Ok(output)) if output.status.success() => {}
        Ok(Ok(output)) => {
            let seen = format!("`systemctl is-enabled {name}` says {}", String::from_utf8_lossy(&output.stdout).trim());
            let remedy = format!("run `systemctl enable --now {name}`");
            notes.add(Severity::Warning, None, "the agent does not start with the machine", seen, remedy);
        }
        // Whoever cannot be asked says nothing.
        _ => {}
    }
}

fn settings(layout: &Layout, notes: &mut Notes) {
    notes.look_at("the agent's settings");
    if let Err(error) = Settings::read(layout) {
        let remedy = error.remedy().map(|remedy| remedy.0).unwrap_or_default();
        notes.add(Severity::Warning, None, "the agent's settings are not used", chain(&error), remedy);
    }
}

/// Returns the last line of a log that is not empty, shortened.
pub(crate) fn last_line(path: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    const END_BYTES: u64 = 8 << 10;
    const CHARACTERS_MAX: usize = 300;
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES))).ok()?;
    let mut end = Vec::new();
    file.take(END_BYTES).read_to_end(&mut end).ok()?;
    let text = String::from_utf8_lossy(&end);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().filter(|character| !character.is_control()).take(CHARACTERS_MAX).collect())
}

#[cfg(test)]
mod tests;
