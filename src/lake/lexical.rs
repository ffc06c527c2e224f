//! BM25 over the terms of all chunks, in memory.
//!
//! Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with k1 = 1.0, b = 0.6 and
//! idf = ln(1 + (N − df + 0.5) / (df + 0.5)). One idea of the question ([`QueryTerm`]) may be answered by several terms
//! (two stems, compounds, longer codes); it counts once, by the best of them, as rare as all that answer it as well or better.
//!
//! The stored twin is the inverted index of the Lance dataset, for other readers. Search runs here because rows count the
//! moment they are committed, because ideas with alternatives need the vocabulary, and because it is faster: at 10,000
//! chunks in a debug build 4 ms against 50 to 80 ms through Lance.

use std::cmp::Reverse;

use nearest::best;

use crate::{analysis::QueryTerm, vocabulary::Vocabulary};

const K1: f32 = 1.0;
const B: f32 = 0.6;

/// Which slots, or terms, there are for who asks.
pub(crate) type Exists<'a> = &'a dyn Fn(u32) -> bool;

#[derive(Default)]
pub(crate) struct Lexical {
    vocabulary: Vocabulary,
    /// By a term's number.
    postings: Vec<Vec<Posting>>,
    /// The number of terms of each slot; 0 for a removed one.
    lengths: Vec<u32>,
    live: Vec<bool>,
    live_count: usize,
    total_length: u64,
}

#[derive(Clone, Copy)]
struct Posting {
    slot: u32,
    count: u32,
}

/// One chunk some idea of the question was found in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub slot: u32,
    pub score: f32,
}

/// What the words of a question say about every slot.
#[derive(Default)]
pub(crate) struct Words {
    /// The best slots, best first.
    pub best: Vec<Found>,
    /// The BM25 score of each slot, 0 where nothing was found. Empty when no words were asked for.
    pub scores: Vec<f32>,
    /// The share of the question's idf each slot answers, from 0 to 1.
    pub coverages: Vec<f32>,
}

/// The best answer of each slot to one idea that several terms answer.
#[derive(Default)]
struct Several {
    /// By slot: score and idf. Nothing between two ideas.
    best: Vec<(f32, f32)>,
    is_seen: Vec<bool>,
    slots: Vec<u32>,
    /// What was seen since it was last weighed.
    fresh: Vec<(u32, f32)>,
}

impl Several {
    fn begin(&mut self, slots: usize) {
        self.best.resize(slots, (0.0, 0.0));
        self.is_seen.resize(slots, false);
    }

    fn see(&mut self, slot: u32, value: f32) {
        self.fresh.push((slot, value));
        if !std::mem::replace(&mut self.is_seen[slot as usize], true) {
            self.slots.push(slot);
        }
    }

    fn weigh(&mut self, weight: f32) {
        for (slot, value) in self.fresh.drain(..) {
            let best = &mut self.best[slot as usize];
            if weight * value > best.0 {
                *best = (weight * value, weight);
            }
        }
    }

    fn end(&mut self, mut each: impl FnMut(u32, f32, f32)) {
        for slot in self.slots.drain(..) {
            let (value, weight) = std::mem::take(&mut self.best[slot as usize]);
            self.is_seen[slot as usize] = false;
            each(slot, value, weight);
        }
    }
}

impl Words {
    pub fn score(&self, slot: u32) -> f32 {
        self.scores.get(slot as usize).copied().unwrap_or(0.0)
    }

    pub fn coverage(&self, slot: u32) -> f32 {
        self.coverages.get(slot as usize).copied().unwrap_or(0.0)
    }
}

impl Lexical {
    /// Adds the next slot. Its number is the count of slots before.
    pub fn push(&mut self, terms: &str) {
        let slot = self.lengths.len() as u32;
        let mut ids: Vec<u32> =
            terms.split(' ').filter(|term| !term.is_empty()).map(|term| self.intern(term)).collect();
        let length = ids.len() as u32;
        ids.sort_unstable();
        for same in ids.chunk_by(|a, b| a == b) {
            self.postings[same[0] as usize].push(Posting { slot, count: same.len() as u32 });
        }
        self.lengths.push(length);
        self.live.push(true);
        self.live_count += 1;
        self.total_length += u64::from(length);
    }

    fn intern(&mut self, term: &str) -> u32 {
        let id = self.vocabulary.number(term);
        if self.postings.len() <= id as usize {
            self.postings.push(Vec::new());
        }
        id
    }

    /// Removes a slot; its number is not given again.
    pub fn remove(&mut self, slot: u32) {
        let slot = slot as usize;
        if std::mem::replace(&mut self.live[slot], false) {
            self.live_count -= 1;
            self.total_length -= u64::from(self.lengths[slot]);
        }
    }

