//! Text → terms, for the `terms` column and for questions: German, English and type codes.
//!
//! A word becomes its German and its English stem, both, because nobody knows the language of a three-word question;
//! where they agree there is one term. Umlauts fold before stemming (`Prüfung`, `Pruefung` and `Prufung` meet). A code
//! becomes one term without its separators (`WDU 2.5`, `WDU2,5` and `WDU-2.5` are `wdu2.5`) and its parts, so that any
//! spelling finds any other. Numbers are written one way: `1.234,50` is `1234.5`.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::stop_words::is_stop_word;

/// What is asked for, one entry per idea: any of `forms` answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryTerm {
    pub forms: Vec<String>,
    pub kind: TermKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TermKind {
    /// A word: the vocabulary may hold compounds of it.
    Word,
    Number,
    /// A type code: the vocabulary may hold longer ones that begin with it.
    Code,
}

pub(crate) struct Analyzer {
    german: Stemmer,
    english: Stemmer,
    // Stemming is the dear part and words repeat.
    memo: Mutex<HashMap<String, Vec<String>>>,
}

const MEMO_WORDS: usize = 50_000;
const LONGEST_TERM: usize = 80;
const LONGEST_CHAIN: usize = 6;

impl Analyzer {
    pub fn new() -> Self {
        Self {
            german: Stemmer::create(Algorithm::German),
            english: Stemmer::create(Algorithm::English),
            memo: Mutex::new(HashMap::new()),
        }
    }

    /// Returns the terms of a passage, a blank between them.
    pub fn terms(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() * 2);
        let mut push = |term: &str| {
            if !term.is_empty() && term.len() <= LONGEST_TERM {
                if !out.is_empty() {
                    out.push(' ');
                }
                out.push_str(term);
            }
        };
        self.walk(text, Reading::Passage, |term| term.forms.iter().for_each(|form| push(form)));
        out
    }

    /// Returns what a question asks for. Equal ideas are asked for once.
    pub fn query(&self, text: &str) -> Vec<QueryTerm> {
        let mut all: Vec<QueryTerm> = Vec::new();
        self.walk(text, Reading::Question, |term| {
            if !all.contains(&term) {
                all.push(term);
            }
        });
        // A passage that writes the code in one piece answers the pieces too: `6ES7131` holds `6ES7` and `131`, and must not
        // stand behind a passage that holds both and not the code.
        let codes: Vec<String> =
            all.iter().filter(|term| term.kind == TermKind::Code).map(|term| term.forms[0].clone()).collect();
        for term in &mut all {
            let whole = |code: &&String| code.len() > term.forms[0].len() && code.contains(term.forms[0].as_str());
            let wholes: Vec<String> = codes.iter().filter(whole).cloned().collect();
            term.forms.extend(wholes);
        }
        all
    }

    fn walk(&self, text: &str, reading: Reading, mut emit: impl FnMut(QueryTerm)) {
        let words = words(text);
        let mut chain: Vec<&Word> = Vec::new();
        for word in &words {
            self.word(word, &mut emit);
            let goes_on = chain.last().is_some_and(|last| chains(last, word, chain.len() > 1, reading));
            if !goes_on || chain.len() == LONGEST_CHAIN {
                end_chain(&chain, &mut emit);
                chain.clear();
            }
            chain.push(word);
        }
        end_chain(&chain, &mut emit);
    }

    fn word(&self, word: &Word, emit: &mut impl FnMut(QueryTerm)) {
        if word.is_plain() {
            return self.atom(&word.atoms[0], emit);
        }
        if word.is_code() {
            emit(code(word.joined()));
            let parts = word.parts();
            if parts.len() > 1 {
                for part in parts.into_iter().filter(|part| is_mixed(part)) {
                    emit(code(part));
                }
            }
        } else {
            // `Push-in`, `E-Mail`: found written as one word too.
            let forms = self.forms(&word.joined());
            emit(QueryTerm { forms, kind: TermKind::Word });
        }
        for atom in &word.atoms {
            self.atom(atom, emit);
        }
    }

    fn atom(&self, atom: &Atom, emit: &mut impl FnMut(QueryTerm)) {
        match atom.kind {
            AtomKind::Letters if is_stop_word(&atom.text) => {}
            AtomKind::Letters => emit(QueryTerm { forms: self.forms(&atom.text), kind: TermKind::Word }),
            AtomKind::Number => {
                let mut forms = vec![atom.text.clone()];
                forms.extend(atom.other.clone());
                emit(QueryTerm { forms, kind: TermKind::Number });
            }
        }
    }

    /// Returns a lower-case word's stems, the German first.
    fn forms(&self, word: &str) -> Vec<String> {
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = memo.get(word) {
            return known.clone();
        }
        let german = self.german.stem(&fold_german(word)).into_owned();
        let mut forms = vec![german];
        if !word.contains(['ä', 'ö', 'ü', 'ß']) {
            let english = self.english.stem(&fold_marks(word)).into_owned();
            if !forms.contains(&english) {
                forms.push(english);
            }
        }
        if memo.len() >= MEMO_WORDS {
            memo.clear();
        }
        memo.insert(word.to_owned(), forms.clone());
        forms
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Passage,
    Question,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtomKind {
    Letters,
    Number,
}

/// A run of letters or a number.
#[derive(Debug)]
struct Atom {
    text: String,
    /// Another way to read a number: `1.234` is 1234 in German.
    other: Option<String>,
    kind: AtomKind,
    /// No separator stands before it.
    glued: bool,
}

impl Atom {
    /// Returns how it stands in a code: a point is a decimal one in `WDU 2.5`, and one more separator in `6ES7.131` and in
    /// `EN 60947.2`, for no code has a measure of four digits or to a thousandth.
    fn in_code(&self) -> Cow<'_, str> {
        if let Some(other) = &self.other {
            return Cow::Borrowed(other);
        }
        match self.text.split_once('.') {
            Some((whole, fraction)) if whole.len() > 3 || fraction.len() > 2 => Cow::Owned([whole, fraction].concat()),
            _ => Cow::Borrowed(&self.text),
        }
    }
}

