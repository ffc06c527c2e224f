//! Standards and directives: `DIN EN 60947-7-1:2009`, `UL 1059`, `RoHS`, `2014/34/EU`.

use super::{
    EntityKind::Standard,
    Found,
    words::{Word, adjoin},
};

/// Who writes standards. `VDE` numbers are `0xxx`; its eight-digit numbers are certificates.
const BODIES: [&str; 17] = [
    "DIN", "EN", "IEC", "ISO", "VDE", "UL", "CSA", "NFPA", "ANSI", "IEEE", "BS", "NF", "OVE", "CISPR", "ETSI", "ASTM",
    "GB",
];

/// Publishers of other bodies' standards: what stands behind them counts.
const NATIONAL: [&str; 4] = ["DIN", "BS", "NF", "OVE"];

/// Directives and regulations by number and by the names they go by.
const LAWS: [(&str, &[&str]); 11] = [
    ("rohs", &["rohs", "2011/65/eu", "2015/863"]),
    ("reach", &["reach", "1907/2006"]),
    ("weee", &["weee", "2012/19/eu", "elektrog"]),
    ("atex", &["2014/34/eu"]),
    ("lvd", &["niederspannungsrichtlinie", "2014/35/eu", "2006/95/eg"]),
    ("emc", &["emv-richtlinie", "2014/30/eu", "2004/108/eg"]),
    ("machinery", &["maschinenrichtlinie", "2006/42/eg", "2006/42/ec", "2023/1230"]),
    ("red", &["funkanlagenrichtlinie", "2014/53/eu"]),
    ("cpr", &["bauproduktenverordnung", "305/2011"]),
    ("ukca", &["ukca"]),
    ("ccc", &["ccc"]),
];

pub(crate) fn find(line: &str, words: &[Word<'_>]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut index = 0;
    while index < words.len() {
        if let Some((one, next)) = numbered(line, words, index) {
            found.push(one);
            index = next;
            continue;
        }
        let word = &words[index];
        let lower = word.text.to_lowercase();
        // `REACH` and `CCC` are names when people shout them, words otherwise.
        let is_name = word.text.chars().skip(1).any(char::is_uppercase) || lower.contains('/') || lower.len() > 10;
        if is_name && let Some((key, _)) = LAWS.iter().find(|(_, names)| names.contains(&lower.as_str())) {
            found.push(Found::new(Standard, (*key).to_owned(), line, word.start, word.end));
        }
        index += 1;
    }
    found
}

/// Reads `body [body …] number [edition]` at a word; returns it with the index of the word behind it.
fn numbered(line: &str, words: &[Word<'_>], first: usize) -> Option<(Found, usize)> {
    let mut at = first;
    let mut bodies: Vec<&str> = Vec::new();
    let mut glued = None;
    while let Some(word) = words.get(at) {
        if at > first && !adjoin(line, &words[at - 1], word) {
            break;
        }
        if let Some((body, number)) = split(word.text) {
            bodies.push(body);
            glued = Some(number);
            at += 1;
            break;
        }
        let parts: Vec<&str> = word.text.split('/').collect();
        if !parts.iter().all(|part| BODIES.contains(part)) {
            break;
        }
        bodies.extend(parts);
        at += 1;
    }
    if bodies.is_empty() || bodies.len() > 5 {
        return None;
    }
    // `CSA C22.2 No. 158` numbers in two parts.
    if bodies.last() == Some(&"CSA") && words.get(at).is_some_and(|word| word.text.starts_with("C22")) {
        let number = words.get(at + 2).filter(|word| words[at + 1].plain() == "no" && word.digits() > 0);
        let last = number.unwrap_or(&words[at]);
        let key = format!("csa{}", super::key::number(&line[words[at].start..last.end]));
        let next = if number.is_some() { at + 3 } else { at + 1 };
        return Some((Found::new(Standard, key, line, words[first].start, last.end), next));
    }
    let (number, last) = match glued {
        Some(number) => (number, at - 1),
        None => {
            let word = words.get(at).filter(|word| adjoin(line, &words[at - 1], word))?;
            at += 1;
            (word.text, at - 1)
        }
    };
    let body = *bodies.iter().rev().find(|body| !NATIONAL.contains(body)).or(bodies.last())?;
    let key = key(body, number)?;
    let mut one = Found::new(Standard, key, line, words[first].start, words[last].end);
    // `EN 60947-7-1:2009`: the edition is said of it, and is not part of what it is.
    if let Some(edition) = words.get(at).filter(|edition| {
        line.get(words[last].end..edition.start).is_some_and(|gap| gap == ":")
            && edition.is_number()
            && edition.text.len() == 4
    }) {
        one = one.with("edition", edition.text);
        one.end = edition.end;
        at += 1;
    }
    Some((one, at))
}

/// Splits `EN60947-2` and `UL1059`.
fn split(text: &str) -> Option<(&str, &str)> {
    let digit = text.find(|c: char| c.is_ascii_digit())?;
    let (body, number) = text.split_at(digit);
    let body = body.trim_end_matches('-');
    BODIES.contains(&body).then_some((body, number))
}

/// Returns a standard's key: `en60947-7-1`. `None` when the number is none.
fn key(body: &str, number: &str) -> Option<String> {
    let number = number.replace('–', "-");
    let (head, rest) = number.split_once('-').unwrap_or((&number, ""));
    let is_head = (2..=6).contains(&head.len()) && head.bytes().all(|byte| byte.is_ascii_digit());
    let is_rest = rest.len() <= 12 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_year = body == "EN" && head.len() == 4 && head.starts_with("20");
    (is_head && is_rest && !is_year).then(|| format!("{}{}", body.to_lowercase(), number.to_lowercase()))
}
