//! Spreadsheets as tables, their catalog, and questions in SQL.

use base::Place;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CommitId;

/// A table of a spreadsheet as it was read: cells as text.
///
/// A catalogue's products, features and prices are rows of tables all documents share: see [`CataloguePart`](super::CataloguePart).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SheetTable {
    pub document_id: String,
    /// The table's place in the order of its document, from 0.
    pub ordinal: u32,
    /// The sheet, or the file inside the file; absent in a file of one table.
    #[serde(default)]
    pub label: Option<String>,
    pub place: Place,
    /// Empty when the table has none.
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
    pub numbers: Numbers,
}

/// How numbers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    /// As a spreadsheet stores them: `1234.5`.
    #[default]
    Stored,
    /// As people write them, `1.234,5` before `1,234.5` where both are possible.
    Comma,
    /// As people write them, `1,234.5` before `1.234,5` where both are possible.
    Point,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    Integer,
    /// A number with a fraction, as an IEEE 754 double.
    Decimal,
    Date,
    Boolean,
    Text,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name in SQL.
    pub name: String,
    /// The name in the file.
    pub title: String,
    pub kind: ColumnKind,
}

/// One spreadsheet table of the lake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatalogRow {
    /// The name in SQL.
    pub name: String,
    pub document_id: String,
    pub ordinal: u32,
    pub label: Option<String>,
    pub place: Place,
    pub rows: u64,
    pub columns: Vec<Column>,
    /// Below the lakehouse's `delta/sheets`. Nothing in it ever changes: a changed file gets another folder.
    pub folder: String,
}

/// A question in SQL. Reading is all it can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlRequest {
    pub text: String,
    /// Rows beyond this are left out, and the answer says so.
    pub max_rows: usize,
    /// The question is given up after this time.
    pub max_seconds: u64,
    /// The lake as it was after this commit; the newest when absent.
    #[serde(default)]
    pub at: Option<CommitId>,
    /// The vectors of what the question's calls of `search` ask for; one without is found by its words alone.
    #[serde(default)]
    pub vectors: Vec<AskedVector>,
}

/// The L2-normalised embedding of a text a question in SQL searches for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskedVector {
    pub text: String,
    #[serde(with = "super::packed")]
    pub vector: Vec<f32>,
}

/// The answer of a question in SQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlAnswer {
    pub columns: Vec<SqlColumn>,
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more rows than were asked for.
    pub truncated: bool,
    pub commit: CommitId,
    pub elapsed_ms: u64,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlColumn {
    pub name: String,
    /// The type as SQL people know it: `text`, `bigint`, `double`, …
    pub kind: String,
}

/// A table that can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlTable {
    pub name: String,
    pub rows: u64,
    pub columns: Vec<Column>,
    /// What it holds: a sentence, or the spreadsheet it came from.
    pub about: String,
    /// The document of a spreadsheet's table.
    pub document_id: Option<String>,
}