/// What stands between blanks, without punctuation at its ends.
#[derive(Debug)]
struct Word {
    atoms: Vec<Atom>,
    /// Its letters are all capitals.
    capitals: bool,
    /// Only a blank stands before it: no comma, no bracket, no line end.
    follows: bool,
}

impl Word {
    fn is_plain(&self) -> bool {
        self.atoms.len() == 1
    }

    fn has(&self, kind: AtomKind) -> bool {
        self.atoms.iter().any(|atom| atom.kind == kind)
    }

    fn is_code(&self) -> bool {
        self.has(AtomKind::Number)
    }

    fn joined(&self) -> String {
        self.atoms.iter().map(Atom::in_code).collect()
    }

    /// Returns the pieces between separators.
    fn parts(&self) -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        for atom in &self.atoms {
            match parts.last_mut() {
                Some(last) if atom.glued => last.push_str(&atom.in_code()),
                _ => parts.push(atom.in_code().into_owned()),
            }
        }
        parts
    }

    fn letters(&self) -> usize {
        let letters = |atom: &&Atom| atom.kind == AtomKind::Letters;
        self.atoms.iter().filter(letters).map(|atom| atom.text.chars().count()).sum()
    }
}

pub(crate) fn is_mixed(part: &str) -> bool {
    part.chars().any(char::is_alphabetic) && part.chars().any(|char| char.is_ascii_digit())
}

fn code(joined: String) -> QueryTerm {
    QueryTerm { forms: vec![joined], kind: TermKind::Code }
}

/// Whether `word` goes on with the code `last` ends: `WDU` + `2.5`, `6ES7` + `131`, `24` + `V`.
///
/// In a passage only capitals or digits begin a code, so that prose does not fill the vocabulary; a question is typed as
/// it comes, and a term too much does no harm there.
fn chains(last: &Word, word: &Word, in_chain: bool, reading: Reading) -> bool {
    if !word.follows {
        return false;
    }
    let number = |word: &Word| word.is_plain() && word.atoms[0].kind == AtomKind::Number;
    let mixed = |word: &Word| word.has(AtomKind::Number) && word.has(AtomKind::Letters);
    let short = |word: &Word| !word.has(AtomKind::Number) && word.is_plain() && (1..=6).contains(&word.letters());
    if word.has(AtomKind::Number) {
        let begins =
            short(last) && (last.capitals || reading == Reading::Question && !is_stop_word(&last.atoms[0].text));
        return begins || mixed(last) || in_chain;
    }
    number(last) && !in_chain && word.is_plain() && word.letters() <= 3 && !is_stop_word(&word.atoms[0].text)
}

fn end_chain(chain: &[&Word], emit: &mut impl FnMut(QueryTerm)) {
    if chain.len() < 2 {
        return;
    }
    let joined = |words: &[&Word]| words.iter().map(|word| word.joined()).collect::<String>();
    emit(code(joined(&chain[..2])));
    if chain.len() > 2 {
        emit(code(joined(chain)));
    }
}

