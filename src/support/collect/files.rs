//! The files that say what the installation is meant to be, and what happened to it.

use std::path::{Path, PathBuf};

use base::{CustomerLayout, Layout, file};
use serde_json::{Value, json};

use crate::gather::{Piece, Said};
use crate::names::without_lists;

const FILE_BYTES_MAX: u64 = 4 << 20;
/// As `install` reads it.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// A report lists every file that could not be read.
const REPORT_BYTES_MAX: u64 = 256 << 20;

/// What kind of text a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Fields we know, in YAML or another form.
    Known,
    /// JSON whose lists of files are names.
    Json,
    /// One JSON object per line.
    JsonLines,
    /// Whatever an administrator wrote.
    Free,
}

pub(super) fn collect(layout: &Layout, customer: &CustomerLayout, with_names: bool) -> Said {
    let changes = customer.compose().with_file_name("docker-compose.override.yml");
    let files: [(PathBuf, &str, Kind, u64); 15] = [
        (customer.config(), "config/config.yaml", Kind::Known, FILE_BYTES_MAX),
        (customer.answers(), "config/answers.yaml", Kind::Known, FILE_BYTES_MAX),
        (customer.compose(), "config/docker-compose.yml", Kind::Known, FILE_BYTES_MAX),
        (changes, "config/docker-compose.override.yml", Kind::Free, FILE_BYTES_MAX),
        (layout.slots_file(), "config/slots.json", Kind::Known, FILE_BYTES_MAX),
        (customer.plan(), "state/plan.json", Kind::Known, FILE_BYTES_MAX),
        (customer.receipt(), "state/receipt.json", Kind::Json, FILE_BYTES_MAX),
        (customer.seen(), "state/seen.json", Kind::Known, FILE_BYTES_MAX),
        (customer.loras().join("registry.json"), "state/adapters.json", Kind::Known, FILE_BYTES_MAX),
        (customer.ingest_state().join("report.json"), "state/ingest-report.json", Kind::Json, REPORT_BYTES_MAX),
        (customer.journal(), "state/journal.jsonl", Kind::JsonLines, JOURNAL_BYTES_MAX),
        // What the agent keeps, also when it does not run.
        (layout.agent_config(), "config/agent.yaml", Kind::Free, FILE_BYTES_MAX),
        (layout.agent_events(), "agent/history.jsonl", Kind::Free, FILE_BYTES_MAX),
        (layout.agent_fingerprint(), "agent/fingerprint.json", Kind::Free, FILE_BYTES_MAX),
        (customer.probes(), "agent/probes.jsonl", Kind::Free, FILE_BYTES_MAX),
    ];
    let (mut pieces, mut states) = (Vec::new(), Vec::new());
    for (from, to, kind, bytes_max) in &files {
        // Some of these folders belong to a role: what lies there may be a link to anything.
        let state = match file::read_bounded_nofollow(from, *bytes_max) {
            Ok(bytes) => {
                let size_bytes = bytes.len();
                pieces.push(piece(to, bytes, *kind, with_names));
                json!({"path": from, "size_bytes": size_bytes, "modified": modified(from)})
            }
            Err(file::ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                json!({"path": from, "absent": true})
            }
            Err(error) => json!({"path": from, "unreadable": error.to_string()}),
        };
        states.push(state);
    }
    pieces.push(Piece::json("state/files.json", &states)?);
    Ok(pieces)
}

fn modified(path: &Path) -> Option<String> {
    let modified = std::fs::symlink_metadata(path).ok()?.modified().ok()?;
    let millis = modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
    Some(base::Timestamp::from_millis(i64::try_from(millis).ok()?).to_string())
}

fn piece(to: &str, bytes: Vec<u8>, kind: Kind, with_names: bool) -> Piece {
    let stripped = |bytes: &[u8]| {
        let mut value: Value = serde_json::from_slice(bytes).ok()?;
        without_lists(&mut value);
        Some(value)
    };
    match kind {
        Kind::Free => Piece::free(to, bytes),
        Kind::Known => Piece::known(to, bytes),
        Kind::Json if with_names => Piece::known(to, bytes),
        Kind::Json => match stripped(&bytes).map(|value| Piece::json(to, &value)) {
            Some(Ok(piece)) => piece,
            // A damaged file cannot be told from its names.
            _ => Piece::known(to, format!("{} bytes, not readable as JSON; left out\n", bytes.len()).into_bytes()),
        },
        // Causes are told in words there; and of a long one the end counts.
        Kind::JsonLines if with_names => Piece::free(to, bytes),
        Kind::JsonLines => {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let line = |line: &[u8]| match stripped(line) {
                Some(value) => format!("{value}\n"),
                None => format!("{} bytes, not readable as JSON; left out\n", line.len()),
            };
            Piece::free(to, lines.map(line).collect::<String>().into_bytes())
        }
    }
}
