//! What can be said of a file nobody knows, for whoever writes a handler for it.

use serde::{Deserialize, Serialize};

use super::kind::{self, Class, Kind};
use super::lines::Lines;
use super::mask::mask;
use super::{period, sample};
use crate::code_page::CodePage;

/// Of larger files the head, the middle and the tail are looked at.
const WINDOW_BYTES: usize = 1 << 20;
/// The commonest bytes that are named.
const COMMON_BYTES: usize = 16;

/// What was found about a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The file's name without its folder.
    pub name: String,
    pub size_bytes: u64,
    pub kind: Kind,
    /// The likeliest code page, where bytes are characters.
    pub code_page: Option<String>,
    /// Bits per byte: about 4 for text, 8 for what is packed or encrypted.
    pub entropy: f64,
    /// The commonest bytes with their shares.
    pub common_bytes: Vec<(u8, f64)>,
    /// How many of the 256 bytes occur.
    pub distinct_bytes: u32,
    /// The length of records, by how the file resembles itself.
    pub record_bytes: Option<u32>,
    /// What its lines are like, where it has lines.
    pub lines: Option<Lines>,
    /// Head, middle and tail: masked, and at most [`SAMPLE_BYTES`](super::SAMPLE_BYTES) long.
    pub sample: String,
}

/// A first look: enough for the kind.
pub(super) struct Look {
    pub kind: Kind,
    pub page: Option<CodePage>,
    pub record_bytes: Option<u32>,
    pub lines: Option<Lines>,
}

/// Looks at the first bytes of a file.
pub(super) fn look(bytes: &[u8], name: &str) -> Look {
    let window = &bytes[..bytes.len().min(WINDOW_BYTES)];
    if kind::is_ebcdic(window) {
        let record_bytes = period::record_bytes(window, bytes.len() as u64);
        let kind = kind::of(bytes, name, Class::Ebcdic, None, record_bytes);
        return Look { kind, page: kind::ebcdic_page(window), record_bytes, lines: None };
    }
    if crate::encoding::is_binary(window, false) {
        let record_bytes = period::record_bytes(window, bytes.len() as u64);
        let kind = kind::of(bytes, name, Class::Binary, None, record_bytes);
        return Look { kind, page: CodePage::named("windows-1252"), record_bytes, lines: None };
    }
    let decoded = crate::encoding::decode(window, None);
    let lines = Lines::of(&decoded.text);
    let class = match () {
        () if lines.are_tagged() => Class::Tagged,
        () if lines.are_fixed() => Class::Fixed,
        () => Class::Text,
    };
    let kind = kind::of(bytes, name, class, Some(&lines), None);
    Look { kind, page: CodePage::named(decoded.encoding), record_bytes: None, lines: Some(lines) }
}

/// Analyses a file. `whole` is its size, where `bytes` are only its beginning.
pub(super) fn analyse(bytes: &[u8], name: &str, whole: u64) -> Analysis {
    let looked = look(bytes, name);
    let mut counts = [0_u64; 256];
    let windows = sample::windows(bytes.len(), WINDOW_BYTES, WINDOW_BYTES, WINDOW_BYTES);
    for (start, end) in &windows {
        bytes[*start..*end].iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    }
    let total: u64 = counts.iter().sum();
    let share = |count: u64| count as f64 / total.max(1) as f64;
    let entropy = counts.iter().filter(|count| **count > 0).map(|count| -share(*count) * share(*count).log2()).sum();
    let mut common: Vec<(u8, f64)> =
        (0..=u8::MAX).zip(counts).filter(|(_, count)| *count > 0).map(|(byte, count)| (byte, share(count))).collect();
    let distinct_bytes = u32::try_from(common.len()).unwrap_or(256);
    common.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    common.truncate(COMMON_BYTES);
    Analysis {
        name: name.to_owned(),
        size_bytes: whole,
        code_page: looked.page.map(|page| page.name().to_owned()),
        entropy,
        common_bytes: common,
        distinct_bytes,
        record_bytes: looked.record_bytes,
        sample: sample::sample(bytes, looked.page, looked.lines.is_some()),
        lines: looked.lines,
        kind: looked.kind,
    }
}

impl Analysis {
    /// Returns the figures as lines a person or a model reads, and the file's name, masked as the sample is; that is not among them.
    pub fn describe(&self) -> String {
        let mut out = format!("file name: {}\nsize: {} bytes\n", masked_name(&self.name), self.size_bytes);
        let mut line = |name: &str, value: String| out.push_str(&format!("{name}: {value}\n"));
        line("kind", format!("{} ({})", self.kind.class.name(), self.kind.id()));
        if let Some(page) = &self.code_page {
            line("likely code page", page.clone());
        }
        if let Some(magic) = &self.kind.magic {
            line("begins with the bytes", magic.clone());
        }
        line("entropy", format!("{:.2} bits per byte, {} of 256 bytes occur", self.entropy, self.distinct_bytes));
        let common: Vec<String> = self
            .common_bytes
            .iter()
            .take(8)
            .map(|(byte, share)| format!("{byte:02x} {:.1} %", share * 100.0))
            .collect();
        line("commonest bytes", common.join(", "));
        if let Some(length) = self.record_bytes {
            let rest = self.size_bytes % u64::from(length.max(1));
            line(
                "likely record length",
                format!(
                    "{length} bytes; the file has {} of them and {rest} bytes more",
                    self.size_bytes / u64::from(length.max(1))
                ),
            );
        }
        if let Some(lines) = &self.lines {
            let usual: Vec<String> =
                lines.usual.iter().map(|(length, share)| format!("{length} ({:.0} %)", share * 100.0)).collect();
            line(
                "lines",
                format!(
                    "{} in the first megabyte, {} to {} characters, usual lengths {}",
                    lines.count,
                    lines.shortest,
                    lines.longest,
                    usual.join(", ")
                ),
            );
            if let Some(delimiter) = lines.delimiter {
                line("fields are separated by", format!("{delimiter:?}"));
            }
            if !lines.tags.is_empty() {
                let tags: Vec<String> = lines.tags.iter().map(|tag| mask(tag)).collect();
                line("lines begin with", tags.join(" "));
            }
        }
        out
    }
}

/// Masks a file's name, whose words are joined by what the rules take for a part of a word.
fn masked_name(name: &str) -> String {
    let is_joint = |c: char| matches!(c, '_' | '-');
    let words: String = name.chars().map(|c| if is_joint(c) { ' ' } else { c }).collect();
    let masked = mask(&words);
    name.chars().zip(masked.chars()).map(|(before, after)| if is_joint(before) { before } else { after }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_is_shown_without_persons() {
        for (name, expect) in [
            ("Gehalt_Sabine_Grabowski_2026.dat", "Gehalt_Xxxxxx_Xxxxxxxxx_2026.dat"),
            ("Frau-Grabowski.dat", "Frau-Xxxxxxxxx.dat"),
            ("AUFTRAG_0815.DAT", "AUFTRAG_0815.DAT"),
        ] {
            let shown = Analysis { name: name.to_owned(), ..Analysis::default() }.describe();
            assert_eq!(shown.lines().next(), Some(format!("file name: {expect}").as_str()));
        }
    }
}