fn words(text: &str) -> Vec<Word> {
    let text: String = text.nfkc().filter(|char| *char != '\u{ad}').collect();
    let mut words = Vec::new();
    let mut follows = false;
    for line in text.lines() {
        for token in line.split_whitespace() {
            let is_break = |char: char| !char.is_alphanumeric() && !is_connector(char) && !is_combining_mark(char);
            for (piece, ended) in pieces(token, is_break) {
                let trimmed = piece.trim_matches(is_connector);
                if trimmed.is_empty() {
                    follows &= ended.is_none() && piece.is_empty();
                    continue;
                }
                let begins_clean = piece.starts_with(trimmed);
                let atoms = atoms(trimmed);
                if !atoms.is_empty() {
                    words.push(Word {
                        atoms,
                        capitals: trimmed.chars().all(|char| !char.is_alphabetic() || char.is_uppercase()),
                        follows: follows && begins_clean,
                    });
                }
                follows = ended.is_none() && piece.ends_with(trimmed);
            }
        }
        follows = false;
    }
    words
}

/// Splits a token at hard breaks; each piece says which character ended it.
fn pieces(token: &str, is_break: impl Fn(char) -> bool) -> Vec<(&str, Option<char>)> {
    let mut all = Vec::new();
    let mut start = 0;
    for (at, char) in token.char_indices().filter(|(_, char)| is_break(*char)) {
        all.push((&token[start..at], Some(char)));
        start = at + char.len_utf8();
    }
    if start < token.len() {
        all.push((&token[start..], None));
    }
    all
}

fn is_connector(char: char) -> bool {
    matches!(char, '-' | '‐' | '‑' | '–' | '/' | '_' | '.' | ',' | '+' | '&' | '\'' | '’')
}

fn atoms(word: &str) -> Vec<Atom> {
    let chars: Vec<char> = word.to_lowercase().chars().collect();
    let mut atoms: Vec<Atom> = Vec::new();
    let mut at = 0;
    let mut glued = false;
    while at < chars.len() {
        let from = at;
        if chars[at].is_ascii_digit() {
            while at < chars.len()
                && (chars[at].is_ascii_digit()
                    || matches!(chars[at], '.' | ',') && chars.get(at + 1).is_some_and(char::is_ascii_digit))
            {
                at += 1;
            }
            numbers(&chars[from..at].iter().collect::<String>(), glued, &mut atoms);
            glued = true;
        } else if chars[at].is_alphanumeric() || is_combining_mark(chars[at]) {
            while at < chars.len()
                && !chars[at].is_ascii_digit()
                && (chars[at].is_alphanumeric() || is_combining_mark(chars[at]))
            {
                at += 1;
            }
            atoms.push(Atom { text: chars[from..at].iter().collect(), other: None, kind: AtomKind::Letters, glued });
            glued = true;
        } else {
            at += 1;
            glued = false;
        }
    }
    atoms
}

/// Reads digits with points and commas between them: one number, or several when it is a date or a list.
fn numbers(run: &str, glued: bool, atoms: &mut Vec<Atom>) {
    let mut push = |text: String, other: Option<String>, glued| {
        atoms.push(Atom { text, other, kind: AtomKind::Number, glued });
    };
    let groups: Vec<&str> = run.split(['.', ',']).collect();
    let signs: Vec<char> = run.chars().filter(|char| !char.is_ascii_digit()).collect();
    let thousands = |groups: &[&str]| {
        (1..=3).contains(&groups[0].len()) && groups[0] != "0" && groups[1..].iter().all(|group| group.len() == 3)
    };
    match signs.as_slice() {
        [] => push(run.to_owned(), None, glued),
        [_] if thousands(&groups) => push(decimal(groups[0], groups[1]), Some(groups.concat()), glued),
        [_] => push(decimal(groups[0], groups[1]), None, glued),
        [first, rest @ ..] if rest.iter().all(|sign| sign == first) && thousands(&groups) => {
            push(groups.concat(), None, glued);
        }
        [most @ .., last] if !most.contains(last) && thousands(&groups[..groups.len() - 1]) => {
            let (fraction, whole) = groups.split_last().unwrap_or((&"", &[]));
            push(decimal(&whole.concat(), fraction), None, glued);
        }
        _ => {
            for (index, group) in groups.into_iter().enumerate() {
                push(group.to_owned(), None, glued && index == 0);
            }
        }
    }
}

