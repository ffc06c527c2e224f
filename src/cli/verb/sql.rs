use base::Exit;
use lake::{AskedVector, ColumnKind, CommitId, SqlAnswer, SqlRequest, SqlTable};
use serde_json::{Map, Value, json};

use crate::{
    args::SqlArgs,
    context::Context,
    failure::{Failure, Outcome},
    local::Parts,
    printer::{Printer, shown},
};

/// Characters of a cell on the screen.
const SHOWN_CHARS: usize = 60;

/// Answers a question in SQL, or lists what can be asked.
pub async fn run(context: &Context, args: &SqlArgs) -> Outcome {
    let parts = Parts::existing(context)?;
    let lake = parts.lake().await?;
    let printer = context.printer;
    let Some(question) = args.question.as_ref().filter(|_| !args.tables) else {
        return list(printer, &lake.sql_tables().await?);
    };
    let mut vectors = Vec::new();
    let searched = lake::searches_of(question);
    if !searched.is_empty() {
        let embedding = parts.embedding().await?;
        for text in searched {
            let vector = embedding.embed_query(&text).await?;
            vectors.push(AskedVector { text, vector });
        }
    }
    let request = SqlRequest {
        vectors,
        text: question.clone(),
        max_rows: args.max_rows as usize,
        max_seconds: u64::from(args.max_seconds),
        at: args.at.map(CommitId),
    };
    let answer = match lake.sql(request).await {
        Ok(answer) => answer,
        Err(lake::Error::Refused(why)) => {
            let failure = Failure::new(Exit::Usage, why).during("this question cannot be answered");
            return Err(failure.remedy("`0711 sql --tables` lists tables and columns; `0711 help sql` has examples"));
        }
        Err(error) => return Err(error.into()),
    };
    if args.csv {
        csv(printer, &answer);
    } else if printer.json {
        let rows: Vec<Map<String, Value>> = answer.rows.iter().map(|row| object(&answer, row)).collect();
        printer.value(&json!({
            "columns": answer.columns,
            "rows": rows,
            "truncated": answer.truncated,
            "commit": answer.commit,
            "elapsed_ms": answer.elapsed_ms,
        }))?;
    } else {
        table(printer, &answer);
    }
    if answer.truncated && !printer.json {
        printer.note(format!("only the first {} rows: `--max-rows` shows more", answer.rows.len()));
    }
    Ok(())
}

/// A row by its columns' names; of two with one name, the later has a number behind it.
fn object(answer: &SqlAnswer, row: &[Value]) -> Map<String, Value> {
    let mut object = Map::new();
    for (column, value) in answer.columns.iter().zip(row) {
        let mut name = column.name.clone();
        let mut number = 2;
        while object.contains_key(&name) {
            name = format!("{}_{number}", column.name);
            number += 1;
        }
        object.insert(name, value.clone());
    }
    object
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Prints the answer as RFC 4180 has it.
fn csv(printer: Printer, answer: &SqlAnswer) {
    let line = |cells: Vec<String>| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",");
    printer.line(line(answer.columns.iter().map(|column| column.name.clone()).collect()));
    for row in &answer.rows {
        printer.line(line(row.iter().map(text).collect()));
    }
}

fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

fn table(printer: Printer, answer: &SqlAnswer) {
    let cell = |value: &Value| {
        let line = shown(&text(value));
        match line.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    };
    let header: Vec<String> = answer.columns.iter().map(|column| shown(&column.name)).collect();
    let rows: Vec<Vec<String>> = answer.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&header[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded =
            cells.iter().zip(&answer.columns).zip(&widths).map(|((cell, column), width)| match column.kind.as_str() {
                "bigint" | "double" => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    printer.line(printer.bold(&line(&header)));
    rows.iter().for_each(|row| printer.line(line(row)));
}

fn list(printer: Printer, tables: &[SqlTable]) -> Outcome {
    if printer.json {
        return printer.value(&json!({ "tables": tables }));
    }
    for table in tables {
        printer.line(format!(
            "{}  {}",
            printer.bold(&table.name),
            printer.dim(&format!("{} rows, {}", table.rows, shown(&table.about)))
        ));
        let column = |column: &lake::Column| {
            let kind = match column.kind {
                ColumnKind::Integer => "integer",
                ColumnKind::Decimal => "decimal",
                ColumnKind::Date => "date",
                ColumnKind::Boolean => "boolean",
                ColumnKind::Text => "text",
            };
            let title = match column.title == column.name || column.title.is_empty() {
                true => String::new(),
                false => format!(" ({})", shown(&column.title)),
            };
            format!("{} {kind}{title}", column.name)
        };
        printer.line(format!("    {}", table.columns.iter().map(column).collect::<Vec<_>>().join(", ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_survive_csv() {
        for (cell, expect) in [("a", "a"), ("a,b", "\"a,b\""), ("say \"ja\"", "\"say \"\"ja\"\"\""), ("2 mm²", "2 mm²")]
        {
            assert_eq!(quoted(cell), expect);
        }
    }
}
