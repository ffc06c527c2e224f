//! What all tables have in common: where the header is, and how a row reads as text.

/// Splits rows into header and body. A first row is a header when its cells are short, distinct, mostly filled and none is
/// a number or a date, and something follows it.
pub(crate) fn split_header(mut rows: Vec<Vec<String>>) -> (Vec<String>, Vec<Vec<String>>) {
    if rows.len() >= 2 && is_header(&rows[0], width(&rows)) {
        let header = rows.remove(0);
        (header, rows)
    } else {
        (Vec::new(), rows)
    }
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
    fn a_row_found_alone_says_what_its_figures_are() {
        let header = row("Artikel;Preis €;Hinweis");
        assert_eq!(row_text(&header, &row("WDU 2.5;1,20;")), "Artikel: WDU 2.5; Preis €: 1,20");
        assert_eq!(row_text(&[], &row("a;;b")), "a | b");
    }
}
