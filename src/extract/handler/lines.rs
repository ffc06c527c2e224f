//! Text by its lines: how long they are, what they begin with, what separates their fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was found about the lines of a text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lines {
    pub count: u64,
    pub shortest: u64,
    pub longest: u64,
    /// The commonest lengths in characters, with the share of the lines that have them.
    pub usual: Vec<(u64, f64)>,
    /// What lines begin with, where that seems to say what kind of record they are.
    pub tags: Vec<String>,
    /// What separates fields, where that is plain.
    pub delimiter: Option<char>,
}

const DELIMITERS: [char; 4] = [';', '|', '\t', '^'];
/// More lines than this say nothing new.
const MAX_LINES: usize = 5_000;
const MAX_TAGS: usize = 20;
/// A record's length is none when it is shorter than this.
const MIN_FIXED: u64 = 20;
const MIN_LINES: usize = 5;

impl Lines {
    /// Looks at decoded text.
    pub(super) fn of(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(MAX_LINES).collect();
        let mut lengths: BTreeMap<u64, usize> = BTreeMap::new();
        for line in &lines {
            *lengths.entry(line.chars().count() as u64).or_default() += 1;
        }
        let mut usual: Vec<(u64, f64)> =
            lengths.iter().map(|(length, count)| (*length, *count as f64 / lines.len().max(1) as f64)).collect();
        usual.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        usual.truncate(4);
        let delimiter = delimiter(&lines);
        Self {
            count: lines.len() as u64,
            shortest: lengths.keys().next().copied().unwrap_or(0),
            longest: lengths.keys().next_back().copied().unwrap_or(0),
            usual,
            tags: tags(&lines, delimiter),
            delimiter,
        }
    }

    /// Whether the lines are records of fixed length, of a few kinds at most. Prose has lines of many lengths.
    pub(super) fn are_fixed(&self) -> bool {
        let share: f64 = self.usual.iter().map(|(_, share)| share).sum();
        self.count >= MIN_LINES as u64
            && self.usual.first().is_some_and(|(length, _)| *length >= MIN_FIXED)
            && share >= 0.9
    }

    /// Whether the lines are records that say by their beginning what they are.
    pub(super) fn are_tagged(&self) -> bool {
        self.delimiter.is_some() && !self.tags.is_empty()
    }
}

/// The separator most lines have, several times.
fn delimiter(lines: &[&str]) -> Option<char> {
    let share = |delimiter: char| lines.iter().filter(|line| line.matches(delimiter).count() >= 2).count();
    let (count, best) =
        DELIMITERS.iter().map(|delimiter| (share(*delimiter), *delimiter)).max_by_key(|(count, _)| *count)?;
    (lines.len() >= 3 && count * 10 >= lines.len() * 7).then_some(best)
}

/// A few capital letters or digits before the first separator, the same few over the whole file, and a different number of fields
/// for different ones: otherwise the lines are an ordinary table.
fn tags(lines: &[&str], delimiter: Option<char>) -> Vec<String> {
    let Some(delimiter) = delimiter else { return Vec::new() };
    let mut found: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut without = 0;
    for line in lines {
        let Some((tag, _)) = line.split_once(delimiter) else {
            without += 1;
            continue;
        };
        let is_tag =
            (1..=4).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !is_tag {
            without += 1;
            continue;
        }
        found.entry(tag).or_default().push(line.matches(delimiter).count());
    }
    let tagged = lines.len() - without;
    let widths: std::collections::BTreeSet<usize> = found.values().flatten().copied().collect();
    // Single letters are tags at sight; longer ones have to come again.
    let are_letters = found.keys().all(|tag| tag.len() == 1);
    let is_few = found.len() <= MAX_TAGS && (are_letters || found.len() * 3 <= tagged * 2);
    let has_letters = found.keys().any(|tag| tag.bytes().any(|byte| byte.is_ascii_uppercase()));
    if tagged * 10 < lines.len() * 7 || !is_few || widths.len() < 2 || !has_letters {
        return Vec::new();
    }
    found.into_keys().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_from_prose_and_from_tables() {
        let fixed: String = (0..20).map(|row| format!("{row:<10}Klemme {row:<20}{:>10}\n", row * 7)).collect();
        let mixed: String = (0..10).map(|row| format!("A{row:<40}.\nB{row:<25}.\n")).collect();
        let tagged = "V 050321 Preise\nA;N;1;2;3;\nB;N;1;\nA;N;2;2;3;\nB;N;2;\nT;N;x;y;\n";
        let table = "A;1;2\nB;3;4\nC;5;6\nA;1;9\n";
        let prose = "Der Preis.\nDie Klemme ist für zehn Quadratmillimeter gebaut\nund hält.\nSie kostet\nwenig, und sie ist grau.\nEnde\n";
        for (text, expect) in [
            (&*fixed, (true, false)),
            (&mixed, (true, false)),
            (tagged, (false, true)),
            (table, (false, false)),
            (prose, (false, false)),
        ] {
            let lines = Lines::of(text);
            assert_eq!((lines.are_fixed(), lines.are_tagged()), expect, "{text}");
        }
        assert_eq!(Lines::of(tagged).tags, ["A", "B", "T"]);
        assert_eq!(Lines::of("").count, 0);
    }
}
