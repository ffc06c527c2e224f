//! The learnt and the held-out part of a corpus, and the rows a network reads.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use base::Digest;
use engine::ChatTokenizer;

use crate::{
    Batch, Error, NO_TARGET,
    corpus::{Corpus, Passage, fingerprint},
    examples::{self, Example},
    random::Random,
};

/// The longest row.
pub(crate) const ROW: usize = 512;
/// One document in this many is held out.
const HELD_OUT_SHARE: u64 = 10;
/// The held-out part has at least this many tokens, if documents allow.
const HELD_OUT_TOKENS: usize = 2_000;
/// Less than this to learn from is noise, not a training.
const LEARNT_TOKENS: usize = 1_000;

/// What one run learns from, and what it is measured on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dataset {
    train: Vec<Example>,
    held_out: Vec<Example>,
    pub(crate) documents: usize,
    pub(crate) held_out_documents: Vec<String>,
    pub(crate) exchanges: usize,
    /// Of all examples of both parts, in order.
    pub(crate) digest: Digest,
    row: usize,
}

impl Dataset {
    /// Splits by document and makes the examples.
    ///
    /// A document is held out when the first eight bytes of sha256(`held-out`, its id) fall into the
    /// lowest tenth; when that leaves too little text, the documents next in that order join them,
    /// up to a third. A passage that also stands, up to case, spaces and punctuation, in a held-out document is never
    /// learnt; an exchange that cites one neither.
    ///
    /// # Errors
    /// [`Error::TooLittleText`] when fewer than two documents have text, or too few tokens remain.
    pub(crate) fn build(corpus: &Corpus, tokenizer: &ChatTokenizer) -> Result<Self, Error> {
        let mut by_document: BTreeMap<(u64, &str), Vec<&Passage>> = BTreeMap::new();
        for passage in &corpus.passages {
            let place = (split_hash(&passage.document_id), passage.document_id.as_str());
            by_document.entry(place).or_default().push(passage);
        }
        let documents = by_document.len();
        if documents < 2 {
            return Err(Error::TooLittleText { documents, tokens: 0, needed: LEARNT_TOKENS });
        }
        let mut made = BTreeMap::new();
        for passage in &corpus.passages {
            made.insert(passage.id.as_str(), examples::of_passage(tokenizer, passage)?);
        }
        let mut held_out_documents = BTreeSet::new();
        let mut held_out = Vec::new();
        let mut held_out_prints = HashSet::new();
        let mut held_out_tokens = 0;
        for (&(hash, id), passages) in &by_document {
            let wanted = hash < u64::MAX / HELD_OUT_SHARE || held_out_tokens < HELD_OUT_TOKENS;
            let most = (documents / 3).max(1);
            if !wanted || held_out_documents.len() >= most {
                break;
            }
            held_out_documents.insert(id.to_owned());
            for passage in passages {
                if held_out_prints.insert(fingerprint(&passage.text)) {
                    let example = &made[passage.id.as_str()];
                    held_out_tokens += example.learnt();
                    held_out.push((Digest::of(passage.id.as_bytes()), example.clone()));
                }
            }
        }
        // In the order of a digest: the bounded sample a run is measured on comes from all of them.
        held_out.sort_by_key(|(digest, _)| *digest);

        let mut seen = held_out_prints;
        let mut train = Vec::new();
        for passage in &corpus.passages {
            if !held_out_documents.contains(&passage.document_id) && seen.insert(fingerprint(&passage.text)) {
                train.push(made[passage.id.as_str()].clone());
            }
        }
        let mut exchanges = 0;
        for exchange in &corpus.exchanges {
            let leaks = held_out_documents.iter().any(|id| exchange.citations.contains(id.as_str()));
            if !leaks {
                train.push(examples::of_exchange(tokenizer, exchange)?);
                exchanges += 1;
            }
        }
        let held_out: Vec<Example> = held_out.into_iter().map(|(_, example)| example).collect();
        let tokens: usize = train.iter().map(Example::learnt).sum();
        if tokens < LEARNT_TOKENS || held_out_tokens == 0 {
            return Err(Error::TooLittleText { documents, tokens, needed: LEARNT_TOKENS });
        }
        let total: usize = train.iter().map(|example| example.tokens.len()).sum();
        Ok(Self {
            digest: digest(&train, &held_out),
            row: ROW.min(total),
            train,
            held_out,
            documents,
            held_out_documents: held_out_documents.into_iter().collect(),
            exchanges,
        })
    }

