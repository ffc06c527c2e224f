//! Bytes → text for files that do not say their encoding, or say a wrong one.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::code_page::tables::{CP500, CP850};

/// Decoded text and the name of the encoding it was in.
pub(crate) struct Decoded {
    pub text: String,
    pub encoding: &'static str,
}

/// Decodes text of unknown encoding. `declared` is what the file says of itself (an XML declaration, a mail header); a byte
/// order mark and valid UTF-8 both weigh more than it, because declarations lie more often than bytes do.
pub(crate) fn decode(bytes: &[u8], declared: Option<&str>) -> Decoded {
    if let Some(decoded) = by_mark(bytes) {
        return decoded;
    }
    if let Some(encoding) = silent_utf16(bytes) {
        return with(encoding, bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Decoded { text: text.to_owned(), encoding: "UTF-8" };
    }
    if is_ebcdic(bytes) {
        return Decoded { text: bytes.iter().map(|byte| cp500(*byte)).collect(), encoding: "CP500" };
    }
    if is_cp850(bytes) {
        return Decoded { text: dos(bytes), encoding: "CP850" };
    }
    if let Some(encoding) = declared.and_then(|label| Encoding::for_label(label.trim().as_bytes()))
        && encoding != UTF_8
        && encoding != UTF_16LE
        && encoding != UTF_16BE
    {
        return with(encoding, bytes);
    }
    // One broken byte in a megabyte of UTF-8 does not make it another encoding.
    let lossy = String::from_utf8_lossy(bytes);
    let replaced = lossy.matches('\u{fffd}').count();
    let beyond_ascii = lossy.chars().filter(|c| !c.is_ascii()).count();
    if replaced * 10 < beyond_ascii {
        return Decoded { text: lossy.into_owned(), encoding: "UTF-8" };
    }
    if beyond_ascii > replaced {
        return by_line(bytes);
    }
    with(guess(bytes), bytes)
}

/// Files that grew under several programs change their encoding from line to line.
fn by_line(bytes: &[u8]) -> Decoded {
    let lines = || bytes.split_inclusive(|byte| *byte == b'\n');
    let foreign: Vec<u8> = lines().filter(|line| std::str::from_utf8(line).is_err()).flatten().copied().collect();
    let encoding = guess(&foreign);
    let mut text = String::with_capacity(bytes.len());
    for line in lines() {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(_) => text.push_str(&encoding.decode_without_bom_handling(line).0),
        }
    }
    Decoded { text, encoding: "mixed" }
}

fn guess(bytes: &[u8]) -> &'static Encoding {
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    let sample = &bytes[..bytes.len().min(1 << 20)];
    detector.feed(sample, sample.len() == bytes.len());
    let guess = detector.guess(Some(b"de"), chardetng::Utf8Detection::Deny);
    if guess == UTF_8 { WINDOWS_1252 } else { guess }
}

/// Whether the bytes look like something that is no text in any encoding we know.
pub(crate) fn is_binary(bytes: &[u8], lenient: bool) -> bool {
    if by_mark(&bytes[..bytes.len().min(4)]).is_some() || silent_utf16(bytes).is_some() || is_ebcdic(bytes) {
        return false;
    }
    let sample = &bytes[..bytes.len().min(64 << 10)];
    let control =
        sample.iter().filter(|byte| matches!(**byte, 0..=8 | 0x0b | 0x0e..=0x19 | 0x1c..=0x1f | 0x7f)).count();
    control * if lenient { 4 } else { 100 } > sample.len()
}

fn by_mark(bytes: &[u8]) -> Option<Decoded> {
    if let Some((encoding, unit)) = utf32(bytes) {
        return Some(Decoded { text: utf32_text(&bytes[4..], unit), encoding });
    }
    let (encoding, length) = Encoding::for_bom(bytes)?;
    Some(with(encoding, &bytes[length..]))
}

/// Reads the number of a character.
pub(crate) type Unit = fn([u8; 4]) -> u32;

/// Returns the name of the UTF-32 a text is marked to be in, and how its characters are read.
pub(crate) fn utf32(bytes: &[u8]) -> Option<(&'static str, Unit)> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => Some(("UTF-32LE", u32::from_le_bytes)),
        [0, 0, 0xfe, 0xff, ..] => Some(("UTF-32BE", u32::from_be_bytes)),
        _ => None,
    }
}

/// Decodes UTF-32.
pub(crate) fn utf32_text(bytes: &[u8], unit: Unit) -> String {
    let (units, _) = bytes.as_chunks::<4>();
    units.iter().map(|four| char::from_u32(unit(*four)).unwrap_or('\u{fffd}')).collect()
}

fn with(encoding: &'static Encoding, bytes: &[u8]) -> Decoded {
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    Decoded { text: text.into_owned(), encoding: encoding.name() }
}

