//! Cells as people and spreadsheets write them → columns of one type each.
//!
//! A column has the narrowest type all its filled cells agree on; one that does not fit makes it text, and text stays as it was
//! written. A number with zeros in front is a code, not a number.

use crate::format::{Column, ColumnKind, Numbers, SheetTable};

/// The longest name of a column or table.
const MAX_NAME: usize = 60;
/// Columns beyond this are left out: no sheet people look at has as many.
pub(crate) const MAX_COLUMNS: usize = 500;

/// Words SQL reads as its own.
const RESERVED: [&str; 28] = [
    "all", "and", "as", "between", "by", "case", "cast", "cross", "distinct", "else", "end", "exists", "from", "group",
    "having", "in", "join", "limit", "not", "null", "on", "or", "order", "select", "table", "then", "union", "where",
];

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Integer(i64),
    Decimal(f64),
    /// Days since 1970-01-01.
    Date(i32),
    Boolean(bool),
}

/// Returns the columns of a table: names for SQL, names of the file, and the types the cells have.
pub(crate) fn columns(table: &SheetTable) -> Vec<Column> {
    let width = table.rows.iter().map(Vec::len).chain([table.header.len()]).max().unwrap_or(0).min(MAX_COLUMNS);
    let mut columns: Vec<Column> = Vec::with_capacity(width);
    for index in 0..width {
        let title = table.header.get(index).map(|title| title.trim()).unwrap_or_default();
        let wanted = match identifier(title) {
            name if name.is_empty() => format!("column_{}", index + 1),
            name => name,
        };
        let name = free(&wanted, &|name| columns.iter().any(|column| column.name == name));
        let cells =
            table.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
        let kind = kind(cells, table.numbers);
        columns.push(Column { name, title: title.to_owned(), kind });
    }
    columns
}

/// Returns a text as a name that needs no quotes in SQL: `gültig ab` is `gueltig_ab`. Empty when nothing is left.
pub(crate) fn identifier(text: &str) -> String {
    let mut name = String::new();
    for c in text.to_lowercase().chars() {
        match c {
            'ä' => name.push_str("ae"),
            'ö' => name.push_str("oe"),
            'ü' => name.push_str("ue"),
            'ß' => name.push_str("ss"),
            '€' => name.push_str("eur"),
            '%' => name.push_str("percent"),
            'a'..='z' | '0'..='9' => name.push(c),
            _ if !name.is_empty() && !name.ends_with('_') => name.push('_'),
            _ => {}
        }
        if name.len() >= MAX_NAME {
            break;
        }
    }
    let mut name = name.trim_end_matches('_').to_owned();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    if RESERVED.contains(&name.as_str()) {
        name.push('_');
    }
    name
}

/// Returns `wanted`, or the first `wanted_N` nobody has.
pub(crate) fn free(wanted: &str, is_taken: &dyn Fn(&str) -> bool) -> String {
    let mut name = wanted.to_owned();
    let mut number = 2_u64;
    while is_taken(&name) {
        name = format!("{wanted}_{number}");
        number += 1;
    }
    name
}

fn kind<'a>(cells: impl Iterator<Item = &'a str>, numbers: Numbers) -> ColumnKind {
    const ORDER: [ColumnKind; 4] = [ColumnKind::Boolean, ColumnKind::Integer, ColumnKind::Decimal, ColumnKind::Date];
    let mut possible: Vec<ColumnKind> = ORDER.to_vec();
    let mut is_filled = false;
    // Of the two ways to write a number, those that fit every cell so far.
    let mut styles = styles(numbers);
    for cell in cells {
        is_filled = true;
        styles.retain(|style| number(cell, *style).is_some());
        possible.retain(|kind| match kind {
            ColumnKind::Boolean => boolean(cell).is_some(),
            ColumnKind::Integer => {
                styles.first().is_some_and(|style| matches!(number(cell, *style), Some(Value::Integer(_))))
            }
            ColumnKind::Decimal => !styles.is_empty(),
            ColumnKind::Date => date(cell).is_some(),
            ColumnKind::Text => true,
        });
        if possible.is_empty() {
            return ColumnKind::Text;
        }
    }
    if is_filled { possible.first().copied().unwrap_or(ColumnKind::Text) } else { ColumnKind::Text }
}