    /// A dataset of made-up tokens.
    #[cfg(test)]
    pub(crate) fn of(train: Vec<Example>, held_out: Vec<Example>, row: usize) -> Self {
        Self {
            digest: digest(&train, &held_out),
            documents: 2,
            held_out_documents: vec!["held-out".to_owned()],
            exchanges: 0,
            train,
            held_out,
            row,
        }
    }

    /// Tokens in a row.
    pub(crate) fn row(&self) -> usize {
        self.row
    }

    /// How many rows one pass over the learnt part has.
    pub(crate) fn rows_per_epoch(&self) -> usize {
        let total: usize = self.train.iter().map(|example| example.tokens.len()).sum();
        total / self.row
    }

    /// The batch that begins at row `first` of an endless stream of epochs, each shuffled by seed and number.
    ///
    /// Examples are laid end to end and cut; the position of a row is all a checkpoint needs.
    pub(crate) fn batch(&self, seed: u64, first: usize, rows: usize) -> Batch {
        let per_epoch = self.rows_per_epoch();
        let mut batch = Batch { length: self.row, tokens: Vec::new(), targets: Vec::new() };
        let mut epoch = None;
        for row in first..first + rows {
            if epoch.as_ref().is_none_or(|(number, _)| *number != row / per_epoch) {
                epoch = Some((row / per_epoch, self.epoch(seed, row / per_epoch)));
            }
            if let Some((_, stream)) = &epoch {
                let range = (row % per_epoch) * self.row..(row % per_epoch + 1) * self.row;
                batch.tokens.extend_from_slice(&stream.tokens[range.clone()]);
                batch.targets.extend_from_slice(&stream.targets[range]);
                if let Some(last) = batch.targets.last_mut() {
                    *last = NO_TARGET;
                }
            }
        }
        batch
    }

    fn epoch(&self, seed: u64, number: usize) -> Example {
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        Random::new(seed ^ (number as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93)).shuffle(&mut order);
        join(order.into_iter().map(|index| &self.train[index]))
    }

    /// At most `most` rows of the held-out part, each a batch of its own; always the same ones.
    pub(crate) fn measured(&self, most: usize) -> Vec<Batch> {
        let stream = join(self.held_out.iter());
        let tokens = stream.tokens.chunks(ROW);
        let rows = tokens.zip(stream.targets.chunks(ROW)).take(most);
        rows.map(|(tokens, targets)| {
            let mut targets = targets.to_vec();
            if let Some(last) = targets.last_mut() {
                *last = NO_TARGET;
            }
            Batch { length: tokens.len(), tokens: tokens.to_vec(), targets }
        })
        .filter(|batch| batch.asked() > 0)
        .collect()
    }
}

fn join<'a>(examples: impl Iterator<Item = &'a Example>) -> Example {
    let mut joined = Example { tokens: Vec::new(), targets: Vec::new() };
    for example in examples {
        joined.tokens.extend_from_slice(&example.tokens);
        joined.targets.extend_from_slice(&example.targets);
    }
    joined
}

