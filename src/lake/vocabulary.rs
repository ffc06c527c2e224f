//! The terms of all passages, and which of them answer an idea of a question: the term itself, compounds of it, parts of it,
//! longer codes.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Included, Unbounded},
};

use crate::{
    analysis::{QueryTerm, TermKind, is_mixed},
    lexical::Exists,
};

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
pub(crate) struct Vocabulary {
    terms: HashMap<Box<str>, u32>,
    /// For codes and for compounds by their first word: codes and longer words in order.
    ordered: BTreeMap<Box<str>, u32>,
    /// For compounds by their last word: longer words, spelled backwards, in order.
    reversed: BTreeMap<Box<str>, u32>,
}

impl Vocabulary {
    /// Returns a term's number: that of before, or the next.
    pub fn number(&mut self, term: &str) -> u32 {
        if let Some(id) = self.terms.get(term) {
            return *id;
        }
        let id = self.terms.len() as u32;
        self.terms.insert(term.into(), id);
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

    /// Returns the vocabulary terms that answer an idea, each with a weight of at most 1, the greatest first. Where
    /// `exists` is given, terms it denies are not there.
    pub fn alternatives(&self, idea: &QueryTerm, exists: Option<Exists<'_>>) -> Vec<(u32, f32)> {
        View { of: self, exists }.alternatives(idea)
    }
}

/// The terms that exist for who asks.
struct View<'a> {
    of: &'a Vocabulary,
    exists: Option<Exists<'a>>,
}

impl View<'_> {
    fn exists(&self, id: u32) -> bool {
        self.exists.is_none_or(|exists| exists(id))
    }

    fn number(&self, term: &str) -> Option<u32> {
        self.of.terms.get(term).copied().filter(|id| self.exists(*id))
    }

    fn alternatives(&self, idea: &QueryTerm) -> Vec<(u32, f32)> {
        let mut all: Vec<(u32, f32)> = Vec::new();
        let mut add = |id: u32, weight| {
            if !all.iter().any(|(known, _)| *known == id) {
                all.push((id, weight));
            }
        };
        for form in &idea.forms {
            if let Some(id) = self.number(form) {
                add(id, 1.0);
            }
        }
        for form in &idea.forms {
            let is_code = idea.kind == TermKind::Code || is_mixed(form);
            match idea.kind {
                _ if is_code => self.longer_codes(form).for_each(|id| add(id, LONGER_CODE)),
                TermKind::Number | TermKind::Code => {}
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
        let beginning = self.of.ordered.range::<str, _>((Included(form), Unbounded));
        let longer = beginning.take_while(move |(term, _)| long_enough && term.starts_with(form));
        longer.map(|(_, id)| *id).filter(move |id| self.exists(*id)).take(WIDEST)
    }

    /// Compounds whose last part is `form`: what stands before it must look like a word.
    fn compounds_of(&self, form: &str) -> impl Iterator<Item = u32> {
        let long_enough = form.chars().count() >= 4;
        let backwards = backwards(form);
        let ending = self.of.reversed.range::<str, _>((Included(&*backwards), Unbounded)).map(|(term, id)| (term, *id));
        let mut found = Vec::new();
        let ending = ending.take_while(|(term, _)| long_enough && term.starts_with(&*backwards));
        for (term, id) in ending.filter(|(_, id)| self.exists(*id)).take(WIDEST) {
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
            if let Some(id) = self.number(last)
                && self.is_first_part(before, last)
            {
                return Some(id);
            }
        }
        None
    }

    /// Compounds whose first part is `form`: what follows it must look like a word.
    fn begun_by(&self, form: &str) -> impl Iterator<Item = u32> {
        let long_enough = form.chars().count() >= 5;
        let beginning = self.of.ordered.range::<str, _>((Included(form), Unbounded)).map(|(term, id)| (term, *id));
        let mut found = Vec::new();
        let beginning = beginning.take_while(|(term, _)| long_enough && term.starts_with(form));
        for (term, id) in beginning.filter(|(_, id)| self.exists(*id)).take(WIDEST) {
            if self.is_last_part(form, &term[form.len()..]) {
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
            if let Some(id) = self.number(first)
                && self.is_last_part(first, rest)
            {
                return Some(id);
            }
        }
        None
    }

    /// Whether `rest` can be what follows the first part of a compound: a word of the vocabulary, with or without joining
    /// letters before it, or at least long enough that chance is unlikely.
    fn is_last_part(&self, first: &str, rest: &str) -> bool {
        let known =
            |join: &&str| rest.strip_prefix(*join).is_some_and(|word| word.len() >= 4 && self.number(word).is_some());
        JOINS.iter().any(known) || first.chars().count() >= 6 && rest.chars().count() >= 6
    }

    /// Whether `before` can be the first part of a compound: a word of the vocabulary, with or without the letters that
    /// join German words, or at least long enough that chance is unlikely.
    fn is_first_part(&self, before: &str, last: &str) -> bool {
        if before.chars().count() < 3 {
            return false;
        }
        let known =
            |join: &&str| before.strip_suffix(*join).is_some_and(|word| word.len() >= 3 && self.number(word).is_some());
        JOINS.iter().any(known) || before.chars().count() >= 5 && last.chars().count() >= 5
    }
}

fn backwards(term: &str) -> Box<str> {
    term.chars().rev().collect::<String>().into()
}
