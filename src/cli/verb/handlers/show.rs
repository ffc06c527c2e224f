//! What there is, and what waits.

use ::handlers::{Entry, State, Waiting};
use extract::handler::Records;
use serde_json::json;

use super::Bench;
use crate::{
    failure::Outcome,
    printer::{Printer, shown},
};

/// A cell of a table on a terminal.
const CELL_CHARACTERS: usize = 30;

pub(super) fn list(bench: &Bench<'_>) -> Outcome {
    let (printer, entries) = (bench.context.printer, bench.registry.list()?);
    if printer.json {
        return printer.value(&json!({"format": 1, "handlers": entries}));
    }
    if entries.is_empty() {
        printer.line("there is no handler");
        printer.note("`0711 handlers pending` shows which files wait for one");
    }
    for entry in entries {
        printer.line(format!("{}  {}  {}", printer.bold(&entry.name), state(printer, &entry), shown(&entry.summary)));
    }
    Ok(())
}

fn state(printer: Printer, entry: &Entry) -> String {
    match entry.state {
        State::Approved => printer.good(entry.state.name()),
        State::Waiting => printer.warn(entry.state.name()),
        State::Rejected => printer.dim(entry.state.name()),
    }
}

pub(super) fn one(bench: &Bench<'_>, name: &str) -> Outcome {
    let (printer, handler) = (bench.context.printer, bench.registry.newest(name)?);
    if printer.json {
        let in_force = bench.approved_beside(&handler.entry)?;
        return printer
            .value(&json!({"format": 1, "handler": handler.entry, "source": handler.source, "in_force": in_force}));
    }
    let entry = &handler.entry;
    printer.line(format!("{}  {}", printer.bold(&entry.name), state(printer, entry)));
    printer.line(format!("  {}", shown(&entry.summary)));
    printer.line(format!("  for files of {}", entry.kind.id()));
    printer.line(format!("  written by {}, registered {}", shown(&entry.origin.describe()), entry.registered));
    printer.line(format!("  source {}", entry.digest));
    if let Some(decision) = &entry.decision {
        printer.line(format!("  {} by {} at {}", entry.state.name(), shown(&decision.by), decision.at));
    }
    if let Some(before) = bench.approved_beside(entry)? {
        printer.line(format!("  the approved one stays in force until this one is approved: source {}", before.digest));
    }
    findings(printer, &entry.validation);
    tables(printer, &entry.validation.preview, usize::MAX);
    printer.line("");
    // Line by line: a source is a stranger's text, and must not command the terminal.
    handler.source.lines().for_each(|line| printer.line(shown(line)));
    if entry.state == State::Waiting {
        printer.note(format!(
            "its records are quarantined: `0711 handlers approve {name} --digest {}` or `0711 handlers reject {name}`",
            entry.digest
        ));
    }
    Ok(())
}

/// Says how a validation went.
pub(super) fn findings(printer: Printer, validation: &extract::handler::Validation) {
    for finding in &validation.findings {
        let mark = if finding.passed { printer.good("passed") } else { printer.bad("failed") };
        printer.line(format!("  {mark}  {}: {}", finding.check.name(), shown(&finding.detail)));
    }
}

/// Shows the first rows of tables.
pub(super) fn tables(printer: Printer, tables: &[Records], rows: usize) {
    for table in tables {
        printer.line(format!("  {} ({} shown)", printer.bold(&shown(&table.name)), table.rows.len().min(rows)));
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells
                .iter()
                .map(|cell| {
                    let cell = shown(cell);
                    match cell.char_indices().nth(CELL_CHARACTERS) {
                        Some((end, _)) => format!("{}…", &cell[..end]),
                        None => cell,
                    }
                })
                .collect();
            format!("    {}", cells.join(" | "))
        };
        printer.line(printer.dim(&line(&table.columns)));
        table.rows.iter().take(rows).for_each(|row| printer.line(line(row)));
    }
}

pub(super) fn waiting(bench: &Bench<'_>) -> Outcome {
    let (printer, waiting) = (bench.context.printer, bench.queue.list()?);
    if printer.json {
        return printer.value(&json!({"format": 1, "pending": waiting}));
    }
    if waiting.is_empty() {
        printer.line("no file waits for a handler");
    }
    for kind in &waiting {
        let first = kind.files.last().map_or_else(String::new, |file| shown(&file.display().to_string()));
        let text = if kind.is_text { ", searchable as plain text meanwhile" } else { "" };
        printer.line(format!("{}  {} files{text}, last {first}", printer.bold(&kind.kind.id()), kind.files.len()));
        if let Some(reason) = &kind.reason {
            printer.line(format!("  {}", shown(reason)));
        }
    }
    if !waiting.is_empty() {
        printer.note("`0711 handlers pending KIND` shows one, `0711 handlers write KIND` asks a model, `0711 handlers add FILE.py --kind KIND` takes yours");
    }
    Ok(())
}

pub(super) fn waiting_kind(bench: &Bench<'_>, kind: &str) -> Outcome {
    let (printer, waiting) = (bench.context.printer, bench.queue.get(kind)?);
    if printer.json {
        return printer.value(&waiting);
    }
    sample(printer, &waiting);
    Ok(())
}

/// Shows what a model would get of a file: this, and nothing else.
pub(super) fn sample(printer: Printer, waiting: &Waiting) {
    waiting.analysis.describe().lines().for_each(|line| printer.line(shown(line)));
    printer.line(printer.dim(&format!("the sample, {} bytes, masked:", waiting.analysis.sample.len())));
    waiting.analysis.sample.lines().for_each(|line| printer.line(shown(line)));
}
