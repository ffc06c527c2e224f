//! Takes wrappings off: every view of a content that a secret could come to the surface in.

use std::{borrow::Cow, io::Read, sync::LazyLock};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use memchr::{memchr, memmem};
use regex::bytes::Regex;

use super::TooMuch;

/// How often escapes within escapes are taken off.
const TURNS: usize = 3;
/// What could be base64; shorter runs hold no secret worth the name.
static RUN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?-u)[A-Za-z0-9+/]{24,}").unwrap_or_else(|error| unreachable!("a pattern of our own: {error}"))
});
const NUMBERS_LEAST: usize = 8;
/// A stream that grows beyond this is searched as far as that.
const STREAM_BYTES_MAX: usize = 16 << 20;

type Take = fn(&[u8]) -> Option<Vec<u8>>;

const DECODERS: [(&str, Take); 5] = [
    ("percent-encoded", percent),
    ("escaped with backslashes", backslash),
    ("as HTML entities", entities),
    ("quoted-printable", quoted_printable),
    ("as a list of numbers", numbers),
];

/// Returns the content as it stands, and with each kind of escape taken off that it has; escapes within escapes too.
pub(crate) fn views(content: &[u8]) -> Vec<(&'static str, Cow<'_, [u8]>)> {
    let mut views = vec![("", Cow::Borrowed(content))];
    for (name, decode) in DECODERS {
        views.extend(decode(content).map(|decoded| (name, Cow::Owned(decoded))));
    }
    let mut all = Cow::Borrowed(content);
    for _ in 0..TURNS {
        let before = all.len();
        // Lists of numbers leave nothing else: they are a view of their own, and are looked for in what was unescaped.
        for (_, decode) in &DECODERS[..4] {
            if let Some(decoded) = decode(&all) {
                all = Cow::Owned(decoded);
            }
        }
        if let Some(listed) = numbers(&all) {
            views.push(("as a list of numbers", Cow::Owned(listed)));
        }
        if all.len() == before {
            break;
        }
        views.push(("escaped several times", all.clone()));
    }
    views
}

/// Returns what is inside: base64 decoded, compressed streams opened. `room` is how many bytes may still come out.
pub(crate) fn nested(content: &[u8], room: &mut usize) -> Result<Vec<(&'static str, Vec<u8>)>, TooMuch> {
    let mut inside: Vec<_> = base64(content).map(|decoded| ("base64", decoded)).into_iter().collect();
    let bytes = inside.iter().map(|(_, bytes)| bytes.len()).sum();
    *room = room.checked_sub(bytes).ok_or(TooMuch)?;
    streams(content, room, &mut inside)?;
    Ok(inside)
}

fn hex_pair(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(at)? << 4 | digit(at + 1)?).ok()
}

fn percent(content: &[u8]) -> Option<Vec<u8>> {
    replaced(content, b'%', |rest| Some((vec![hex_pair(rest, 1)?], 3)))
}

fn quoted_printable(content: &[u8]) -> Option<Vec<u8>> {
    replaced(content, b'=', |rest| match rest {
        [_, b'\n', ..] => Some((Vec::new(), 2)),
        [_, b'\r', b'\n', ..] => Some((Vec::new(), 3)),
        _ => Some((vec![hex_pair(rest, 1)?], 3)),
    })
}