fn split_hash(document_id: &str) -> u64 {
    let digest = Digest::of(format!("held-out\0{document_id}").as_bytes());
    digest.as_bytes()[..8].iter().fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

fn digest(train: &[Example], held_out: &[Example]) -> Digest {
    let mut bytes = Vec::new();
    for part in [train, held_out] {
        bytes.extend((part.len() as u64).to_le_bytes());
        for example in part {
            bytes.extend((example.tokens.len() as u64).to_le_bytes());
            bytes.extend(example.tokens.iter().chain(&example.targets).flat_map(|token| token.to_le_bytes()));
        }
    }
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(document: usize, index: usize, text: String) -> Passage {
        Passage {
            id: format!("{document:03}-{index:03}"),
            document_id: format!("document-{document}"),
            document: format!("Handbuch {document}"),
            heading_path: vec!["Wartung".to_owned()],
            german: true,
            text,
        }
    }

    fn corpus(documents: usize) -> Corpus {
        let text = |document: usize, index: usize| {
            format!(
                "Die Pumpe Nummer {document} wird im Abschnitt {index} gewartet. Der Filter wird dabei gereinigt, \
                 und der Betriebsdruck steigt auf {} bar.",
                document * 7 + index
            )
        };
        let all = (0..documents).flat_map(|document| (0..8).map(move |index| (document, index)));
        let passages = all.map(|(document, index)| passage(document, index, text(document, index)));
        Corpus { passages: passages.collect(), exchanges: Vec::new() }
    }

    fn tokenizer() -> ChatTokenizer {
        crate::tests::testing::tokenizer()
    }

    #[test]
    fn no_held_out_document_and_no_copy_of_one_is_learnt() {
        let tokenizer = tokenizer();
        let mut corpus = corpus(30);
        let first = Dataset::build(&corpus, &tokenizer).unwrap();
        assert!(!first.held_out_documents.is_empty() && first.held_out_documents.len() <= 10);
        let held = corpus.passages.iter().find(|p| first.held_out_documents.contains(&p.document_id)).unwrap().clone();
        let open = corpus.passages.iter().find(|p| !first.held_out_documents.contains(&p.document_id)).unwrap().clone();
        // The same words in other clothes, in a document that is learnt from.
        let copy = Passage { id: "zzz".to_owned(), text: held.text.to_uppercase() + "!", ..open };
        corpus.passages.push(copy);
        corpus.exchanges.push(crate::corpus::Exchange {
            id: "1".to_owned(),
            question: "Was?".to_owned(),
            answer: held.text.clone(),
            quotes: Vec::new(),
            citations: format!("[{{\"document_id\":\"{}\"}}]", held.document_id),
        });
        let second = Dataset::build(&corpus, &tokenizer).unwrap();
        assert_eq!(second.train, first.train);
        assert_eq!(second.exchanges, 0);
        assert_eq!(second.digest, first.digest);
    }

    #[test]
    fn batches_are_repeatable_and_epochs_differ() {
        let dataset = Dataset::build(&corpus(30), &tokenizer()).unwrap();
        let per_epoch = dataset.rows_per_epoch();
        assert!(per_epoch > 2);
        let batch = dataset.batch(1, per_epoch - 1, 2);
        assert_eq!(batch, dataset.batch(1, per_epoch - 1, 2));
        assert_eq!(batch.tokens.len(), 2 * batch.length);
        let row = |seed, first| dataset.batch(seed, first, 1).tokens;
        assert_eq!(batch.tokens[batch.length..], row(1, per_epoch));
        assert_ne!(row(1, 0), row(1, per_epoch));
        assert_ne!(row(1, 0), row(2, 0));
    }

    #[test]
    fn too_little_text_is_refused() {
        let tokenizer = tokenizer();
        for documents in [0, 1, 2] {
            let refused = Dataset::build(&corpus(documents), &tokenizer);
            assert!(matches!(refused, Err(Error::TooLittleText { .. })), "{documents} documents");
        }
    }

    #[test]
    fn the_measured_rows_are_bounded_and_fixed() {
        let dataset = Dataset::build(&corpus(30), &tokenizer()).unwrap();
        let rows = dataset.measured(2);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows, dataset.measured(2));
        assert!(dataset.measured(1000).len() > 2);
    }
}
