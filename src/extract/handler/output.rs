//! What a handler emits, kept within its limits.

use std::collections::HashMap;

use super::limits::HandlerLimits;
use super::refusal::Refusal;
use super::run::Records;

/// A record has fewer fields than this, and a file fewer kinds of records.
const MAX_COLUMNS: usize = 512;
const MAX_TABLES: usize = 64;
/// A cell is a value, not a text.
const MAX_CELL_BYTES: usize = 64 << 10;
const MAX_NAME_CHARACTERS: usize = 80;

/// The records and texts so far.
#[derive(Default)]
pub(super) struct Output {
    tables: Vec<Table>,
    names: HashMap<String, usize>,
    pub texts: Vec<String>,
    pub records: u64,
    pub bytes: u64,
}

#[derive(Default)]
struct Table {
    records: Records,
    columns: HashMap<String, usize>,
}

/// Why something could not be emitted: a mistake the handler may catch, or the end of the run.
pub(super) enum EmitError {
    Mistake(String),
    Limit(Refusal),
}

impl Output {
    /// Adds a record to the table of a name.
    ///
    /// # Errors
    /// [`EmitError::Mistake`] for a record that is none, [`EmitError::Limit`] when there are too many of them.
    pub fn record(
        &mut self,
        name: &str,
        cells: Vec<(String, String)>,
        limits: &HandlerLimits,
    ) -> Result<(), EmitError> {
        let mistake = |text: String| Err(EmitError::Mistake(text));
        if cells.is_empty() {
            return mistake("a record has at least one field".to_owned());
        }
        if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARACTERS {
            return mistake(format!("the name of a table has 1 to {MAX_NAME_CHARACTERS} characters"));
        }
        if self.records >= limits.max_records {
            let what = "records".to_owned();
            return Err(EmitError::Limit(Refusal::Output { what, limit: limits.max_records }));
        }
        if let Some((column, _)) = cells.iter().find(|(_, cell)| cell.len() > MAX_CELL_BYTES) {
            return mistake(format!(
                "the field `{column}` has more than {MAX_CELL_BYTES} bytes; emit_text() takes texts"
            ));
        }
        self.charge(cells.iter().map(|(_, cell)| cell.len()).sum(), limits)?;
        let index = match self.names.get(name) {
            Some(index) => *index,
            None if self.tables.len() >= MAX_TABLES => {
                return mistake(format!("a file has at most {MAX_TABLES} kinds of records"));
            }
            None => {
                let records = Records { name: name.to_owned(), ..Records::default() };
                self.tables.push(Table { records, ..Table::default() });
                self.names.insert(name.to_owned(), self.tables.len() - 1);
                self.tables.len() - 1
            }
        };
        let table = &mut self.tables[index];
        let mut row = vec![String::new(); table.records.columns.len()];
        for (column, cell) in cells {
            let at = match table.columns.get(&column) {
                Some(at) => *at,
                None if table.records.columns.len() >= MAX_COLUMNS => {
                    return mistake(format!("the records of one kind have at most {MAX_COLUMNS} fields"));
                }
                None if column.trim().is_empty() || column.chars().count() > MAX_NAME_CHARACTERS => {
                    return mistake(format!("the name of a field has 1 to {MAX_NAME_CHARACTERS} characters"));
                }
                None => {
                    table.records.columns.push(column.clone());
                    table.columns.insert(column, table.records.columns.len() - 1);
                    row.push(String::new());
                    table.records.columns.len() - 1
                }
            };
            row[at] = cell;
        }
        table.records.rows.push(row);
        self.records += 1;
        Ok(())
    }

    /// Adds a text.
    ///
    /// # Errors
    /// [`EmitError::Limit`] when there is too much of it.
    pub fn text(&mut self, text: String, limits: &HandlerLimits) -> Result<(), EmitError> {
        self.charge(text.len(), limits)?;
        self.texts.push(text);
        Ok(())
    }

    /// Every entry costs something, an empty one too: a list of a billion empty texts is large.
    fn charge(&mut self, bytes: usize, limits: &HandlerLimits) -> Result<(), EmitError> {
        self.bytes = self.bytes.saturating_add(bytes as u64).saturating_add(1);
        if self.bytes > limits.max_output_bytes {
            let what = "bytes of output".to_owned();
            return Err(EmitError::Limit(Refusal::Output { what, limit: limits.max_output_bytes }));
        }
        Ok(())
    }

    /// Returns the tables, each row as wide as its table became.
    pub fn into_tables(self) -> (Vec<Records>, Vec<String>) {
        let tables = self.tables.into_iter().map(|table| {
            let mut records = table.records;
            let width = records.columns.len();
            records.rows.iter_mut().for_each(|row| row.resize(width, String::new()));
            records
        });
        (tables.collect(), self.texts)
    }
}
