//! The room at its face: what a user of the lake can rely on.

mod knowledge;
mod products;
mod rights;

use std::collections::BTreeMap;

use base::{CustomerLayout, Digest, Layout, Place, Secret, Slug, file::LockError};
use tokio_util::sync::CancellationToken;

use crate::{
    Access, ChunkRow, Client, Commit, CommitId, DocumentRow, DocumentStatus, EmbedSpec, Error, Feedback, Filter,
    Interaction, Lake, SearchMode, SearchRequest, SqlRequest, Verdict, VersionRow, chunk_id, document_id, rows,
    serve::serve_lake, store::Step, table::Table, vectors::Vectors,
};

const DIMENSION: usize = 8;

fn spec() -> EmbedSpec {
    EmbedSpec { dimension: DIMENSION, model: Digest::of(b"model") }
}

struct Home {
    _dir: tempfile::TempDir,
    layout: CustomerLayout,
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::rooted(dir.path()).customer(&Slug::parse("eaton").unwrap());
    Home { _dir: dir, layout }
}

impl Home {
    async fn open(&self) -> Lake {
        Lake::open(&self.layout, spec()).await.unwrap()
    }
}

/// A unit vector that leans towards one of the axes.
fn towards(axis: usize) -> Vec<f32> {
    let mut vector = [0.1; DIMENSION];
    vector[axis % DIMENSION] = 1.0;
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter().map(|value| value / length).collect()
}

fn document(path: &str, chunks: usize) -> DocumentRow {
    DocumentRow {
        id: document_id("/data", path),
        source: "/data".to_owned(),
        path: path.to_owned(),
        name: path.to_owned(),
        digest: Some(Digest::of(path.as_bytes())),
        size_bytes: 10,
        modified_ms: 20,
        format: "txt".to_owned(),
        language: Some("de".to_owned()),
        title: None,
        status: if chunks > 0 { DocumentStatus::Searchable } else { DocumentStatus::Failed },
        reason: (chunks == 0).then(|| "it's \"torn\"".to_owned()),
        chunk_count: chunks as u32,
        ingested_ms: 30,
        readers: Vec::new(),
        metadata: BTreeMap::from([("author".to_owned(), "Müller".to_owned())]),
    }
}

/// A commit that writes one document with these passages; passage n leans towards axis n.
fn write(path: &str, passages: &[&str]) -> Commit {
    let document = document(path, passages.len());
    let chunk = |(ordinal, text): (usize, &&str)| ChunkRow {
        id: chunk_id(&document.id, ordinal as u32, text),
        document_id: document.id.clone(),
        ordinal: ordinal as u32,
        text: (*text).to_owned(),
        heading_path: vec!["Katalog".to_owned(), "Klemmen".to_owned()],
        place: Place::page(ordinal as u32 + 1),
        language: Some("de".to_owned()),
        token_count: 5,
        readers: Vec::new(),
        vector: towards(ordinal),
    };
    Commit { chunks: passages.iter().enumerate().map(chunk).collect(), upsert: vec![document], ..Commit::default() }
}

/// The same, with two things it names, an edge between them, and a table.
fn write_all(path: &str, passages: &[&str]) -> Commit {
    let (product, maker) = (("product", path), ("manufacturer", "kessler"));
    let entities = [product, maker].map(|(kind, key)| knowledge::entity(path, kind, key)).to_vec();
    let edges = vec![knowledge::edge(path, "made_by", product, maker)];
    let tables = vec![knowledge::table(path, 0, passages)];
    Commit { entities, edges, tables, ..write(path, passages) }
}

fn remove(path: &str) -> Commit {
    Commit { remove: vec![document_id("/data", path)], ..Commit::default() }
}

/// Everything a user sees of the documents: their rows, and all chunks with what search says about them.
async fn everything(lake: &Lake) -> (Vec<DocumentRow>, Vec<ChunkRow>, Vec<String>) {
    let mut found = Vec::new();
    for text in ["alpha", "beta", "gamma"] {
        let hits = lake.search(SearchRequest::hybrid(text, Some(towards(1)), 50)).await.unwrap();
        found.extend(
            hits.iter().map(|hit| format!("{text} {} {} {} {:.6}", hit.rank, hit.document, hit.text, hit.score)),
        );
    }
    let maker = vec![crate::Named { kind: "manufacturer".to_owned(), key: "kessler".to_owned() }];
    let request = crate::NeighborsRequest { of: maker, kinds: Vec::new(), depth: 1, limit: 100 };
    let mut made: Vec<_> = lake
        .neighbors(request)
        .await
        .unwrap()
        .neighbors
        .into_iter()
        .map(|one| format!("makes {}", one.node.key))
        .collect();
    made.sort();
    found.extend(made);
    found.extend(
        lake.sql_tables().await.unwrap().iter().map(|table| format!("{} {} {}", table.name, table.rows, table.about)),
    );
    (lake.documents(), lake.all_chunks(None, 1000).await.unwrap(), found)
}

