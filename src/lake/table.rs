//! One Delta table: append, replace whole files, read, restore.
//!
//! Rows are replaced by rewriting the few files that hold them, in the same Delta version that brings the new rows: any
//! reader of any version sees each document once, and no query engine runs for it. Delta's own `MERGE` and `DELETE` plan
//! through DataFusion and scan the whole table to find those files; the lake, being the only writer, knows them.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use arrow::array::RecordBatch;
use deltalake::{
    DeltaTable, DeltaTableError,
    kernel::{
        Action, Add, StructType,
        engine::arrow_conversion::TryIntoKernel,
        transaction::{CommitBuilder, CommitProperties},
    },
    logstore::LogStoreRef,
    operations::create::CreateBuilder,
    parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder},
    protocol::{DeltaOperation, SaveMode},
    table::{builder::DeltaTableBuilder, state::DeltaTableState},
    writer::{DeltaWriter, RecordBatchWriter},
};
use url::Url;

use crate::{Error, columns::Layout, durable};

/// The folder inside a table's for files that no version may name yet: no reader of the table looks there.
const ASIDE: &str = "_aside";

pub(crate) struct Table {
    pub layout: Layout,
    folder: PathBuf,
    url: Url,
    log: LogStoreRef,
    state: DeltaTableState,
}

/// One file of a table.
#[derive(Clone, Debug)]
pub(crate) struct TableFile {
    /// Relative to the table's folder.
    pub path: String,
    pub rows: usize,
}

impl Table {
    /// Opens the table in `folder` at its newest version, or makes an empty one there.
    pub async fn open(folder: PathBuf, layout: Layout) -> Result<Self, Error> {
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let folder = folder.canonicalize().map_err(Error::io("open", &folder))?;
        let failed = || Error::table("open", layout.name);
        let url = Url::from_directory_path(&folder)
            .map_err(|()| DeltaTableError::generic("the folder's path is not absolute"))
            .map_err(failed())?;
        let table = match load(&url).await {
            Err(DeltaTableError::NotATable(_)) => create(&url, &layout).await,
            found => found,
        }
        .map_err(failed())?;
        let state = table.snapshot().map_err(failed())?.clone();
        Ok(Self { layout, folder, url, log: table.log_store(), state })
    }

    /// Adds columns the layout has and the table has not, as a new version without new rows. Rows that are there have no value in them.
    /// Returns whether there were such columns.
    pub async fn widen(&mut self) -> Result<bool, Error> {
        let failed = || Error::table("widen", self.layout.name);
        let known = self.state.schema();
        let wanted: StructType =
            self.layout.schema().as_ref().try_into_kernel().map_err(DeltaTableError::from).map_err(failed())?;
        let missing: Vec<_> = wanted.fields().filter(|field| known.field(field.name()).is_none()).cloned().collect();
        if missing.is_empty() {
            return Ok(false);
        }
        let table = load(&self.url).await.map_err(failed())?;
        let table = table.add_columns().with_fields(missing).await.map_err(failed())?;
        self.state = table.snapshot().map_err(failed())?.clone();
        durable::sync(vec![self.log_file()]).await?;
        Ok(true)
    }

    pub fn version(&self) -> u64 {
        self.state.version()
    }

    /// Returns the table's files.
    pub fn files(&self) -> Vec<TableFile> {
        let file = |view: deltalake::kernel::LogicalFileView| TableFile {
            path: view.path().into_owned(),
            rows: view.num_records().unwrap_or(0),
        };
        self.state.log_data().iter().map(file).collect()
    }

    /// Makes the next version: the files `replaced` leave it, `rows` enter it as one file (none when there are no rows).
    ///
    /// Returns the new file's path. Files that were made are added to `made`.
    pub async fn write(
        &mut self,
        replaced: &[String],
        rows: RecordBatch,
        made: &mut Vec<PathBuf>,
    ) -> Result<Option<String>, Error> {
        let adds = self.prepare(rows, made).await?;
        let path = adds.last().map(|add| add.path.clone());
        self.exchange(replaced, adds, made).await?;
        Ok(path)
    }

    /// Writes rows into a file that no version names yet. Files that were made are added to `made`.
    async fn prepare(&self, rows: RecordBatch, made: &mut Vec<PathBuf>) -> Result<Vec<Add>, Error> {
        let adds = self.write_rows(&self.url, rows).await?;
        made.extend(adds.iter().map(|add| self.folder.join(&add.path)));
        Ok(adds)
    }

