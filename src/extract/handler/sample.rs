//! The part of a file that is shown, and sent to a model: little, masked, and exactly what is shown.

use super::mask::mask;
use crate::{
    code_page::CodePage,
    encoding::{self, Unit},
};

/// The most a sample has, in bytes of the text that is shown and sent.
pub const SAMPLE_BYTES: usize = 16 << 10;

/// Bytes of one line of a dump.
const ROW: usize = 32;
/// What of a text is shown: head, middle, tail.
const TEXT_WINDOWS: [usize; 3] = [10 << 10, 3 << 10, 2 << 10];
/// What of a binary file is shown; a byte takes four characters.
const DUMP_WINDOWS: [usize; 3] = [2_400, 640, 640];

/// Returns the ranges of head, middle and tail of these lengths; fewer and longer ones where they would meet.
pub(super) fn windows(size: usize, head: usize, middle: usize, tail: usize) -> Vec<(usize, usize)> {
    if size <= head + middle + tail {
        return vec![(0, size)];
    }
    let start = head.max((size - middle) / 2).min(size - tail - middle);
    vec![(0, head), (start, start + middle), (size - tail, size)]
}

/// How the characters of a text are read.
#[derive(Clone, Copy)]
enum Reading {
    Page(CodePage),
    Utf32(Unit),
    /// By what each window looks like.
    Guessed,
}

impl Reading {
    fn of(bytes: &[u8], page: Option<CodePage>) -> Self {
        match (encoding::utf32(bytes), page) {
            (Some((_, unit)), _) => Self::Utf32(unit),
            (None, Some(page)) => Self::Page(page),
            (None, None) => Self::Guessed,
        }
    }

    /// Returns the bytes of a unit: a window that begins inside of one is read as another text, which no rule masks.
    fn width(self) -> usize {
        match self {
            Self::Page(page) if page.is_utf16() => 2,
            Self::Utf32(_) => 4,
            Self::Page(_) | Self::Guessed => 1,
        }
    }

    fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::Page(page) => page.decode(bytes),
            Self::Utf32(unit) => encoding::utf32_text(bytes, unit),
            Self::Guessed => encoding::decode(bytes, None).text,
        }
    }
}

/// Makes the sample of a file.
pub(super) fn sample(bytes: &[u8], page: Option<CodePage>, is_text: bool) -> String {
    let [head, middle, tail] = if is_text { TEXT_WINDOWS } else { DUMP_WINDOWS };
    let reading = Reading::of(bytes, page);
    let mut out = String::new();
    for (start, end) in windows(bytes.len(), head, middle, tail) {
        let (start, end) = match is_text {
            true => whole_units(whole_lines(bytes, start, end), reading.width(), bytes.len()),
            false => (start / ROW * ROW, end),
        };
        out.push_str(&format!("--- bytes {start} to {end} of {} ---\n", bytes.len()));
        if is_text {
            out.push_str(&masked_text(bytes, start, end, reading));
            if !out.ends_with('\n') {
                out.push('\n');
            }
        } else {
            dump(&mut out, bytes, start, end, page);
        }
    }
    if out.len() > SAMPLE_BYTES {
        let end = (0..=SAMPLE_BYTES).rev().find(|at| out.is_char_boundary(*at)).unwrap_or(0);
        out.truncate(end);
    }
    out
}

/// What is looked at before and behind a window: a number or a name that the window cuts is told only by the rest of it.
const AROUND: usize = 256;

/// Returns a window with as much around it as rules need to see, and how far inside of that it begins.
fn around(bytes: &[u8], start: usize, end: usize) -> (&[u8], usize) {
    let from = start.saturating_sub(AROUND);
    (&bytes[from..(end + AROUND).min(bytes.len())], start - from)
}

