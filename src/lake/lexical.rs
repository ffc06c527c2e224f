//! BM25 over the terms of all chunks, in memory.
//!
//! Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with k1 = 1.0, b = 0.6 and
//! idf = ln(1 + (N − df + 0.5) / (df + 0.5)). One idea of the question ([`QueryTerm`]) may be answered by several terms
//! (two stems, compounds, longer codes); it counts once, by the best of them, with the document frequency of them all.
//!
//! The stored twin is the inverted index of the Lance dataset, for other readers. Search runs here because rows count the
//! moment they are committed, because ideas with alternatives need the vocabulary, and because it is faster: at 10,000
//! chunks in a debug build 4 ms against 50 to 80 ms through Lance.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::Bound::{Included, Unbounded},
};

use crate::{
    analysis::{QueryTerm, TermKind},
    fusion::best,
};

const K1: f32 = 1.0;
const B: f32 = 0.6;
/// A compound that ends with the word: `Reihenklemme` for `Klemme`.
const COMPOUND: f32 = 0.5;
/// The last word of a compound asked for: `Klemme` for `Reihenklemme`.
const HEAD_OF_COMPOUND: f32 = 0.35;
/// A compound that begins with the word: `Klemmenblock` for `Klemme`.
const BEGUN_COMPOUND: f32 = 0.35;
/// The first word of a compound asked for: `Reihe` for `Reihenklemme`.
const FIRST_OF_COMPOUND: f32 = 0.25;
/// Letters that join the words of a German compound.
const JOINS: [&str; 8] = ["", "s", "n", "en", "es", "er", "e", "ns"];
/// A longer code that begins with the one asked for.
const LONGER_CODE: f32 = 0.7;
/// The most vocabulary terms one idea is widened by.
const WIDEST: usize = 64;

