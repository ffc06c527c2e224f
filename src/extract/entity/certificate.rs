//! Certificates by their numbers: explosion protection, UL files, and whatever a label calls a number.

use super::{
    EntityKind::Certificate,
    Found, date, key,
    words::{Word, adjoin, leads},
};

/// Finds `PTB 24 ATEX 1034 U` and `IECEx PTB 24.0012U`.
pub(crate) fn explosion(line: &str, words: &[Word<'_>]) -> Vec<Found> {
    let mut found = Vec::new();
    for index in 0..words.len() {
        let range = match words[index].text {
            "ATEX" | "UKEX" => atex(line, words, index),
            "IECEx" => iecex(line, words, index),
            _ => None,
        };
        if let Some((first, last)) = range {
            let (start, end) = (words[first].start, words[last].end);
            found.push(Found::new(Certificate, key::number(&line[start..end]), line, start, end));
        }
    }
    found
}

fn atex(line: &str, words: &[Word<'_>], at: usize) -> Option<(usize, usize)> {
    let first = at.checked_sub(2)?;
    let (body, year, number) = (&words[first], &words[at - 1], words.get(at + 1)?);
    let is_one = year.is_number() && year.text.len() == 2 && body.is_capitalised() && number.digits() >= 3;
    let adjoins = (first..=at).all(|index| adjoin(line, &words[index], &words[index + 1]));
    (is_one && adjoins).then(|| (first, suffixed(line, words, at + 1)))
}

fn iecex(line: &str, words: &[Word<'_>], at: usize) -> Option<(usize, usize)> {
    let (body, number) = (words.get(at + 1)?, words.get(at + 2)?);
    let adjoins = adjoin(line, &words[at], body) && adjoin(line, body, number);
    (adjoins && body.is_capitalised() && number.digits() >= 4).then(|| (at, suffixed(line, words, at + 2)))
}

/// `U` (a component) and `X` (with conditions) belong to the number.
fn suffixed(line: &str, words: &[Word<'_>], last: usize) -> usize {
    match words.get(last + 1) {
        Some(next) if matches!(next.text, "U" | "X") && adjoin(line, &words[last], next) => last + 1,
        _ => last,
    }
}

/// What a certificate is called, as the beginning of a plain word.
const CALLED: [&str; 12] = [
    "zertifikat",
    "zertifizier",
    "certif",
    "bescheinigung",
    "baumuster",
    "konformitätserklärung",
    "zeichengenehmigung",
    "approval",
    "zulassung",
    "vdeausweis",
    "vdereg",
    "vdenr",
];

/// Words that lead from the name of a certificate, or of a column, to its number.
const LEADERS: [&str; 16] = [
    "nr",
    "no",
    "number",
    "nummer",
    "id",
    "num",
    "file",
    "der",
    "of",
    "the",
    "wert",
    "value",
    "reg",
    "registration",
    "bescheinigung",
    "certificate",
];

pub(crate) fn is_called(plain: &str) -> bool {
    CALLED.iter().any(|name| plain.starts_with(name))
        || plain.ends_with("zertifikat")
        || plain.ends_with("bescheinigung")
}

/// Finds numbers a line calls a certificate's, and UL files. In a certificate (`is_document`) `Nr.` alone is label enough.
pub(crate) fn numbered(line: &str, words: &[Word<'_>], is_document: bool) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let plain: Vec<String> = words.iter().map(Word::plain).collect();
    let is_about = is_document || plain.iter().any(|word| is_called(word));
    let names_ul = plain.iter().any(|word| matches!(word.as_str(), "ul" | "culus" | "ulfile"));
    for (index, word) in words.iter().enumerate() {
        let is_file =
            word.text.len() >= 5 && word.text.starts_with('E') && word.text[1..].bytes().all(|b| b.is_ascii_digit());
        let is_number = is_file && names_ul || is_about && labelled(line, words, &plain, index) && is_candidate(word);
        if is_number {
            found.push(Found::new(Certificate, key::number(word.text), line, word.start, word.end));
        }
    }
    found
}

/// Whether the words right before a word call it a number.
fn labelled(line: &str, words: &[Word<'_>], plain: &[String], at: usize) -> bool {
    let mut index = at;
    let mut is_number = false;
    while let Some(before) = index.checked_sub(1) {
        if at - before > 6 || !leads(line, words[before].end, words[index].start) {
            return false;
        }
        let word = plain[before].as_str();
        is_number |= matches!(word, "nr" | "no" | "number" | "nummer" | "id" | "file")
            || word.ends_with("nummer")
            || word.ends_with("nr");
        if is_called(word) || is_number && word != "of" && word != "der" {
            return true;
        }
        if !LEADERS.contains(&word) {
            return false;
        }
        index = before;
    }
    false
}

/// A number of a certificate has four digits and more, and is no date, year or standard.
fn is_candidate(word: &Word<'_>) -> bool {
    let text = word.text;
    let is_shaped = text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '.'));
    let is_year = word.is_number() && text.len() == 4;
    let is_law = text.ends_with("/EU") || text.ends_with("/EG") || text.ends_with("/EC");
    is_shaped && word.digits() >= 4 && !is_year && !is_law && date::parse(&[text]).is_none()
}
