//! Whether a handler may be registered: it has to prove itself on real files of its kind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Records, Refusal, Run, Runner};

/// The least share of a file's bytes a handler accounts for: decoded, or declared to be padding.
pub const MIN_COVERAGE: f64 = 0.95;
/// The most it may declare to be padding.
pub const MAX_SKIPPED: f64 = 0.30;
/// What comes out is at least this part of what was decoded; less is a handler that reads everything and tells nothing.
const MIN_YIELD: u64 = 20;
/// Files a handler is tried on.
const MAX_SAMPLES: usize = 5;
/// Where files are cut off to see what a handler does: in percent of their size.
const CUTS: [u64; 4] = [0, 13, 50, 97];
/// Rows of each table that are kept to be shown.
const PREVIEW_ROWS: usize = 10;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// It runs over every sample and emits something.
    DryRun,
    /// Two runs in two processes say the same.
    SameTwice,
    /// It accounts for the bytes it was given.
    Coverage,
    /// Every column has a value somewhere.
    NoEmptyColumns,
    /// A file that breaks off ends it in order.
    SurvivesTruncation,
}

impl Check {
    /// Returns the words used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DryRun => "dry run",
            Self::SameTwice => "same result twice",
            Self::Coverage => "bytes accounted for",
            Self::NoEmptyColumns => "no empty columns",
            Self::SurvivesTruncation => "survives a file that breaks off",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub check: Check,
    pub passed: bool,
    pub detail: String,
}

/// What came of a validation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    pub findings: Vec<Finding>,
    /// How many files it was tried on.
    pub samples: u32,
    pub records: u64,
    /// The least share of a sample's bytes that was accounted for.
    pub coverage: f64,
    /// The first records, for whoever approves.
    pub preview: Vec<Records>,
}

impl Validation {
    /// Returns whether every check passed.
    pub fn passed(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(|finding| finding.passed)
    }

    /// Returns what failed, as the one who wrote the handler needs it.
    pub fn faults(&self) -> String {
        let failed = self.findings.iter().filter(|finding| !finding.passed);
        failed.map(|finding| format!("- {}: {}\n", finding.check.name(), finding.detail)).collect()
    }
}

/// Tries a handler on files of its kind.
pub async fn validate(runner: &Runner, code: &str, samples: &[PathBuf]) -> Validation {
    let mut seen = Seen::default();
    for path in samples.iter().take(MAX_SAMPLES) {
        seen.sample(runner, code, path).await;
        // One that does not run at all is not tried on every file.
        if seen.samples == 1 && seen.failed(Check::DryRun) {
            break;
        }
    }
    if let Some(first) = samples.first()
        && !seen.failed(Check::DryRun)
    {
        seen.truncated(runner, code, first).await;
    }
    seen.finish()
}

/// Returns why a run is not to be believed; empty when it is.
pub fn faults_of_run(run: &Run) -> Vec<(Check, String)> {
    let mut faults = Vec::new();
    if let Some(refusal) = &run.refusal {
        faults.push((Check::DryRun, refusal.to_string()));
        return faults;
    }
    let figures = &run.figures;
    if figures.records == 0 && run.texts.iter().all(|text| text.trim().is_empty()) {
        faults.push((Check::DryRun, "it emitted neither a record nor a text".to_owned()));
        return faults;
    }
    if figures.coverage() < MIN_COVERAGE {
        let text = format!(
            "{:.1} % of the bytes are accounted for ({} of {} decoded, {} declared padding), and {:.0} % are asked",
            figures.coverage() * 100.0,
            figures.explained_bytes,
            figures.size_bytes,
            figures.skipped_bytes,
            MIN_COVERAGE * 100.0
        );
        faults.push((Check::Coverage, text));
    }
    if figures.skipped() > MAX_SKIPPED {
        let text = format!(
            "{:.1} % of the bytes are declared padding, and {:.0} % may be",
            figures.skipped() * 100.0,
            MAX_SKIPPED * 100.0
        );
        faults.push((Check::Coverage, text));
    }
    if figures.output_bytes.saturating_mul(MIN_YIELD) < figures.explained_bytes {
        let text = format!(
            "{} bytes were decoded and only {} of them emitted: emit every field",
            figures.explained_bytes, figures.output_bytes
        );
        faults.push((Check::Coverage, text));
    }
    faults
}

