//! The smallest citable pieces of a passage: sentences, list lines and table rows.
//!
//! A unit is a range of the chunk's text, so a quote is verbatim by construction; `shown` is the same piece made readable (line breaks joined, a table row written as `column: cell`).

use std::ops::Range;

/// One sentence, line or row of a passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) range: Range<usize>,
    pub(crate) shown: String,
    /// A heading, a question, or a line that announces the next one: it gives context but answers nothing by itself.
    pub(crate) lead: bool,
    pub(crate) row: bool,
}

/// Splits a passage into its units.
///
/// Tables come in three shapes: `Artikel: KX 4; Preis: 1,42` lines under an `Artikel | Preis` line (what the chunker writes), `a | b` lines without a header, and Markdown.
pub(crate) fn units(text: &str) -> Vec<Unit> {
    let mut out = Vec::new();
    let mut header: Option<Vec<String>> = None;
    let mut paragraph: Option<Range<usize>> = None;
    let all: Vec<Range<usize>> = lines(text).collect();
    for (i, line) in all.iter().cloned().enumerate() {
        let content = text[line.clone()].trim();
        let markdown = content.len() > 1 && content.starts_with('|');
        let named = named_cells(content);
        let row = markdown || named.is_some() || content.contains(" | ");
        if row {
            flush(text, &mut paragraph, &mut out);
        }
        if !markdown {
            header = None;
        }
        let mut push = |shown: String, lead: bool| {
            out.push(Unit { range: line.clone(), shown, lead, row: true });
        };
        if markdown && is_rule(content) {
            continue;
        } else if markdown {
            let cells = cells(content);
            match &header {
                Some(names) => push(row_text(names, &cells), false),
                None => {
                    push(cells.join(" · "), true);
                    header = Some(cells);
                }
            }
        } else if let Some(pairs) = named {
            push(named_text(&pairs), false);
        } else if row {
            let cells = cells(content);
            let next = all.get(i + 1).map_or("", |next| &text[next.clone()]);
            let heads = cells.iter().any(|c| !c.is_empty() && next.contains(&format!("{c}: ")));
            let joint = if !heads && cells.len() == 2 { ": " } else { " · " };
            push(cells.join(joint), heads);
        } else if content.is_empty() {
            flush(text, &mut paragraph, &mut out);
        } else {
            match &mut paragraph {
                Some(open) if wraps(&text[open.clone()], content) => open.end = line.end,
                _ => {
                    flush(text, &mut paragraph, &mut out);
                    paragraph = Some(line);
                }
            }
        }
    }
    flush(text, &mut paragraph, &mut out);
    out
}

/// The cells of a line `Name: value; Name: value`, two or more.
fn named_cells(line: &str) -> Option<Vec<(&str, &str)>> {
    let pairs: Vec<(&str, &str)> = line.split("; ").map(|cell| cell.split_once(": ")).collect::<Option<_>>()?;
    let short = pairs.iter().all(|(name, _)| name.chars().count() <= 80);
    (pairs.len() >= 2 && short).then_some(pairs)
}

/// A row of two columns says `property: value`, whatever the columns are called.
fn named_text(pairs: &[(&str, &str)]) -> String {
    if let [(_, name), (_, value)] = pairs {
        return format!("{}: {value}", name.trim_end_matches(':'));
    }
    let cells: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}: {v}")).collect();
    cells.join(" · ")
}

fn lines(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some(start..start + line.trim_end_matches(['\n', '\r']).len())
    })
}

/// Whether the next line goes on with the sentence of the lines before it (text wrapped at a column), rather than being a line of its own.
fn wraps(before: &str, next: &str) -> bool {
    let before = before.trim_end();
    let last_line = before.rsplit('\n').next().unwrap_or(before);
    let ended = before.ends_with(['.', '!', '?', ':', ';']);
    let item = next.starts_with(['-', '*', '•', '#', '>', '–'])
        || next
            .split_once(['.', ')'])
            .is_some_and(|(n, _)| n.len() <= 2 && n.chars().all(|c| c.is_ascii_alphanumeric()) && !n.is_empty());
    if item || last_line.trim_start().starts_with('#') {
        return false;
    }
    let lower = next.chars().next().is_some_and(char::is_lowercase);
    let property = last_line.contains(": ");
    lower || (last_line.chars().count() >= 60 && !property && !ended)
}

