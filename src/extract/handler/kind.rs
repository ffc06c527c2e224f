//! The kind of a file nobody knows: what files of the same origin have in common.

use base::Digest;
use serde::{Deserialize, Serialize};

use super::analysis;
use super::lines::Lines;
use crate::code_page::CodePage;

/// What the bytes are, by the roughest of measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Lines of fixed length.
    Fixed,
    /// Lines that begin with what they are.
    Tagged,
    /// Any other text.
    Text,
    /// Bytes of a mainframe, with or without packed numbers.
    Ebcdic,
    #[default]
    Binary,
}

impl Class {
    /// Returns the word used in names and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Tagged => "tagged",
            Self::Text => "text",
            Self::Ebcdic => "ebcdic",
            Self::Binary => "binary",
        }
    }
}

/// What makes two files the same kind. Written into the registry; a field that is absent there asks nothing of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    pub class: Class,
    /// The extension in lower case; `###` for one of digits (`.001`), empty for none.
    pub extension: String,
    /// What every such file begins with, in hexadecimal digits, where it begins with a mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub magic: Option<String>,
    /// The length of its records, in bytes, or of its lines, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_length: Option<u32>,
    /// What separates the fields of its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
}

impl Kind {
    /// Returns the kind's name: readable, and the same for every file of the kind.
    pub fn id(&self) -> String {
        let extension: String = self.extension.chars().filter(char::is_ascii_alphanumeric).collect();
        let extension = match (self.extension.as_str(), extension.as_str()) {
            ("###", _) => "nnn",
            (_, "") => "none",
            (_, extension) => extension,
        };
        let mark = format!("{:?}/{:?}/{:?}/{}", self.magic, self.record_length, self.delimiter, self.extension);
        format!("{}-{extension}-{}", self.class.name(), &Digest::of(mark.as_bytes()).hex()[..8])
    }

    /// Returns what documents of the kind name as their format: the extension, where it says something.
    pub fn format(&self) -> String {
        match self.extension.as_str() {
            "" | "###" => self.class.name().to_owned(),
            extension => extension.to_owned(),
        }
    }

    /// Whether a file of kind `other` may be one of this kind. A length guessed from few records may be a multiple of the right one,
    /// so multiples are let through: the handler has to prove itself on each file anyway.
    pub fn admits(&self, other: &Self) -> bool {
        let length = match (self.record_length, other.record_length) {
            (Some(own), Some(other)) if own > 0 && other > 0 => other.is_multiple_of(own) || own.is_multiple_of(other),
            _ => true,
        };
        self.class == other.class
            && self.extension == other.extension
            && (self.magic.is_none() || self.magic == other.magic)
            && (self.delimiter.is_none() || self.delimiter == other.delimiter)
            && length
    }
}

/// Returns the extension as kinds know it.
pub(super) fn extension(name: &str) -> String {
    let extension = crate::detect::extension(name);
    if !extension.is_empty() && extension.bytes().all(|byte| byte.is_ascii_digit()) {
        "###".to_owned()
    } else {
        extension
    }
}

