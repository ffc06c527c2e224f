//! The report: made from the lake's rows and the run's counts, kept in one file.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use base::file::{self, ReadError};
use lake::{DocumentRow, DocumentStatus};

use crate::{
    Error,
    decide::FAILURE_KEY,
    format::{FORMAT, FileReport, FileStatus, Report},
    handled::QUARANTINED,
    name,
};

const MAX_REPORT_BYTES: u64 = 256 << 20;

/// Returns where the report of a run with this state folder is kept.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("report.json")
}

/// Reads the report of the last run.
///
/// # Errors
/// [`Error::NoReport`] when nothing was ingested yet, [`Error::ReadReport`] for a damaged one.
pub fn read_report(state_dir: &Path) -> Result<Report, Error> {
    let path = path(state_dir);
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::ReadReport { path: path.clone(), source };
    let bytes = match file::read_bounded(&path, MAX_REPORT_BYTES) {
        Ok(bytes) => bytes,
        Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoReport { path });
        }
        Err(error) => return Err(failed(error.into())),
    };
    let report: Report = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    match report.format {
        FORMAT => Ok(report),
        other => Err(failed(format!("its format is {other}, not {FORMAT}").into())),
    }
}

/// Replaces the report.
///
/// # Errors
/// [`Error::WriteReport`].
pub(crate) fn write(state_dir: &Path, report: &Report) -> Result<(), Error> {
    let path = path(state_dir);
    let failed = |source| Error::WriteReport { path: path.clone(), source };
    let bytes = serde_json::to_vec_pretty(report).map_err(|error| failed(error.into()))?;
    file::write_atomic(&path, &bytes, 0o600).map_err(failed)
}

impl Report {
    /// Counts the documents of the run's folders, and lists those that are not searchable.
    pub(crate) fn count(&mut self, rows: &[DocumentRow], mut others: Vec<FileReport>) {
        for row in rows {
            let path = name::absolute(&row.source, &row.path);
            if !self.folders.iter().any(|folder| name::is_below(&path, &folder.path)) {
                continue;
            }
            let status = match row.status {
                DocumentStatus::Searchable => {
                    self.searchable += 1;
                    self.chunks += u64::from(row.chunk_count);
                    continue;
                }
                DocumentStatus::Empty => {
                    self.empty += 1;
                    self.reason("no text".to_owned());
                    FileStatus::Empty
                }
                DocumentStatus::Failed => {
                    self.failed += 1;
                    let kind = row.metadata.get(FAILURE_KEY).map_or("unreadable", String::as_str);
                    self.reason(kind.to_owned());
                    if kind == QUARANTINED { FileStatus::Quarantined } else { FileStatus::Failed }
                }
            };
            self.files.push(FileReport {
                source: row.source.clone(),
                path: row.path.clone(),
                status,
                reason: row.reason.clone().unwrap_or_else(|| "no reason was kept".to_owned()),
            });
        }
        for other in &others {
            match other.status {
                FileStatus::OverLimit => self.over_limit += 1,
                _ => self.skipped += 1,
            }
            self.reason(other.reason.clone());
        }
        self.files.append(&mut others);
        self.files.sort_by(|a, b| (a.status, &a.source, &a.path).cmp(&(b.status, &b.source, &b.path)));
    }

    fn reason(&mut self, kind: String) {
        *self.reasons.entry(kind).or_default() += 1;
    }

    /// Returns the report as people read it: what can be found now, what this run did, and every file that cannot be found, with
    /// the reason. Names keep to their line.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        line(format!("{} searchable, with {}", counted(self.searchable, "document"), counted(self.chunks, "passage")));
        line(format!(
            "  this run: {} seen, {} added, {} changed, {} moved, {} unchanged, {} removed, in {:.1} s",
            self.seen, self.added, self.changed, self.moved, self.unchanged, self.removed, self.seconds
        ));
        if self.regranted > 0 {
            line(format!("  {} may be read by others than before", counted(self.regranted, "document")));
        }
        if self.files_per_second > 0.0 {
            line(format!("  speed: {:.1} files/s, {:.1} passages/s", self.files_per_second, self.chunks_per_second));
        }
        if self.interrupted {
            line("  stopped before the end: the same command goes on from there".to_owned());
        }
        if self.elsewhere > 0 {
            line(format!("  {} more from other folders", counted(self.elsewhere, "document")));
        }
        for note in &self.notes {
            line(format!("  note: {note}"));
        }
        if self.files.is_empty() {
            line(if self.seen == 0 { "no file was found" } else { "every file can be found" }.to_owned());
            return out;
        }
        let mut by_status: BTreeMap<FileStatus, Vec<&FileReport>> = BTreeMap::new();
        for file in &self.files {
            by_status.entry(file.status).or_default().push(file);
        }
        for (status, files) in by_status {
            line(format!("{} {}:", counted(files.len() as u64, "file"), status.as_str()));
            for file in files {
                let path = match self.folders.len() {
                    0 | 1 => file.path.clone(),
                    _ => name::absolute(&file.source, &file.path),
                };
                line(format!("  {}: {}", name::shown(&path), name::shown(&file.reason)));
            }
        }
        out
    }
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