fn is_rule(line: &str) -> bool {
    line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ' | '+' | '='))
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let line = line.strip_suffix('|').unwrap_or(line);
    line.split('|').map(|c| c.trim().to_string()).collect()
}

/// Writes a row as `column: cell, column: cell`, leaving empty cells out.
fn row_text(names: &[String], cells: &[String]) -> String {
    let mut parts = Vec::new();
    for (i, cell) in cells.iter().enumerate().filter(|(_, c)| !c.is_empty()) {
        match names.get(i).filter(|n| !n.is_empty()) {
            Some(name) => parts.push(format!("{name}: {cell}")),
            None => parts.push(cell.clone()),
        }
    }
    parts.join(" · ")
}

fn flush(text: &str, paragraph: &mut Option<Range<usize>>, out: &mut Vec<Unit>) {
    let Some(range) = paragraph.take() else {
        return;
    };
    let body = &text[range.clone()];
    let heading = body.trim_start().starts_with('#');
    for sentence in sentences(body) {
        let piece = &body[sentence.clone()];
        let shown = readable(piece);
        if shown.chars().any(char::is_alphanumeric) {
            let words = shown.split_whitespace().count();
            let bare = !shown.ends_with(['.', '!', '?'])
                && words <= 4
                && !shown.chars().any(|c| c.is_ascii_digit())
                && !shown.contains(": ");
            out.push(Unit {
                lead: heading || bare || shown.ends_with([':', '?']),
                range: range.start + sentence.start..range.start + sentence.end,
                shown,
                row: false,
            });
        }
    }
}

/// One line, single spaces, without Markdown's marks.
fn readable(piece: &str) -> String {
    let piece = piece.trim_start_matches(['#', '-', '*', '>', '•', ' ']);
    let joined = piece.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.replace("**", "").replace("__", "").replace('`', "")
}

const MONTHS: &str = " januar februar märz april mai juni juli august september oktober november dezember january february march may june july october december jan feb mar apr jun jul aug sep sept okt oct nov dez dec ";

/// Abbreviations after which a full stop ends no sentence, lower case and without the stop.
const ABBREVIATIONS: &str = " z b d h u a o ä i e g bzw ca nr dr prof mr mrs ms st str tel abs art ziff inkl exkl zzgl max min vgl usw etc evtl ggf gem lt s vs approx incl excl no fig abb tab kap bspw sog mind ing dipl std wg jh co ltd inc bzgl entspr einschl ";

/// Returns the ranges of the sentences of a running text, trimmed.
pub(crate) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !matches!(c, '.' | '!' | '?') {
            continue;
        }
        let mut end = at + c.len_utf8();
        while let Some(&(next, q)) = chars.peek() {
            if !matches!(q, '.' | '!' | '?' | '"' | '“' | '”' | '«' | ')' | '’') {
                break;
            }
            end = next + q.len_utf8();
            chars.next();
        }
        let rest = &text[end..];
        let boundary =
            rest.is_empty() || (rest.starts_with(char::is_whitespace) && ends_sentence(&text[start..at], c, rest));
        if boundary {
            push_trimmed(text, start..end, &mut out);
            start = end;
        }
    }
    push_trimmed(text, start..text.len(), &mut out);
    out
}

fn push_trimmed(text: &str, range: Range<usize>, out: &mut Vec<Range<usize>>) {
    let piece = &text[range.clone()];
    let trimmed = piece.trim();
    if !trimmed.is_empty() {
        let start = range.start + (piece.len() - piece.trim_start().len());
        out.push(start..start + trimmed.len());
    }
}