    /// Renumbers the slots: `kept[old]` is the new number of a slot that stays.
    pub fn renumber(&mut self, kept: &[Option<u32>]) {
        for list in &mut self.postings {
            list.retain_mut(|posting| match kept[posting.slot as usize] {
                Some(slot) => {
                    posting.slot = slot;
                    true
                }
                None => false,
            });
        }
        let lengths = std::mem::take(&mut self.lengths);
        self.lengths = lengths.into_iter().zip(kept).filter_map(|(length, kept)| kept.map(|_| length)).collect();
        self.live = vec![true; self.lengths.len()];
    }

    /// Finds the best `limit` of the slots `may` lets through. How rare a word is, all live slots say, or those that exist for who asks.
    pub fn search(
        &self,
        query: &[QueryTerm],
        limit: usize,
        exists: Option<Exists<'_>>,
        may: impl Fn(u32) -> bool,
    ) -> Words {
        let slots = self.lengths.len();
        let (mut scores, mut answered) = (vec![0_f32; slots], vec![0_f32; slots]);
        let mut found: Vec<u32> = Vec::new();
        let mut asked = 0_f32;
        let (count, length) = self.extent(exists);
        let average = (length as f32 / count.max(1) as f32).max(1.0);
        let idf = |frequency: usize| idf(count, frequency);
        let holds = |term: u32| self.live_postings(term, exists).next().is_some();
        let known: Option<Exists<'_>> = if exists.is_some() { Some(&holds) } else { None };
        let saturated = |posting: &Posting| {
            let (count, length) = (posting.count as f32, self.lengths[posting.slot as usize] as f32);
            count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / average))
        };
        let mut several = Several::default();
        for idea in query {
            let alternatives = self.vocabulary.alternatives(idea, known);
            if alternatives.first().is_none_or(|(_, weight)| *weight < 1.0) {
                asked += idf(0);
            }
            let mut add = |slot: u32, value: f32, weight: f32| {
                let score = &mut scores[slot as usize];
                if *score == 0.0 {
                    found.push(slot);
                }
                *score += value;
                answered[slot as usize] += weight;
            };
            // Nearly every idea of a long question is one term: it needs no comparing.
            if let [(term, 1.0)] = alternatives.as_slice() {
                let idf = idf(self.live_postings(*term, exists).count());
                asked += idf;
                self.live_postings(*term, exists).for_each(|posting| add(posting.slot, idf * saturated(posting), idf));
                continue;
            }
            several.begin(slots);
            for alike in alternatives.chunk_by(|(_, a), (_, b)| a == b) {
                let weight = alike[0].1;
                for (term, _) in alike {
                    self.live_postings(*term, exists).for_each(|posting| several.see(posting.slot, saturated(posting)));
                }
                // As rare as everything that answers the idea as well as this or better.
                let idf = idf(several.slots.len());
                if weight == 1.0 {
                    asked += idf;
                }
                several.weigh(weight * idf);
            }
            several.end(add);
        }
        for slot in &found {
            let answered = &mut answered[*slot as usize];
            *answered = (*answered / asked).min(1.0);
        }
        found.retain(|slot| may(*slot));
        let best = best(found, limit, |slot| (scores[*slot as usize], Reverse(*slot)));
        let entry = |slot: u32| Found { slot, score: scores[slot as usize] };
        Words { best: best.into_iter().map(entry).collect(), scores, coverages: answered }
    }

    fn live_postings(&self, term: u32, exists: Option<Exists<'_>>) -> impl Iterator<Item = &Posting> {
        let is_there = move |slot: u32| self.live[slot as usize] && exists.is_none_or(|exists| exists(slot));
        self.postings[term as usize].iter().filter(move |posting| is_there(posting.slot))
    }

    /// Returns how many slots there are, and how many terms they have.
    fn extent(&self, exists: Option<Exists<'_>>) -> (usize, u64) {
        let Some(exists) = exists else { return (self.live_count, self.total_length) };
        let there = (0_u32..).zip(&self.lengths).filter(|(slot, _)| self.live[*slot as usize] && exists(*slot));
        there.fold((0, 0), |(count, length), (_, more)| (count + 1, length + u64::from(*more)))
    }
}

