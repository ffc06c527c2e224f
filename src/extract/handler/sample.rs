//! The part of a file that is shown, and sent to a model: little, masked, and exactly what is shown.

use super::mask::mask;
use crate::code_page::CodePage;

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

/// Makes the sample of a file.
pub(super) fn sample(bytes: &[u8], page: Option<CodePage>, is_text: bool) -> String {
    let [head, middle, tail] = if is_text { TEXT_WINDOWS } else { DUMP_WINDOWS };
    let mut out = String::new();
    for (start, end) in windows(bytes.len(), head, middle, tail) {
        let (start, end) = if is_text { whole_lines(bytes, start, end) } else { (start / ROW * ROW, end) };
        out.push_str(&format!("--- bytes {start} to {end} of {} ---\n", bytes.len()));
        if is_text {
            out.push_str(&masked_text(bytes, start, end, page));
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
fn masked_text(bytes: &[u8], start: usize, end: usize, page: Option<CodePage>) -> String {
    let decode = |bytes: &[u8]| match page {
        Some(page) => page.decode(bytes),
        None => crate::encoding::decode(bytes, None).text,
    };
    let (wide, before) = around(bytes, start, end);
    let (skipped, length) = (decode(&wide[..before]).chars().count(), decode(&bytes[start..end]).chars().count());
    let shown: String = decode(wide)
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

/// Writes lines of a position, the bytes in hexadecimal digits, and the same as characters. What is masked in the characters is
/// masked in the bytes too.
fn dump(out: &mut String, bytes: &[u8], start: usize, end: usize, page: Option<CodePage>) {
    let character = |byte: u8| page.and_then(|page| page.char(byte)).unwrap_or('\u{fffd}');
    let (wide, before) = around(bytes, start, end);
    let text: String = wide.iter().map(|byte| character(*byte)).collect();
    let masked: Vec<char> = mask(&text).chars().skip(before).take(end - start).collect();
    let substitute = |wanted: char| page.and_then(|page| page.byte(wanted)).unwrap_or(0);
    let substitutes = ['X', 'x', '9'].map(|wanted| (wanted, substitute(wanted)));
    let shown: Vec<u8> = bytes[start..end]
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
