//! Values of any column as JSON, and as comma-separated text.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::Value;

/// Returns a column's values: numbers and truths as such, everything else as people read it.
pub(crate) fn cells(column: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    let kind = column.data_type();
    if let Some(values) = column.as_boolean_opt() {
        return Ok(values.iter().map(|value| value.map_or(Value::Null, Value::Bool)).collect());
    }
    if kind.is_integer() && *kind != DataType::UInt64 {
        let values = cast(column, &DataType::Int64)?;
        return Ok(values
            .as_primitive::<Int64Type>()
            .iter()
            .map(|value| value.map_or(Value::Null, Value::from))
            .collect());
    }
    if kind.is_floating() {
        let values = cast(column, &DataType::Float64)?;
        // JSON has no word for what is not a number.
        return Ok(values
            .as_primitive::<Float64Type>()
            .iter()
            .map(|value| value.map_or(Value::Null, Value::from))
            .collect());
    }
    let options = FormatOptions::default();
    let shown = ArrayFormatter::try_new(column, &options)?;
    let cell = |row| if column.is_null(row) { Value::Null } else { Value::String(shown.value(row).to_string()) };
    Ok((0..column.len()).map(cell).collect())
}

/// Returns one line as RFC 4180 has it, without its end. Nothing stands for null.
pub(crate) fn csv_line<'a>(cells: impl Iterator<Item = &'a Value>) -> String {
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) if text.contains([',', '"', '\n', '\r']) => format!("\"{}\"", text.replace('"', "\"\"")),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    cells.map(cell).collect::<Vec<_>>().join(",")
}