/// What an outside reader finds at the versions the newest row of `commits` names: each document and chunk once, the
/// chunks of Delta and of Lance the same, and no chunk without its document.
async fn check_stored(home: &Home) {
    let table = |layout_of: crate::columns::Layout| Table::open(home.layout.delta().join(layout_of.name), layout_of);
    let mut commits = Vec::new();
    for batch in table(rows::COMMITS).await.unwrap().read().unwrap() {
        commits.extend(rows::commits_rows(&batch).unwrap());
    }
    let newest = commits.into_iter().max_by_key(|row| row.id).unwrap();
    let (documents, chunks) = (table(rows::DOCUMENTS).await.unwrap(), table(rows::CHUNKS).await.unwrap());
    let vectors = Vectors::open(home.layout.lance().join("chunks"), spec()).await.unwrap();
    assert_eq!((documents.version(), chunks.version()), (newest.documents, newest.chunks));
    assert_eq!(vectors.version(), newest.lance_chunks);
    let (entities, edges) =
        (table(crate::knowledge::ENTITIES).await.unwrap(), table(crate::knowledge::EDGES).await.unwrap());
    let catalog = table(crate::catalog::CATALOG).await.unwrap();
    let versions = (entities.version(), edges.version(), catalog.version());
    assert_eq!(versions, (newest.entities, newest.edges, newest.catalog));
    for (layout, version) in [
        (crate::products::PRODUCTS, newest.products),
        (crate::products::FEATURES, newest.features),
        (crate::products::PRICES, newest.prices),
    ] {
        assert_eq!(table(layout).await.unwrap().version(), version, "{}", layout.name);
    }
    let mut known = Vec::new();
    for batch in documents.read().unwrap() {
        known.extend(rows::documents_rows(&batch).unwrap().into_iter().map(|row| row.id));
    }
    let mut in_delta = Vec::new();
    for batch in chunks.read().unwrap() {
        in_delta.extend(rows::chunks_rows(&batch).unwrap().into_iter().map(|row| (row.id, row.document_id)));
    }
    let mut in_lance = Vec::new();
    vectors.load(|chunk| in_lance.push((chunk.id, chunk.document_id))).await.unwrap();
    in_delta.sort();
    in_lance.sort();
    assert_eq!(in_delta, in_lance);
    assert!(in_delta.iter().all(|(_, document)| known.contains(document)));
    for (table, key) in [(&entities, "document_id"), (&edges, "document_id"), (&catalog, "document_id")] {
        for batch in table.read().unwrap() {
            let ids = table.layout.read(&batch).texts(key).unwrap();
            assert!(ids.iter().flatten().all(|id| known.iter().any(|known| known == id)), "a row of no document");
        }
    }
    for batch in catalog.read().unwrap() {
        for row in crate::catalog::catalog_rows(&batch).unwrap() {
            let folder = home.layout.delta().join("sheets").join(&row.folder).canonicalize().unwrap();
            let stored = crate::table::open_at(&folder, 0).await.unwrap();
            let files = stored.snapshot().unwrap().log_data();
            assert_eq!(files.iter().map(|file| file.num_records().unwrap() as u64).sum::<u64>(), row.rows);
        }
    }
    let count = known.len() + in_delta.len();
    known.extend(in_delta.into_iter().map(|(id, _)| id));
    known.sort();
    known.dedup();
    assert_eq!(known.len(), count, "a row is there twice");
}

async fn ranking(lake: &Lake, question: &str) -> Vec<String> {
    let request = SearchRequest { mode: SearchMode::Lexical, ..SearchRequest::hybrid(question, None, 10) };
    lake.search(request).await.unwrap().into_iter().map(|hit| hit.document).collect()
}

