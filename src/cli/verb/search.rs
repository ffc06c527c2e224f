use std::{fmt::Write as _, path::Path};

use base::{Exit, Rights, file};
use engine::Embedding;
use lake::{Access, CommitId, Filter, Hit, SearchRequest};
use serde::Deserialize;
use serde_json::json;

use crate::{
    args::{SearchArgs, SearchMode},
    context::Context,
    failure::{During, Failure, Outcome},
    local::Parts,
    printer::{Printer, shown},
    progress::Progress,
};

const MAX_QUERIES_BYTES: u64 = 256 << 20;
/// Passages asked for per document wanted: a document may fill several ranks.
const PASSAGES_PER_DOCUMENT: usize = 5;
/// Characters of a passage on the screen.
const SHOWN_CHARS: usize = 300;

/// Finds passages for one query, or documents for many.
pub async fn run(context: &Context, args: &SearchArgs) -> Outcome {
    let parts = Parts::existing(context)?;
    let lake = parts.lake().await?;
    let embedding = match args.mode {
        SearchMode::Lexical => None,
        SearchMode::Hybrid | SearchMode::Vector => Some(parts.embedding().await?),
    };
    let filter = Filter {
        languages: args.language.clone(),
        formats: args.format.clone(),
        folders: args.folder.clone(),
        documents: args.document.clone(),
    };
    // Whoever types this may read the tables anyway.
    let rights = args.as_groups.clone().map_or(Rights::All, Rights::Of);
    let finder = Finder { lake, embedding, mode: args.mode, filter, rights, at: args.at.map(CommitId) };
    match (&args.query, &args.queries, &args.run) {
        (Some(query), ..) => {
            let hits = finder.find(query, args.k).await?;
            print(context.printer, &hits)
        }
        (None, Some(queries), Some(run)) => many(context.printer, &finder, queries, run, args.k).await,
        _ => {
            Err(Failure::new(Exit::Usage, "nothing to look for").remedy("give a query, or `--queries FILE --run OUT`"))
        }
    }
}

struct Finder {
    lake: Access,
    embedding: Option<Embedding>,
    mode: SearchMode,
    filter: Filter,
    rights: Rights,
    at: Option<CommitId>,
}

impl Finder {
    async fn find(&self, text: &str, k: usize) -> Outcome<Vec<Hit>> {
        let vector = match &self.embedding {
            Some(embedding) => Some(embedding.embed_query(text).await?),
            None => None,
        };
        let mode = match self.mode {
            SearchMode::Hybrid => lake::SearchMode::Hybrid,
            SearchMode::Vector => lake::SearchMode::Vector,
            SearchMode::Lexical => lake::SearchMode::Lexical,
        };
        let (filter, rights) = (self.filter.clone(), self.rights.clone());
        let request = SearchRequest { mode, filter, rights, at: self.at, ..SearchRequest::hybrid(text, vector, k) };
        match self.lake.search(request).await {
            Err(lake::Error::Refused(why)) if self.at.is_some() => {
                let failure = Failure::new(Exit::Usage, why).during("this commit cannot be searched");
                Err(failure.remedy("`0711 lake snapshot list` shows the commits"))
            }
            found => Ok(found?),
        }
    }
}

fn print(printer: Printer, hits: &[Hit]) -> Outcome {
    if printer.json {
        let results: Vec<_> = hits
            .iter()
            .map(|hit| {
                json!({
                    "rank": hit.rank,
                    "score": hit.score,
                    "document": hit.document,
                    "place": hit.place.to_string(),
                    "text": hit.text,
                    "source": hit.source,
                    "heading_path": hit.heading_path,
                    "language": hit.language,
                    "chunk_id": hit.chunk_id,
                    "similarity": hit.similarity,
                    "lexical_score": hit.lexical_score,
                    "copies": hit.copies,
                })
            })
            .collect();
        return printer.value(&json!({"results": results}));
    }
    if hits.is_empty() {
        printer.note("nothing was found");
    }
    for hit in hits {
        let place = match hit.place.to_string() {
            place if place.is_empty() => String::new(),
            place => format!(", {}", shown(&place)),
        };
        printer.line(format!(
            "{:>2}. {}{place}  {}",
            hit.rank,
            printer.bold(&shown(&hit.document)),
            printer.dim(&format!("{:.4}", hit.score))
        ));
        printer.line(format!("    {}", shown(&shortened(&hit.text))));
        if !hit.copies.is_empty() {
            printer.line(format!("    {}", printer.dim(&format!("also in {}", shown(&hit.copies.join(", "))))));
        }
        printer.line("");
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[derive(Deserialize)]
struct Query {
    id: String,
    text: String,
}

async fn many(printer: Printer, finder: &Finder, queries: &Path, run: &Path, k: usize) -> Outcome {
    let act = || format!("cannot use the queries `{}`", queries.display());
    let text = String::from_utf8(file::read_bounded(queries, MAX_QUERIES_BYTES).during(act())?).during(act())?;
    let queries: Vec<Query> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| serde_json::from_str(line).during(format!("{}, line {}", act(), number + 1)))
        .collect::<Outcome<_>>()?;
    let mut progress = Progress::start(printer, "searching");
    let started = std::time::Instant::now();
    let mut rows = String::new();
    let mut millis = Vec::with_capacity(queries.len());
    for (index, query) in queries.iter().enumerate() {
        let asked = std::time::Instant::now();
        let hits = finder.find(&query.text, k.saturating_mul(PASSAGES_PER_DOCUMENT)).await?;
        millis.push(asked.elapsed().as_secs_f64() * 1000.0);
        for (rank, (document, score)) in best_per_document(&hits, k).into_iter().enumerate() {
            // Documents are paths: a tab or line break in one, or in an id, must not break the table.
            let [id, document] = [query.id.as_str(), document].map(|text| text.replace(['\t', '\n', '\r'], " "));
            let _ = writeln!(rows, "{id}\t{document}\t{}\t{score:.6}", rank + 1);
        }
        let done = index as u64 + 1;
        let total = queries.len() as u64;
        let eta_seconds = (started.elapsed().as_secs_f64() / done as f64 * (total - done) as f64) as u64;
        let unit = "queries".to_owned();
        progress.update(&base::job::Progress {
            done,
            total,
            unit,
            note: String::new(),
            eta_seconds: Some(eta_seconds),
        });
    }
    file::write_output(run, rows.as_bytes()).during(format!("cannot write `{}`", run.display()))?;
    millis.sort_by(f64::total_cmp);
    let [p50, p95] = [0.5, 0.95].map(|share| quantile(&millis, share));
    progress.finish(&format!(
        "{} queries, median {p50:.0} ms, p95 {p95:.0} ms, written to {}",
        queries.len(),
        run.display()
    ));
    if printer.json {
        printer.value(&json!({"queries": queries.len(), "p50_ms": p50, "p95_ms": p95}))?;
    }
    Ok(())
}

/// The value below which this share of the sorted values lies; 0 when there are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied().unwrap_or(0.0)
}

/// One row per document: its best passage, or the better one its own repeats. The hits come best first.
fn best_per_document(hits: &[Hit], k: usize) -> Vec<(&str, f32)> {
    let mut seen = std::collections::HashSet::new();
    let named = hits.iter().flat_map(|hit| {
        let copies = hit.copies.iter().map(String::as_str);
        std::iter::once(hit.document.as_str()).chain(copies).map(|document| (document, hit.score))
    });
    named.filter(|(document, _)| seen.insert(*document)).take(k).collect()
}
