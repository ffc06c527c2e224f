//! Complaints: documents that are one, and their numbers wherever they are named. And what else a document is by its name.

use super::{
    About,
    EntityKind::Issue,
    Found, certificate, key,
    words::{Word, leads, words},
};

/// What a document is, as far as relations depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nature {
    pub is_issue: bool,
    pub is_certificate: bool,
    /// Speaks of products in the maker's own voice: a data sheet, a catalogue, a declaration.
    pub is_makers: bool,
    pub is_mail: bool,
}

const ISSUE: [&str; 14] = [
    "reklamation",
    "complaint",
    "beanstandung",
    "mängelrüge",
    "maengelruege",
    "8d",
    "8dbericht",
    "8dreport",
    "rma",
    "defekt",
    "defect",
    "fehlerbericht",
    "nonconformity",
    "claim",
];

const MAKERS: [&str; 10] = [
    "datenblatt",
    "datasheet",
    "katalog",
    "catalog",
    "preisliste",
    "pricelist",
    "erklärung",
    "declaration",
    "handbuch",
    "manual",
];

impl Nature {
    /// Judges by the path, the title and the first line: what a file is about stands there.
    pub fn of(about: &About<'_>, first_passage: &str) -> Self {
        let head: String = first_passage.lines().take(4).collect::<Vec<_>>().join("\n").chars().take(400).collect();
        let name = about.path.replace(['/', '.'], " ");
        let text = format!("{name}\n{}\n{head}", about.title.unwrap_or_default());
        let plain: Vec<String> = words(&text).iter().flat_map(|word| parts(word.text)).collect();
        let has = |list: &[&str]| plain.iter().any(|word| list.iter().any(|one| begins(word, one)));
        Self {
            is_issue: has(&ISSUE),
            is_certificate: plain.iter().any(|word| certificate::is_called(word)),
            is_makers: has(&MAKERS),
            is_mail: matches!(about.format, "eml" | "msg" | "mail" | "mbox"),
        }
    }

    /// The nature that sees most numbers.
    pub fn certificate() -> Self {
        Self { is_certificate: true, ..Self::default() }
    }
}

/// A file name's word by its hyphens, and as a whole: `8D-Bericht` is `8dbericht`, `8d` and `bericht`.
fn parts(word: &str) -> Vec<String> {
    let plain =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let mut parts: Vec<String> = word.split('-').map(plain).collect();
    parts.push(plain(word));
    parts
}

/// Short words must be the whole word; long ones may go on (`reklamationen`).
fn begins(word: &str, one: &str) -> bool {
    if one.len() <= 4 { word == one } else { word.starts_with(one) || one.len() > 8 && word.ends_with(one) }
}

/// Finds the numbers of complaints: `Reklamation 4711`, `8D-Bericht R-2026-007`, `RMA-12345`.
pub(crate) fn find(line: &str, words: &[Word<'_>]) -> Vec<Found> {
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let glued =
            word.text.strip_prefix("RMA-").or_else(|| word.text.strip_prefix("RMA")).filter(|rest| rest.len() >= 3);
        if glued.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')) {
            found.push(Found::new(Issue, key::number(word.text), line, word.start, word.end));
            continue;
        }
        if !parts(word.text).iter().any(|part| ISSUE.iter().any(|one| begins(part, one))) {
            continue;
        }
        // At most `Nr.` stands between the name and the number.
        let next = words[index + 1..]
            .iter()
            .take(3)
            .find(|next| !matches!(next.plain().as_str(), "nr" | "no" | "number" | "nummer"));
        let Some(next) = next.filter(|next| is_number(next)) else { continue };
        let mut at = word.end;
        let leads_there = words[index + 1..].iter().take_while(|step| step.start <= next.start).all(|step| {
            let leads = leads(line, at, step.start);
            at = step.end;
            leads
        });
        if leads_there {
            found.push(Found::new(Issue, key::number(next.text), line, next.start, next.end));
        }
    }
    found
}

/// Three digits and more; letters only in front (`R-2026-007`).
fn is_number(word: &Word<'_>) -> bool {
    let rest = word.text.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let is_year =
        word.is_number() && word.text.len() == 4 && (word.text.starts_with("20") || word.text.starts_with("19"));
    word.digits() >= 3
        && word.text.len() <= 24
        && !is_year
        && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'/')
}
