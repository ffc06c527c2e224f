//! Small tools between rows and Arrow columns.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListBuilder, RecordBatch,
        StringArray, StringBuilder, new_null_array,
    },
    datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef},
};

use crate::{
    Error,
    format::{Column, ColumnKind},
};

/// A table's name and columns: what is made when it is missing and what is expected when it is there.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Kind, Nullable)],
}

/// The kinds of columns the tables have; every Delta and Lance reader knows them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Long,
    Double,
    Bool,
    Texts,
}

/// Whether a column may be without a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nullable {
    Yes,
    No,
}

impl Layout {
    /// Returns the Arrow schema.
    pub fn schema(&self) -> SchemaRef {
        let field = |(name, kind, nullable): &(&str, Kind, Nullable)| {
            Field::new(*name, data_type(*kind), *nullable == Nullable::Yes)
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// Returns the columns as people who ask see them.
    pub fn described(&self) -> Vec<Column> {
        let column = |(name, kind, _): &(&str, Kind, Nullable)| Column {
            name: (*name).to_owned(),
            title: (*name).to_owned(),
            kind: match kind {
                Kind::Int | Kind::Long => ColumnKind::Integer,
                Kind::Double => ColumnKind::Decimal,
                Kind::Bool => ColumnKind::Boolean,
                Kind::Text | Kind::Texts => ColumnKind::Text,
            },
        };
        self.columns.iter().map(column).collect()
    }

    /// Returns a batch of `columns`, in the order of the layout.
    pub fn batch(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch, Error> {
        RecordBatch::try_new(self.schema(), columns).map_err(|source| Error::Columns { table: self.name, source })
    }

    /// Returns a batch with the columns of the layout; those it was written without have no value.
    pub fn widened(&self, batch: RecordBatch) -> Result<RecordBatch, Error> {
        let schema = self.schema();
        if batch.schema().fields().len() == schema.fields().len() {
            return Ok(batch);
        }
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(column) => column.clone(),
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        let columns = schema.fields().iter().map(column).collect();
        RecordBatch::try_new(schema, columns).map_err(|source| Error::Columns { table: self.name, source })
    }

    /// Opens a batch for reading by column name.
    pub fn read<'a>(&self, batch: &'a RecordBatch) -> Reader<'a> {
        Reader { table: self.name, batch }
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Int => DataType::Int32,
        Kind::Long => DataType::Int64,
        Kind::Double => DataType::Float64,
        Kind::Bool => DataType::Boolean,
        Kind::Texts => DataType::List(element()),
    }
}

// Delta names a list's element so; with the same name its writer need not cast.
fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Utf8, true))
}

pub(crate) fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(crate) fn optional_texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(crate) fn ints(values: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

pub(crate) fn longs(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

pub(crate) fn optional_doubles(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

pub(crate) fn bools(values: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(BooleanArray::from(values.collect::<Vec<_>>()))
}

pub(crate) fn text_lists<'a>(values: impl Iterator<Item = &'a [String]>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(element());
    for list in values {
        for text in list {
            builder.values().append_value(text);
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// Reads one batch; a missing column or another type is an error that names it.
pub(crate) struct Reader<'a> {
    table: &'static str,
    batch: &'a RecordBatch,
}

impl<'a> Reader<'a> {
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub fn column(&self, name: &str) -> Result<&'a ArrayRef, Error> {
        self.batch.column_by_name(name).ok_or_else(|| self.damaged(format!("the column `{name}` is missing")))
    }

    pub fn has(&self, name: &str) -> bool {
        self.batch.column_by_name(name).is_some()
    }

    pub fn damaged(&self, what: String) -> Error {
        Error::Damaged { table: self.table, what }
    }

    fn typed<T>(&self, name: &str, found: Option<T>) -> Result<T, Error> {
        found.ok_or_else(|| self.damaged(format!("the column `{name}` has another type")))
    }

    pub fn texts(&self, name: &str) -> Result<&'a StringArray, Error> {
        self.typed(name, self.column(name)?.as_string_opt::<i32>())
    }

    pub fn ints(&self, name: &str) -> Result<&'a Int32Array, Error> {
        self.typed(name, self.column(name)?.as_primitive_opt::<Int32Type>())
    }

    pub fn longs(&self, name: &str) -> Result<&'a Int64Array, Error> {
        self.typed(name, self.column(name)?.as_primitive_opt::<Int64Type>())
    }

    pub fn doubles(&self, name: &str) -> Result<&'a Float64Array, Error> {
        self.typed(name, self.column(name)?.as_primitive_opt::<Float64Type>())
    }

    pub fn bools(&self, name: &str) -> Result<&'a BooleanArray, Error> {
        self.typed(name, self.column(name)?.as_boolean_opt())
    }

    /// As [`Self::text_list`]; none where the row was written before there was such a column.
    pub fn later_text_list(&self, name: &str, row: usize) -> Result<Vec<String>, Error> {
        if self.has(name) { self.text_list(name, row) } else { Ok(Vec::new()) }
    }

    /// Returns the texts of one row of a list column.
    pub fn text_list(&self, name: &str, row: usize) -> Result<Vec<String>, Error> {
        let lists = self.typed(name, self.column(name)?.as_list_opt::<i32>())?;
        if lists.is_null(row) {
            return Ok(Vec::new());
        }
        let values = lists.value(row);
        let values = self.typed(name, values.as_string_opt::<i32>())?;
        Ok(values.iter().flatten().map(str::to_owned).collect())
    }

    /// Parses a column's JSON text in one row.
    pub fn json<T: serde::de::DeserializeOwned>(&self, name: &str, row: usize) -> Result<T, Error> {
        serde_json::from_str(self.texts(name)?.value(row))
            .map_err(|error| self.damaged(format!("the column `{name}` holds other JSON: {error}")))
    }
}

/// Returns a text cell, `None` for null.
pub(crate) fn optional(values: &StringArray, row: usize) -> Option<String> {
    (!values.is_null(row)).then(|| values.value(row).to_owned())
}

/// Returns a value as JSON text. The types given here have string keys only, so it cannot fail; an empty text would be
/// reported as damage when read.
pub(crate) fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
