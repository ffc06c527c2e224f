//! Products: article numbers by their labels, GTINs by their check digit, type codes by their shape.

use super::{
    EntityKind::Product,
    Found, date, key,
    words::{Word, adjoin, leads},
};

const ARTICLE: [&str; 28] = [
    "artikelnummer",
    "artikelnr",
    "artnr",
    "artikel",
    "article",
    "articleno",
    "articlenumber",
    "bestellnummer",
    "bestellnr",
    "bestnr",
    "sachnummer",
    "materialnummer",
    "materialnr",
    "matnr",
    "partnumber",
    "partno",
    "part",
    "itemnumber",
    "item",
    "teilenummer",
    "teilenr",
    "supplierpid",
    "supplieraid",
    "manufacturerpid",
    "sku",
    "mpn",
    "sellersitemidentification",
    "idnr",
];

const GTIN: [&str; 7] = ["ean", "gtin", "upc", "eancode", "internationalpid", "standarditemidentification", "gln"];

const LEADERS: [&str; 12] =
    ["nr", "no", "number", "nummer", "num", "ref", "wert", "value", "id", "ist", "is", "lautet"];

/// Letters in front of a number that make no type code: units, standards, money, places, papers.
const NO_TYPE: [&str; 76] = [
    "EN", "IEC", "ISO", "DIN", "VDE", "UL", "CSA", "ANSI", "NFPA", "IEEE", "CISPR", "ETSI", "ASTM", "GB", "BS", "RAL",
    "IP", "IK", "NEMA", "EUR", "USD", "GBP", "CHF", "CAS", "AWG", "VAC", "VDC", "AC", "DC", "NO", "NR", "TEL", "FAX",
    "HRB", "HRA", "DE", "AT", "CH", "FR", "IT", "NL", "UK", "US", "CN", "PL", "CZ", "EU", "EG", "PO", "BOX", "CE",
    "TYP", "TYPE", "ART", "POS", "REV", "VER", "ISBN", "IBAN", "BIC", "BLZ", "LED", "USB", "RS", "CAT", "PA", "PVC",
    "ABS", "TPE", "BGB", "HGB", "UTF", "AA", "QM", "TH", "PIN",
];

/// Units a letter behind a number may be.
const UNITS: [&str; 14] = ["A", "V", "W", "K", "N", "C", "F", "J", "T", "M", "H", "VA", "AC", "DC"];