    /// Writes rows into a file beside the table's, for a version that may be made later: [`Self::take_in`] makes it one of the table's.
    pub async fn put_aside(&self, rows: RecordBatch) -> Result<Vec<Add>, Error> {
        let folder = self.aside();
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let url = self.url.join(&format!("{ASIDE}/")).map_err(|error| DeltaTableError::generic(error.to_string()));
        self.write_rows(&url.map_err(Error::table("write", self.layout.name))?, rows).await
    }

    /// Moves a file that was put aside to the table's files, so that a version may name it.
    pub fn take_in(&self, aside: &Add, made: &mut Vec<PathBuf>) -> Result<(), Error> {
        let (from, to) = (self.aside().join(&aside.path), self.folder.join(&aside.path));
        std::fs::rename(&from, &to).map_err(Error::io("move", &from))?;
        made.push(to);
        Ok(())
    }

    /// Removes files that were put aside.
    pub fn forget_aside(&self, files: &[Add]) -> Result<(), Error> {
        for file in files {
            let path = self.aside().join(&file.path);
            std::fs::remove_file(&path).or_else(is_gone).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    /// Removes everything that was put aside, which is nobody's when the table is opened to be written.
    pub fn clear_aside(&self) -> Result<(), Error> {
        let folder = self.aside();
        std::fs::remove_dir_all(&folder).or_else(is_gone).map_err(Error::io("remove", &folder))
    }

    fn aside(&self) -> PathBuf {
        self.folder.join(ASIDE)
    }

    async fn write_rows(&self, url: &Url, rows: RecordBatch) -> Result<Vec<Add>, Error> {
        let failed = || Error::table("write", self.layout.name);
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let mut writer = RecordBatchWriter::try_new(url, self.layout.schema(), None, None).map_err(failed())?;
        writer.write(rows).await.map_err(failed())?;
        writer.flush().await.map_err(failed())
    }

    /// Makes the next version: the files `replaced` leave it, those of `adds` enter it. There is none when both are empty.
    pub async fn exchange(
        &mut self,
        replaced: &[String],
        adds: Vec<Add>,
        made: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let failed = || Error::table("write", self.layout.name);
        let mut actions: Vec<Action> = self
            .state
            .log_data()
            .iter()
            .filter(|view| replaced.iter().any(|path| *path == view.path()))
            .map(|view| Action::Remove(view.remove_action(true)))
            .collect();
        if actions.len() != replaced.len() {
            let what =
                format!("{} of {} files to replace are not in it", replaced.len() - actions.len(), replaced.len());
            return Err(Error::Damaged { table: self.layout.name, what });
        }
        actions.extend(adds.into_iter().map(Action::Add));
        if actions.is_empty() {
            return Ok(());
        }
        let mode = if replaced.is_empty() { SaveMode::Append } else { SaveMode::Overwrite };
        let operation = DeltaOperation::Write { mode, partition_by: None, predicate: None };
        // The log is the history rollback leans on: it is checkpointed now and then, and cleaned by age as Delta's default is.
        let finished = CommitBuilder::from(CommitProperties::default().with_max_retries(0))
            .with_actions(actions)
            .build(Some(&self.state), self.log.clone(), operation)
            .await
            .map_err(failed())?;
        self.state = finished.snapshot();
        made.push(self.log_file());
        Ok(())
    }

    /// Reads one file's rows; with `columns`, only these, else all of the layout.
    pub fn read_file(&self, path: &str, columns: Option<&[&str]>) -> Result<Vec<RecordBatch>, Error> {
        let failed = || Error::table("read", self.layout.name);
        let path = self.folder.join(path);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(DeltaTableError::from).map_err(failed())?;
        let mask = match columns {
            Some(columns) => ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied()),
            None => ProjectionMask::all(),
        };
        let reader = builder
            .with_projection(mask)
            .with_batch_size(8192)
            .build()
            .map_err(DeltaTableError::from)
            .map_err(failed())?;
        let batches: Vec<_> = reader.collect::<Result<_, _>>().map_err(DeltaTableError::from).map_err(failed())?;
        match columns {
            Some(_) => Ok(batches),
            None => batches.into_iter().map(|batch| self.layout.widened(batch)).collect(),
        }
    }

    /// Returns a text column's value in a file's first row.
    pub fn first_text(&self, path: &str, column: &str) -> Result<Option<String>, Error> {
        let failed = || Error::table("read", self.layout.name);
        let path = self.folder.join(path);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(DeltaTableError::from).map_err(failed())?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
        let reader = builder.with_projection(mask).with_batch_size(1).with_limit(1).build();
        let Some(batch) = reader.map_err(DeltaTableError::from).map_err(failed())?.next() else { return Ok(None) };
        let batch = batch.map_err(DeltaTableError::from).map_err(failed())?;
        let texts = self.layout.read(&batch).texts(column)?;
        Ok(texts.iter().flatten().next().map(str::to_owned))
    }

    /// Returns the table's folder, by its real path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the whole table as it was at an older version.
    pub async fn read_at(&self, version: u64) -> Result<Vec<RecordBatch>, Error> {
        let failed = || Error::table("read", self.layout.name);
        let table = open_at(&self.folder, version).await.map_err(failed())?;
        let mut all = Vec::new();
        for view in table.snapshot().map_err(failed())?.log_data().iter() {
            all.extend(self.read_file(&view.path(), None)?);
        }
        Ok(all)
    }

    /// Reads the whole table.
    pub fn read(&self) -> Result<Vec<RecordBatch>, Error> {
        let mut all = Vec::new();
        for file in self.files() {
            all.extend(self.read_file(&file.path, None)?);
        }
        Ok(all)
    }

    /// Reads the end of every data file; returns the rows there are, and what is wrong, each a sentence.
    pub fn check(&self) -> (u64, Vec<String>) {
        let (mut rows, mut faults) = (0, Vec::new());
        for file in self.files() {
            let found = File::open(self.folder.join(&file.path)).map_err(|error| error.to_string()).and_then(|open| {
                let builder = ParquetRecordBatchReaderBuilder::try_new(open).map_err(|error| error.to_string())?;
                Ok(builder.metadata().file_metadata().num_rows())
            });
            match found {
                Ok(count) if usize::try_from(count) == Ok(file.rows) => rows += file.rows as u64,
                Ok(count) => {
                    faults.push(format!("`{}/{}` has {count} rows, not {}", self.layout.name, file.path, file.rows));
                }
                Err(error) => faults.push(format!("`{}/{}` cannot be read: {error}", self.layout.name, file.path)),
            }
        }
        (rows, faults)
    }

    /// Returns every file an opener of this version needs: the data, and the log that leads to them.
    pub fn held(&self) -> Result<Vec<PathBuf>, Error> {
        let log = self.folder.join("_delta_log");
        let failed = || Error::io("list", &log);
        let mut held: Vec<_> = self.files().iter().map(|file| self.folder.join(&file.path)).collect();
        for entry in std::fs::read_dir(&log).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            let name = name.to_string_lossy();
            // `NNNNNNNNNNNNNNNNNNNN.json`, `….checkpoint.parquet`: a write that was given up leaves other names.
            let version: Option<u64> = name.get(..20).and_then(|number| number.parse().ok());
            if version.is_some_and(|version| version <= self.version()) || name == "_last_checkpoint" {
                held.push(log.join(name.as_ref()));
            }
        }
        Ok(held)
    }