/// Decodes and masks a window of text.
fn masked_text(bytes: &[u8], start: usize, end: usize, reading: Reading) -> String {
    let (wide, before) = around(bytes, start, end);
    let wide = if reading.width() == 1 { without_utf16(wide) } else { wide.to_vec() };
    let count = |bytes: &[u8]| reading.decode(bytes).chars().count();
    let (skipped, length) = (count(&wide[..before]), count(&wide[before..before + end - start]));
    let shown: String = reading
        .decode(&wide)
        .chars()
        .map(|character| if character.is_control() && !matches!(character, '\n' | '\t') { '·' } else { character })
        .collect();
    mask(&shown).chars().skip(skipped).take(length).collect()
}

/// Moves a window to the lines it holds whole, where it has any.
fn whole_lines(bytes: &[u8], start: usize, end: usize) -> (usize, usize) {
    let window = &bytes[start..end];
    let first = if start == 0 { 0 } else { window.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
    let last = if end == bytes.len() {
        window.len()
    } else {
        window.iter().rposition(|byte| *byte == b'\n').map_or(window.len(), |at| at + 1)
    };
    if first < last { (start + first, start + last) } else { (start, end) }
}

/// Moves a window to whole units.
fn whole_units((start, end): (usize, usize), width: usize, size: usize) -> (usize, usize) {
    (start.next_multiple_of(width).min(size), end.next_multiple_of(width).min(size))
}

/// Masks what is UTF-16 among other bytes, from both offsets and in both orders: inside a binary file nothing says where such a text
/// begins, and byte by byte it is none that a rule knows.
fn without_utf16(bytes: &[u8]) -> Vec<u8> {
    type Order = (fn([u8; 2]) -> u16, fn(u16) -> [u8; 2]);
    const ORDERS: [Order; 2] = [(u16::from_le_bytes, u16::to_le_bytes), (u16::from_be_bytes, u16::to_be_bytes)];
    let mut shown = bytes.to_vec();
    for (first, (read, write)) in [0, 1].into_iter().flat_map(|first| ORDERS.map(|order| (first, order))) {
        let (units, _) = bytes.get(first..).unwrap_or_default().as_chunks::<2>();
        let character = |unit: &[u8; 2]| char::from_u32(u32::from(read(*unit))).unwrap_or('\u{fffd}');
        let text: String = units.iter().map(character).collect();
        for (index, (before, after)) in text.chars().zip(mask(&text).chars()).enumerate() {
            // What is put for a character is `X`, `x` or `9`.
            if before != after
                && let Ok(unit) = u16::try_from(u32::from(after))
            {
                let at = first + 2 * index;
                shown[at..at + 2].copy_from_slice(&write(unit));
            }
        }
    }
    shown
}

/// Writes lines of a position, the bytes in hexadecimal digits, and the same as characters. What is masked in the characters is
/// masked in the bytes too.
fn dump(out: &mut String, bytes: &[u8], start: usize, end: usize, page: Option<CodePage>) {
    let character = |byte: u8| page.and_then(|page| page.char(byte)).unwrap_or('\u{fffd}');
    let (wide, before) = around(bytes, start, end);
    let wide = without_utf16(wide);
    let text: String = wide.iter().map(|byte| character(*byte)).collect();
    let masked: Vec<char> = mask(&text).chars().skip(before).take(end - start).collect();
    let substitute = |wanted: char| page.and_then(|page| page.byte(wanted)).unwrap_or(0);
    let substitutes = ['X', 'x', '9'].map(|wanted| (wanted, substitute(wanted)));
    let shown: Vec<u8> = wide[before..before + end - start]
        .iter()
        .zip(text.chars().skip(before).zip(&masked))
        .map(|(byte, (before, after))| match substitutes.iter().find(|(wanted, _)| wanted == after) {
            Some((_, substitute)) if before != *after => *substitute,
            _ => *byte,
        })
        .collect();
    for (index, row) in shown.chunks(ROW).enumerate() {
        out.push_str(&format!("{:08x} ", start + index * ROW));
        row.iter().for_each(|byte| out.push_str(&format!("{byte:02x}")));
        out.push_str(" |");
        for at in 0..row.len() {
            let character = masked.get(index * ROW + at).copied().unwrap_or('.');
            out.push(if character.is_control() || character == '\u{fffd}' { '.' } else { character });
        }
        out.push_str("|\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_bounded_and_masked_in_both_columns() {
        let page = CodePage::named("cp273");
        let text = "K0001 HERR MUELLER IBAN DE89370400440532013000   ";
        let bytes: Vec<u8> = text.chars().map(|c| page.and_then(|page| page.byte(c)).unwrap()).collect();
        let file: Vec<u8> = bytes.iter().copied().cycle().take(100_000).collect();
        let shown = sample(&file, page, false);
        assert!(shown.len() <= SAMPLE_BYTES, "{}", shown.len());
        assert!(!shown.contains("MUELLER") && !shown.contains("3704"), "{shown}");
        // DE89 in hexadecimal digits of the page: the country stays, the rest does not.
        assert!(!shown.contains("f8f9f3f7") && shown.contains("c4c5f9f9"), "{shown}");
        assert!(shown.contains("--- bytes 0 to 2400 of 100000 ---") && shown.contains("K0001"));
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn wide_text_is_masked_wherever_a_window_begins() {
        let text: String = (0..3_000).map(|line| format!("Artikel {line}; Frau Sabine Grabowski\r\n")).collect();
        let utf32: Vec<u8> = "\u{feff}".chars().chain(text.chars()).flat_map(|c| u32::from(c).to_le_bytes()).collect();
        for (bytes, page) in [
            (utf16(&text, u16::to_le_bytes), "utf-16le"),
            (utf16(&text, u16::to_be_bytes), "utf-16be"),
            (utf32, "none of ours"),
        ] {
            let shown = sample(&bytes, CodePage::named(page), true);
            assert!(!shown.contains("Grabowski") && !shown.contains("Sabine"), "{page}: {shown}");
            assert!(
                shown.is_ascii() || shown.chars().all(|c| c.is_ascii() || c == '·' || c == '\u{feff}'),
                "{page}: {shown}"
            );
            for window in shown.split("--- bytes").skip(1) {
                assert!(window.contains("Artikel") && window.contains("Frau Xxxxxx Xxxxxxxxx"), "{page}: {window}");
            }
        }
    }

    #[test]
    fn wide_text_among_other_bytes_is_masked() {
        let name = "Herrn Grabowski, Telefon 05231/14-28000";
        for offset in 0..4 {
            for bytes in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
                let mut file = vec![0xe7; 100 + offset];
                file.extend(utf16(name, bytes));
                file.extend([0xe7; 40]);
                let shown = sample(&file, CodePage::named("windows-1252"), false);
                let digits: String = shown.lines().filter_map(|line| line.split(' ').nth(1)).collect();
                for secret in ["Grab", "5231", "2800"] {
                    let secret: String = utf16(secret, bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                    assert!(!digits.contains(&secret), "{offset}: {shown}");
                }
                let kept: String = utf16("Herrn X", bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(digits.contains(&kept), "{offset}: {shown}");
            }
        }
        // A few wide words in a text that is none.
        let mut text = "Artikel;Preis\n".repeat(200).into_bytes();
        text.extend(utf16("Frau Sabine Grabowski", u16::to_le_bytes));
        let shown = sample(&text, CodePage::named("windows-1252"), true);
        assert!(!shown.contains("G·r·a·b") && shown.contains("F·r·a·u"), "{shown}");
    }

    #[test]
    fn windows_never_overlap() {
        for size in [0, 1, 5, 6, 7, 10, 50, 1000] {
            let found = windows(size, 3, 2, 1);
            assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{size}: {found:?}");
            assert!(found.iter().all(|(start, end)| start <= end && *end <= size));
        }
        let text: Vec<u8> = (0..5_000).flat_map(|line| format!("Zeile {line}\n").into_bytes()).collect();
        let shown = sample(&text, CodePage::named("utf-8"), true);
        assert!(shown.contains("Zeile 0\n") && shown.contains("Zeile 4999\n") && shown.len() <= SAMPLE_BYTES);
    }
}