pub(crate) fn find(line: &str, words: &[Word<'_>]) -> Vec<Found> {
    let plain: Vec<String> = words.iter().map(Word::plain).collect();
    let mut found = Vec::new();
    let mut index = 0;
    while index < words.len() {
        let one = mlfb(line, words, index)
            .or_else(|| numbered(line, words, &plain, index))
            .or_else(|| type_code(line, words, index))
            .or_else(|| in_brackets(line, words, index, &found).map(|one| (one, index + 1)));
        match one {
            Some((one, next)) => {
                found.push(one);
                index = next;
            }
            None => index += 1,
        }
    }
    found
}

fn made(form: &str, line: &str, start: usize, end: usize) -> Found {
    let text = &line[start..end];
    let key = if form == "gtin" { gtin_key(text) } else { key::product(text) };
    Found::new(Product, key, line, start, end).with("form", form)
}

/// Numbers with a label in front: article numbers and GTINs.
fn numbered(line: &str, words: &[Word<'_>], plain: &[String], index: usize) -> Option<(Found, usize)> {
    let label = label_of(line, words, plain, index)?;
    let word = &words[index];
    if label == "gtin" {
        return is_gtin(word.text).then(|| (made("gtin", line, word.start, word.end), index + 1));
    }
    is_article(word).then(|| (made("article", line, word.start, word.end), index + 1))
}

/// Returns what the words right before a word call it.
fn label_of(line: &str, words: &[Word<'_>], plain: &[String], at: usize) -> Option<&'static str> {
    let mut index = at;
    while let Some(before) = index.checked_sub(1) {
        if at - before > 4 || !leads(line, words[before].end, words[index].start) {
            return None;
        }
        let word = plain[before].as_str();
        if GTIN.contains(&word) {
            return Some("gtin");
        }
        if ARTICLE.contains(&word) {
            return Some("article");
        }
        if !LEADERS.contains(&word) {
            return None;
        }
        index = before;
    }
    None
}

/// An article number has at least four digits and is neither a date nor prose.
fn is_article(word: &Word<'_>) -> bool {
    let text = word.text;
    let is_shaped = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/'));
    let letters = text.chars().filter(char::is_ascii_lowercase).count();
    is_shaped && (4..=24).contains(&text.len()) && word.digits() >= 4 && letters <= 2 && date::parse(&[text]).is_none()
}

/// `KX 10 (7101100)`: a number in brackets right behind a type code is its article number.
fn in_brackets(line: &str, words: &[Word<'_>], index: usize, found: &[Found]) -> Option<Found> {
    let word = &words[index];
    let is_bracketed = line[..word.start].ends_with('(') && line[word.end..].starts_with([')', ',', ';']);
    let follows = found.last().is_some_and(|last| {
        last.attributes.get("form").is_some_and(|form| form == "type") && word.start.saturating_sub(last.end) <= 24
    });
    (is_bracketed && follows && word.is_number() && (5..=12).contains(&word.text.len()))
        .then(|| made("article", line, word.start, word.end))
}

/// Order codes of the shape `6ES7 131-6BF01-0BA0`: digit, two letters, digit, in one word or two.
fn mlfb(line: &str, words: &[Word<'_>], index: usize) -> Option<(Found, usize)> {
    let word = &words[index];
    let head = word.text.as_bytes().get(..4)?;
    let is_head = head[0].is_ascii_digit()
        && head[1].is_ascii_uppercase()
        && head[2].is_ascii_uppercase()
        && head[3].is_ascii_digit();
    if !is_head {
        return None;
    }
    let goes_on = |text: &str| text.len() >= 3 && text.as_bytes()[..3].iter().all(u8::is_ascii_digit) && is_code(text);
    if word.text.len() == 4 {
        let next = words.get(index + 1).filter(|next| adjoin(line, word, next) && goes_on(next.text))?;
        return Some((made("type", line, word.start, next.end), index + 2));
    }
    let rest = word.text[4..].trim_start_matches('-');
    (goes_on(rest)).then(|| (made("type", line, word.start, word.end), index + 1))
}

fn is_code(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Type codes: `WDU 2.5`, `KX-Ex 4`, `KV M20-EMC`, `UR20-16DI-P`, `KX 4 PE`.
fn type_code(line: &str, words: &[Word<'_>], index: usize) -> Option<(Found, usize)> {
    let word = &words[index];
    let (last, next) = if let Some(end) = family(word.text) {
        if end == word.text.len() {
            let number = words.get(index + 1).filter(|next| gap(line, word, next) && is_size(next.text))?;
            // `PO 1234567`, `HS 85369010`: long numbers behind letters are numbers of something.
            (number, index + 2)
        } else {
            let rest = word.text[end..].trim_start_matches('-');
            is_size(rest).then_some((word, index + 1))?
        }
    } else {
        return None;
    };
    // `LS-2026-20418` is a paper.
    if line[word.start..last.end].contains("-20") && last.digits() > 6 {
        return None;
    }
    let variant = words.get(next).filter(|variant| {
        let is_short =
            (1..=2).contains(&variant.text.len()) && variant.text.bytes().all(|byte| byte.is_ascii_uppercase());
        is_short && !UNITS.contains(&variant.text) && gap(line, last, variant)
    });
    Some(match variant {
        Some(variant) => (made("type", line, word.start, variant.end), next + 1),
        None => (made("type", line, word.start, last.end), next),
    })
}

fn gap(line: &str, left: &Word<'_>, right: &Word<'_>) -> bool {
    adjoin(line, left, right) && line[left.end..right.start].chars().count() == 1
}

/// Returns where a family's letters end: two to six capitals, a short part behind a hyphen included (`KX-Ex`).
fn family(text: &str) -> Option<usize> {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    if !(2..=6).contains(&letters) || NO_TYPE.contains(&&text[..letters]) {
        return None;
    }
    let rest = &text[letters..];
    if let Some(part) = rest.strip_prefix('-') {
        let more = part.bytes().take_while(u8::is_ascii_alphabetic).count();
        if (1..=3).contains(&more) && part.is_char_boundary(more) {
            return Some(letters + 1 + more);
        }
    }
    (rest.is_empty() || rest.starts_with('-') || rest.starts_with(|c: char| c.is_ascii_digit())).then_some(letters)
}

/// A size is up to four digits, a decimal included, with at most two letters in front and groups behind: `2.5`, `M20-EMC`.
fn is_size(text: &str) -> bool {
    let (head, groups) = text.split_once('-').unwrap_or((text, ""));
    let digits = head.trim_start_matches(|c: char| c.is_ascii_uppercase());
    if head.len() - digits.len() > 2 {
        return false;
    }
    let (number, letters) =
        digits.split_at(digits.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(digits.len()));
    let (whole, decimals) = number.split_once(['.', ',']).unwrap_or((number, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (1..=4).contains(&whole.len())
        && all_digits(whole)
        && decimals.len() <= 2
        && all_digits(decimals)
        && letters.len() <= 5
        && letters.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && groups.len() <= 16
        && is_code(groups)
}

/// Whether a number of 8, 12, 13 or 14 digits has the check digit of GS1's general specifications (weights 3 and 1 from the right).
fn is_gtin(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    if digits.len() != text.chars().count() || !matches!(digits.len(), 8 | 12 | 13 | 14) {
        return false;
    }
    let sum: u32 =
        digits.iter().rev().enumerate().map(|(place, digit)| if place % 2 == 1 { digit * 3 } else { *digit }).sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != 0)
}

/// A GTIN of fewer digits is the one of 14 with zeros in front.
fn gtin_key(text: &str) -> String {
    format!("gtin{text:0>14}")
}