/// Reads one cell of a column; `None` where it is empty. `style` is that of the whole column, see [`style`].
pub(crate) fn value(cell: &str, kind: ColumnKind, style: Style) -> Option<Value> {
    let cell = cell.trim();
    match kind {
        ColumnKind::Boolean => boolean(cell).map(Value::Boolean),
        ColumnKind::Integer => number(cell, style),
        ColumnKind::Decimal => number(cell, style).map(|value| match value {
            Value::Integer(value) => Value::Decimal(value as f64),
            value => value,
        }),
        ColumnKind::Date => date(cell).map(Value::Date),
        ColumnKind::Text => None,
    }
}

/// Which character stands before the fraction, and which may stand between thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `1234.5`
    Stored,
    /// `1.234,5`
    Comma,
    /// `1,234.5`
    Point,
}

fn styles(numbers: Numbers) -> Vec<Style> {
    match numbers {
        // A number that was typed as text stays as people write it.
        Numbers::Stored => vec![Style::Stored, Style::Comma],
        Numbers::Comma => vec![Style::Comma, Style::Point],
        Numbers::Point => vec![Style::Point, Style::Comma],
    }
}

/// Returns the way of writing numbers that fits all filled cells of a column.
pub(crate) fn style<'a>(cells: impl Iterator<Item = &'a str>, numbers: Numbers) -> Style {
    let mut styles = styles(numbers);
    let first = styles[0];
    for cell in cells.map(str::trim).filter(|cell| !cell.is_empty()) {
        styles.retain(|style| number(cell, *style).is_some());
    }
    styles.first().copied().unwrap_or(first)
}

fn number(cell: &str, style: Style) -> Option<Value> {
    let (negative, digits) = match cell.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest),
        None => (false, cell.strip_prefix('+').unwrap_or(cell)),
    };
    if digits.is_empty() || digits.len() > 40 || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (thousands, point) = match style {
        Style::Stored => (None, '.'),
        Style::Comma => (Some('.'), ','),
        Style::Point => (Some(','), '.'),
    };
    if style == Style::Stored && digits.contains(['e', 'E']) {
        let value: f64 = cell.replace('−', "-").parse().ok()?;
        return value.is_finite().then_some(Value::Decimal(value));
    }
    let (whole, fraction) = match digits.split_once(point) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let whole = match thousands {
        Some(separator) if whole.contains(separator) => {
            let mut groups = whole.split(separator);
            let first = groups.next().unwrap_or_default();
            let is_grouped = (1..=3).contains(&first.len()) && first != "0" && groups.all(|group| group.len() == 3);
            is_grouped.then(|| whole.replace(separator, ""))?
        }
        _ => whole.to_owned(),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // `0815` is a code.
    if !all_digits(&whole) || whole.is_empty() || whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    match fraction {
        None if whole.len() <= 18 => format!("{sign}{whole}").parse().ok().map(Value::Integer),
        // Twenty digits are a code too: a double would not keep them.
        None => None,
        Some(fraction) if !fraction.is_empty() && all_digits(fraction) => {
            format!("{sign}{whole}.{fraction}").parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Decimal)
        }
        Some(_) => None,
    }
}

fn boolean(cell: &str) -> Option<bool> {
    match cell.to_lowercase().as_str() {
        "true" | "wahr" | "ja" | "yes" => Some(true),
        "false" | "falsch" | "nein" | "no" => Some(false),
        _ => None,
    }
}

