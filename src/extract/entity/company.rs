//! Companies by their legal form, and which side of a business they stand on.

use super::{
    EntityKind::{Customer, Manufacturer},
    Found,
    issue::Nature,
    key,
    words::{Word, adjoin},
};

const FORMS: [&str; 26] = [
    "gmbh",
    "ag",
    "kg",
    "ohg",
    "se",
    "kgaa",
    "ug",
    "ek",
    "ltd",
    "limited",
    "plc",
    "inc",
    "llc",
    "corp",
    "corporation",
    "co",
    "sa",
    "sas",
    "sarl",
    "spa",
    "srl",
    "bv",
    "nv",
    "ab",
    "oy",
    "as",
];

/// Words in front of a name that are no part of it.
const NO_NAME: [&str; 22] = [
    "firma",
    "die",
    "der",
    "das",
    "the",
    "von",
    "by",
    "an",
    "to",
    "for",
    "für",
    "bei",
    "hersteller",
    "manufacturer",
    "kunde",
    "customer",
    "applicant",
    "lieferant",
    "supplier",
    "herr",
    "frau",
    "sent",
];

const MAKES: [&str; 12] = [
    "hersteller",
    "herstellerin",
    "manufacturer",
    "manufacturername",
    "produced",
    "made",
    "inhaber",
    "applicant",
    "antragsteller",
    "holder",
    "suppliername",
    "producer",
];

const BUYS: [&str; 12] = [
    "kunde",
    "kundin",
    "customer",
    "käufer",
    "buyer",
    "besteller",
    "auftraggeber",
    "client",
    "consignee",
    "empfänger",
    "accountingcustomerparty",
    "reklamierender",
];

/// Returns a company's key: its name in lower case without the legal form.
pub(crate) fn key(name: &str) -> String {
    let whole = key::name(name);
    let words: Vec<&str> = whole.split(' ').filter(|word| !FORMS.contains(word)).collect();
    if words.is_empty() { whole } else { words.join(" ") }
}

/// Finds companies whose side a label or the document's kind tells.
pub(crate) fn find(line: &str, words: &[Word<'_>], nature: &Nature) -> Vec<Found> {
    let plain: Vec<String> = words.iter().map(Word::plain).collect();
    let mut found: Vec<Found> = Vec::new();
    let mut behind = 0;
    for index in 0..words.len() {
        if index < behind || !is_form(words[index].text, &plain[index]) {
            continue;
        }
        let first = begin(line, words, &plain, index, behind);
        if first == index {
            continue;
        }
        let last = end(line, words, &plain, index);
        let side = plain[behind..first].iter().rev().find_map(|word| {
            let word = word.as_str();
            if MAKES.contains(&word) {
                Some(Manufacturer)
            } else if BUYS.contains(&word) {
                Some(Customer)
            } else {
                None
            }
        });
        let kind = match side {
            Some(side) => Some(side),
            // Whoever complains by mail signs with the own name.
            None if nature.is_issue && nature.is_mail => Some(Customer),
            None if !nature.is_issue && (nature.is_makers || nature.is_certificate) => Some(Manufacturer),
            None => None,
        };
        if let Some(kind) = kind {
            let (start, end) = (words[first].start, words[last].end);
            found.push(Found::new(kind, key(&line[start..end]), line, start, end));
        }
        behind = last + 1;
    }
    found
}

/// `AG` and `Co` are written so; `ag` and `as` are something else.
fn is_form(text: &str, plain: &str) -> bool {
    FORMS.contains(&plain)
        && text.chars().next().is_some_and(char::is_uppercase)
        && (plain.len() > 2 || text.chars().skip(1).all(|c| !c.is_lowercase()) || plain == "co")
}

fn begin(line: &str, words: &[Word<'_>], plain: &[String], form: usize, behind: usize) -> usize {
    let mut first = form;
    while first > behind && form - first < 5 {
        let word = &words[first - 1];
        let joins = matches!(word.text, "&" | "+" | "und" | "and");
        let is_part = word.is_capitalised() && !NO_NAME.contains(&plain[first - 1].as_str());
        if !(is_part || joins && first > behind + 1 && words[first - 2].is_capitalised())
            || !adjoin(line, word, &words[first])
        {
            break;
        }
        first -= 1;
    }
    first
}

/// `GmbH & Co. KG` is one form.
fn end(line: &str, words: &[Word<'_>], plain: &[String], form: usize) -> usize {
    let mut last = form;
    for (index, word) in words.iter().enumerate().skip(form + 1).take(3) {
        let gap_is_small =
            line.get(words[index - 1].end..word.start).is_some_and(|gap| gap.len() <= 2 && !gap.contains(','));
        if !gap_is_small || !(word.text == "&" || is_form(word.text, &plain[index])) {
            break;
        }
        if word.text != "&" {
            last = index;
        }
    }
    last
}
