use std::time::Instant;

use base::Exit;
use extract::EntityKind;
use lake::{GraphNode, GraphPath, GraphStep, Named, Neighbors, NeighborsRequest, PathRequest};
use serde_json::json;

use crate::{
    args::{GraphArgs, GraphVerb},
    context::Context,
    failure::{Failure, Outcome},
    local::Parts,
    printer::{Printer, shown},
};

/// Shows how things documents name are connected.
pub async fn run(context: &Context, args: &GraphArgs) -> Outcome {
    let lake = Parts::existing(context)?.lake().await?;
    let printer = context.printer;
    match &args.verb {
        GraphVerb::Path { from, to } => {
            let request = PathRequest { from: named(from), to: named(to) };
            let (path, elapsed_ms) = timed(lake.path(request)).await?;
            for (text, found) in [(from, &path.from), (to, &path.to)] {
                if found.is_empty() {
                    return Err(unknown(text));
                }
            }
            print_path(printer, &path, elapsed_ms)
        }
        GraphVerb::Neighbors { of, kinds, depth, limit } => {
            check_kinds(kinds)?;
            let request = NeighborsRequest { of: named(of), kinds: kinds.clone(), depth: *depth, limit: *limit };
            let (found, elapsed_ms) = timed(lake.neighbors(request)).await?;
            if found.of.is_empty() {
                return Err(unknown(of));
            }
            print_neighbors(printer, &found, elapsed_ms)
        }
    }
}

async fn timed<T>(work: impl Future<Output = Result<T, lake::Error>>) -> Outcome<(T, f64)> {
    let started = Instant::now();
    let done = work.await?;
    Ok((done, started.elapsed().as_secs_f64() * 1000.0))
}

const DOCUMENT: &str = "document";

/// Returns what a text may mean: the kind in front of a colon, or any.
fn named(text: &str) -> Vec<Named> {
    let one = |kind: &str, key: String| Named { kind: kind.to_owned(), key };
    if let Some((kind, rest)) = text.split_once(':') {
        let rest = rest.trim();
        if kind == DOCUMENT {
            return vec![one(DOCUMENT, rest.to_owned())];
        }
        if let Some(kind) = EntityKind::ALL.into_iter().find(|known| known.as_str() == kind) {
            // What was printed as a key is understood as one.
            return vec![one(kind.as_str(), extract::key_of(kind, rest)), one(kind.as_str(), rest.to_owned())];
        }
    }
    let mut all: Vec<Named> = extract::keys_of(text).into_iter().map(|(kind, key)| one(kind.as_str(), key)).collect();
    all.push(one(DOCUMENT, text.to_owned()));
    all
}

fn check_kinds(kinds: &[String]) -> Outcome {
    let known = || EntityKind::ALL.into_iter().map(EntityKind::as_str).chain([DOCUMENT]);
    match kinds.iter().find(|kind| !known().any(|known| known == kind.as_str())) {
        None => Ok(()),
        Some(kind) => {
            let failure = Failure::new(Exit::Usage, format!("there is no kind `{}`", shown(kind)));
            Err(failure.remedy(format!("one of {}", known().collect::<Vec<_>>().join(", "))))
        }
    }
}

fn unknown(text: &str) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("no document names `{}`", shown(text)));
    failure.remedy(
        "`0711 sql \"SELECT DISTINCT kind, name FROM entities\"` lists what is known; `0711 ingest` reads what is new",
    )
}

fn print_path(printer: Printer, path: &GraphPath, elapsed_ms: f64) -> Outcome {
    if printer.json {
        return printer.value(&json!({
            "found": !path.nodes.is_empty(),
            "from": path.from,
            "to": path.to,
            "nodes": path.nodes,
            "steps": path.steps,
            "elapsed_ms": elapsed_ms,
        }));
    }
    if path.nodes.is_empty() {
        printer.note("nothing connects them");
        return Ok(());
    }
    for (index, node) in path.nodes.iter().enumerate() {
        if let Some(step) = index.checked_sub(1).and_then(|before| path.steps.get(before)) {
            print_step(printer, step);
        }
        printer.line(described(printer, node));
    }
    Ok(())
}

fn print_neighbors(printer: Printer, found: &Neighbors, elapsed_ms: f64) -> Outcome {
    if printer.json {
        return printer.value(&json!({
            "of": found.of,
            "neighbors": found.neighbors,
            "has_more": found.has_more,
            "elapsed_ms": elapsed_ms,
        }));
    }
    for node in &found.of {
        printer.line(described(printer, node));
    }
    for neighbor in &found.neighbors {
        let indent = "  ".repeat(neighbor.distance as usize);
        let arrow = arrow(&neighbor.step);
        let place = neighbor.step.evidence.first().map(evidence).unwrap_or_default();
        printer.line(format!("{indent}{arrow} {}  {}", described(printer, &neighbor.node), printer.dim(&place)));
    }
    if found.neighbors.is_empty() {
        printer.note("nothing stands around it");
    }
    if found.has_more {
        printer.note("there are more: `-n` shows them");
    }
    Ok(())
}

fn described(printer: Printer, node: &GraphNode) -> String {
    let mut text = format!("{} {}", node.kind, printer.bold(&shown(&node.name)));
    for name in ["issued", "expires"] {
        if let Some(value) = node.attributes.get(name) {
            text.push_str(&format!(", {name} {}", shown(value)));
        }
    }
    text
}

fn arrow(step: &GraphStep) -> String {
    if step.forward { format!("—{}→", step.kind) } else { format!("←{}—", step.kind) }
}

fn print_step(printer: Printer, step: &GraphStep) {
    let more = match step.documents.saturating_sub(1) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let place = step.evidence.first().map(evidence).unwrap_or_default();
    printer.line(format!("  {}  {}", arrow(step), printer.dim(&format!("{place}{more}"))));
}

fn evidence(one: &lake::Evidence) -> String {
    match one.place.as_str() {
        "" => shown(&one.document),
        place => format!("{}, {}", shown(&one.document), shown(place)),
    }
}