    /// Brings back the content of an older version, as a new version: nobody's history is rewritten.
    pub async fn restore(&mut self, version: u64, made: &mut Vec<PathBuf>) -> Result<(), Error> {
        let failed = || Error::table("restore", self.layout.name);
        let table = load(&self.url).await.map_err(failed())?;
        let (table, _) = table.restore().with_version_to_restore(version as _).await.map_err(failed())?;
        self.state = table.snapshot().map_err(failed())?.clone();
        made.push(self.log_file());
        Ok(())
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("_delta_log").join(format!("{:020}.json", self.version()))
    }
}

/// Opens the table in a folder at one version, for reading.
pub(crate) async fn open_at(folder: &Path, version: u64) -> Result<DeltaTable, DeltaTableError> {
    let url =
        Url::from_directory_path(folder).map_err(|()| DeltaTableError::generic("the folder's path is not absolute"))?;
    DeltaTableBuilder::from_url(url)?.with_version(version as _).load().await
}

fn is_gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

async fn load(url: &Url) -> Result<DeltaTable, DeltaTableError> {
    DeltaTableBuilder::from_url(url.clone())?.load().await
}

async fn create(url: &Url, layout: &Layout) -> Result<DeltaTable, DeltaTableError> {
    let schema: StructType = layout.schema().as_ref().try_into_kernel()?;
    CreateBuilder::new()
        .with_location(url.as_str())
        .with_table_name(layout.name)
        .with_columns(schema.fields().cloned())
        .await
}
