//! A lake of one document that is nobody's: what a probe searches for.
//!
//! It is a whole lake of its own below the customer's (`lakehouse/canary`), made by the same code: its commit writes Delta rows and a
//! Lance fragment, its search goes through both lists and takes the passage from the disk. The customer's tables have no row of it, so
//! no answer, count or export can.

use base::{Canary, CustomerLayout, Digest, Place};
use tokio::sync::Mutex;

use crate::{
    ChunkRow, Commit, DocumentRow, DocumentStatus, EmbedSpec, Error, Lake, SearchRequest, chunk_id, document_id,
};

/// A word no document has, so that the list by words must find it.
const TEXT: &str = "Zaunkönig0711 sitzt in der Grube und singt.";
const SOURCE: &str = "0711";
const PATH: &str = "canary";

/// Keeps the canary. It is made when it is first asked for.
pub(crate) struct Keeper {
    layout: CustomerLayout,
    spec: EmbedSpec,
    open: Mutex<Option<Lake>>,
}

impl Keeper {
    pub fn new(customer: &CustomerLayout, spec: EmbedSpec) -> Self {
        Self { layout: customer.canary(), spec, open: Mutex::new(None) }
    }

    /// Searches the canary by vector and by words, and reads the newest row of the customer's `commits` from the disk.
    ///
    /// # Errors
    /// What the search or the table met; a canary that is not found, or whose rows differ, is [`Error::Damaged`].
    pub async fn sing(&self, customer: &Lake) -> Result<Canary, Error> {
        let mut open = self.open.lock().await;
        let lake = match &*open {
            Some(lake) => lake.clone(),
            None => open.insert(self.open().await?).clone(),
        };
        drop(open);
        let vector = vector(self.spec.dimension);
        let hits = lake.search(SearchRequest::hybrid(TEXT, Some(vector), 1)).await?;
        let hit = hits.first().ok_or_else(|| damaged("the canary is not found"))?;
        if hit.text != TEXT || hit.vector_rank != Some(1) || hit.lexical_rank != Some(1) {
            return Err(damaged("the canary is found, and is another than was written"));
        }
        let commit = match customer.read_newest().await? {
            Some(id) => id.0.to_string(),
            // The one who writes has just shown that the tables work.
            None => "being written".to_owned(),
        };
        Ok(Canary::default().with("dimension", self.spec.dimension).with("commit", commit))
    }

    async fn open(&self) -> Result<Lake, Error> {
        match self.populate().await {
            Ok(lake) => Ok(lake),
            Err(error @ Error::Lock(_)) => Err(error),
            Err(error) => {
                // It is of another model, or damaged; nothing in it is worth keeping.
                tracing::info!(%error, "the canary is made anew");
                let dir = self.layout.dir();
                std::fs::remove_dir_all(dir).map_err(Error::io("remove", dir))?;
                self.populate().await
            }
        }
    }

    async fn populate(&self) -> Result<Lake, Error> {
        let lake = Lake::open(&self.layout, self.spec).await?;
        if lake.documents().is_empty() {
            lake.commit(commit(self.spec.dimension)).await?;
        }
        Ok(lake)
    }
}

fn damaged(what: &str) -> Error {
    Error::Damaged { table: "canary", what: what.to_owned() }
}

/// A unit vector whose numbers all differ, so that rows in the wrong place would show.
fn vector(dimension: usize) -> Vec<f32> {
    let raw: Vec<f32> = (0..dimension).map(|index| (index as f32 * 0.711).sin()).collect();
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    raw.iter().map(|value| value / length).collect()
}

fn commit(dimension: usize) -> Commit {
    let id = document_id(SOURCE, PATH);
    let chunk = ChunkRow {
        id: chunk_id(&id, 0, TEXT),
        document_id: id.clone(),
        ordinal: 0,
        text: TEXT.to_owned(),
        heading_path: Vec::new(),
        place: Place::page(1),
        language: Some("de".to_owned()),
        token_count: 1,
        readers: Vec::new(),
        vector: vector(dimension),
    };
    let document = DocumentRow {
        id,
        source: SOURCE.to_owned(),
        path: PATH.to_owned(),
        name: PATH.to_owned(),
        digest: Some(Digest::of(TEXT.as_bytes())),
        size_bytes: TEXT.len() as u64,
        modified_ms: 0,
        format: "txt".to_owned(),
        language: Some("de".to_owned()),
        title: None,
        status: DocumentStatus::Searchable,
        reason: None,
        chunk_count: 1,
        ingested_ms: 0,
        readers: Vec::new(),
        metadata: Default::default(),
    };
    Commit { upsert: vec![document], chunks: vec![chunk], ..Commit::default() }
}

#[cfg(test)]
mod tests {
    use base::{Layout, Slug};

    use super::*;

    const SPEC: EmbedSpec = EmbedSpec { dimension: 8, model: Digest::from_bytes([1; 32]) };

    fn home() -> (tempfile::TempDir, CustomerLayout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path()).customer(&Slug::parse("eaton").unwrap());
        (dir, layout)
    }

    #[tokio::test]
    async fn the_canary_is_found_and_nobody_else_sees_it() {
        let (_dir, layout) = home();
        let lake = Lake::open(&layout, SPEC).await.unwrap();
        let before = lake.stats().await.unwrap();
        let keeper = Keeper::new(&layout, SPEC);
        for _ in 0..2 {
            assert_eq!(keeper.sing(&lake).await.unwrap().found["dimension"], "8");
        }
        assert_eq!(lake.stats().await.unwrap(), before, "neither counted nor measured");
        assert_eq!(lake.search(SearchRequest::hybrid(TEXT, Some(vector(8)), 5)).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_canary_of_another_model_or_a_damaged_one_is_made_anew() {
        let (_dir, layout) = home();
        let lake = Lake::open(&layout, SPEC).await.unwrap();
        Keeper::new(&layout, SPEC).sing(&lake).await.unwrap();
        let other = EmbedSpec { dimension: 16, ..SPEC };
        assert_eq!(Keeper::new(&layout, other).sing(&lake).await.unwrap().found["dimension"], "16");
        std::fs::remove_dir_all(layout.canary().delta().join("documents")).unwrap();
        Keeper::new(&layout, other).sing(&lake).await.unwrap();
    }

    #[tokio::test]
    async fn a_commit_row_that_is_gone_is_noticed() {
        let (_dir, layout) = home();
        let lake = Lake::open(&layout, SPEC).await.unwrap();
        lake.commit(commit(SPEC.dimension)).await.unwrap();
        let keeper = Keeper::new(&layout, SPEC);
        assert_eq!(keeper.sing(&lake).await.unwrap().found["commit"], "1");
        let rows = std::fs::read_dir(layout.delta().join("commits")).unwrap().flatten();
        for row in rows.filter(|row| row.path().extension().is_some_and(|end| end == "parquet")) {
            std::fs::remove_file(row.path()).unwrap();
        }
        assert!(keeper.sing(&lake).await.is_err());
    }
}
