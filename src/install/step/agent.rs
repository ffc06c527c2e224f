//! Starts the resident agent, and replaces one of another version. Roles keep running meanwhile: they outlive agents.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use base::{Layout, file};
use plan::Supervision;
use plan::journal::Evidence;
use serde::Deserialize;
use stack::Identity;

use crate::Error;
use crate::act::Probe;
use crate::control::Client;
use crate::unit::{UNIT_NAME, unit_text, update_unit_text};

/// From the start of the process to its first answer.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// The agent leaves its roles alone when it ends, so this is quick.
const END_PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn probe(layout: &Layout) -> Result<Probe, Error> {
    let Ok(status) = Client::new(layout).status().await else { return Ok(Probe::Missing) };
    let is_current = status.agent.binary == current_binary(layout);
    Ok(if is_current { Probe::Holds(Evidence::default()) } else { Probe::Missing })
}

fn current_binary(layout: &Layout) -> PathBuf {
    let link = layout.binary();
    link.canonicalize().unwrap_or(link)
}

/// Starts the agent of the linked binary, ending another one first, and waits for its first answer.
pub(crate) async fn apply(layout: &Layout, supervision: Supervision) -> Result<(), Error> {
    let mut child = None;
    match (supervision, layout.agent_unit()) {
        (Supervision::Systemd, Some(unit)) => {
            file::write_atomic(&unit, unit_text(layout).as_bytes(), 0o644).map_err(Error::file("write", &unit))?;
            if let Some(unit) = layout.update_unit() {
                let text = update_unit_text(layout);
                file::write_atomic(&unit, text.as_bytes(), 0o644).map_err(Error::file("write", &unit))?;
            }
            systemctl(&["daemon-reload"]).await?;
            systemctl(&["enable", UNIT_NAME]).await?;
            systemctl(&["restart", UNIT_NAME]).await?;
        }
        _ => {
            end_agent(layout).await?;
            let mut arguments = vec!["agent".to_owned(), "run".to_owned()];
            if let Some(root) = layout.root() {
                arguments.extend(["--root".to_owned(), root.display().to_string()]);
            }
            let started = stack::spawn(&current_binary(layout), &arguments, &layout.agent_log());
            child = Some(started.map_err(|source| Error::Agent { source: source.into() })?);
        }
    }
    let begun = Instant::now();
    loop {
        // The first answer of the wrong agent is none.
        if probe(layout).await? != Probe::Missing {
            return Ok(());
        }
        if let Some(status) = child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
            let source = format!("it ended at once ({status}); `{}` says why", layout.agent_log().display());
            return Err(Error::Agent { source: source.into() });
        }
        if begun.elapsed() > START_PATIENCE {
            let source = format!("no answer within {} s", START_PATIENCE.as_secs());
            return Err(Error::Agent { source: source.into() });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The part of the agent's record this room needs.
#[derive(Deserialize)]
struct AgentRecord {
    identity: Identity,
}

const RECORD_BYTES_MAX: u64 = 64 << 10;

/// Ends the agent that runs, if one does. Its roles go on.
pub(crate) async fn end_agent(layout: &Layout) -> Result<(), Error> {
    let Ok(bytes) = file::read_bounded(&layout.agent_record(), RECORD_BYTES_MAX) else { return Ok(()) };
    let Ok(record) = serde_json::from_slice::<AgentRecord>(&bytes) else { return Ok(()) };
    let stopped = stack::stop(&record.identity, END_PATIENCE).await;
    stopped.map(drop).map_err(|source| Error::Agent { source: source.into() })
}

/// Asks systemd.
pub(crate) async fn systemctl(arguments: &[&str]) -> Result<(), Error> {
    let command = || format!("systemctl {}", arguments.join(" "));
    let failed = |output: String| Error::Command { command: command(), output };
    let run = tokio::process::Command::new("systemctl").args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(60), run)
        .await
        .map_err(|_| failed("no end within 60 s".to_owned()))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(failed(text.trim().chars().take(400).collect()))
}
