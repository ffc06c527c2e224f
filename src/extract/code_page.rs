//! Bytes → text in a named code page: everything `encoding_rs` knows, and the pages of mainframes and DOS that it does not.

pub(crate) mod tables;

use encoding_rs::Encoding;

/// A code page by one of its names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum CodePage {
    /// One byte, one character; `from` is the first byte the table is about.
    Table(&'static Page),
    Web(&'static Encoding),
}

/// A single-byte page of our own.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    name: &'static str,
    upper: &'static [char],
    is_ebcdic: bool,
    /// Where a page differs from the table it is made from: the euro sign came late.
    euro: Option<u8>,
}

/// The pages of our own: every name a person or a model may write for one is in [`CodePage::named`].
static PAGES: [Page; 11] = [
    Page { name: "cp037", upper: &tables::CP037, is_ebcdic: true, euro: None },
    Page { name: "cp273", upper: &tables::CP273, is_ebcdic: true, euro: None },
    Page { name: "cp500", upper: &tables::CP500, is_ebcdic: true, euro: None },
    Page { name: "cp1140", upper: &tables::CP037, is_ebcdic: true, euro: Some(0x9f) },
    Page { name: "cp1141", upper: &tables::CP273, is_ebcdic: true, euro: Some(0x9f) },
    Page { name: "cp1148", upper: &tables::CP500, is_ebcdic: true, euro: Some(0x9f) },
    Page { name: "cp437", upper: &tables::CP437, is_ebcdic: false, euro: None },
    Page { name: "cp850", upper: &tables::CP850, is_ebcdic: false, euro: None },
    Page { name: "cp852", upper: &tables::CP852, is_ebcdic: false, euro: None },
    // 850 with the euro sign in place of the dotless i.
    Page { name: "cp858", upper: &tables::CP850, is_ebcdic: false, euro: Some(0xd5) },
    Page { name: "latin1", upper: &[], is_ebcdic: false, euro: None },
];

impl CodePage {
    /// Returns the page of a name: `cp037`, `CP-037`, `ibm037`, `ebcdic-cp-us`, `850`, `utf-8`, `windows-1252`, …
    pub fn named(name: &str) -> Option<Self> {
        let plain: String = name.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        let digits = plain.trim_start_matches(|c: char| c.is_ascii_alphabetic()).trim_start_matches('0');
        let is_numbered = plain.is_empty()
            || ["cp", "ibm", "ebcdic", "codepage", "ccsid", "dos", ""].iter().any(|word| {
                plain
                    .strip_prefix(word)
                    .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
            });
        let own = match plain.as_str() {
            "ebcdic" | "ebcdiccpus" => Some("cp037"),
            "ebcdicde" | "ebcdiccpde" => Some("cp273"),
            "latin1" | "iso88591" => Some("latin1"),
            _ if is_numbered => {
                PAGES.iter().map(|page| page.name).find(|page| page[2..].trim_start_matches('0') == digits)
            }
            _ => None,
        };
        if let Some(own) = own {
            return PAGES.iter().find(|page| page.name == own).map(Self::Table);
        }
        let label = match plain.as_str() {
            "1250" | "cp1250" => "windows-1250",
            "1252" | "cp1252" | "ansi" => "windows-1252",
            "utf8" | "ascii" | "usascii" | "utf8sig" => "utf-8",
            "utf16" | "utf16le" => "utf-16le",
            "utf16be" => "utf-16be",
            _ => name.trim(),
        };
        Encoding::for_label(label.as_bytes()).map(Self::Web)
    }