/// `\u0041`, `\u{41}`, `\x41`, `\101`, and any other letter behind a backslash.
fn backslash(content: &[u8]) -> Option<Vec<u8>> {
    let code = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let text = |code: u32| char::from_u32(code).map(|c| c.to_string().into_bytes()).unwrap_or_default();
    replaced(content, b'\\', |rest| match rest {
        [_, b'u', b'{', digits @ ..] => {
            let end = digits.iter().take(9).position(|byte| *byte == b'}')?;
            Some((text(code(&digits[..end])?), end + 4))
        }
        [_, b'u', digits @ ..] => Some((text(code(digits.get(..4)?)?), 6)),
        [_, b'x', ..] => Some((vec![hex_pair(rest, 2)?], 4)),
        [_, a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
            Some((vec![(a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')], 4))
        }
        [_, b'n' | b'r' | b't' | b'0', ..] => Some((vec![b'\n'], 2)),
        [_, other, ..] => Some((vec![*other], 2)),
        _ => None,
    })
}

fn entities(content: &[u8]) -> Option<Vec<u8>> {
    replaced(content, b'&', |rest| {
        let end = rest.iter().take(12).position(|byte| *byte == b';')?;
        let name = std::str::from_utf8(&rest[1..end]).ok()?;
        let character = match name.strip_prefix('#') {
            Some(number) => {
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(digits) => u32::from_str_radix(digits, 16),
                    None => number.parse(),
                };
                char::from_u32(code.ok()?)?
            }
            None => match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                _ => return None,
            },
        };
        Some((character.to_string().into_bytes(), end + 1))
    })
}

/// Replaces what begins with `mark` by what `decode` makes of it, with how many bytes it took. `None` when nothing was replaced.
fn replaced(content: &[u8], mark: u8, decode: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = memchr(mark, &content[at..]) {
        at += found;
        match decode(&content[at..]) {
            Some((bytes, taken)) => {
                out.extend_from_slice(&content[from..at]);
                out.extend(bytes);
                at = (at + taken).min(content.len());
                from = at;
            }
            None => at += 1,
        }
    }
    (from > 0).then(|| {
        out.extend_from_slice(&content[from..]);
        out
    })
}

/// What could be a list of bytes, in any way of writing it.
static LIST: LazyLock<Regex> = LazyLock::new(|| {
    let list = r"(?-u)(?:(?:0[xX][0-9a-fA-F]{1,2}|-?[0-9]{1,3})(?:_?u8)?[\s,;|:\[\](){}]+){7}(?:0[xX][0-9a-fA-F]{1,2}|-?[0-9]{1,3})";
    Regex::new(list).unwrap_or_else(|error| unreachable!("a pattern of our own: {error}"))
});

/// The bytes of lists like `[1, 2, 255]`, `0x01, 0xff`, `-1 -2`: how programs print bytes when nobody thought of it.
fn numbers(content: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(found) = LIST.find_at(content, from) {
        from = list(content, found.start(), &mut out).max(found.start() + 1);
    }
    (!out.is_empty()).then_some(out)
}

/// Reads one list from `at` on, and returns where it ends.
fn list(content: &[u8], mut at: usize, out: &mut Vec<u8>) -> usize {
    let mut run = Vec::new();
    while let Some(&next) = content.get(at) {
        match number(&content[at..]) {
            Some((byte, taken)) => {
                run.push(byte);
                at += taken;
            }
            None if next.is_ascii_whitespace() || b",;|:[](){}".contains(&next) => at += 1,
            None => break,
        }
    }
    if run.len() >= NUMBERS_LEAST {
        out.append(&mut run);
        // So that two lists do not make one.
        out.push(0xff);
    }
    at
}

/// A number from -128 to 255 at the beginning, and how many bytes it took.
fn number(bytes: &[u8]) -> Option<(u8, usize)> {
    let taken = |digits: &[u8], is: fn(&u8) -> bool| digits.iter().take_while(|byte| is(byte)).count();
    let parse = |digits: &[u8], radix| i16::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok();
    let (value, mut length) = match bytes {
        [b'0', b'x' | b'X', digits @ ..] => {
            let count = taken(digits, u8::is_ascii_hexdigit);
            (parse(digits.get(..count).filter(|_| count <= 2)?, 16)?, count + 2)
        }
        [b'-', digits @ ..] => {
            let count = taken(digits, u8::is_ascii_digit);
            (-parse(digits.get(..count).filter(|_| count <= 3)?, 10)?, count + 1)
        }
        digits => {
            let count = taken(digits, u8::is_ascii_digit);
            (parse(digits.get(..count).filter(|_| count <= 3)?, 10)?, count)
        }
    };
    for suffix in [b"_u8".as_slice(), b"u8"] {
        if bytes[length..].starts_with(suffix) {
            length += suffix.len();
            break;
        }
    }
    let is_end = bytes.get(length).is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.');
    let byte = u8::try_from(value).or_else(|_| i8::try_from(value).map(|value| value as u8)).ok()?;
    is_end.then_some((byte, length))
}

/// Everything that could be base64, decoded. Line breaks are no end of it, and where it begins is tried.
fn base64(content: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&STANDARD, LENIENT);
    // Both alphabets at once: a run may go on into text that has letters of the other.
    let standard = |byte: u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    };
    let text: Vec<u8> = content.iter().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| standard(*byte)).collect();
    let mut out = Vec::new();
    for run in RUN.find_iter(&text).map(|run| run.as_bytes()) {
        for from in 0..4 {
            let part = &run[from..];
            // One letter more than whole groups stands for nothing.
            let part = &part[..part.len() - usize::from(part.len() % 4 == 1)];
            if let Ok(decoded) = engine.decode(part) {
                out.extend(decoded);
                // So that two runs do not make one word.
                out.push(0xff);
            }
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Compressed streams at any place, opened as far as they go.
fn streams(content: &[u8], room: &mut usize, opened: &mut Vec<(&'static str, Vec<u8>)>) -> Result<(), TooMuch> {
    let kinds: [(&str, &[u8]); 6] = [
        ("gzip", &[0x1f, 0x8b, 8]),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
        ("zlib", &[0x78, 0x01]),
        ("zlib", &[0x78, 0x9c]),
        ("zlib", &[0x78, 0xda]),
        ("zip", b"PK\x03\x04"),
    ];
    for (kind, magic) in kinds {
        for at in memmem::find_iter(content, magic) {
            let rest = &content[at..];
            // What begins like something compressed is mostly a coincidence, and then gives nothing.
            let bytes = match kind {
                "gzip" => read(MultiGzDecoder::new(rest)),
                "zstd" => zstd::Decoder::new(rest).map(read).unwrap_or_default(),
                "zlib" => read(ZlibDecoder::new(rest)),
                _ => member(rest).map(|member| read(DeflateDecoder::new(member))).unwrap_or_default(),
            };
            *room = room.checked_sub(bytes.len()).ok_or(TooMuch)?;
            if !bytes.is_empty() {
                opened.push((kind, bytes));
            }
        }
    }
    Ok(())
}

/// The data behind the header of a file in a zip (APPNOTE 4.3.7).
fn member(header: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| Some(usize::from(u16::from_le_bytes([*header.get(at)?, *header.get(at + 1)?])));
    header.get(30 + number(26)? + number(28)?..)
}

fn read(stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut stream = stream.take(STREAM_BYTES_MAX as u64);
    let mut buffer = [0; 8192];
    // A stream that breaks off, or goes on as something else, still gave what came before.
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(decode: Take, content: &str, expect: Option<&[u8]>) {
        assert_eq!(decode(content.as_bytes()).as_deref(), expect, "{content}");
    }

    #[test]
    fn escapes_are_taken_off() {
        check(percent, "a%41%7a%zz%4", Some(b"aAz%zz%4"));
        check(percent, "100 %", None);
        check(backslash, r"\u0041\u{42}\x43\104\/\\n\q", Some(b"ABCD/\\nq"));
        check(backslash, "plain", None);
        check(entities, "&#65;&#x42;&amp;&unknown;&", Some(b"AB&&unknown;&"));
        check(quoted_printable, "=41=\r\nB=\nC=zz", Some(b"ABC=zz"));
        assert_eq!(views(br"%5cu0041").last().unwrap().1.to_vec(), b"A");
    }

    #[test]
    fn lists_of_numbers_are_bytes() {
        check(numbers, "seed: [1, 2, 3, 4, 5, 6, 7, 255]", Some(&[1, 2, 3, 4, 5, 6, 7, 255, 255]));
        check(numbers, "0x01, 0x02,0x03 0x04 0x05 0x06 0x07 0xff", Some(&[1, 2, 3, 4, 5, 6, 7, 255, 255]));
        check(numbers, "[1u8, 2_u8, -1, 4, 5, 6, 7, 8]", Some(&[1, 2, 255, 4, 5, 6, 7, 8, 255]));
        check(numbers, "2026-11-25T15:50:38Z pid 811 took 5 ms", None);
        check(numbers, "v1.2.3 -- 4 - 5", None);
        check(numbers, "1 2 3", None);
    }

    #[test]
    fn what_is_inside_is_opened() {
        let secret = b"something that is packed, and packed again, and again";
        let encoded = base64::engine::general_purpose::STANDARD.encode(secret);
        for text in [encoded.clone(), format!("word {encoded}"), format!("{}\n  {}", &encoded[..30], &encoded[30..])] {
            let inside = nested(text.as_bytes(), &mut 10_000).unwrap();
            assert!(inside.iter().any(|(_, bytes)| bytes.windows(secret.len()).any(|w| w == secret)), "{text}");
        }
        let packed = zstd::encode_all(secret.as_slice(), 3).unwrap();
        let cut = [b"log line ".as_slice(), &packed, b"\nnext"].concat();
        assert!(nested(&cut, &mut 10_000).unwrap().contains(&("zstd", secret.to_vec())));
        let bomb = zstd::encode_all(vec![b'x'; 1 << 20].as_slice(), 3).unwrap();
        assert!(bomb.len() < 1000 && nested(&bomb, &mut 100_000).is_err());
    }
}