#[tokio::test]
async fn what_was_committed_comes_back_also_after_reopening() {
    let home = home();
    let lake = home.open().await;
    let commit = write("a/preise.txt", &["alpha eins", "beta zwei"]);
    assert_eq!(lake.commit(commit.clone()).await.unwrap(), CommitId(1));
    lake.commit(write("leer.txt", &[])).await.unwrap();
    let before = everything(&lake).await;
    assert_eq!(before.0.len(), 2);
    assert_eq!(before.1.len(), 2);

    let document = &commit.upsert[0];
    assert_eq!(lake.document(&document.id), Some(document.clone()));
    let unpacked = |chunk: &ChunkRow| ChunkRow { vector: Vec::new(), ..chunk.clone() };
    let expected: Vec<_> = commit.chunks.iter().map(unpacked).collect();
    assert_eq!(lake.chunks_of(&document.id).await.unwrap(), expected);
    assert_eq!(lake.chunk(&expected[1].id).await.unwrap(), Some(expected[1].clone()));

    let hits = lake.search(SearchRequest::hybrid("zwei", Some(towards(1)), 1)).await.unwrap();
    assert_eq!((hits[0].rank, hits[0].document.as_str(), hits[0].text.as_str()), (1, "a/preise.txt", "beta zwei"));
    assert_eq!(hits[0].place.to_string(), "page 2");
    assert!((hits[0].similarity.unwrap() - 1.0).abs() < 1e-5 && hits[0].lexical_score.unwrap() > 0.0);
    assert_eq!((hits[0].vector_rank, hits[0].lexical_rank), (Some(1), Some(1)));

    let stats = lake.stats().await.unwrap();
    assert_eq!((stats.documents, stats.searchable, stats.failed, stats.chunks, stats.commits), (2, 1, 1, 2, 2));
    assert!(stats.bytes > 1000);
    drop(lake);
    assert_eq!(everything(&home.open().await).await, before);
}

#[tokio::test]
async fn a_document_written_again_replaces_its_chunks_and_a_removed_one_is_gone() {
    let home = home();
    let lake = home.open().await;
    for path in ["a.txt", "b.txt"] {
        lake.commit(write(path, &["alpha", "beta"])).await.unwrap();
    }
    lake.commit(write("a.txt", &["gamma"])).await.unwrap();
    assert_eq!(ranking(&lake, "alpha").await, ["b.txt"]);
    assert_eq!(ranking(&lake, "gamma").await, ["a.txt"]);
    lake.commit(remove("b.txt")).await.unwrap();
    lake.commit(remove("never-there.txt")).await.unwrap();
    assert_eq!(ranking(&lake, "alpha").await, [""; 0]);
    let before = everything(&lake).await;
    assert_eq!((before.0.len(), before.1.len()), (1, 1));
    check_stored(&home).await;
    drop(lake);
    assert_eq!(everything(&home.open().await).await, before);
}

#[tokio::test]
async fn a_commit_stopped_between_any_two_steps_never_happened_and_can_be_made_again() {
    let home = home();
    let lake = home.open().await;
    lake.commit(write_all("a.txt", &["alpha", "beta"])).await.unwrap();
    lake.commit(write_all("b.txt", &["alpha gamma"])).await.unwrap();
    let standing = lake.commit(write("d.txt", &["delta"])).await.unwrap();
    assert_eq!(standing, CommitId(3));
    let mut lake = Some(lake);
    for (round, step) in Step::ALL.into_iter().enumerate() {
        let open = lake.take().unwrap();
        let before = everything(&open).await;
        // Replaces a, removes b, adds c, gives d other readers: every table and the vectors change.
        let mut next = write_all("a.txt", &[&format!("alpha beta round {round}"), "gamma"]);
        let more = write_all(&format!("c{round}.txt"), &["beta"]);
        next.upsert.extend(more.upsert);
        next.chunks.extend(more.chunks);
        next.entities.extend(more.entities);
        next.edges.extend(more.edges);
        next.tables.extend(more.tables);
        next.remove = vec![document_id("/data", "b.txt")];
        let readers = vec![format!("group {round}")];
        next.readers = vec![crate::Readers { document_id: document_id("/data", "d.txt"), readers: readers.clone() }];
        let stopped = open.commit_until(next.clone(), Some(step)).await;
        assert!(matches!(stopped, Err(Error::Stopped(_))), "{step:?}: {stopped:?}");
        assert_eq!(everything(&open).await, before, "{step:?}: searches saw half a commit");
        drop(open);

        let reopened = home.open().await;
        assert_eq!(everything(&reopened).await, before, "{step:?}: reopening shows half a commit");
        // The same handle goes on after a failure too, without reopening.
        let stopped = reopened.commit_until(next.clone(), Some(step)).await;
        assert!(matches!(stopped, Err(Error::Stopped(_))));
        reopened.commit(next).await.unwrap();
        let after = everything(&reopened).await;
        assert_eq!(after.0.len(), 3 + round, "{step:?}");
        assert_eq!(after.1.len(), 4 + round, "{step:?}");
        assert!(after.0.iter().any(|row| row.path == "d.txt" && row.readers == readers), "{step:?}");
        assert_eq!(after.2.iter().filter(|line| line.starts_with("makes")).count(), 2 + round, "{step:?}");
        assert_eq!(ranking(&reopened, &format!("round {round}")).await, ["a.txt"], "{step:?}");
        check_stored(&home).await;
        drop(reopened);
        let reopened = home.open().await;
        assert_eq!(everything(&reopened).await, after, "{step:?}: reopening lost the commit");
        lake = Some(reopened);
    }
}