    /// Returns the page's usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table(page) => page.name,
            Self::Web(encoding) => encoding.name(),
        }
    }

    pub fn is_ebcdic(self) -> bool {
        matches!(self, Self::Table(page) if page.is_ebcdic)
    }

    /// Returns whether a character has two bytes, or four.
    pub fn is_utf16(self) -> bool {
        matches!(self, Self::Web(encoding) if encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE)
    }

    /// Returns the byte that ends a line, where lines end with a byte of their own.
    pub fn line_ends(self) -> &'static [u8] {
        if self.is_ebcdic() { &[0x15, 0x25] } else { b"\n" }
    }

    /// Decodes bytes. What has no meaning becomes U+FFFD; nothing fails.
    pub fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::Table(page) => bytes.iter().map(|byte| page.char(*byte)).collect(),
            Self::Web(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
        }
    }

    /// Returns the character of one byte, for pages where a byte is a character.
    pub fn char(self, byte: u8) -> Option<char> {
        match self {
            Self::Table(page) => Some(page.char(byte)),
            Self::Web(encoding) if encoding.is_single_byte() => {
                encoding.decode_without_bom_handling(&[byte]).0.chars().next()
            }
            Self::Web(_) => None,
        }
    }

    /// Returns the byte that stands for an ASCII character, for pages where a byte is a character.
    pub fn byte(self, wanted: char) -> Option<u8> {
        (0..=u8::MAX).find(|byte| self.char(*byte) == Some(wanted))
    }
}

impl Page {
    fn char(&self, byte: u8) -> char {
        if self.euro == Some(byte) {
            return '€';
        }
        if self.upper.is_empty() {
            return char::from(byte);
        }
        let index = usize::from(byte);
        match self.is_ebcdic {
            true if index < 0x40 => tables::EBCDIC_LOW[index],
            true => self.upper[index - 0x40],
            false if index < 0x80 => char::from(byte),
            false => self.upper[index - 0x80],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(name: &str, bytes: &[u8]) -> String {
        CodePage::named(name).unwrap_or_else(|| panic!("{name}")).decode(bytes)
    }

    #[test]
    fn umlauts_of_each_machine() {
        // "Größe ÄÖÜ" as each of them wrote it, and the euro sign of those that have one.
        for (name, bytes, expect) in [
            ("cp273", &b"\xc7\x99\x6a\xa1\x85\x40\x4a\xe0\x5a"[..], "Größe ÄÖÜ"),
            ("EBCDIC-DE", b"\xc7\x99\x6a\xa1\x85", "Größe"),
            ("CP1141", b"\xf5\x6b\xf0\xf0\x40\x9f", "5,00 €"),
            ("cp037", b"\xc7\x99\xcc\x59\x85\x4a\xad", "Größe¢Ý"),
            ("IBM500", b"\xc7\x99\xcc\x59\x85\x4a\x4f", "Größe[!"),
            ("cp1140", b"\x9f", "€"),
            ("850", b"Gr\x94\xe1e \x8e\x99\x9a", "Größe ÄÖÜ"),
            ("cp858", b"\xd5", "€"),
            ("cp437", b"Gr\x94\xe1e \xf1\xf8", "Größe ±°"),
            ("cp852", b"Gr\x94\xe1e \x9f\xd8", "Größe čě"),
            ("windows-1252", b"Gr\xf6\xdfe \x80", "Größe €"),
            ("utf-8", "Größe".as_bytes(), "Größe"),
            ("latin1", b"\xdf\x80", "ß\u{80}"),
            ("cp037", b"\xf1\x15\xf2\x25\xf3", "1\n2\n3"),
        ] {
            assert_eq!(decode(name, bytes), expect, "{name}");
        }
        assert_eq!(CodePage::named("cp999"), None);
        assert_eq!(CodePage::named(""), None);
        assert_eq!(CodePage::named("cp"), None);
    }

    #[test]
    fn a_character_goes_back_to_its_byte() {
        let german = CodePage::named("cp273").unwrap();
        assert_eq!((german.byte('A'), german.byte('9'), german.byte('ä')), (Some(0xc1), Some(0xf9), Some(0xc0)));
        assert_eq!(CodePage::named("utf-16").unwrap().byte('A'), None);
    }
}
