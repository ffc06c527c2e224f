//! The Lance dataset `chunks`: the stored truth about passages, their words and their vectors.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, RecordBatch, RecordBatchIterator},
    datatypes::{DataType, Field, Float32Type, Schema, SchemaRef, UInt64Type},
};
use base::Digest;
use futures::TryStreamExt;
use lance::{
    Dataset,
    dataset::{
        NewColumnTransform, ProjectionRequest, WriteParams,
        cleanup::CleanupPolicyBuilder,
        optimize::{CompactionOptions, compact_files},
    },
    index::DatasetIndexExt,
};
use lance_index::{IndexType, optimize::OptimizeOptions, scalar::InvertedIndexParams};

use crate::{
    ChunkRow, EmbedSpec, Error,
    columns::{Reader, texts},
    rows::{CHUNKS, chunks_batch, chunks_rows},
};

const MODEL: &str = "zero711.embedding.model";
const INDEX: &str = "terms_bm25";
const VECTOR: &str = "vector";
const TERMS: &str = "terms";

/// Fragments with at least so many rows are left alone by compaction: a long ingestion then rewrites each
/// row a bounded number of times.
const FULL_ROWS: usize = 16_384;

/// How many versions stay for readers that opened the dataset a while ago.
const KEPT_VERSIONS: usize = 32;

pub(crate) struct Vectors {
    folder: PathBuf,
    dataset: Dataset,
    spec: EmbedSpec,
}

/// What the index in memory needs of one stored chunk.
pub(crate) struct Loaded {
    pub id: String,
    pub document_id: String,
    pub terms: String,
    pub language: Option<String>,
    pub vector: Vec<f32>,
    /// The row's address in the dataset.
    pub row: u64,
}