#[tokio::test]
async fn words_codes_and_numbers_are_found_in_any_spelling() {
    let home = home();
    let lake = home.open().await;
    for (path, text) in [
        ("klemme.txt", "Die Reihenklemme WDU 2.5 für Leiter bis 2,5 mm² ist beige."),
        ("wdu4.txt", "Die Reihenklemme WDU 4 ist grau."),
        ("siemens.txt", "Baugruppe 6ES7 131-6BF01-0BA0, geprüft nach EN 60947-2"),
        ("pruefung.txt", "Prüfungen der Anlage und der Häuser, Preis 1.234,50 EUR"),
        ("english.txt", "The circuit breakers protect the motors."),
        ("motor.txt", "Motorschutzschalter für den Motor"),
    ] {
        let mut commit = write(path, &[text]);
        commit.chunks[0].heading_path.clear();
        lake.commit(commit).await.unwrap();
    }
    for (question, best) in [
        ("WDU2,5", "klemme.txt"),
        ("wdu-2.5", "klemme.txt"),
        ("WDU 4", "wdu4.txt"),
        ("6ES7131-6BF01", "siemens.txt"),
        ("6es7 131", "siemens.txt"),
        ("EN60947-2", "siemens.txt"),
        ("pruefung", "pruefung.txt"),
        ("Haus", "pruefung.txt"),
        ("1234.5", "pruefung.txt"),
        ("motor protection with a circuit breaker", "english.txt"),
        ("Schutzschalter", "motor.txt"),
    ] {
        assert_eq!(ranking(&lake, question).await.first().map(String::as_str), Some(best), "{question}");
    }
    let mut found = ranking(&lake, "Klemmen").await;
    found.sort();
    assert_eq!(found, ["klemme.txt", "wdu4.txt"]);
}

#[tokio::test]
async fn the_headings_above_a_passage_are_words_of_it() {
    let home = home();
    let lake = home.open().await;
    let mut commit = write("a.txt", &["Nennstrom 24 A", "Nennstrom 32 A"]);
    commit.chunks[0].heading_path.push("WDU 2.5".to_owned());
    commit.chunks[1].heading_path.push("WDU 4".to_owned());
    lake.commit(commit).await.unwrap();
    for (question, text) in [("Nennstrom WDU2,5", "Nennstrom 24 A"), ("Nennstrom der WDU 4", "Nennstrom 32 A")] {
        let request = SearchRequest { mode: SearchMode::Lexical, ..SearchRequest::hybrid(question, None, 1) };
        assert_eq!(lake.search(request).await.unwrap()[0].text, text, "{question}");
    }
}