fn decimal(whole: &str, fraction: &str) -> String {
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// Folds the ways to write an umlaut into one, as the stemmer German2 of the Snowball project does.
fn fold_german(word: &str) -> String {
    let folded = fold_marks(word);
    let mut out = String::with_capacity(folded.len());
    let mut before = ' ';
    let mut chars = folded.chars().peekable();
    while let Some(char) = chars.next() {
        out.push(char);
        let umlaut = matches!(char, 'a' | 'o' | 'u') && chars.peek() == Some(&'e');
        // `Quelle` and `neue` hold no umlaut.
        if umlaut && !(char == 'u' && matches!(before, 'q' | 'a' | 'e')) {
            chars.next();
        }
        before = char;
    }
    out
}

/// Takes the marks off letters: `é` is `e`, `ü` is `u`; `ß` is `ss`.
fn fold_marks(word: &str) -> String {
    if word.is_ascii() {
        return word.to_owned();
    }
    let plain: String = word.nfd().filter(|char| !is_combining_mark(*char)).collect();
    plain.replace('ß', "ss")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        Analyzer::new().terms(text).split(' ').map(str::to_owned).collect()
    }

    /// Whether everything a question asks for, in one of its forms, stands in the passage.
    fn finds(question: &str, passage: &str) -> bool {
        let stored = terms(passage);
        let asked = Analyzer::new().query(question);
        !asked.is_empty() && asked.iter().all(|term| term.forms.iter().any(|form| stored.contains(form)))
    }

    #[test]
    fn stop_words_are_left_out() {
        assert!(terms("Das ist der Weg, and this is it.").contains(&"weg".to_owned()));
        assert_eq!(Analyzer::new().query("was ist das"), []);
    }

    #[test]
    fn umlauts_meet_in_every_spelling() {
        for spelling in ["Prüfung", "Pruefung", "PRÜFUNGEN", "prufung", "Pru\u{308}fung"] {
            assert!(finds(spelling, "Die Prüfung der Anlage"), "{spelling}");
            assert!(finds("Prüfung", &format!("Die {spelling} der Anlage")), "{spelling}");
        }
        assert!(finds("Größe", "GROESSE"));
        assert!(finds("Haus", "die Häuser"));
        assert!(finds("Quelle", "Quellen"));
    }

    #[test]
    fn english_words_meet_their_inflections() {
        assert!(finds("terminal", "rail mounted terminals"));
        assert!(finds("connections", "a reliable connection"));
        assert!(finds("running", "it runs"));
    }

    #[test]
    fn codes_are_found_in_any_spelling() {
        for passage in ["Reihenklemme WDU 2.5 beige", "WDU2.5", "WDU 2,5", "WDU-2.5", "wdu2,5", "(WDU 2.50)"] {
            for question in ["WDU 2.5", "wdu 2,5", "WDU2.5", "wdu-2,5"] {
                assert!(finds(question, passage), "{question} in {passage}");
            }
        }
        for question in ["EN 60947-2", "en60947-2", "EN 60947 2", "en 609472"] {
            let asked = Analyzer::new().query(question);
            let stored = terms("nach EN 60947-2 geprüft");
            let joined = "en609472".to_owned();
            assert!(stored.contains(&joined), "{stored:?}");
            assert!(asked.iter().any(|term| term.forms.contains(&joined)), "{question}: {asked:?}");
        }
        let stored = terms("Baugruppe 6ES7 131-6BF01-0BA0, neu");
        assert!(stored.contains(&"6es71316bf010ba0".to_owned()), "{stored:?}");
        assert!(Analyzer::new().query("6ES7 131").contains(&code("6es7131".to_owned())));
        assert!(Analyzer::new().query("6ES7131").contains(&code("6es7131".to_owned())));
    }

    #[test]
    fn numbers_are_written_one_way() {
        for (passage, question) in [
            ("Preis 1.234,50 EUR", "1234.5"),
            ("price 1,234.50", "1.234,5"),
            ("2,5 mm²", "2.50"),
            ("1.234 Stück", "1234"),
            ("24 V DC", "24V"),
            ("am 12.05.2024", "12.05.2024"),
        ] {
            assert!(finds(question, passage), "{question} in {passage}: {:?}", terms(passage));
        }
        assert!(!finds("25", "2,5 mm"));
    }

    #[test]
    fn prose_makes_no_codes() {
        assert!(!terms("und 3 weitere Klemmen").contains(&"und3".to_owned()));
        assert!(!terms("Liste: A, 5 Stück").contains(&"a5".to_owned()));
    }

    #[test]
    fn hyphened_words_are_found_as_one() {
        assert!(finds("Pushin", "Push-in-Anschluss oder Push-in"));
        let asked = Analyzer::new().query("E-Mail");
        assert!(asked.iter().any(|term| term.forms.contains(&"email".to_owned())), "{asked:?}");
    }
}
