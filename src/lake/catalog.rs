//! The table `catalog`: which spreadsheet tables there are, and where.
//!
//! Each spreadsheet table is a Delta table of one version in a folder of its own, written before the commit's row and never changed.
//! A row of `catalog` makes it one of the lake's; the commit that removes the row leaves the folder to whoever asks for an older
//! commit, until a vacuum.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use deltalake::{
    DeltaTableError,
    kernel::{Action, StructType, engine::arrow_conversion::TryIntoKernel},
    operations::create::CreateBuilder,
    writer::{DeltaWriter, RecordBatchWriter},
};
use url::Url;

use crate::{
    CatalogRow, Error,
    cells::{self, Style, Value},
    columns::{
        Kind::{Int, Long, Text},
        Layout,
        Nullable::{No, Yes},
        ints, json_text, longs, optional, optional_texts, texts,
    },
    format::{Column, ColumnKind, SheetTable},
    rows::{count, int, long, unsigned},
};

pub(crate) const CATALOG: Layout = Layout {
    name: "catalog",
    columns: &[
        ("name", Text, No),
        ("document_id", Text, No),
        ("ordinal", Int, No),
        ("label", Text, Yes),
        ("place", Text, No),
        ("rows", Long, No),
        ("columns", Text, No),
        ("folder", Text, No),
    ],
};

/// The folder of the spreadsheet tables, below the lakehouse's `delta`.
pub(crate) const SHEETS: &str = "sheets";

pub(crate) fn catalog_batch(rows: &[CatalogRow]) -> Result<RecordBatch, Error> {
    let places: Vec<_> = rows.iter().map(|row| json_text(&row.place)).collect();
    let columns: Vec<_> = rows.iter().map(|row| json_text(&row.columns)).collect();
    CATALOG.batch(vec![
        texts(rows.iter().map(|row| row.name.as_str())),
        texts(rows.iter().map(|row| row.document_id.as_str())),
        ints(rows.iter().map(|row| int(row.ordinal))),
        optional_texts(rows.iter().map(|row| row.label.as_deref())),
        texts(places.iter().map(String::as_str)),
        longs(rows.iter().map(|row| long(row.rows))),
        texts(columns.iter().map(String::as_str)),
        texts(rows.iter().map(|row| row.folder.as_str())),
    ])
}

pub(crate) fn catalog_rows(batch: &RecordBatch) -> Result<Vec<CatalogRow>, Error> {
    let read = CATALOG.read(batch);
    let (name, document, label) = (read.texts("name")?, read.texts("document_id")?, read.texts("label")?);
    let (ordinal, rows, folder) = (read.ints("ordinal")?, read.longs("rows")?, read.texts("folder")?);
    let row = |row| {
        Ok(CatalogRow {
            name: name.value(row).to_owned(),
            document_id: document.value(row).to_owned(),
            ordinal: count(ordinal.value(row)),
            label: optional(label, row),
            place: read.json("place", row)?,
            rows: unsigned(rows.value(row)),
            columns: read.json("columns", row)?,
            folder: folder.value(row).to_owned(),
        })
    };
    (0..read.rows()).map(row).collect()
}

/// Returns the name a table is asked by: that of its file, and of its sheet where the file has several tables.
pub(crate) fn name(file: &str, table: &SheetTable, is_alone: bool, taken: &HashSet<String>) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let whole = match &table.label {
        Some(label) if !is_alone => format!("{stem} {label}"),
        _ => stem.to_owned(),
    };
    let wanted = match cells::identifier(&whole) {
        name if name.is_empty() => "table_1".to_owned(),
        name => name,
    };
    cells::free(&wanted, &|name| taken.contains(name))
}

/// Writes a spreadsheet table into `folder` below `home`, and returns its columns. Files that were made are added to `made`.
pub(crate) async fn write(
    home: &Path,
    folder: &str,
    table: &SheetTable,
    made: &mut Vec<PathBuf>,
) -> Result<Vec<Column>, Error> {
    let failed = || Error::table("write", "sheets");
    let folder = home.join(folder);
    if folder.exists() {
        // Left by a commit that never was: the number of a commit that counts is not given twice.
        std::fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
    }
    std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let folder = folder.canonicalize().map_err(Error::io("open", &folder))?;
    let url = Url::from_directory_path(&folder)
        .map_err(|()| DeltaTableError::generic("the folder's path is not absolute"))
        .map_err(failed())?;
    let columns = cells::columns(table);
    let batch = batch(table, &columns)?;
    let schema: StructType =
        batch.schema().as_ref().try_into_kernel().map_err(DeltaTableError::from).map_err(failed())?;
    let mut writer = RecordBatchWriter::try_new(&url, batch.schema(), None, None).map_err(failed())?;
    writer.write(batch).await.map_err(failed())?;
    let adds = writer.flush().await.map_err(failed())?;
    made.extend(adds.iter().map(|add| folder.join(&add.path)));
    CreateBuilder::new()
        .with_location(url.as_str())
        .with_table_name("sheet")
        .with_columns(schema.fields().cloned())
        .with_actions(adds.into_iter().map(Action::Add))
        .await
        .map_err(failed())?;
    made.push(folder.join("_delta_log").join(format!("{:020}.json", 0)));
    made.push(folder.join("_delta_log"));
    made.push(folder);
    Ok(columns)
}

fn schema(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| {
        let kind = match column.kind {
            ColumnKind::Integer => DataType::Int64,
            ColumnKind::Decimal => DataType::Float64,
            ColumnKind::Date => DataType::Date32,
            ColumnKind::Boolean => DataType::Boolean,
            ColumnKind::Text => DataType::Utf8,
        };
        Field::new(&column.name, kind, true)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn batch(table: &SheetTable, columns: &[Column]) -> Result<RecordBatch, Error> {
    let array = |(index, column): (usize, &Column)| -> ArrayRef {
        let cell = |row: usize| table.rows[row].get(index).map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
        let rows = 0..table.rows.len();
        let style = match column.kind {
            ColumnKind::Integer | ColumnKind::Decimal => cells::style(rows.clone().filter_map(cell), table.numbers),
            _ => Style::Stored,
        };
        let value = |row: usize| cell(row).and_then(|cell| cells::value(cell, column.kind, style));
        match column.kind {
            ColumnKind::Integer => {
                let number = |row| match value(row) {
                    Some(Value::Integer(number)) => Some(number),
                    _ => None,
                };
                Arc::new(rows.map(number).collect::<Int64Array>())
            }
            ColumnKind::Decimal => {
                let number = |row| match value(row) {
                    Some(Value::Decimal(number)) => Some(number),
                    _ => None,
                };
                Arc::new(rows.map(number).collect::<Float64Array>())
            }
            ColumnKind::Date => {
                let day = |row| match value(row) {
                    Some(Value::Date(day)) => Some(day),
                    _ => None,
                };
                Arc::new(rows.map(day).collect::<Date32Array>())
            }
            ColumnKind::Boolean => {
                let truth = |row| match value(row) {
                    Some(Value::Boolean(truth)) => Some(truth),
                    _ => None,
                };
                Arc::new(rows.map(truth).collect::<BooleanArray>())
            }
            ColumnKind::Text => Arc::new(rows.map(cell).collect::<StringArray>()),
        }
    };
    let arrays = columns.iter().enumerate().map(array).collect();
    RecordBatch::try_new(schema(columns), arrays).map_err(|source| Error::Columns { table: "sheets", source })
}