impl Vectors {
    /// Opens the dataset in `folder`, or makes an empty one there. Another model or dimension is refused.
    pub async fn open(folder: PathBuf, spec: EmbedSpec) -> Result<Self, Error> {
        let parent = folder.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let parent = parent.canonicalize().map_err(Error::io("open", parent))?;
        let folder = parent.join(folder.file_name().unwrap_or_default());
        let uri = folder.to_string_lossy().into_owned();
        let dataset = match Dataset::open(&uri).await {
            Err(lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }) => {
                let schema = schema(&spec);
                let none = RecordBatchIterator::new(std::iter::empty(), schema);
                Dataset::write(none, &uri, Some(WriteParams::default())).await
            }
            found => found,
        }
        .map_err(Error::vectors("open"))?;
        check(&dataset, &spec)?;
        Ok(Self { folder, dataset, spec })
    }

    pub fn version(&self) -> u64 {
        self.dataset.version_id()
    }

    pub fn dataset(&self) -> Dataset {
        self.dataset.clone()
    }

    /// Returns how many fragments compaction would join.
    pub fn small_fragments(&self) -> usize {
        let is_small = |fragment: &&lance_table::format::Fragment| fragment.physical_rows.unwrap_or(0) < FULL_ROWS;
        self.dataset.fragments().iter().filter(is_small).count()
    }

    /// Adds columns chunks have and the dataset has not: rows that are there have no value in them. Returns whether there were such.
    pub async fn widen(&mut self) -> Result<bool, Error> {
        let known = Schema::from(self.dataset.schema());
        let wanted = schema(&self.spec);
        let is_missing = |field: &&Arc<Field>| known.field_with_name(field.name()).is_err();
        let missing: Vec<Arc<Field>> = wanted.fields().iter().filter(is_missing).cloned().collect();
        if missing.is_empty() {
            return Ok(false);
        }
        let columns = NewColumnTransform::AllNulls(Arc::new(Schema::new(missing)));
        self.dataset.add_columns(columns, None, None).await.map_err(Error::vectors("widen"))?;
        Ok(true)
    }

    /// Deletes the chunks of these documents.
    pub async fn delete(&mut self, documents: &[&str]) -> Result<(), Error> {
        // Ids go into a predicate: whatever a caller made of one, a quote in it stays a quote.
        let quoted = |id: &&str| format!("'{}'", id.replace('\'', "''"));
        for some in documents.chunks(500) {
            let list = some.iter().map(quoted).collect::<Vec<_>>().join(",");
            self.dataset.delete(&format!("document_id IN ({list})")).await.map_err(Error::vectors("delete rows of"))?;
        }
        Ok(())
    }

    /// Appends chunks with their words, and returns the address of each, in order.
    pub async fn append(&mut self, rows: &[ChunkRow], terms: &[String]) -> Result<Vec<u64>, Error> {
        let before = self.dataset.fragments().iter().map(|fragment| fragment.id).max();
        let batch = self.in_order(&self.batch(rows, terms)?)?;
        let schema = batch.schema();
        self.dataset
            .append(RecordBatchIterator::new([Ok(batch)], schema), None)
            .await
            .map_err(Error::vectors("append to"))?;
        let fragments = self.dataset.fragments().clone();
        let mut new: Vec<_> =
            fragments.iter().filter(|fragment| before.is_none_or(|before| fragment.id > before)).collect();
        new.sort_by_key(|fragment| fragment.id);
        // A row's address is its fragment in the upper half and its offset there in the lower.
        let addresses = |fragment: &&lance_table::format::Fragment| {
            let base = fragment.id << 32;
            (0..fragment.physical_rows.unwrap_or(0) as u64).map(move |offset| base | offset)
        };
        let addresses: Vec<u64> = new.iter().flat_map(addresses).collect();
        if addresses.len() != rows.len() {
            let what = format!("{} rows were appended and {} are there", rows.len(), addresses.len());
            return Err(CHUNKS.read(&RecordBatch::new_empty(self::schema(&self.spec))).damaged(what));
        }
        Ok(addresses)
    }

    fn batch(&self, rows: &[ChunkRow], terms: &[String]) -> Result<RecordBatch, Error> {
        let failed = |source| Error::Columns { table: CHUNKS.name, source };
        let mut columns: Vec<ArrayRef> = chunks_batch(rows)?.columns().to_vec();
        columns.push(texts(terms.iter().map(String::as_str)));
        let mut numbers = Vec::with_capacity(rows.len() * self.spec.dimension);
        for row in rows {
            numbers.extend_from_slice(&row.vector);
        }
        let DataType::FixedSizeList(item, width) = vector_type(&self.spec) else {
            unreachable!("the vector column is a fixed-size list");
        };
        let vectors = FixedSizeListArray::try_new(item, width, Arc::new(Float32Array::from(numbers)), None);
        columns.push(Arc::new(vectors.map_err(failed)?));
        RecordBatch::try_new(schema(&self.spec), columns).map_err(failed)
    }

    /// Returns the columns in the dataset's order: a dataset that was widened has the later ones at its end.
    fn in_order(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let known = batch.schema();
        let order = self.dataset.schema().fields.iter().map(|field| known.index_of(&field.name));
        let order = order.collect::<Result<Vec<_>, _>>();
        let ordered = order.and_then(|order| batch.project(&order));
        ordered.map_err(|source| Error::Columns { table: CHUNKS.name, source })
    }

    /// Brings back an older version, as a new version.
    pub async fn restore(&mut self, version: u64) -> Result<(), Error> {
        let failed = || Error::vectors("restore");
        let mut old = self.dataset.checkout_version(version).await.map_err(failed())?;
        old.restore().await.map_err(failed())?;
        self.dataset.checkout_latest().await.map_err(failed())
    }

    /// Returns the dataset at an older version.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is not there any more.
    pub async fn at(&self, version: u64) -> Result<Dataset, Error> {
        let gone = |error: lance::Error| match error {
            lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. } => {
                Error::Refused("the passages of this commit are not there any more: a cleaning removed them".to_owned())
            }
            error => Error::vectors("open")(error),
        };
        self.dataset.checkout_version(version).await.map_err(gone)
    }

    /// Streams everything the index in memory needs, fragment by fragment.
    #[cfg(test)]
    pub async fn load(&self, each: impl FnMut(Loaded)) -> Result<(), Error> {
        load(&self.dataset, each).await
    }

    /// Streams ids and addresses only: what compaction changes.
    pub async fn addresses(&self) -> Result<Vec<(String, u64)>, Error> {
        let failed = || Error::vectors("read");
        let mut scan = self.dataset.scan();
        scan.project(&["id"]).map_err(failed())?;
        scan.with_row_id();
        let mut batches = scan.try_into_stream().await.map_err(failed())?;
        let mut all = Vec::new();
        while let Some(batch) = batches.try_next().await.map_err(failed())? {
            let read = CHUNKS.read(&batch);
            let ids = read.texts("id")?;
            let rows = read
                .column("_rowid")?
                .as_primitive_opt::<UInt64Type>()
                .ok_or_else(|| read.damaged("the column `_rowid` has another type".into()))?;
            all.extend((0..batch.num_rows()).map(|row| (ids.value(row).to_owned(), rows.value(row))));
        }
        Ok(all)
    }

    /// Joins small fragments. Addresses of rows change.
    pub async fn compact(&mut self) -> Result<(), Error> {
        let options = CompactionOptions {
            target_rows_per_fragment: FULL_ROWS,
            num_threads: Some(1),
            ..CompactionOptions::default()
        };
        compact_files(&mut self.dataset, options, None).await.map(drop).map_err(Error::vectors("compact"))
    }

    /// Brings the BM25 index up to the newest rows: makes it when it is missing, else adds a part, and joins the parts when
    /// there are several.
    pub async fn refresh_index(&mut self) -> Result<(), Error> {
        let failed = || Error::vectors("index");
        let parts = self.dataset.load_indices_by_name(INDEX).await.map_err(failed())?;
        if parts.is_empty() {
            if self.dataset.count_rows(None).await.map_err(failed())? == 0 {
                return Ok(());
            }
            // The words come analysed, one blank between them: nothing is to be done to them again.
            let params = InvertedIndexParams::default()
                .base_tokenizer("whitespace".to_owned())
                .max_token_length(None)
                .lower_case(false)
                .stem(false)
                .remove_stop_words(false)
                .ascii_folding(false);
            self.dataset
                .create_index(&[TERMS], IndexType::Inverted, Some(INDEX.to_owned()), &params, true)
                .await
                .map_err(failed())?;
            return Ok(());
        }
        let covered = |fragment: &lance_table::format::Fragment| {
            let holds = |part: &lance_table::format::IndexMetadata| {
                part.fragment_bitmap.as_ref().is_some_and(|bitmap| bitmap.contains(fragment.id as u32))
            };
            parts.iter().any(holds)
        };
        if self.dataset.fragments().iter().all(covered) {
            return Ok(());
        }
        let options = if parts.len() < 8 { OptimizeOptions::append() } else { OptimizeOptions::merge(parts.len()) };
        self.dataset.optimize_indices(&options).await.map_err(failed())
    }

    /// Forgets all but the newest versions, and the files only the forgotten ones hold.
    pub async fn clean(&self) -> Result<(), Error> {
        let failed = || Error::vectors("clean");
        let policy = CleanupPolicyBuilder::default()
            .error_if_tagged_old_versions(false)
            .retain_n_versions(&self.dataset, KEPT_VERSIONS)
            .await
            .map_err(failed())?
            .build();
        self.dataset.cleanup_with_policy(policy).await.map(drop).map_err(failed())
    }

    /// Adds to `made` every file the newest version has and the one of `before` had not.
    pub fn made_since(&self, before: &Dataset, made: &mut Vec<PathBuf>) {
        let old = row_files(before);
        made.extend(row_files(&self.dataset).difference(&old).map(|file| self.folder.join(file)));
        self.version_files(made);
    }

    /// Returns every file an opener of the newest version needs.
    pub async fn held(&self) -> Result<Vec<PathBuf>, Error> {
        let mut held: Vec<_> = row_files(&self.dataset).iter().map(|file| self.folder.join(file)).collect();
        self.version_files(&mut held);
        for part in self.dataset.load_indices().await.map_err(Error::vectors("read"))?.iter() {
            let folder = self.folder.join("_indices").join(part.uuid.to_string());
            let failed = || Error::io("list", &folder);
            for entry in std::fs::read_dir(&folder).map_err(failed())? {
                held.push(entry.map_err(failed())?.path());
            }
        }
        Ok(held)
    }

    fn version_files(&self, made: &mut Vec<PathBuf>) {
        if let Some(manifest) = self.dataset.manifest_location().path.filename() {
            made.push(self.folder.join("_versions").join(manifest));
        }
        if let Some(transaction) = &self.dataset.manifest().transaction_file {
            made.push(self.folder.join("_transactions").join(transaction));
        }
    }
}

