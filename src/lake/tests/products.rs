//! Rows of catalogues: put aside part by part, seen with the commit of their document or not at all.

use serde_json::json;

use super::{
    knowledge::{roomy, rows as asked},
    *,
};
use crate::{Catalogue, CataloguePart, FeatureRow, PriceRow, ProductRow};

fn part(path: &str, part: u32, articles: &[&str]) -> CataloguePart {
    let article = |(at, number): (usize, &&str)| (at as u64, (*number).to_owned());
    let product = |of| {
        let (ordinal, article_number) = article(of);
        ProductRow { ordinal, article_number, short: Some("Klemme".to_owned()), ..ProductRow::default() }
    };
    let feature = |of| {
        let (ordinal, article_number) = article(of);
        FeatureRow {
            ordinal,
            article_number,
            value: Some("2,5".to_owned()),
            value_number: Some(2.5),
            ..FeatureRow::default()
        }
    };
    let price = |of| {
        let (ordinal, article_number) = article(of);
        PriceRow {
            ordinal,
            article_number,
            amount: Some("1.20".to_owned()),
            amount_number: Some(1.2),
            ..PriceRow::default()
        }
    };
    let of = || articles.iter().enumerate();
    CataloguePart {
        document_id: document_id("/data", path),
        part,
        products: of().map(product).collect(),
        features: of().map(feature).collect(),
        prices: of().map(price).collect(),
    }
}

fn with(path: &str, parts: u32, commit: Commit) -> Commit {
    Commit { catalogues: vec![Catalogue { document_id: document_id("/data", path), parts }], ..commit }
}

async fn articles(lake: &Lake) -> serde_json::Value {
    asked(
        lake,
        "SELECT p.article_number, f.value_number, r.amount, d.path FROM products p \
         JOIN features f ON f.document_id = p.document_id AND f.article_number = p.article_number \
         JOIN prices r ON r.document_id = p.document_id AND r.article_number = p.article_number \
         JOIN documents d ON d.id = p.document_id ORDER BY 1",
    )
    .await
}

#[test]
fn rows_are_those_of_the_documents_there_are() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        lake.put_aside(part("a.xml", 0, &["A1", "A2"])).await.unwrap();
        lake.put_aside(part("a.xml", 1, &["A3"])).await.unwrap();
        assert_eq!(articles(&lake).await, json!([]), "nobody sees what no commit names");
        lake.commit(with("a.xml", 2, write("a.xml", &["alpha"]))).await.unwrap();
        lake.put_aside(part("b.xml", 0, &["B1"])).await.unwrap();
        lake.commit(with("b.xml", 1, write("b.xml", &["beta"]))).await.unwrap();
        let row = |article: &str, path: &str| json!([article, 2.5, "1.20", path]);
        let all = json!([row("A1", "a.xml"), row("A2", "a.xml"), row("A3", "a.xml"), row("B1", "b.xml")]);
        assert_eq!(articles(&lake).await, all);
        check_stored(&home).await;
        drop(lake);

        let lake = home.open().await;
        assert_eq!(articles(&lake).await, all);
        // Other readers leave the rows alone; the document written again takes them with it.
        let readers =
            vec![crate::Readers { document_id: document_id("/data", "a.xml"), readers: vec!["*".to_owned()] }];
        lake.commit(Commit { readers, ..Commit::default() }).await.unwrap();
        lake.refresh().await.unwrap();
        assert_eq!(articles(&lake).await, all);
        lake.put_aside(part("a.xml", 0, &["A9"])).await.unwrap();
        lake.vacuum(1).await.unwrap();
        lake.commit(with("a.xml", 1, write("a.xml", &["alpha"]))).await.unwrap();
        assert_eq!(articles(&lake).await, json!([row("A9", "a.xml"), row("B1", "b.xml")]));
        lake.commit(remove("b.xml")).await.unwrap();
        lake.commit(write("a.xml", &["alpha"])).await.unwrap();
        assert_eq!(articles(&lake).await, json!([]));
        assert_eq!(lake.check().await.unwrap().faults, [""; 0]);
        check_stored(&home).await;
        let older = SqlRequest { at: Some(CommitId(5)), ..question("SELECT count(*) FROM products") };
        let older = tokio::spawn(async move { lake.sql(older).await }).await.unwrap();
        assert!(older.is_ok_and(|answer| answer.rows.len() == 1));
    });
}