#[tokio::test]
async fn a_filter_decides_before_anything_is_ranked() {
    let home = home();
    let lake = home.open().await;
    for (path, format, language) in
        [("a/eins.txt", "txt", "de"), ("a/b/zwei.pdf", "pdf", "de"), ("c/drei.pdf", "pdf", "en")]
    {
        let mut commit = write(path, &[&format!("alpha {path}")]);
        commit.upsert[0].format = format.to_owned();
        commit.chunks[0].language = Some(language.to_owned());
        lake.commit(commit).await.unwrap();
    }
    let found = async |filter: Filter| {
        let mut all = Vec::new();
        for mode in [SearchMode::Hybrid, SearchMode::Vector, SearchMode::Lexical] {
            let request =
                SearchRequest { mode, filter: filter.clone(), ..SearchRequest::hybrid("alpha", Some(towards(0)), 9) };
            let mut paths: Vec<_> = lake.search(request).await.unwrap().into_iter().map(|hit| hit.document).collect();
            paths.sort();
            all.push(paths);
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
        all.swap_remove(0)
    };
    let one = |word: &str| vec![word.to_owned()];
    assert_eq!(found(Filter::default()).await.len(), 3);
    assert_eq!(found(Filter { folders: one("a"), ..Filter::default() }).await, ["a/b/zwei.pdf", "a/eins.txt"]);
    assert_eq!(found(Filter { formats: one("pdf"), folders: one("a"), ..Filter::default() }).await, ["a/b/zwei.pdf"]);
    assert_eq!(found(Filter { languages: one("en"), ..Filter::default() }).await, ["c/drei.pdf"]);
    assert_eq!(
        found(Filter { documents: one("c/drei.pdf"), languages: one("de"), ..Filter::default() }).await,
        [""; 0]
    );
}

#[tokio::test]
async fn passages_that_say_the_same_share_a_hit_which_names_them() {
    let home = home();
    let lake = home.open().await;
    for path in ["a.txt", "kopie/a.txt", "kopie 2/a.txt"] {
        lake.commit(write(path, &["alpha gilt für WDU 2.5"])).await.unwrap();
    }
    lake.commit(write("b.txt", &["alpha gilt für WDU 4"])).await.unwrap();
    for mode in [SearchMode::Hybrid, SearchMode::Vector, SearchMode::Lexical] {
        let request = SearchRequest { mode, ..SearchRequest::hybrid("alpha WDU 2.5", Some(towards(0)), 2) };
        let hits = lake.search(request).await.unwrap();
        let found: Vec<_> = hits.iter().map(|hit| (hit.document.as_str(), hit.copies.len())).collect();
        assert_eq!(found, [("a.txt", 2), ("b.txt", 0)], "{mode:?}");
        assert_eq!(hits[0].copies, ["kopie/a.txt", "kopie 2/a.txt"]);
    }
}

#[tokio::test]
async fn modes_keep_their_own_order_and_hybrid_never_loses_what_vectors_know() {
    let home = home();
    let lake = home.open().await;
    lake.commit(write("a.txt", &["eins 2019", "zwei", "drei", "vier 2019"])).await.unwrap();
    let search = |mode| {
        let request =
            SearchRequest { mode, ..SearchRequest::hybrid("completely foreign question of 2019", Some(towards(1)), 4) };
        lake.search(request)
    };
    let hits = search(SearchMode::Vector).await.unwrap();
    assert_eq!(hits[0].text, "zwei");
    assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score) && hits.len() == 4);
    assert_eq!(search(SearchMode::Lexical).await.unwrap().len(), 2);
    assert_eq!(search(SearchMode::Hybrid).await.unwrap()[0].text, "zwei");
}

#[tokio::test]
async fn an_older_commit_is_searched_as_it_was() {
    let home = home();
    let lake = home.open().await;
    lake.commit(write("a.txt", &["alpha eins", "beta"])).await.unwrap();
    lake.commit(write("b.txt", &["alpha zwei"])).await.unwrap();
    let search = |at: Option<u64>| {
        lake.search(SearchRequest { at: at.map(CommitId), ..SearchRequest::hybrid("alpha", Some(towards(0)), 10) })
    };
    let second = search(None).await.unwrap();
    lake.commit(write("a.txt", &["gamma"])).await.unwrap();
    lake.commit(remove("b.txt")).await.unwrap();
    lake.refresh().await.unwrap();
    assert_eq!(search(Some(2)).await.unwrap(), second);
    let paths = |hits: Vec<crate::Hit>| hits.into_iter().map(|hit| hit.document).collect::<Vec<_>>();
    assert_eq!(paths(search(Some(1)).await.unwrap()), ["a.txt", "a.txt"]);
    assert_eq!(paths(search(None).await.unwrap()), ["a.txt"]);
    assert!(matches!(search(Some(99)).await, Err(Error::Refused(_))));
    lake.vacuum(1).await.unwrap();
    assert!(matches!(search(Some(2)).await, Err(Error::Refused(_))), "a vacuum let go of it");
}

#[tokio::test]
async fn contradictions_are_refused_before_anything_is_written() {
    let home = home();
    let lake = home.open().await;
    let mut foreign = write("a.txt", &["alpha"]);
    foreign.chunks[0].document_id = "other".to_owned();
    let mut short = write("a.txt", &["alpha"]);
    short.chunks[0].vector.pop();
    let mut infinite = write("a.txt", &["alpha"]);
    infinite.chunks[0].vector[0] = f32::NAN;
    let mut twice = write("a.txt", &["alpha"]);
    twice.upsert.push(twice.upsert[0].clone());
    for commit in [foreign, short, infinite, twice] {
        assert!(matches!(lake.commit(commit).await, Err(Error::Refused(_))));
    }
    assert_eq!(lake.stats().await.unwrap().commits, 0);
    let long = SearchRequest::hybrid("a", Some(vec![0.0; DIMENSION + 1]), 1);
    assert!(matches!(lake.search(long).await, Err(Error::Refused(_))));
    assert_eq!(lake.search(SearchRequest::hybrid("a", Some(towards(0)), 5)).await.unwrap(), []);
}

