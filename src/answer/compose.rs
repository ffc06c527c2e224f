//! Sentences and citations put together, and told to the reader as they come.

use tokio::sync::mpsc;

use crate::{
    Error,
    candidates::Candidate,
    format::{AskEvent, Citation, Sentence},
};

/// Where the events of one answer go.
pub(crate) type Events = mpsc::Sender<Result<AskEvent, Error>>;

/// Tells the reader; a reader that went away does not stop the answer from being recorded.
pub(crate) async fn tell(events: &Events, event: AskEvent) {
    let _ = events.send(Ok(event)).await;
}

/// Collects an answer's sentences and numbers its citations.
pub(crate) struct Composer<'a> {
    events: &'a Events,
    pub(crate) sentences: Vec<Sentence>,
    pub(crate) citations: Vec<Citation>,
}

impl<'a> Composer<'a> {
    pub(crate) fn new(events: &'a Events) -> Self {
        Self { events, sentences: Vec::new(), citations: Vec::new() }
    }

    /// Adds a sentence supported by a unit and tells the reader: the citation if it is new, then the sentence.
    pub(crate) async fn add(&mut self, text: String, candidate: &Candidate, unit: usize) {
        let hit = &candidate.hit;
        // A unit is a range of the chunk's text, so this slice is verbatim; a range that does not fit would be a broken invariant and cites nothing.
        let quote = hit.text.get(candidate.units[unit].range.clone()).unwrap_or_default().trim().to_owned();
        let known = self.citations.iter().find(|c| c.chunk_id == hit.chunk_id && c.quote == quote).map(|c| c.n);
        let n = match known {
            Some(n) => n,
            None => {
                let citation = Citation {
                    n: self.citations.len() as u32 + 1,
                    document: hit.document.clone(),
                    source: hit.source.clone(),
                    place: hit.place.to_string(),
                    quote,
                    chunk_id: hit.chunk_id.clone(),
                    document_id: hit.document_id.clone(),
                };
                self.citations.push(citation.clone());
                let n = citation.n;
                tell(self.events, AskEvent::Citation(citation)).await;
                n
            }
        };
        self.push(text, Some(n)).await;
    }

    /// Adds a sentence in the brain's own words (an abstention).
    pub(crate) async fn say(&mut self, text: String) {
        self.push(text, None).await;
    }

    async fn push(&mut self, text: String, citation: Option<u32>) {
        let sentence = Sentence { text, citation };
        self.sentences.push(sentence.clone());
        tell(self.events, AskEvent::Sentence(sentence)).await;
    }

    /// The sentences joined, each with its marker.
    pub(crate) fn text(&self) -> String {
        let mut parts = Vec::new();
        for sentence in &self.sentences {
            parts.push(match sentence.citation {
                Some(n) => format!("{} [{n}]", sentence.text),
                None => sentence.text.clone(),
            });
        }
        parts.join(" ")
    }
}