fn question(text: &str) -> SqlRequest {
    SqlRequest { text: text.to_owned(), max_rows: 10, max_seconds: 20, at: None, vectors: Vec::new() }
}

#[test]
fn a_commit_that_stops_shows_no_rows_and_asks_for_them_again() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        lake.put_aside(part("a.xml", 0, &["A1"])).await.unwrap();
        lake.commit(with("a.xml", 1, write("a.xml", &["alpha"]))).await.unwrap();
        let before = articles(&lake).await;
        for step in [Step::CatalogWritten, Step::CataloguesWritten, Step::Synced] {
            let next = || with("a.xml", 1, write("a.xml", &["beta"]));
            lake.put_aside(part("a.xml", 0, &["A2"])).await.unwrap();
            let stopped = lake.commit_until(next(), Some(step)).await;
            assert!(matches!(stopped, Err(Error::Stopped(_))), "{step:?}: {stopped:?}");
            assert_eq!(articles(&lake).await, before, "{step:?}");
            assert!(
                matches!(lake.commit(next()).await, Err(Error::Refused(_))),
                "{step:?}: they are not here any more"
            );
            check_stored(&home).await;
        }
        assert!(matches!(lake.put_aside(part("a.xml", 1, &["A3"])).await, Err(Error::Refused(_))), "out of turn");
        let stray = with("b.xml", 1, write("a.xml", &["beta"]));
        assert!(matches!(lake.commit(stray).await, Err(Error::Refused(_))));
        drop(lake);
        let lake = home.open().await;
        assert_eq!(articles(&lake).await, before);
        lake.put_aside(part("a.xml", 0, &["A2"])).await.unwrap();
        lake.commit(with("a.xml", 1, write("a.xml", &["beta"]))).await.unwrap();
        assert_eq!(articles(&lake).await[0][0], "A2");
    });
}

/// The data files of the three tables, those put aside included, and how many were put aside.
fn files(home: &Home) -> (usize, usize) {
    let count = |folder: std::path::PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "parquet")).count()
    };
    let tables = ["products", "features", "prices"].map(|name| home.layout.delta().join(name));
    let aside = tables.iter().map(|folder| count(folder.join("_aside"))).sum();
    (tables.into_iter().map(count).sum::<usize>() + aside, aside)
}

#[test]
fn what_no_commit_named_is_not_kept() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        lake.put_aside(part("a.xml", 0, &["A1"])).await.unwrap();
        lake.commit(with("a.xml", 1, write("a.xml", &["alpha"]))).await.unwrap();
        assert_eq!(files(&home), (3, 0));
        // An ingestion is killed half-way, and begins anew.
        lake.put_aside(part("a.xml", 0, &["A2"])).await.unwrap();
        lake.put_aside(part("a.xml", 1, &["A3"])).await.unwrap();
        assert_eq!(files(&home), (9, 6));
        lake.put_aside(part("a.xml", 0, &["A4"])).await.unwrap();
        assert_eq!(files(&home), (6, 3));
        lake.put_aside(part("b.xml", 0, &["B1"])).await.unwrap();
        drop(lake);
        // What older commits need stays; what was put aside by a lake that is gone does not.
        let lake = home.open().await;
        assert_eq!(files(&home), (3, 0));
        assert_eq!(articles(&lake).await[0][0], "A1");
        assert!(matches!(lake.put_aside(part("b.xml", 1, &["B2"])).await, Err(Error::Refused(_))));
        lake.put_aside(part("a.xml", 0, &["A5"])).await.unwrap();
        lake.commit(with("a.xml", 1, write("a.xml", &["alpha"]))).await.unwrap();
        assert_eq!((files(&home), lake.check().await.unwrap().faults.len()), ((6, 0), 0));
        let older = SqlRequest { at: Some(CommitId(1)), ..question("SELECT article_number FROM products") };
        let older = tokio::spawn(async move { lake.sql(older).await }).await.unwrap().unwrap();
        assert_eq!(json!(older.rows), json!([["A1"]]));
    });
}