/// Returns the files that hold a version's rows, and those that say which are deleted, below the dataset's folder.
fn row_files(dataset: &Dataset) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for fragment in dataset.fragments().iter() {
        files.extend(fragment.files.iter().map(|file| format!("data/{}", file.path)));
        if let Some(deleted) = &fragment.deletion_file {
            files.insert(lance_table::io::deletion::relative_deletion_file_path(fragment.id, deleted));
        }
    }
    files
}

/// Streams everything the index in memory needs, fragment by fragment.
pub(crate) async fn load(dataset: &Dataset, mut each: impl FnMut(Loaded)) -> Result<(), Error> {
    let failed = || Error::vectors("read");
    let mut scan = dataset.scan();
    scan.project(&["id", "document_id", "language", TERMS, VECTOR]).map_err(failed())?;
    scan.with_row_id().scan_in_order(true);
    let mut batches = scan.try_into_stream().await.map_err(failed())?;
    while let Some(batch) = batches.try_next().await.map_err(failed())? {
        let read = CHUNKS.read(&batch);
        let (id, document) = (read.texts("id")?, read.texts("document_id")?);
        let (terms, language) = (read.texts(TERMS)?, read.texts("language")?);
        let other = || read.damaged("the column `_rowid` has another type".to_owned());
        let rows = read.column("_rowid")?.as_primitive_opt::<UInt64Type>().ok_or_else(other)?;
        for row in 0..batch.num_rows() {
            each(Loaded {
                id: id.value(row).to_owned(),
                document_id: document.value(row).to_owned(),
                terms: terms.value(row).to_owned(),
                language: language.is_valid(row).then(|| language.value(row).to_owned()),
                vector: vector(&read, row)?,
                row: rows.value(row),
            });
        }
    }
    Ok(())
}

