//! Who may read what: for whoever may not read a document, it does not exist.

use base::Rights;
use futures::TryStreamExt;
use lance::{Dataset, dataset::WriteParams};

use super::*;
use crate::{Hit, Readers, columns::Layout};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn sales() -> Rights {
    Rights::Of(names(&["sales"]))
}

fn readable(mut commit: Commit, readers: &[&str]) -> Commit {
    commit.upsert.iter_mut().for_each(|row| row.readers = names(readers));
    commit
}

async fn found(lake: &Lake, text: &str, mode: SearchMode, rights: &Rights) -> Vec<Hit> {
    let request = SearchRequest { mode, rights: rights.clone(), ..SearchRequest::hybrid(text, Some(towards(0)), 10) };
    lake.search(request).await.unwrap()
}

async fn found_paths(lake: &Lake, rights: &Rights) -> Vec<String> {
    let hits = found(lake, "alpha", SearchMode::Hybrid, rights).await;
    let mut paths: Vec<_> = hits.into_iter().flat_map(|hit| std::iter::once(hit.document).chain(hit.copies)).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Documents of several groups in any order, among them copies of one text, rare words, compounds and another language.
fn story() -> Vec<(Commit, bool)> {
    let english = |mut commit: Commit| {
        commit.chunks.iter_mut().for_each(|chunk| chunk.language = Some("en".to_owned()));
        commit
    };
    vec![
        (readable(write("hr/klemme.txt", &["alpha Reihenklemme gilt für WDU 2.5"]), &["hr"]), false),
        (readable(write("klemme.txt", &["alpha Reihenklemme gilt für WDU 2.5"]), &["sales"]), true),
        (
            readable(
                write("hr/gehalt.txt", &["alpha alpha beta Gehalt", "Klemme Reihenklemme", "Klemmenblock"]),
                &["hr"],
            ),
            false,
        ),
        (readable(write("offen.txt", &["Klemme alpha beta", "gamma die der"]), &["*"]), true),
        (readable(write("admin.txt", &["alpha WDU 2.51 Klemme"]), &[]), false),
        (english(readable(write("hr/english.txt", &["the alpha clamp", "of the beta"]), &["hr", "user:eva"])), false),
        (english(readable(write("english.txt", &["an alpha terminal block"]), &["hr", "sales"])), true),
        (readable(write("kopie.txt", &["alpha Reihenklemme gilt für WDU 2.5"]), &["sales", "support"]), true),
    ]
}

#[tokio::test]
async fn what_may_not_be_read_does_not_exist() {
    let (all, few) = (home(), home());
    let (all, few) = (all.open().await, few.open().await);
    for (commit, is_readable) in story() {
        if is_readable {
            few.commit(commit.clone()).await.unwrap();
        }
        all.commit(commit).await.unwrap();
    }
    for mode in [SearchMode::Hybrid, SearchMode::Vector, SearchMode::Lexical] {
        for text in [
            "alpha",
            "Klemme",
            "Reihenklemme WDU 2.5",
            "Was gilt für die Klemme?",
            "Gehalt",
            "the alpha of beta",
            "WDU",
        ] {
            // Scores, ranks and copies too: neither how rare a word is nor what a language's cosines are tells of the others.
            assert_eq!(
                found(&all, text, mode, &sales()).await,
                found(&few, text, mode, &Rights::All).await,
                "{mode:?} {text}"
            );
        }
    }
    assert_eq!(found_paths(&all, &Rights::Of(Vec::new())).await, ["offen.txt"]);
    assert_eq!(found_paths(&all, &Rights::Of(names(&["user:eva"]))).await, ["hr/english.txt", "offen.txt"]);
    assert_eq!(found_paths(&all, &Rights::All).await.len(), 8);
}

#[tokio::test]
async fn few_rights_still_give_as_many_hits_as_are_wanted() {
    let home = home();
    let lake = home.open().await;
    let mut commit = Commit::default();
    for number in 0..300 {
        let readers: &[&str] = if number % 25 == 7 { &["sales"] } else { &["hr"] };
        // What may not be read is nearer to the question, in words too.
        let text = if readers == ["hr"] {
            format!("alpha alpha {number}")
        } else {
            format!("Klemme {number} alpha rund um vieles")
        };
        let more = readable(write(&format!("{number}.txt"), &[&text]), readers);
        commit.upsert.extend(more.upsert);
        commit.chunks.extend(more.chunks);
    }
    lake.commit(commit).await.unwrap();
    for mode in [SearchMode::Hybrid, SearchMode::Vector, SearchMode::Lexical] {
        let hits = found(&lake, "alpha", mode, &sales()).await;
        assert_eq!(hits.len(), 10, "{mode:?}");
        assert!(hits.iter().all(|hit| hit.text.starts_with("Klemme")));
    }
}

#[tokio::test]
async fn readers_change_and_nothing_else() {
    let home = home();
    let lake = home.open().await;
    lake.commit(readable(write_all("a.txt", &["alpha eins", "beta"]), &["hr"])).await.unwrap();
    lake.commit(readable(write_all("b.txt", &["alpha zwei"]), &["sales"])).await.unwrap();
    assert_eq!(found_paths(&lake, &sales()).await, ["b.txt"]);
    let (_, _, before) = everything(&lake).await;
    let change =
        |path: &str, readers: &[&str]| Readers { document_id: document_id("/data", path), readers: names(readers) };

    let commit = Commit {
        readers: vec![change("a.txt", &["hr", "sales"]), change("never-there.txt", &["*"])],
        ..Commit::default()
    };
    lake.commit(commit.clone()).await.unwrap();
    assert_eq!(found_paths(&lake, &sales()).await, ["a.txt", "b.txt"]);
    let (documents, chunks, after) = everything(&lake).await;
    // Equal scores fall to the older row, and these rows are new.
    let sorted = |lines: Vec<String>| {
        let without_rank = |line: String| match line.split_once(' ') {
            Some((word @ ("alpha" | "beta" | "gamma"), rest)) => {
                format!("{word} {}", rest.split_once(' ').map_or("", |(_, rest)| rest))
            }
            _ => line,
        };
        let mut lines: Vec<String> = lines.into_iter().map(without_rank).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(after), sorted(before), "passages, vectors, graph and tables stay");
    let changed = documents.iter().find(|row| row.path == "a.txt").unwrap();
    assert!(
        chunks.iter().filter(|chunk| chunk.document_id == changed.id).all(|chunk| chunk.readers == changed.readers)
    );
    let commits = lake.stats().await.unwrap().commits;
    assert_eq!(lake.commit(commit).await.unwrap(), CommitId(commits), "nothing is written when nothing changes");

    lake.commit(Commit { readers: vec![change("b.txt", &[])], ..Commit::default() }).await.unwrap();
    assert_eq!(found_paths(&lake, &sales()).await, ["a.txt"]);
    assert_eq!(lake.check().await.unwrap().faults, [""; 0]);
    check_stored(&home).await;
    let twice = Commit { readers: vec![change("a.txt", &[]), change("a.txt", &["*"])], ..Commit::default() };
    assert!(matches!(lake.commit(twice).await, Err(Error::Refused(_))));
    let both = Commit { readers: vec![change("a.txt", &[])], ..write("a.txt", &["x"]) };
    assert!(matches!(lake.commit(both).await, Err(Error::Refused(_))));
    drop(lake);
    assert_eq!(found_paths(&home.open().await, &sales()).await, ["a.txt"]);
}

/// Makes the tables of one commit what version 1 wrote: without the column `readers`.
async fn as_version_1(home: &Home) {
    for layout in [rows::DOCUMENTS, rows::CHUNKS] {
        let folder = home.layout.delta().join(layout.name);
        let batches = Table::open(folder.clone(), layout).await.unwrap().read().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let narrow = Layout { name: layout.name, columns: &layout.columns[..layout.columns.len() - 1] };
        let mut table = Table::open(folder, narrow).await.unwrap();
        let order: Vec<usize> = (0..narrow.columns.len()).collect();
        for batch in batches {
            table.write(&[], batch.project(&order).unwrap(), &mut Vec::new()).await.unwrap();
        }
    }
    let folder = home.layout.lance().join("chunks");
    let uri = folder.to_string_lossy().into_owned();
    let stored = Dataset::open(&uri).await.unwrap();
    let mut batches: Vec<arrow::array::RecordBatch> =
        stored.scan().try_into_stream().await.unwrap().try_collect().await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let schema = batches[0].schema();
    let order: Vec<usize> = (0..schema.fields().len()).filter(|at| schema.field(*at).name() != "readers").collect();
    batches.iter_mut().for_each(|batch| *batch = batch.project(&order).unwrap());
    // What the dataset says of itself is no part of its batches.
    let metadata = arrow::datatypes::Schema::from(stored.schema()).metadata().clone();
    let schema = std::sync::Arc::new(batches[0].schema().as_ref().clone().with_metadata(metadata));
    let none = arrow::array::RecordBatchIterator::new(std::iter::empty(), schema.clone());
    let mut made = Dataset::write(none, &uri, Some(WriteParams::default())).await.unwrap();
    let rows = arrow::array::RecordBatchIterator::new(batches.into_iter().map(Ok), schema);
    made.append(rows, None).await.unwrap();
}

#[tokio::test]
async fn documents_of_version_1_are_for_administrators_until_they_are_walked_over() {
    let home = home();
    let lake = home.open().await;
    lake.commit(readable(write("a.txt", &["alpha eins", "beta"]), &["*"])).await.unwrap();
    drop(lake);
    as_version_1(&home).await;

    let lake = home.open().await;
    assert_eq!(lake.document(&document_id("/data", "a.txt")).unwrap().readers, [""; 0]);
    assert_eq!(found_paths(&lake, &Rights::All).await, ["a.txt"], "visible where no permissions are kept");
    assert_eq!(found_paths(&lake, &sales()).await, [""; 0]);
    assert_eq!(lake.all_chunks(None, 10).await.unwrap().len(), 2);
    lake.refresh().await.unwrap();
    lake.commit(readable(write("b.txt", &["alpha zwei"]), &["sales"])).await.unwrap();
    assert_eq!(found_paths(&lake, &sales()).await, ["b.txt"]);
    let readers = vec![Readers { document_id: document_id("/data", "a.txt"), readers: names(&["*"]) }];
    lake.commit(Commit { readers, ..Commit::default() }).await.unwrap();
    assert_eq!(found_paths(&lake, &sales()).await, ["a.txt", "b.txt"]);
    assert_eq!(lake.check().await.unwrap().faults, [""; 0]);
    check_stored(&home).await;
    drop(lake);
    assert_eq!(found_paths(&home.open().await, &sales()).await, ["a.txt", "b.txt"]);
}
