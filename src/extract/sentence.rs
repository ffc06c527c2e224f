//! Where a sentence ends, in German and English prose full of abbreviations, ordinals and type codes.

/// Words before a full stop that end no sentence, in lower case. Single letters (`z. B.`, initials) need no entry.
const ABBREVIATIONS: [&str; 84] = [
    "abb", "abs", "abt", "allg", "anh", "anl", "anm", "approx", "art", "aufl", "ausg", "bd", "begr", "bes", "best",
    "betr", "bsp", "bspw", "bzgl", "bzw", "ca", "co", "corp", "dez", "dgl", "dipl", "dr", "ebd", "eg", "einschl",
    "engl", "entspr", "etc", "evtl", "exkl", "fa", "feb", "fig", "figs", "fr", "gem", "gen", "ges", "ggf", "hr",
    "hrsg", "ie", "inc", "ing", "inkl", "jan", "jr", "kap", "kfm", "lfd", "lt", "ltd", "max", "min", "mind", "mr",
    "mrs", "ms", "nov", "no", "nr", "nrn", "okt", "prof", "rd", "sept", "sog", "st", "stk", "str", "tab", "tel", "usw",
    "vgl", "vs", "zb", "ziff", "zzgl", "zzt",
];

/// Cuts text into sentences: byte ranges without the white space between them, in order, nothing but white space left out.
/// A line end is a bound as well where lines are not mere wrapping.
pub(crate) fn sentences(text: &str) -> Vec<std::ops::Range<usize>> {
    let wrap = wrap_width(text);
    let mut ranges = Vec::new();
    let mut start = None;
    let mut line_start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\n' {
            let length = at - line_start;
            let blank_next = chars.peek().is_some_and(|(_, next)| *next == '\n');
            if (length < wrap || blank_next)
                && let Some(from) = start.take()
            {
                ranges.push(from..at);
            }
            line_start = at + 1;
            continue;
        }
        if c.is_whitespace() {
            continue;
        }
        let from = *start.get_or_insert(at);
        if !matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？') {
            continue;
        }
        let mut end = at + c.len_utf8();
        while let Some((next_at, next)) = chars.peek().copied()
            && matches!(next, '.' | '!' | '?' | '"' | '\'' | ')' | ']' | '”' | '“' | '’' | '»' | '«')
        {
            end = next_at + next.len_utf8();
            chars.next();
        }
        let wide = matches!(c, '。' | '！' | '？');
        if wide || (text[end..].starts_with(char::is_whitespace) && ends_sentence(&text[from..at], c, &text[end..])) {
            ranges.push(from..end);
            start = None;
        }
    }
    if let Some(from) = start {
        ranges.push(from..text.len());
    }
    for range in &mut ranges {
        range.end = range.start + text[range.clone()].trim_end().len();
    }
    ranges
}

fn ends_sentence(before: &str, mark: char, after: &str) -> bool {
    let Some(next) = after.trim_start().chars().next() else {
        return true;
    };
    if next.is_lowercase() {
        return false;
    }
    if mark != '.' {
        return true;
    }
    let word = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '.' | '/' | '-')).next().unwrap_or("");
    if word.is_empty() {
        // `...` ends one, `z.B.` does not: what stands before the inner stop decides.
        return before.ends_with('.') && before.trim_end_matches('.').len() + 1 < before.len();
    }
    let letters = word.chars().count();
    if word.chars().all(|c| c.is_ascii_digit()) {
        // `am 3. Mai`, `2. Auflage`; a year or an amount ends a sentence.
        return letters > 2;
    }
    if letters == 1 && word.chars().all(char::is_alphabetic) {
        return false;
    }
    !ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// Lines at least this long continue on the next one: in wrapped text all but the last line of a paragraph are about
/// equally long.
fn wrap_width(text: &str) -> usize {
    let longest = text.split('\n').map(str::len).max().unwrap_or(0);
    if longest > 200 { usize::MAX } else { longest * 7 / 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        let got: Vec<&str> = sentences(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn abbreviations_and_numbers_end_no_sentence() {
        check(
            "Klemmen, z. B. WDU 2.5, Nr. 1020000000, kosten ca. 1.20 EUR. Ab dem 3. Mai gilt Abs. 2 gem. Art. 5. Ende 2024. Neu!",
            &[
                "Klemmen, z. B. WDU 2.5, Nr. 1020000000, kosten ca. 1.20 EUR.",
                "Ab dem 3. Mai gilt Abs. 2 gem. Art. 5. Ende 2024.",
                "Neu!",
            ],
        );
        check("See Fig. 3 (max. 40 A). It works.", &["See Fig. 3 (max. 40 A).", "It works."]);
        check("Er sagte: „Gut.“ Dann ging er.", &["Er sagte: „Gut.“", "Dann ging er."]);
        check("d.h. nein", &["d.h. nein"]);
        check("", &[]);
    }

    #[test]
    fn wrapped_lines_go_on_and_short_lines_end() {
        check(
            "Dies ist ein umbrochener Absatz mit\nzwei Zeilen gleicher Länge, der weiter\ngeht.\nNeuer",
            &["Dies ist ein umbrochener Absatz mit\nzwei Zeilen gleicher Länge, der weiter\ngeht.", "Neuer"],
        );
    }
}
