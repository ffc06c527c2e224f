//! What all tables have in common: where the header is, and how a row reads as text.

/// Cells shown as one: where the first stands, from 0, and how many rows and columns it has beside its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub row: usize,
    pub column: usize,
    pub more_rows: usize,
    pub more_columns: usize,
}

/// Cells filled from merged ones, over a table; beyond that the file is made to be large.
const MAX_FILLED: usize = 1_000_000;

/// A longer text, in bytes, is a passage and no name: it is said once, however far its cell reaches.
const MAX_NAME_BYTES: usize = 200;

/// Writes what a merged cell shows where a reader sees it: a name over several rows stands in each of them, and one over
/// several columns in each, where names of those columns stand below it. Titles stay as they are.
pub(crate) fn fill_merged(rows: &mut [Vec<String>], merged: &[Area]) {
    let mut left = MAX_FILLED;
    for &Area { row: top, column, more_rows, more_columns: wide } in merged {
        let high = more_rows.min(rows.len().saturating_sub(top + 1));
        let is_name = |value: &&String| !value.is_empty() && value.len() <= MAX_NAME_BYTES;
        let Some(value) = rows.get(top).and_then(|row| row.get(column)).filter(is_name).cloned() else {
            continue;
        };
        let named = |row: &Vec<String>| {
            row.iter().skip(column).take(wide + 1).filter(|cell| !cell.is_empty() && !is_value(cell)).count() >= 2
        };
        let across = high == 0 && wide > 0 && filled(&rows[top]) >= 2 && rows.get(top + 1).is_some_and(named);
        let places: Vec<(usize, usize)> = if across {
            (1..=wide.min(256)).map(|step| (top, column + step)).collect()
        } else {
            (1..=high).map(|step| (top + step, column)).collect()
        };
        for (row, column) in places {
            if left == 0 {
                return;
            }
            left -= 1;
            // A blank row inside the area stays blank: it ends a table.
            let Some(row) = rows.get_mut(row).filter(|row| !row.is_empty()) else { continue };
            if row.len() <= column {
                row.resize(column + 1, String::new());
            }
            if row[column].is_empty() {
                row[column].clone_from(&value);
            }
        }
    }
}

/// Splits rows into header and body. A first row is a header when its cells are short, distinct, mostly filled and none is
/// a number or a date, and something follows it; so are two rows, where names in the first stand over several columns.
pub(crate) fn split_header(mut rows: Vec<Vec<String>>) -> (Vec<String>, Vec<Vec<String>>) {
    let columns = width(&rows);
    if rows.len() >= 2 && is_header(&rows[0], columns) {
        let header = rows.remove(0);
        (header, rows)
    } else if let Some(both) = two_line_header(&rows, columns) {
        rows.drain(..2);
        (both, rows)
    } else {
        (Vec::new(), rows)
    }
}

/// A header of two lines: a name over several columns, which stands in each of them, and the columns' own below it.
pub(crate) fn two_line_header(rows: &[Vec<String>], columns: usize) -> Option<Vec<String>> {
    let [above, below, _, ..] = rows else { return None };
    let spans = above.windows(2).any(|pair| !pair[0].is_empty() && pair[0] == pair[1]);
    if !spans || above.iter().any(|cell| is_value(cell)) {
        return None;
    }
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let both = (0..columns).map(|column| {
        let (above, below) = (cell(above, column), cell(below, column));
        if above == below || below.is_empty() { above } else { format!("{above} {below}").trim().to_owned() }
    });
    let both: Vec<String> = both.collect();
    is_header(&both, columns).then_some(both)
}

