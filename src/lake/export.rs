//! One commit's tables in a folder of their own: plain Delta, and CSV beside it.
//!
//! It reads what the commit names and takes no lock: those files never change, and only a vacuum removes them.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use base::CustomerLayout;
use deltalake::{
    DeltaTableError,
    kernel::{Action, Add},
    operations::create::CreateBuilder,
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use crate::{
    CommitId, Error,
    format::{Exported, FORMAT},
    show::{cells, csv_line},
    store::{Source, Sources, Which},
    table::open_at,
};

/// The file that says what an export holds.
#[derive(Serialize)]
struct Index<'a> {
    format: u32,
    #[serde(flatten)]
    exported: &'a Exported,
}

/// Writes a commit's tables, the newest when `at` is absent, into `dir`: `delta/NAME`, `csv/NAME.csv`, and `export.json`.
///
/// # Errors
/// [`Error::Refused`] when there is no such commit, when it is not whole any more, and when `dir` holds something.
pub(crate) async fn export(layout: &CustomerLayout, dir: &Path, at: Option<CommitId>) -> Result<Exported, Error> {
    let sources = Sources::read(layout, at, Which::All).await?;
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    if fs::read_dir(dir).map_err(Error::io("list", dir))?.next().is_some() {
        return Err(Error::Refused(format!("`{}` is not empty", dir.display())));
    }
    let dir = dir.canonicalize().map_err(Error::io("open", dir))?;
    fs::create_dir(dir.join("csv")).map_err(Error::io("create", dir.join("csv")))?;
    let mut exported =
        Exported { commit: sources.commit, committed_ms: sources.committed_ms, tables: Default::default() };
    for (name, source) in &sources.tables {
        let rows = table(name, source, &dir).await?;
        exported.tables.insert(name.clone(), rows);
    }
    let path = dir.join("export.json");
    let index = serde_json::to_vec_pretty(&Index { format: FORMAT, exported: &exported }).map_err(std::io::Error::from);
    base::file::write_output(&path, &index.map_err(Error::io("write", &path))?).map_err(Error::io("write", &path))?;
    Ok(exported)
}

/// Writes one table, and returns its rows.
async fn table(name: &str, source: &Source, dir: &Path) -> Result<u64, Error> {
    let failed = || Error::table("export", "of the commit");
    let table = open_at(&source.folder, source.version).await.map_err(failed())?;
    let state = table.snapshot().map_err(failed())?;
    let to = dir.join("delta").join(name);
    fs::create_dir_all(&to).map_err(Error::io("create", &to))?;
    let csv = dir.join("csv").join(format!("{name}.csv"));
    let mut out = BufWriter::new(File::create_new(&csv).map_err(Error::io("create", &csv))?);
    let failed_csv = || Error::io("write", &csv);
    let schema = state.schema();
    let header: Vec<Value> = schema.fields().map(|field| Value::String(field.name().clone())).collect();
    writeln!(out, "{}", csv_line(header.iter())).map_err(failed_csv())?;
    let (mut adds, mut rows) = (Vec::new(), 0);
    for view in state.log_data().iter() {
        let from = source.folder.join(view.path().as_ref());
        match fs::copy(&from, to.join(view.path().as_ref())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let why = format!("`{name}` is not there any more as it was at this commit: a vacuum removed it");
                return Err(Error::Refused(why));
            }
            done => done.map_err(Error::io("copy", &from))?,
        };
        rows += write_csv(&from, &header, &mut out).map_err(failed_csv())?;
        adds.push(Action::Add(Add {
            path: view.path().into_owned(),
            size: view.size(),
            modification_time: view.modification_time(),
            data_change: true,
            stats: view.stats(),
            ..Add::default()
        }));
    }
    out.flush().map_err(failed_csv())?;
    let url = Url::from_directory_path(&to)
        .map_err(|()| DeltaTableError::generic("the folder's path is not absolute"))
        .map_err(failed())?;
    CreateBuilder::new()
        .with_location(url.as_str())
        .with_table_name(name)
        .with_columns(schema.fields().cloned())
        .with_actions(adds)
        .await
        .map_err(failed())?;
    Ok(rows)
}

/// Appends a file's rows, and returns how many. A column the file was written without is empty.
fn write_csv(file: &Path, header: &[Value], out: &mut impl Write) -> std::io::Result<u64> {
    let other = std::io::Error::other::<Box<dyn std::error::Error + Send + Sync>>;
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?).and_then(|builder| builder.build());
    let mut rows = 0;
    for batch in reader.map_err(|error| other(error.into()))? {
        let batch = batch.map_err(|error| other(error.into()))?;
        let column = |name: &Value| match name.as_str().and_then(|name| batch.column_by_name(name)) {
            Some(column) => cells(column),
            None => Ok(vec![Value::Null; batch.num_rows()]),
        };
        let columns = header.iter().map(column).collect::<Result<Vec<_>, _>>().map_err(|error| other(error.into()))?;
        for row in 0..batch.num_rows() {
            writeln!(out, "{}", csv_line(columns.iter().map(|column| &column[row])))?;
        }
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}