/// UTF-16 without a mark shows as a NUL in nearly every second byte of Western text.
fn silent_utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = &bytes[..bytes.len().min(4096) & !1];
    if sample.len() < 16 {
        return None;
    }
    let (pairs, _) = sample.as_chunks::<2>();
    let high = pairs.iter().filter(|pair| pair[0] == 0).count();
    let low = pairs.iter().filter(|pair| pair[1] == 0).count();
    let many = pairs.len() * 7 / 10;
    if low > many && high * 20 < pairs.len() {
        Some(UTF_16LE)
    } else if high > many && low * 20 < pairs.len() {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// DOS text of German programs: umlauts inside words are at places where Windows-1252 has quotes or nothing.
fn is_cp850(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(1 << 20)];
    let (mut dos, mut windows) = (0_usize, 0_usize);
    for triple in sample.windows(3) {
        let [before, byte, after] = [triple[0], triple[1], triple[2]];
        if !before.is_ascii_alphabetic() && !after.is_ascii_alphabetic() {
            continue;
        }
        match byte {
            // A quote stands at a word's edge; an umlaut most often has letters on both sides.
            0x81 | 0x84 | 0x94 | 0x8e | 0x99 | 0x9a | 0xe1
                if byte == 0x81 || before.is_ascii_alphabetic() && after.is_ascii_alphabetic() =>
            {
                dos += 1;
            }
            0xe4 | 0xf6 | 0xfc | 0xc4 | 0xd6 | 0xdc | 0xdf | 0xe9 | 0xe8 => windows += 1,
            _ => {}
        }
    }
    dos > windows
}

/// EBCDIC keeps letters and digits in its upper half and the space at 0x40: text in it has next to nothing where ASCII text
/// has everything.
fn is_ebcdic(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(64 << 10)];
    let count = |wanted: fn(u8) -> bool| sample.iter().filter(|byte| wanted(**byte)).count();
    let letters = count(
        |byte| matches!(byte, 0x81..=0x89 | 0x91..=0x99 | 0xa2..=0xa9 | 0xc1..=0xc9 | 0xd1..=0xd9 | 0xe2..=0xe9 | 0xf0..=0xf9),
    );
    let spaces = count(|byte| matches!(byte, 0x40 | 0x4b | 0x6b));
    let lines = count(|byte| matches!(byte, 0x0d | 0x15 | 0x25));
    let ascii = count(|byte| matches!(byte, b' ' | b'\n' | b'0'..=b'9'));
    sample.len() >= 24
        && spaces * 30 > sample.len()
        && ascii * 10 < sample.len()
        && (letters + spaces + lines) * 10 > sample.len() * 8
}

fn cp500(byte: u8) -> char {
    match byte {
        0x15 | 0x25 => '\n',
        0x05 => '\t',
        0..=0x3f => ' ',
        _ => CP500[usize::from(byte - 0x40)],
    }
}

/// Decodes DOS text (code page 850).
pub(crate) fn dos(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| cp850(*byte)).collect()
}

fn cp850(byte: u8) -> char {
    match byte {
        0..=0x7f => char::from(byte),
        _ => CP850[usize::from(byte - 0x80)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], text: &str, encoding: &str) {
        let decoded = decode(bytes, None);
        assert_eq!((decoded.text.as_str(), decoded.encoding), (text, encoding));
        assert!(!is_binary(bytes, false), "{text:?} is text");
    }

    #[test]
    fn reads_what_german_offices_write() {
        check("Größe".as_bytes(), "Größe", "UTF-8");
        check(b"\xef\xbb\xbfGr\xc3\xb6\xc3\x9fe", "Größe", "UTF-8");
        check(b"Preis f\xfcr \xd6sterreich: 12,50 \x80", "Preis für Österreich: 12,50 €", "windows-1252");
        check(b"Pr\x81fger\x84t f\x81r Gr\x94\xe1e", "Prüfgerät für Größe", "CP850");
        check(b"\xc4\x85\x99\x40\xd7\x99\x85\x89\xa2\x40\xa5\x96\x95\x40\xf1\xf2\x40\xc5\xe4\xd9\x40\x89\xa2\xa3\x40\x86\x85\xa2\xa3\x4b", "Der Preis von 12 EUR ist fest.", "CP500");
        check(b"\xff\xfeG\0r\0\xf6\0", "Grö", "UTF-16LE");
        check(b"\xfe\xff\0G\0r\0\xf6", "Grö", "UTF-16BE");
        check(b"N\0a\0m\0e\0;\0P\0r\0e\0i\0s\0", "Name;Preis", "UTF-16LE");
        check(b"\xff\xfe\0\0G\0\0\0\xf6\0\0\0", "Gö", "UTF-32LE");
    }

    #[test]
    fn one_broken_byte_does_not_change_the_encoding() {
        let mut bytes = "Übergrößenträger für Müller & Söhne, Straße, Maß".repeat(3).into_bytes();
        bytes.push(0xff);
        assert_eq!(decode(&bytes, None).encoding, "UTF-8");
    }

    #[test]
    fn lines_in_different_encodings_are_each_read_in_theirs() {
        let decoded = decode(b"Gr\xc3\xb6\xc3\x9fe, \xc3\x84rger\nGr\xf6\xdfe, M\xfcll\n", None);
        assert_eq!((decoded.text.as_str(), decoded.encoding), ("Größe, Ärger\nGröße, Müll\n", "mixed"));
    }

    #[test]
    fn a_declaration_is_believed_only_where_bytes_allow_it() {
        assert_eq!(decode("ä".as_bytes(), Some("iso-8859-1")).text, "ä");
        assert_eq!(decode(b"\xe4 und \xe5", Some("iso-8859-1")).text, "ä und å");
        assert_eq!(decode(b"\xe4 und \xf6", Some("utf-8")).text, "ä und ö");
    }

    #[test]
    fn noise_is_binary() {
        let noise: Vec<u8> = (0..2000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert!(is_binary(&noise, false));
        assert!(!is_binary(b"a;b\0\n1;2\n3;4\nx;y\n", true));
    }
}