/// Whether a row can be the header of a table of this width.
pub(crate) fn is_header(row: &[String], width: usize) -> bool {
    let filled: Vec<&str> = row.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()).collect();
    if filled.is_empty() || filled.len() * 10 < width * 6 {
        return false;
    }
    let mut seen = std::collections::HashSet::new();
    let mut words = 0;
    for cell in &filled {
        if cell.chars().count() > 80 || !seen.insert(*cell) {
            return false;
        }
        if is_value(cell) {
            // Years head columns of figures; any other number is a figure.
            if !matches!(cell.parse::<u32>(), Ok(1900..=2100)) {
                return false;
            }
        } else {
            words += 1;
        }
    }
    words > 0
}

/// Whether a cell is a number, an amount, a date or a time rather than a name.
pub(crate) fn is_value(cell: &str) -> bool {
    let core = cell.trim().trim_end_matches(['%', '€', '$', '£']).trim_end_matches("EUR").trim();
    core.chars().any(|c| c.is_ascii_digit())
        && core.chars().all(|c| {
            c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+' | ':' | '/' | ' ' | '\'' | 'E' | 'e' | 'T' | 'Z')
        })
}

/// Returns the number of cells with text.
pub(crate) fn filled(row: &[String]) -> usize {
    row.iter().filter(|cell| !cell.is_empty()).count()
}

/// Returns the number of columns of the widest row.
pub(crate) fn width(rows: &[Vec<String>]) -> usize {
    rows.iter().map(Vec::len).max().unwrap_or(0)
}

/// One row as text. With a header each value carries its name, so that a row found alone still says what its figures are;
/// empty cells are left out.
pub(crate) fn row_text(header: &[String], row: &[String]) -> String {
    row_cells(header, row).join(if header.is_empty() { " | " } else { "; " })
}

/// The cells of [`row_text`], for rows that have to be cut.
pub(crate) fn row_cells(header: &[String], row: &[String]) -> Vec<String> {
    row.iter()
        .enumerate()
        .filter_map(|(column, cell)| {
            let cell = one_line(cell);
            if cell.is_empty() {
                return None;
            }
            let name = header.get(column).map(|name| one_line(name)).unwrap_or_default();
            Some(if name.is_empty() { cell } else { format!("{}: {cell}", name.trim_end_matches(':')) })
        })
        .collect()
}

/// A cell on one line, single spaces.
pub(crate) fn one_line(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: &str) -> Vec<String> {
        line.split(';').map(str::to_owned).collect()
    }

    #[test]
    fn a_header_has_names_and_no_figures() {
        for (line, expect) in [
            ("Artikel;Preis;Menge", true),
            ("Artikel;2024;2025", true),
            ("WDU 2.5;1,20;300", false),
            ("1020000000;Klemme;grau", false),
            ("Müller;;", false),
            ("a;a;b", false),
            ("01.02.2024;Wert;x", false),
        ] {
            assert_eq!(is_header(&row(line), 3), expect, "{line}");
        }
    }

    #[test]
    fn what_is_said_once_stays_said_once() {
        let area = |row, column, more_rows, more_columns| Area { row, column, more_rows, more_columns };
        // A title over the whole table, however far it reaches.
        let mut rows = vec![row("Preisliste 2026"), row("Artikel;Preis"), row("WDU;1,20")];
        fill_merged(&mut rows, &[area(0, 0, 0, 1), area(0, 0, 1_000_000, 1_000_000)]);
        assert_eq!(rows[0], ["Preisliste 2026"]);

        // A passage beside several rows.
        let passage = "Die Prüfung ist vor jeder Inbetriebnahme zu wiederholen. ".repeat(5);
        let mut rows = vec![vec!["a".to_owned(), passage], row("b;"), row("c;")];
        fill_merged(&mut rows, &[area(0, 1, 2, 0)]);
        assert_eq!(rows[1..], [row("b;"), row("c;")]);
    }

    #[test]
    fn a_row_found_alone_says_what_its_figures_are() {
        let header = row("Artikel;Preis €;Hinweis");
        assert_eq!(row_text(&header, &row("WDU 2.5;1,20;")), "Artikel: WDU 2.5; Preis €: 1,20");
        assert_eq!(row_text(&[], &row("a;;b")), "a | b");
    }
}