#[derive(Default)]
pub(crate) struct Lexical {
    vocabulary: HashMap<Box<str>, u32>,
    /// For codes and for compounds by their first word: codes and longer words in order.
    ordered: BTreeMap<Box<str>, u32>,
    /// For compounds: longer words, spelled backwards, in order.
    reversed: BTreeMap<Box<str>, u32>,
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
        if let Some(id) = self.vocabulary.get(term) {
            return *id;
        }
        let id = self.postings.len() as u32;
        self.postings.push(Vec::new());
        self.vocabulary.insert(term.into(), id);
        let is_code = term.chars().any(|char| char.is_ascii_digit());
        let is_long = term.chars().count() >= 7;
        if is_code || is_long {
            self.ordered.insert(term.into(), id);
        }
        if is_long && !is_code {
            self.reversed.insert(backwards(term), id);
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

    /// Finds the best `limit` of the slots `may` lets through. How rare a word is, all live slots say.
    pub fn search(&self, query: &[QueryTerm], limit: usize, may: impl Fn(u32) -> bool) -> Words {
        let slots = self.lengths.len();
        let (mut scores, mut answered) = (vec![0_f32; slots], vec![0_f32; slots]);
        let mut found: Vec<u32> = Vec::new();
        let mut asked = 0_f32;
        let average = (self.total_length as f32 / self.live_count.max(1) as f32).max(1.0);
        // What the best term of one idea gives a slot, in score and in idf; taken back to nothing after each idea.
        let mut answer = vec![(0_f32, 0_f32); slots];
        let mut is_touched = vec![false; slots];
        let mut touched: Vec<u32> = Vec::new();
        let mut same: Vec<(u32, f32)> = Vec::new();
        for idea in query {
            let alternatives = self.alternatives(idea);
            if alternatives.first().is_none_or(|(_, weight)| *weight < 1.0) {
                asked += self.idf(0);
            }
            for alike in alternatives.chunk_by(|(_, a), (_, b)| a == b) {
                let weight = alike[0].1;
                for (term, _) in alike {
                    for posting in self.postings[*term as usize].iter().filter(|posting| self.live[posting.slot as usize]) {
                        let slot = posting.slot as usize;
                        let count = posting.count as f32;
                        let norm = K1 * (1.0 - B + B * self.lengths[slot] as f32 / average);
                        same.push((posting.slot, count * (K1 + 1.0) / (count + norm)));
                        if !std::mem::replace(&mut is_touched[slot], true) {
                            touched.push(posting.slot);
                        }
                    }
                }
                // As rare as everything that answers the idea as well as this or better.
                let idf = self.idf(touched.len());
                if weight == 1.0 {
                    asked += idf;
                }
                for (slot, value) in same.drain(..) {
                    let answer = &mut answer[slot as usize];
                    if weight * idf * value > answer.0 {
                        *answer = (weight * idf * value, weight * idf);
                    }
                }
            }
            for slot in touched.drain(..) {
                let (value, weight) = std::mem::take(&mut answer[slot as usize]);
                is_touched[slot as usize] = false;
                if scores[slot as usize] == 0.0 {
                    found.push(slot);
                }
                scores[slot as usize] += value;
                answered[slot as usize] += weight;
            }
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

    fn idf(&self, frequency: usize) -> f32 {
        let frequency = frequency as f32;
        (1.0 + (self.live_count as f32 - frequency + 0.5) / (frequency + 0.5)).ln()
    }

    /// Returns the vocabulary terms that answer an idea, each with a weight of at most 1, the greatest first.
    fn alternatives(&self, idea: &QueryTerm) -> Vec<(u32, f32)> {
        let mut all: Vec<(u32, f32)> = Vec::new();
        let mut add = |id: u32, weight| {
            if !all.iter().any(|(known, _)| *known == id) {
                all.push((id, weight));
            }
        };
        for form in &idea.forms {
            if let Some(id) = self.vocabulary.get(form.as_str()) {
                add(*id, 1.0);
            }
        }
        for form in &idea.forms {
            match idea.kind {
                TermKind::Number => {}
                TermKind::Code => self.longer_codes(form).for_each(|id| add(id, LONGER_CODE)),
                TermKind::Word => {
                    self.compounds_of(form).for_each(|id| add(id, COMPOUND));
                    self.begun_by(form).for_each(|id| add(id, BEGUN_COMPOUND));
                    if let Some(id) = self.head_of(form) {
                        add(id, HEAD_OF_COMPOUND);
                    }
                    if let Some(id) = self.first_of(form) {
                        add(id, FIRST_OF_COMPOUND);
                    }
                }
            }
        }
        all.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        all
    }

    fn longer_codes(&self, form: &str) -> impl Iterator<Item = u32> {
        let long_enough = form.len() >= 4;
        let beginning = self.ordered.range::<str, _>((Included(form), Unbounded));
        beginning.take_while(move |(term, _)| long_enough && term.starts_with(form)).take(WIDEST).map(|(_, id)| *id)
    }

    /// Compounds whose last part is `form`: what stands before it must look like a word.
    fn compounds_of(&self, form: &str) -> impl Iterator<Item = u32> {
        let long_enough = form.chars().count() >= 4;
        let backwards = backwards(form);
        let ending = self.reversed.range::<str, _>((Included(&*backwards), Unbounded)).map(|(term, id)| (term, *id));
        let mut found = Vec::new();
        for (term, id) in ending.take_while(|(term, _)| long_enough && term.starts_with(&*backwards)).take(WIDEST) {
            let before: String = term[backwards.len()..].chars().rev().collect();
            if self.is_first_part(&before, form) {
                found.push(id);
            }
        }
        found.into_iter()
    }

    /// The longest known word `form` ends with, when what stands before it is a word too.
    fn head_of(&self, form: &str) -> Option<u32> {
        let starts = form.char_indices().map(|(at, _)| at).filter(|at| (3..form.len().saturating_sub(3)).contains(at));
        for at in starts {
            let (before, last) = form.split_at(at);
            if let Some(id) = self.vocabulary.get(last)
                && self.is_first_part(before, last)
            {
                return Some(*id);
            }
        }
        None
    }

    /// Compounds whose first part is `form`: what follows it must look like a word.
    fn begun_by(&self, form: &str) -> impl Iterator<Item = u32> {
        let long_enough = form.chars().count() >= 5;
        let beginning = self.ordered.range::<str, _>((Included(form), Unbounded)).map(|(term, id)| (term, *id));
        let mut found = Vec::new();
        for (term, id) in beginning.take_while(|(term, _)| long_enough && term.starts_with(form)).take(WIDEST) {
            if self.is_last_part(&term[form.len()..]) {
                found.push(id);
            }
        }
        found.into_iter()
    }

    /// The longest known word `form` begins with, when what follows it is a word too.
    fn first_of(&self, form: &str) -> Option<u32> {
        let ends = form.char_indices().map(|(at, _)| at).filter(|at| (5..form.len().saturating_sub(3)).contains(at));
        for at in ends.rev() {
            let (first, rest) = form.split_at(at);
            if let Some(id) = self.vocabulary.get(first)
                && self.is_last_part(rest)
            {
                return Some(*id);
            }
        }
        None
    }

    /// Whether `rest` can be what follows the first part of a compound: a word of the vocabulary, with or without joining
    /// letters before it.
    fn is_last_part(&self, rest: &str) -> bool {
        let known = |join: &&str| {
            rest.strip_prefix(*join).is_some_and(|word| word.len() >= 4 && self.vocabulary.contains_key(word))
        };
        JOINS.iter().any(known)
    }

    /// Whether `before` can be the first part of a compound: a word of the vocabulary, with or without the letters that
    /// join German words, or at least long enough that chance is unlikely.
    fn is_first_part(&self, before: &str, last: &str) -> bool {
        if before.chars().count() < 3 {
            return false;
        }
        let known = |join: &&str| {
            before.strip_suffix(*join).is_some_and(|word| word.len() >= 3 && self.vocabulary.contains_key(word))
        };
        JOINS.iter().any(known) || before.chars().count() >= 5 && last.chars().count() >= 5
    }
}

fn backwards(term: &str) -> Box<str> {
    term.chars().rev().collect::<String>().into()
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
        let found = of.0.search(&of.1.query(question), 10, |_| true).best;
        found.iter().map(|found| found.slot).collect()
    }

    #[test]
    fn the_score_is_bm25() {
        let of = index(&["alpha alpha beta", "beta gamma", "gamma delta"]);
        let words = of.0.search(&of.1.query("alpha"), 10, |_| true);
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
        let words = of.0.search(&of.1.query("alpha unknownword"), 10, |_| true);
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
    fn removed_slots_are_not_found_and_do_not_count() {
        let mut of = index(&["alpha", "alpha beta", "gamma"]);
        of.0.remove(0);
        of.0.remove(0);
        assert_eq!(slots(&of, "alpha"), [1]);
        of.0.renumber(&[None, Some(0), Some(1)]);
        assert_eq!(slots(&of, "alpha"), [0]);
        assert_eq!(slots(&of, "gamma"), [1]);
        let fresh = index(&["alpha beta", "gamma"]);
        let score = |of: &(Lexical, Analyzer)| of.0.search(&of.1.query("alpha"), 1, |_| true).best[0].score;
        assert_eq!(score(&of), score(&fresh));
    }
}