/// Reads `31.12.2026`, `31.12.26` and `2026-12-31`; days since 1970-01-01.
fn date(cell: &str) -> Option<i32> {
    if cell.len() > 10 {
        return None;
    }
    let dots: Vec<&str> = cell.split('.').collect();
    let dashes: Vec<&str> = cell.split('-').collect();
    let (year, month, day) = match (&dots[..], &dashes[..]) {
        ([day, month, year], _) if matches!(year.len(), 2 | 4) => (*year, *month, *day),
        (_, [year, month, day]) if year.len() == 4 => (*year, *month, *day),
        _ => return None,
    };
    let part = |text: &str| {
        (text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<i64>().ok())?
    };
    let (mut year, month, day) = (part(year)?, part(month)?, part(day)?);
    if year < 100 {
        year += if year < 70 { 2000 } else { 1900 };
    }
    days(year, month, day)
}

/// Returns the days from 1970-01-01 to a day of the Gregorian calendar, `None` when there is no such day.
///
/// Counts years from March, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> Option<i32> {
    let is_leap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1000..=9999).contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let before = 365 * year + year / 4 - year / 100 + year / 400;
    i32::try_from(before + (153 * month + 2) / 5 + day - 1 - 719_468).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: Numbers, cells: &[&str], expect: ColumnKind) {
        assert_eq!(kind(cells.iter().copied(), numbers), expect, "{cells:?}");
    }

    #[test]
    fn a_column_has_the_type_all_its_cells_agree_on() {
        use ColumnKind::{Boolean, Date, Decimal, Integer, Text};
        check(Numbers::Comma, &["1,18", "79,00", "1.234,50"], Decimal);
        check(Numbers::Comma, &["7.440", "342", "12"], Integer);
        check(Numbers::Stored, &["1.42", "2", "1e16"], Decimal);
        check(Numbers::Stored, &["1,42", "2"], Decimal);
        check(Numbers::Point, &["1,234", "7"], Integer);
        check(Numbers::Comma, &["7101025", "7101040"], Integer);
        check(Numbers::Comma, &["0815", "4711"], Text);
        check(Numbers::Comma, &["01.01.2026", "2.3.26"], Date);
        check(Numbers::Stored, &["2024-09-17", "2029-02-28"], Date);
        check(Numbers::Stored, &["2024-02-30"], Text);
        check(Numbers::Comma, &["ja", "Nein"], Boolean);
        check(Numbers::Comma, &["1", "x"], Text);
        check(Numbers::Comma, &["12345678901234567890"], Text);
        check(Numbers::Comma, &["1.2.3.4", "-"], Text);
        check(Numbers::Comma, &[], Text);
    }

    #[test]
    fn cells_keep_their_value() {
        let style = style(["1.234,50", "7"].into_iter(), Numbers::Comma);
        assert_eq!(value("1.234,50", ColumnKind::Decimal, style), Some(Value::Decimal(1234.5)));
        assert_eq!(value("-7", ColumnKind::Decimal, style), Some(Value::Decimal(-7.0)));
        assert_eq!(value("7.440", ColumnKind::Integer, Style::Comma), Some(Value::Integer(7440)));
        assert_eq!(value("", ColumnKind::Integer, style), None);
        for (day, expect) in [("1970-01-01", 0), ("01.03.2000", 11_017), ("31.12.1969", -1), ("29.02.2024", 19_782)] {
            assert_eq!(value(day, ColumnKind::Date, style), Some(Value::Date(expect)), "{day}");
        }
    }

    #[test]
    fn names_need_no_quotes_and_are_all_different() {
        let table = SheetTable {
            header: ["Listenpreis €", "gültig ab", "Order", "", "Order", "2024"].map(str::to_owned).to_vec(),
            rows: vec![vec!["1".to_owned(); 7]],
            ..SheetTable::default()
        };
        let names: Vec<_> = columns(&table).into_iter().map(|column| column.name).collect();
        assert_eq!(names, ["listenpreis_eur", "gueltig_ab", "order_", "column_4", "order__2", "_2024", "column_7"]);
        assert_eq!(identifier("日本"), "");
        assert_eq!(identifier(&"ä".repeat(500)).len(), MAX_NAME);
    }
}