fn ends_sentence(before: &str, mark: char, rest: &str) -> bool {
    let next = rest.trim_start();
    if next.chars().next().is_some_and(char::is_lowercase) {
        return false;
    }
    if mark != '.' {
        return true;
    }
    let word: String =
        before.chars().rev().take_while(|c| c.is_alphanumeric()).collect::<Vec<_>>().into_iter().rev().collect();
    let list = |list: &str, w: &str| list.contains(&format!(" {} ", w.to_lowercase()));
    if !word.is_empty() && word.chars().all(|c| c.is_ascii_digit()) {
        let next_word: String = next.chars().take_while(|c| c.is_alphanumeric()).collect();
        // "22. November", "3. Absatz", "1. Eingang": an ordinal; "im Jahr 2026. Die": an end.
        return word.len() > 2 && !list(MONTHS, &next_word);
    }
    !list(ABBREVIATIONS, &word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        units(text).into_iter().map(|u| u.shown).collect()
    }

    #[test]
    fn sentences_keep_dates_and_abbreviations_whole() {
        assert_eq!(
            shown("Die Anlage läuft seit dem 22. November 2026. Sie braucht ca. 24 V, z. B. aus Nr. 4. Danach nicht."),
            ["Die Anlage läuft seit dem 22. November 2026.", "Sie braucht ca. 24 V, z. B. aus Nr. 4. Danach nicht."],
        );
        assert_eq!(
            shown("It was built in 2019. Dr. Weber signed it! Ready?"),
            ["It was built in 2019.", "Dr. Weber signed it!", "Ready?"],
        );
    }

    #[test]
    fn a_row_names_its_columns_and_its_range_is_verbatim() {
        let text = "Preise\n\n| Artikel | Preis |\n|---|---|\n| XJ-200 | 12,50 € |\n| XJ-300 | |\n";
        let found = units(text);
        assert_eq!(found[2].shown, "Artikel: XJ-200 · Preis: 12,50 €");
        assert_eq!(&text[found[2].range.clone()], "| XJ-200 | 12,50 € |");
        assert_eq!(found[3].shown, "Artikel: XJ-300");
        assert!(found[0].lead && found[1].lead && !found[2].lead);
    }

    #[test]
    fn rows_of_the_chunker_are_rows() {
        let text = "Preise\n\nArtikel | Preis EUR | VPE\nArtikel: KX 4; Preis EUR: 1,42; VPE: 50\n\nAngabe | Wert\nAngabe: Prüfdauer; Wert: 480 Stunden\n\nlose | Zellen | hier";
        let found = units(text);
        let shown: Vec<(&str, bool)> = found.iter().map(|u| (u.shown.as_str(), u.lead)).collect();
        assert_eq!(
            shown,
            [
                ("Preise", true),
                ("Artikel · Preis EUR · VPE", true),
                ("Artikel: KX 4 · Preis EUR: 1,42 · VPE: 50", false),
                ("Angabe · Wert", true),
                ("Prüfdauer: 480 Stunden", false),
                ("lose · Zellen · hier", false),
            ]
        );
    }

    #[test]
    fn wrapped_lines_join_and_list_lines_do_not() {
        let text = "Die Gewährleistung beträgt vierundzwanzig Monate ab dem Tag der\nÜbergabe an den Kunden.\n\n- Gewicht: 12 kg\n- Länge: 3 m\n";
        assert_eq!(
            shown(text),
            [
                "Die Gewährleistung beträgt vierundzwanzig Monate ab dem Tag der Übergabe an den Kunden.",
                "Gewicht: 12 kg",
                "Länge: 3 m"
            ],
        );
    }

    #[test]
    fn every_range_is_inside_the_text_on_char_borders() {
        let text = "Ä. Ö! „Üb?“ §5 – 3 µm.\n| ä | ö |\n| ü | ß |\n";
        for unit in units(text) {
            assert!(text.get(unit.range).is_some());
        }
    }
}