#[derive(Default)]
struct Seen {
    samples: u32,
    records: u64,
    coverage: Option<f64>,
    faults: Vec<(Check, String)>,
    /// Whether a column of a table had a value anywhere.
    columns: BTreeMap<(String, String), bool>,
    preview: Vec<Records>,
    cuts: usize,
}

impl Seen {
    fn failed(&self, check: Check) -> bool {
        self.faults.iter().any(|(failed, _)| *failed == check)
    }

    fn fault(&mut self, check: Check, path: &Path, text: impl std::fmt::Display) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.faults.push((check, format!("{name}: {text}")));
    }

    async fn sample(&mut self, runner: &Runner, code: &str, path: &Path) {
        let run = runner.run(path, code, None).await;
        self.samples += 1;
        for (check, text) in faults_of_run(&run) {
            self.fault(check, path, text);
        }
        if run.refusal.is_some() {
            return;
        }
        let coverage = run.figures.coverage();
        self.coverage = Some(self.coverage.map_or(coverage, |least| least.min(coverage)));
        self.records += run.figures.records;
        for table in &run.tables {
            for (at, column) in table.columns.iter().enumerate() {
                let has_value = table.rows.iter().any(|row| row.get(at).is_some_and(|cell| !cell.trim().is_empty()));
                *self.columns.entry((table.name.clone(), column.clone())).or_default() |= has_value;
            }
        }
        let again = runner.run(path, code, None).await;
        if again.digest() != run.digest() || again.refusal.is_some() {
            self.fault(Check::SameTwice, path, "a second run gave another result");
        }
        if self.preview.is_empty() {
            self.preview = run.tables;
            self.preview.iter_mut().for_each(|table| table.rows.truncate(PREVIEW_ROWS));
        }
    }

    async fn truncated(&mut self, runner: &Runner, code: &str, path: &Path) {
        let Ok(size) = std::fs::metadata(path).map(|found| found.len()) else { return };
        let mut cuts: Vec<u64> = CUTS.iter().map(|percent| size * percent / 100).collect();
        cuts.push(size.saturating_sub(1));
        for cut in cuts {
            let run = runner.run(path, code, Some(cut)).await;
            self.cuts += 1;
            match run.refusal {
                None => {}
                // What came before the break was emitted: nothing more can be asked of a damaged file.
                Some(Refusal::Raised { .. }) if run.figures.records > 0 || cut == 0 => {}
                Some(refusal) => {
                    self.fault(Check::SurvivesTruncation, path, format!("cut off after {cut} bytes: {refusal}"))
                }
            }
        }
    }

    fn finish(mut self) -> Validation {
        let empty: Vec<String> = self
            .columns
            .iter()
            .filter(|(_, has_value)| !**has_value)
            .map(|((table, column), _)| format!("`{column}` of `{table}`"))
            .collect();
        if !empty.is_empty() {
            let text = format!("no record has a value in {}", empty.join(", "));
            self.faults.push((Check::NoEmptyColumns, text));
        }
        let ran = self.samples > 0 && !self.failed(Check::DryRun);
        let coverage = self.coverage.unwrap_or(0.0);
        let mut findings = Vec::new();
        for check in
            [Check::DryRun, Check::SameTwice, Check::Coverage, Check::NoEmptyColumns, Check::SurvivesTruncation]
        {
            let faults: Vec<&str> =
                self.faults.iter().filter(|(failed, _)| *failed == check).map(|(_, text)| text.as_str()).collect();
            let detail = match check {
                _ if !faults.is_empty() => faults.join("; "),
                Check::DryRun if self.samples == 0 => "there was no file to try it on".to_owned(),
                _ if !ran => "not tried".to_owned(),
                Check::DryRun => format!("{} records of {} files", self.records, self.samples),
                Check::SameTwice => format!("{} files", self.samples),
                Check::Coverage => format!("at least {:.1} %", coverage * 100.0),
                Check::NoEmptyColumns => format!("{} columns", self.columns.len()),
                Check::SurvivesTruncation => format!("{} cuts", self.cuts),
            };
            findings.push(Finding { check, passed: faults.is_empty() && ran, detail });
        }
        Validation { findings, samples: self.samples, records: self.records, coverage, preview: self.preview }
    }
}