#[tokio::test]
async fn a_lake_has_one_holder_and_one_model() {
    let home = home();
    let lake = home.open().await;
    let held = Lake::open(&home.layout, spec()).await.err();
    assert!(matches!(held, Some(Error::Lock(LockError::Held { .. }))), "{held:?}");
    drop(lake);
    let other = EmbedSpec { model: Digest::of(b"another model"), ..spec() };
    let refused = Lake::open(&home.layout, other).await.err();
    assert!(matches!(refused, Some(Error::OtherModel { .. })), "{refused:?}");
    let longer = EmbedSpec { dimension: DIMENSION * 2, ..spec() };
    assert!(matches!(Lake::open(&home.layout, longer).await.err(), Some(Error::OtherModel { .. })));
    home.open().await;
}

fn interaction(number: i64) -> Interaction {
    Interaction {
        id: format!("i{number}"),
        asked_ms: number,
        question: "Was kostet die WDU 2.5?".to_owned(),
        answer: "0,50 EUR".to_owned(),
        abstained: false,
        version: "v1".to_owned(),
        citations: serde_json::json!([{"n": 1}]),
        timings: serde_json::json!({"total_ms": 12}),
        asker: "anna".to_owned(),
    }
}

#[tokio::test]
async fn interactions_are_kept_once_across_kills_and_folds() {
    let home = home();
    let lake = home.open().await;
    let all: Vec<_> = (0..70).map(interaction).collect();
    let feedback = Feedback {
        interaction_id: "i3".to_owned(),
        at_ms: 99,
        verdict: Verdict::Down,
        correction: Some("0,55 EUR".to_owned()),
    };
    // More than one fold's worth: some are in the table, the rest in the journal.
    for row in &all {
        lake.record(row.clone()).await.unwrap();
    }
    lake.feedback(feedback.clone()).await.unwrap();
    assert_eq!(lake.interactions(0).await.unwrap(), all);
    assert_eq!(lake.interactions(60).await.unwrap(), all[60..]);
    // Dropped without a goodbye, as by a kill.
    drop(lake);
    let lake = home.open().await;
    assert_eq!(lake.interactions(0).await.unwrap(), all);
    assert_eq!(lake.feedback_since(0).await.unwrap(), [feedback]);
    let journal = home.layout.lakehouse().join("journal");
    assert_eq!(std::fs::read_dir(journal).unwrap().count(), 0, "what is in the tables leaves the journal");
}

#[tokio::test]
async fn a_version_written_again_is_replaced() {
    let home = home();
    let lake = home.open().await;
    let row = |version: &str, decision: &str| VersionRow {
        version: version.to_owned(),
        created_ms: version.len() as i64,
        directory: format!("{version}_20261122"),
        parent: None,
        decision: decision.to_owned(),
        perplexity_before: Some(12.5),
        perplexity_after: None,
        details: serde_json::json!({"seed": 7}),
    };
    lake.put_version(row("v1", "promoted")).await.unwrap();
    lake.put_version(row("v22", "promoted")).await.unwrap();
    lake.put_version(row("v1", "rolled-back")).await.unwrap();
    let expected = [row("v1", "rolled-back"), row("v22", "promoted")];
    assert_eq!(lake.versions().await.unwrap(), expected);
    drop(lake);
    assert_eq!(home.open().await.versions().await.unwrap(), expected);
}

#[tokio::test]
async fn many_small_commits_are_joined_and_stay_searchable() {
    let home = home();
    let lake = home.open().await;
    for number in 0..12 {
        lake.commit(write(&format!("{number}.txt"), &["alpha", &format!("nummer{number}")])).await.unwrap();
    }
    lake.commit(write("3.txt", &["beta"])).await.unwrap();
    let before = everything(&lake).await;
    lake.refresh().await.unwrap();
    assert_eq!(everything(&lake).await, before);
    let files = |folder: std::path::PathBuf| std::fs::read_dir(folder).unwrap().count();
    let indices = home.layout.lance().join("chunks").join("_indices");
    assert!(files(indices) > 0, "the stored BM25 index is missing");
    // What comes later is found at once, replaced rows vanish, and a second refresh takes them in.
    lake.commit(write("4.txt", &["gamma"])).await.unwrap();
    assert_eq!(ranking(&lake, "gamma").await, ["4.txt"]);
    check_stored(&home).await;
    lake.refresh().await.unwrap();
    check_stored(&home).await;
    let after = everything(&lake).await;
    drop(lake);
    let lake = home.open().await;
    assert_eq!(everything(&lake).await, after);
    assert_eq!(ranking(&lake, "nummer7").await[0], "7.txt");
}

