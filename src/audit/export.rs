//! Records for other programs: JSON lines and CSV.

use serde::Serialize;

use crate::{Error, Kept, Record};

#[derive(Serialize)]
struct Line<'a> {
    /// Its first field is the format.
    #[serde(flatten)]
    record: &'a Record,
    /// The moment as people write it.
    time: String,
    log: &'a str,
    digest: base::Digest,
}

/// Returns one JSON object per line: the record, the moment in RFC 3339, the log's name and the record's digest.
///
/// # Errors
/// None in practice: a record always has a JSON form.
pub fn to_json_lines(records: &[Kept]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    for Kept { log, record, digest } in records {
        let line = Line { record, time: record.at.to_string(), log, digest: *digest };
        serde_json::to_writer(&mut out, &line).map_err(Error::Json)?;
        out.push(b'\n');
    }
    Ok(out)
}

/// Returns a table with a heading, for spreadsheets: no cell begins like a formula.
///
/// # Errors
/// None in practice.
pub fn to_csv(records: &[Kept]) -> Result<Vec<u8>, Error> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table
        .write_record(["format", "time", "log", "seq", "who", "act", "object", "outcome", "detail", "digest"])
        .map_err(Error::Csv)?;
    for Kept { log, record, digest } in records {
        let row = [
            record.format.to_string(),
            record.at.to_string(),
            (*log).to_owned(),
            record.seq.to_string(),
            cell(&record.who.to_string()),
            record.act.name().to_owned(),
            cell(&record.object),
            record.outcome.name().to_owned(),
            cell(&record.detail),
            digest.to_string(),
        ];
        table.write_record(row).map_err(Error::Csv)?;
    }
    table.into_inner().map_err(|error| Error::Csv(error.into_error().into()))
}

fn cell(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() }
}
