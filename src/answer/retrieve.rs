//! Question → passages: embed, search, look again for codes, take apart, embed the units.

use std::time::Instant;

use base::Rights;
use lake::{Hit, SearchMode, SearchRequest};

use crate::{
    Error,
    asked::Asked,
    candidates::{Candidate, Scored, candidates, scored},
    format::{Passage, Timings, Turn},
    support::{Weights, codes_missing},
    words::compact,
};

/// Passages retrieved when the question does not say.
pub(crate) const DEFAULT_K: usize = 24;
/// The most passages one question may ask for.
pub(crate) const MAX_K: usize = 100;
/// Passages looked up for each code the question names, and for its names.
const LOOKUP_K: usize = 8;
/// Passages whose units are scored.
const READ: usize = 14;
/// Units embedded, best by words first; each costs about a hundredth of a second on two cores.
const EMBED_UNITS: usize = 32;

/// What was found for a question, scored.
pub(crate) struct Found {
    pub(crate) passages: Vec<Passage>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) scored: Vec<Scored>,
    pub(crate) searched: usize,
}

/// Searches what may be read of the lake and scores every unit of the best passages.
pub(crate) async fn retrieve(
    (lake, rights): (&lake::Access, &Rights),
    embedding: &engine::Embedding,
    asked: &Asked,
    text: &str,
    k: usize,
    timings: &mut Timings,
) -> Result<Found, Error> {
    let start = Instant::now();
    let vector = embedding.embed_query(text).await.map_err(Error::Embed)?;
    timings.embed_ms += elapsed(start);

    let start = Instant::now();
    let of = |text: &str, k: usize| SearchRequest {
        rights: rights.clone(),
        ..SearchRequest::hybrid(text, Some(vector.clone()), k)
    };
    let request = of(text, k);
    let mut hits = lake.search(request).await.map_err(Error::Search)?;
    for lookup in lookups(asked) {
        let request = SearchRequest { mode: SearchMode::Lexical, ..of(&lookup, LOOKUP_K) };
        let found = lake.search(request).await.map_err(Error::Search)?;
        for hit in found {
            if !hits.iter().any(|h| h.chunk_id == hit.chunk_id) {
                hits.push(hit);
            }
        }
    }
    timings.search_ms += elapsed(start);

    let passages = hits.iter().map(passage).collect();
    let searched = hits.len();
    let all = candidates(hits);
    let weights = Weights::of(asked, &all.iter().map(|c| c.words.clone()).collect::<Vec<_>>());
    let read = best_candidates(all, asked);
    let first = scored(&read, asked, &weights, &|_, _| None);

    let start = Instant::now();
    let chosen: Vec<(usize, usize)> = first.iter().take(EMBED_UNITS).map(|s| (s.candidate, s.unit)).collect();
    let texts: Vec<String> = chosen.iter().map(|&(c, u)| in_context(&read[c], u)).collect();
    let vectors = match texts.is_empty() {
        true => Vec::new(),
        false => embedding.embed_passages(texts).await.map_err(Error::Embed)?,
    };
    let similarity = |c: usize, u: usize| {
        let at = chosen.iter().position(|&pair| pair == (c, u))?;
        Some(dot(&vector, vectors.get(at)?))
    };
    let mut scored = scored(&read, asked, &weights, &similarity);
    // What was not embedded lost by its words already; its passage's similarity must not lift it above the others.
    scored.retain(|s| chosen.contains(&(s.candidate, s.unit)));
    timings.embed_ms += elapsed(start);
    Ok(Found { passages, candidates: read, scored, searched })
}

/// What is looked up by its letters, because embeddings blur it: each code, and all names and codes together.
fn lookups(asked: &Asked) -> Vec<String> {
    let code = |stem: &str| asked.codes.contains(&compact(stem));
    let named = asked.terms.iter().zip(&asked.names);
    let mut all: Vec<String> =
        named.filter(|(term, name)| **name || code(&term.stem)).map(|(term, _)| term.raw.clone()).collect();
    let joint = all.join(" ");
    all.retain(|raw| code(&compact(raw)));
    if !joint.is_empty() && !all.contains(&joint) {
        all.push(joint);
    }
    all
}

/// Keeps the first [`READ`] passages, and every further one that holds a code of the question.
fn best_candidates(all: Vec<Candidate>, asked: &Asked) -> Vec<Candidate> {
    let mut codes = 0;
    all.into_iter()
        .enumerate()
        .filter(|(rank, c)| {
            let named = !asked.codes.is_empty() && !codes_missing(asked, &[&c.kin, &c.about]);
            codes += usize::from(named);
            *rank < READ || (named && codes <= READ)
        })
        .map(|(_, c)| c)
        .collect()
}

/// A unit as it is embedded: with its heading, or a short line means nothing.
fn in_context(candidate: &Candidate, unit: usize) -> String {
    let shown = &candidate.units[unit].shown;
    match candidate.hit.heading_path.last() {
        Some(heading) => format!("{heading}: {shown}"),
        None => shown.clone(),
    }
}

/// Joins a follow-up to the question before it, so that "und für die XJ-300?" is searched with its topic.
pub(crate) fn with_history(text: &str, asked: &Asked, history: &[Turn]) -> Option<String> {
    let last = history.last()?;
    let folded = text.trim_start().to_lowercase();
    let opens = ["und ", "and ", "what about", "was ist mit", "wie ist es", "how about", "auch "]
        .iter()
        .any(|o| folded.starts_with(o));
    (opens || asked.terms.len() < 2).then(|| format!("{} {}", last.question, text))
}

/// Vectors are L2-normalised, so the dot product is the cosine.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

pub(crate) fn elapsed(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn passage(hit: &Hit) -> Passage {
    Passage {
        document: hit.document.clone(),
        source: hit.source.clone(),
        place: hit.place.to_string(),
        heading: hit.heading_path.join(" › "),
        text: hit.text.clone(),
        score: hit.score,
        similarity: hit.similarity,
        chunk_id: hit.chunk_id.clone(),
        document_id: hit.document_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follow_ups_carry_their_topic() {
        let history = [Turn { question: "Wie lange ist die Garantie der XJ-200?".into(), answer: "24 Monate.".into() }];
        let check = |text: &str, expect: bool| {
            let joined = with_history(text, &Asked::read(text), &history);
            assert_eq!(joined.is_some(), expect, "{text}");
        };
        check("Und für die XJ-300?", true);
        check("Warum?", true);
        check("Welche Zulassung hat das Gehäuse der XJ-200?", false);
        assert!(with_history("Warum?", &Asked::read("Warum?"), &[]).is_none());
    }
}