#[tokio::test]
async fn protected_tables_stay_as_they_are_and_no_interaction_is_lost() {
    let home = home();
    let lake = home.open().await;
    lake.commit(write("a.txt", &["alpha"])).await.unwrap();
    lake.protect(true).await.unwrap();
    let before = lake.stats().await.unwrap().commits;
    assert!(matches!(lake.commit(write("b.txt", &["beta"])).await, Err(Error::Protected)));
    assert!(matches!(lake.refresh().await, Err(Error::Protected)));
    // More than a fold waits for.
    for at in 0..70 {
        lake.record(interaction(at)).await.unwrap();
    }
    assert_eq!(lake.stats().await.unwrap().commits, before);
    assert_eq!(lake.interactions(0).await.unwrap().len(), 70);
    assert_eq!(ranking(&lake, "alpha").await[0], "a.txt");
    lake.protect(false).await.unwrap();
    assert_eq!(lake.stats().await.unwrap().commits, before + 1, "folded at once");
    lake.commit(write("b.txt", &["beta"])).await.unwrap();
    drop(lake);
    assert_eq!(home.open().await.interactions(0).await.unwrap().len(), 70);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_answers_as_the_library_does() {
    // The first of several tests to install the provider wins; all install the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let home = home();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let token = Secret::generate().unwrap();
    let stop = CancellationToken::new();
    let role = tokio::spawn(serve_lake(home.layout.clone(), spec(), token.clone(), listener, stop.clone()));
    let health = reqwest::Client::builder().no_proxy().build().unwrap();
    let ready = async {
        while !health.get(format!("{url}/health")).send().await.is_ok_and(|answer| answer.status().is_success()) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), ready).await.unwrap();

    // The lock is the role's: whoever asks now is sent to it.
    let remote = Access::open(&home.layout, spec(), Some((url.as_str(), token.clone()))).await.unwrap();
    assert!(matches!(remote, Access::Remote(_)));
    let commit = write("a b/ü.txt", &["alpha eins", "beta zwei"]);
    remote.commit(commit.clone()).await.unwrap();
    remote.record(interaction(5)).await.unwrap();
    remote.refresh().await.unwrap();
    let hits = remote.search(SearchRequest::hybrid("zwei", Some(towards(1)), 2)).await.unwrap();
    let rights = base::Rights::Of(vec!["sales".to_owned()]);
    let limited = SearchRequest { rights, ..SearchRequest::hybrid("zwei", Some(towards(1)), 2) };
    assert_eq!(remote.search(limited).await.unwrap(), [], "rights cross the wire");
    assert_eq!(hits.len(), 2);
    let documents = remote.documents().await.unwrap();
    let chunks = remote.all_chunks(None, 10).await.unwrap();
    assert_eq!((documents.len(), chunks.len()), (1, 2));
    assert_eq!(remote.all_chunks(Some(&chunks[0].id), 10).await.unwrap(), chunks[1..]);
    assert_eq!(remote.document(&documents[0].id).await.unwrap().as_ref(), documents.first());
    assert_eq!(remote.document("no such").await.unwrap(), None);
    assert_eq!(remote.chunks_of(&documents[0].id).await.unwrap().len(), 2);
    assert_eq!(remote.stats().await.unwrap().chunks, 2);
    assert_eq!(remote.interactions(5).await.unwrap(), [interaction(5)]);
    let canary = health.post(format!("{url}/v1/canary")).bearer_auth(token.expose()).send().await.unwrap();
    assert_eq!(canary.json::<base::Canary>().await.unwrap().found["dimension"], DIMENSION.to_string());
    assert_eq!(remote.documents().await.unwrap().len(), 1, "the canary is no document");
    let pin = remote.pin().await.unwrap();
    assert_eq!(pin.commit.0, remote.stats().await.unwrap().commits);
    assert!(home.layout.lake_pin().join("lance/chunks/_versions").is_dir());
    remote.unpin().await.unwrap();
    assert!(!home.layout.lake_pin().exists());
    let mut short = commit;
    short.chunks[0].vector.pop();
    assert!(matches!(remote.commit(short).await, Err(Error::Refused(_))));
    let other = EmbedSpec { model: Digest::of(b"another model"), ..spec() };
    let stranger = Client::new(&url, token, other).unwrap();
    assert!(matches!(stranger.search(SearchRequest::hybrid("a", None, 1)).await, Err(Error::Refused(_))));
    let thief = Client::new(&url, Secret::new("guess"), spec()).unwrap();
    assert!(matches!(thief.stats().await, Err(Error::Answered { status: 401, .. })));

    stop.cancel();
    role.await.unwrap().unwrap();
    assert!(matches!(remote.stats().await, Err(Error::Unreachable { .. })));
    drop(remote);
    let lake = home.open().await;
    assert_eq!(lake.search(SearchRequest::hybrid("zwei", Some(towards(1)), 2)).await.unwrap(), hits);
    assert_eq!(lake.documents(), documents);
}