/// Returns the mark a binary file begins with: some printable characters that are no figure. Bytes beyond them change from file to
/// file as likely as not.
pub(super) fn magic(bytes: &[u8]) -> Option<String> {
    let run = bytes
        .iter()
        .take(8)
        .take_while(|byte| byte.is_ascii_alphabetic() || matches!(**byte, b'_' | b'-' | b'$' | b'#'))
        .count();
    (run >= 3).then(|| bytes[..run].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the kind of bytes that are read as plain text though they are records: a handler would make a table of them. `None` for
/// everything a reader of text does right by.
pub(crate) fn of_text(bytes: &[u8], name: &str) -> Option<Kind> {
    let looked = analysis::look(bytes, name);
    matches!(looked.kind.class, Class::Fixed | Class::Tagged | Class::Ebcdic).then_some(looked.kind)
}

/// Puts a kind together.
pub(super) fn of(bytes: &[u8], name: &str, class: Class, lines: Option<&Lines>, record_bytes: Option<u32>) -> Kind {
    let is_text = matches!(class, Class::Fixed | Class::Tagged | Class::Text);
    let usual = lines.and_then(|lines| lines.usual.first()).and_then(|(length, _)| u32::try_from(*length).ok());
    Kind {
        class,
        extension: extension(name),
        magic: if is_text { None } else { magic(bytes) },
        record_length: match class {
            Class::Fixed => usual,
            Class::Tagged | Class::Text => None,
            // What begins with a mark has a head, and records of fixed length seldom follow one.
            Class::Binary if magic(bytes).is_some() => None,
            Class::Ebcdic | Class::Binary => record_bytes,
        },
        delimiter: if class == Class::Tagged { lines.and_then(|lines| lines.delimiter) } else { None },
    }
}

/// Whether most bytes are letters, digits and spaces of a mainframe. Packed and binary fields may stand between them.
pub(super) fn is_ebcdic(sample: &[u8]) -> bool {
    let counted = sample.iter().filter(|byte| **byte != 0).count();
    let count = |wanted: fn(&u8) -> bool| sample.iter().filter(|byte| wanted(byte)).count();
    let theirs = count(
        |byte| matches!(byte, 0x40 | 0x4b | 0x6b | 0x60 | 0x81..=0x89 | 0x91..=0x99 | 0xa2..=0xa9 | 0xc1..=0xc9 | 0xd1..=0xd9 | 0xe2..=0xe9 | 0xf0..=0xf9),
    );
    let ascii = count(|byte| matches!(byte, b' ' | b'0'..=b'9' | b'a'..=b'z' | b'\n'));
    let letters = count(
        |byte| matches!(byte, 0xc1..=0xc9 | 0xd1..=0xd9 | 0xe2..=0xe9 | 0x81..=0x89 | 0x91..=0x99 | 0xa2..=0xa9 | 0xf0..=0xf9),
    );
    sample.len() >= 24 && theirs * 100 >= counted * 55 && ascii * 8 < counted && letters * 8 > counted
}

/// Returns the likeliest page of a mainframe: the German one where its umlauts stand between letters.
pub(super) fn ebcdic_page(sample: &[u8]) -> Option<CodePage> {
    let is_letter =
        |byte: u8| matches!(byte, 0x81..=0x89 | 0x91..=0x99 | 0xa2..=0xa9 | 0xc1..=0xc9 | 0xd1..=0xd9 | 0xe2..=0xe9);
    let german = sample
        .windows(3)
        .filter(|three| {
            matches!(three[1], 0xc0 | 0x6a | 0xd0 | 0xa1 | 0x4a | 0xe0 | 0x5a)
                && is_letter(three[0])
                && is_letter(three[2])
        })
        .count();
    let letters = sample.iter().filter(|byte| is_letter(**byte)).count();
    // A stray one stands in binary fields too.
    CodePage::named(if german > 0 && german * 200 >= letters { "cp273" } else { "cp037" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_origin_are_one_kind() {
        let kind = |bytes: &[u8], name: &str| analysis::look(bytes, name).kind;
        let log =
            |version: u8| [b"WMLOG".as_slice(), &[version, 0, 1, 0, 10, 0xff, 0xfe, 3, 0, 0, 9, 9, 1, 2, 3]].concat();
        let (a, b) = (kind(&log(1), "stand7.wml"), kind(&log(2), "stand9.WML"));
        assert_eq!((a.id(), a.class, a.magic.as_deref()), (b.id(), Class::Binary, Some("574d4c4f47")));
        let norm =
            |tail: &str| format!("V 310725\nK;;018988; ;\nP;A;RG6;1;85700;1;5500;\nC;;TERMIN;0;\n{tail}").into_bytes();
        let (a, b) = (kind(&norm("P;A;X;1;2;3;\n"), "DATPREIS.001"), kind(&norm("P;B;\nP;C;1;\n"), "datanorm.002"));
        assert_eq!((a.id(), a.class, a.delimiter), (b.id(), Class::Tagged, Some(';')));
        assert_ne!(kind(&log(1), "a.wml").id(), kind(&log(1), "a.bin").id());
    }

    #[test]
    fn an_absent_field_asks_nothing() {
        let narrow = Kind { class: Class::Ebcdic, extension: "dat".into(), record_length: Some(45), ..Kind::default() };
        let doubled = Kind { record_length: Some(90), ..narrow.clone() };
        let other = Kind { record_length: Some(47), ..narrow.clone() };
        let wide = Kind { record_length: None, ..narrow.clone() };
        assert!(narrow.admits(&doubled) && wide.admits(&other) && !narrow.admits(&other));
        assert!(!narrow.admits(&Kind { extension: "bin".into(), ..narrow.clone() }));
    }
}
