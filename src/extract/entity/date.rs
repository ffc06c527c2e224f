//! Dates of certificates: German and English spellings, and which of them is the end.

use std::collections::BTreeMap;

use super::{EntityKind, Found, words};

const MONTHS: [(&str, u32); 36] = [
    ("januar", 1),
    ("jänner", 1),
    ("january", 1),
    ("jan", 1),
    ("februar", 2),
    ("february", 2),
    ("feb", 2),
    ("märz", 3),
    ("march", 3),
    ("mär", 3),
    ("mar", 3),
    ("april", 4),
    ("apr", 4),
    ("mai", 5),
    ("may", 5),
    ("juni", 6),
    ("june", 6),
    ("jun", 6),
    ("juli", 7),
    ("july", 7),
    ("jul", 7),
    ("august", 8),
    ("aug", 8),
    ("september", 9),
    ("sep", 9),
    ("sept", 9),
    ("oktober", 10),
    ("october", 10),
    ("okt", 10),
    ("oct", 10),
    ("november", 11),
    ("nov", 11),
    ("dezember", 12),
    ("december", 12),
    ("dez", 12),
    ("dec", 12),
];

/// Returns a date in ISO 8601 when these words begin with one: `21.04.2026`, `2026-04-21`, `21. April 2026`, `April 21, 2026`.
pub(crate) fn parse(words: &[&str]) -> Option<String> {
    let first = *words.first()?;
    let parts: Vec<&str> = first.split('.').collect();
    if let [day, month, year] = parts[..] {
        return iso(number(year)?, number(month)?, number(day)?);
    }
    let parts: Vec<&str> = first.split('-').collect();
    if let [year, month, day] = parts[..]
        && year.len() == 4
    {
        return iso(number(year)?, number(month)?, number(day)?);
    }
    let (second, third) = (*words.get(1)?, *words.get(2)?);
    match (month(first), month(second)) {
        (None, Some(month)) => iso(number(third)?, month, number(first)?),
        (Some(month), None) => iso(number(third)?, month, number(second)?),
        _ => None,
    }
}

fn month(word: &str) -> Option<u32> {
    let lower = word.to_lowercase();
    MONTHS.iter().find(|(name, _)| *name == lower).map(|(_, number)| *number)
}

fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// Returns the date as text when there is such a day. Years of two digits are of this century.
pub(crate) fn iso(year: u32, month: u32, day: u32) -> Option<String> {
    let year = if year < 100 { 2000 + year } else { year };
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    ((1800..=2200).contains(&year) && (1..=days).contains(&day)).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// What a date is of, by the words before it.
fn meaning(before: &str) -> Option<&'static str> {
    const ENDS: [&str; 12] = [
        "gültig bis",
        "valid until",
        "valid to",
        "valid through",
        "expir",
        "ablauf",
        "läuft ab",
        "gültigkeit",
        "befristet bis",
        "good until",
        "not valid after",
        "verfällt",
    ];
    const BEGINS: [&str; 9] = [
        "ausgestellt",
        "ausstellung",
        "issue date",
        "issued",
        "date of issue",
        "erteilt",
        "valid from",
        "gültig ab",
        "gültig von",
    ];
    let lower = before.to_lowercase();
    let last = |labels: &[&str]| labels.iter().filter_map(|label| lower.rfind(label)).max();
    match (last(&ENDS), last(&BEGINS)) {
        (Some(end), Some(begin)) if begin > end => Some("issued"),
        (Some(_), _) => Some("expires"),
        (None, Some(_)) => Some("issued"),
        (None, None) => None,
    }
}

/// The labelled dates of a passage, and the certificates that could be meant.
#[derive(Default)]
pub(crate) struct Carry {
    certificates: Vec<String>,
    dates: BTreeMap<String, String>,
}

impl Carry {
    /// Reads a line's dates: its own certificate gets them; without one they wait for the passage's only one.
    pub fn note(&mut self, line: &str, found: &mut [Found]) {
        let dates = labelled(line);
        let count = found.iter().filter(|one| one.kind == EntityKind::Certificate).count();
        if count == 0 {
            dates.into_iter().for_each(|(name, value)| _ = self.dates.entry(name).or_insert(value));
        } else if count == 1 {
            found
                .iter_mut()
                .filter(|one| one.kind == EntityKind::Certificate)
                .for_each(|one| one.attributes.extend(dates.clone()));
        }
        for one in found.iter().filter(|one| one.kind == EntityKind::Certificate) {
            if !self.certificates.contains(&one.key) {
                self.certificates.push(one.key.clone());
            }
        }
    }

    /// Returns the passage's only certificate and the dates of lines without one.
    pub fn loose(mut self) -> Option<(String, BTreeMap<String, String>)> {
        if self.certificates.len() != 1 || self.dates.is_empty() {
            return None;
        }
        self.certificates.pop().map(|key| (key, self.dates))
    }
}

/// Returns a line's dates by what they are of.
fn labelled(line: &str) -> BTreeMap<String, String> {
    let words = words::words(line);
    let texts: Vec<&str> = words.iter().map(|word| word.text).collect();
    let mut dates = BTreeMap::new();
    let mut last = 0;
    for index in 0..words.len() {
        if let Some(date) = parse(&texts[index..]) {
            let mut from = last.max(words[index].start.saturating_sub(60));
            while !line.is_char_boundary(from) {
                from += 1;
            }
            if let Some(name) = line.get(from..words[index].start).and_then(meaning) {
                dates.entry(name.to_owned()).or_insert(date);
            }
            last = words[index].end;
        }
    }
    dates
}