fn idf(count: usize, frequency: usize) -> f32 {
    let frequency = frequency as f32;
    (1.0 + (count as f32 - frequency + 0.5) / (frequency + 0.5)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Analyzer;

    fn index(passages: &[&str]) -> (Lexical, Analyzer) {
        let analyzer = Analyzer::new();
        let mut lexical = Lexical::default();
        passages.iter().for_each(|passage| lexical.push(&analyzer.terms(passage)));
        (lexical, analyzer)
    }

    fn slots(of: &(Lexical, Analyzer), question: &str) -> Vec<u32> {
        let found = of.0.search(&of.1.query(question), 10, None, |_| true).best;
        found.iter().map(|found| found.slot).collect()
    }

    #[test]
    fn the_score_is_bm25() {
        let of = index(&["alpha alpha beta", "beta gamma", "gamma delta"]);
        let words = of.0.search(&of.1.query("alpha"), 10, None, |_| true);
        let found = &words.best;
        // N 3, df 1, tf 2, length 3, average 7/3.
        let idf = (1.0_f32 + 2.5 / 1.5).ln();
        let norm = 0.4 + 0.6 * 3.0 / (7.0 / 3.0);
        assert!((found[0].score - idf * 2.0 * 2.0 / (2.0 + norm)).abs() < 1e-5, "{found:?}");
        assert_eq!(words.coverages, [1.0, 0.0, 0.0]);
    }

    #[test]
    fn coverage_is_the_share_of_idf() {
        let of = index(&["alpha", "beta", "gamma"]);
        let words = of.0.search(&of.1.query("alpha unknownword"), 10, None, |_| true);
        assert!((0.2..0.5).contains(&words.coverage(0)), "{:?}", words.coverages);
    }

    #[test]
    fn compounds_and_their_parts_meet() {
        let of = index(&["Die Reihenklemme ist beige", "Ein Motor", "Eine Klemme für Rohre", "Transport und Support"]);
        assert_eq!(slots(&of, "Klemme"), [2, 0]);
        assert_eq!(slots(&of, "Reihenklemmen"), [0, 2]);
        assert_eq!(slots(&of, "Port"), [0_u32; 0]);
    }

    #[test]
    fn a_code_finds_longer_ones_after_its_own() {
        let of = index(&["6ES7 131-6BF01-0BA0", "6ES7 131", "6ES7 132-6BF01"]);
        assert_eq!(slots(&of, "6ES7131")[..2], [1, 0]);
    }

    #[test]
    fn codes_lead_in_every_spelling_of_question_and_passage() {
        let spellings = [
            [
                "WDU 2.5", "WDU2.5", "WDU-2.5", "WDU 2,5", "WDU2,5", "wdu 2.5", "Wdu-2,5", "WDU_2.5", "WDU/2.5",
                "WDU 2.50",
            ],
            [
                "6ES7 131",
                "6ES7131",
                "6ES7-131",
                "6es7 131",
                "6ES7.131",
                "6ES7_131",
                "6es7/131",
                "6ES 7131",
                "6-ES7-131",
                "6Es7 131",
            ],
            [
                "EN 60947-2",
                "EN60947-2",
                "EN 60947 2",
                "en-60947-2",
                "EN 60947.2",
                "EN_60947_2",
                "EN60947/2",
                "EN 609472",
                "EN 60947–2",
                "EN 60947,2",
            ],
        ];
        for written in spellings {
            for passage in written {
                let of = index(&[
                    "Die Klemme WDU 4 in Grau, nach EN 60947-1, zu 6ES7 132",
                    &format!("Angaben zu {passage} im Katalog"),
                    "WDU, EN und 6ES7 sind Abkürzungen; 2, 5 und 131 sind Zahlen, 60947 auch",
                ]);
                for question in written {
                    for asked in [question.to_owned(), format!("Welche Angaben gibt es zu {question}?")] {
                        assert_eq!(slots(&of, &asked).first(), Some(&1), "{asked} in {passage}");
                    }
                }
            }
        }
    }

    #[test]
    fn compounds_meet_by_their_first_words() {
        let of = index(&["Der Installationsprozess dauert", "Ein Motor", "Der Vorgang und die Installation"]);
        assert_eq!(slots(&of, "Installation"), [2, 0]);
        assert_eq!(slots(&of, "Installationsvorgang")[0], 2);
    }

    #[test]
    fn removed_slots_are_not_found_and_do_not_count() {
        let mut of = index(&["alpha", "alpha beta", "gamma"]);
        of.0.remove(0);
        of.0.remove(0);
        assert_eq!(slots(&of, "alpha"), [1]);
        of.0.renumber(&[None, Some(0), Some(1)]);
        assert_eq!(slots(&of, "alpha"), [0]);
        assert_eq!(slots(&of, "gamma"), [1]);
        let fresh = index(&["alpha beta", "gamma"]);
        let score = |of: &(Lexical, Analyzer)| of.0.search(&of.1.query("alpha"), 1, None, |_| true).best[0].score;
        assert_eq!(score(&of), score(&fresh));
    }
}