/// Opens what is held as a lake of its own, as a restored backup does.
async fn open_held(home: &Home) -> (Home, Lake) {
    let other = self::home();
    std::fs::create_dir_all(other.layout.dir()).unwrap();
    std::fs::rename(home.layout.lake_pin(), other.layout.lakehouse()).unwrap();
    let lake = other.open().await;
    (other, lake)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_while_others_write_is_the_lake_at_one_commit() {
    let home = home();
    let lake = home.open().await;
    // What each commit of the writer left: the passages of each document.
    let states = std::sync::Arc::new(std::sync::Mutex::new(BTreeMap::from([(0, BTreeMap::new())])));
    let writer = {
        let (lake, states) = (lake.clone(), states.clone());
        tokio::spawn(async move {
            let mut documents: BTreeMap<String, String> = BTreeMap::new();
            for number in 0..36_u64 {
                let path = format!("{}.txt", number % 13);
                let id = if number % 7 == 6 && documents.contains_key(&path) {
                    documents.remove(&path);
                    lake.commit(remove(&path)).await.unwrap()
                } else {
                    documents.insert(path.clone(), format!("alpha stand{number}"));
                    lake.commit(write(&path, &[&format!("alpha stand{number}")])).await.unwrap()
                };
                states.lock().unwrap().insert(id.0, documents.clone());
                lake.record(interaction(number as i64)).await.unwrap();
                if number % 12 == 11 {
                    // Joins files, makes the index, and forgets old versions.
                    lake.refresh().await.unwrap();
                }
            }
        })
    };
    let mut seen = Vec::new();
    loop {
        let is_over = writer.is_finished();
        let pin = lake.pin().await.unwrap();
        let (copy, held) = open_held(&home).await;
        assert_eq!(held.stats().await.unwrap().commits, pin.commit.0, "nothing was to be rolled back");
        if pin.commit.0 > 0 {
            check_stored(&copy).await;
        }
        let found: BTreeMap<_, _> = {
            let chunks = held.all_chunks(None, 1000).await.unwrap();
            chunks.into_iter().map(|row| (held.document(&row.document_id).unwrap().path, row.text)).collect()
        };
        // A commit may be made, and held, before the writer has taken note of it.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let expect = states.lock().unwrap().range(..=pin.commit.0).next_back().unwrap().1.clone();
        assert_eq!(found, expect, "at commit {}", pin.commit.0);
        seen.push((pin.commit.0, held.interactions(0).await.unwrap().len()));
        if is_over {
            // It goes on as any other lake does.
            held.commit(write("neu.txt", &["gamma"])).await.unwrap();
            assert_eq!(ranking(&held, "gamma").await, ["neu.txt"]);
            held.refresh().await.unwrap();
            check_stored(&copy).await;
            break;
        }
    }
    writer.await.unwrap();
    assert!(seen.len() > 2 && seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last().unwrap().1, 36, "what was accepted before the pin is in it");
}

#[tokio::test]
async fn what_is_held_survives_the_cleaning_and_goes_when_it_is_released() {
    let home = home();
    let lake = home.open().await;
    lake.pin().await.unwrap();
    drop(open_held(&home).await);
    for number in 0..10 {
        lake.commit(write(&format!("{number}.txt"), &["alpha"])).await.unwrap();
    }
    let before = everything(&lake).await;
    let bytes = lake.stats().await.unwrap().bytes;
    lake.pin().await.unwrap();
    assert_eq!(lake.stats().await.unwrap().bytes, bytes, "second names take no room");
    for path in ["lance", "delta"] {
        // Nothing but the second names is left of what was held.
        std::fs::remove_dir_all(home.layout.lakehouse().join(path)).unwrap();
    }
    let (_copy, held) = open_held(&home).await;
    assert_eq!(everything(&held).await, before);
    lake.unpin().await.unwrap();
    assert!(!home.layout.lake_pin().exists());
    lake.unpin().await.unwrap();
}