/// Returns chunks without vectors by their addresses, in the order given.
pub(crate) async fn take(dataset: &Dataset, rows: &[u64]) -> Result<Vec<ChunkRow>, Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    chunks_rows(&taken(dataset, rows, &[]).await?)
}

/// Returns chunks with their vectors, and their words, by their addresses, in the order given.
pub(crate) async fn take_whole(dataset: &Dataset, rows: &[u64]) -> Result<Vec<(ChunkRow, String)>, Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let batch = taken(dataset, rows, &[TERMS, VECTOR]).await?;
    let read = CHUNKS.read(&batch);
    let terms = read.texts(TERMS)?;
    let whole = |(row, chunk)| Ok((ChunkRow { vector: vector(&read, row)?, ..chunk }, terms.value(row).to_owned()));
    chunks_rows(&batch)?.into_iter().enumerate().map(whole).collect()
}

async fn taken(dataset: &Dataset, rows: &[u64], more: &[&'static str]) -> Result<RecordBatch, Error> {
    let known = dataset.schema();
    let names = CHUNKS.columns.iter().map(|(name, ..)| *name).chain(more.iter().copied());
    // A dataset nobody wrote to since an older version lacks the later columns.
    let names = names.filter(|name| known.field(name).is_some());
    let projection = ProjectionRequest::from_columns(names, known);
    dataset.take_rows(rows, projection).await.map_err(Error::vectors("read"))
}

/// Returns the vector in one row.
fn vector(read: &Reader<'_>, row: usize) -> Result<Vec<f32>, Error> {
    let other = || read.damaged(format!("the column `{VECTOR}` has another type"));
    let vector = read.column(VECTOR)?.as_fixed_size_list_opt().ok_or_else(other)?.value(row);
    Ok(vector.as_primitive_opt::<Float32Type>().ok_or_else(other)?.values().to_vec())
}

fn vector_type(spec: &EmbedSpec) -> DataType {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    DataType::FixedSizeList(item, i32::try_from(spec.dimension).unwrap_or(i32::MAX))
}

fn schema(spec: &EmbedSpec) -> SchemaRef {
    let mut fields: Vec<Field> = CHUNKS.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(TERMS, DataType::Utf8, false));
    fields.push(Field::new(VECTOR, vector_type(spec), false));
    let metadata = HashMap::from([
        ("zero711.format".to_owned(), crate::format::FORMAT.to_string()),
        (MODEL.to_owned(), spec.model.to_string()),
    ]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn check(dataset: &Dataset, spec: &EmbedSpec) -> Result<(), Error> {
    let found = Schema::from(dataset.schema());
    let dimension = match found.field_with_name(VECTOR).map(Field::data_type) {
        Ok(DataType::FixedSizeList(_, width)) => usize::try_from(*width).unwrap_or(0),
        _ => 0,
    };
    let model = found.metadata().get(MODEL).cloned().unwrap_or_default();
    if dimension == spec.dimension && model.parse::<Digest>().is_ok_and(|model| model == spec.model) {
        return Ok(());
    }
    Err(Error::OtherModel {
        found: if model.is_empty() { "unknown".to_owned() } else { model },
        dimension,
        wanted: spec.model,
        wanted_dimension: spec.dimension,
    })
}
