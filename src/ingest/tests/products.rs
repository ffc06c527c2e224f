//! What catalogues say can be asked in SQL, to the last row: held against a count of the XML by element names alone.

use std::collections::BTreeSet;

use lake::{Commit, Snapshot, SqlAnswer, SqlRequest};
use roxmltree::{Node, ParsingOptions};
use serde_json::{Value, json};

use super::*;
use crate::products::{BROKEN_MOST, CATALOGUE_KEY, Found, put_aside};

/// What a BMEcat file has: products, the rows of them, rows of features, amounts of prices.
#[derive(Debug, PartialEq)]
struct Counts {
    products: usize,
    product_rows: usize,
    features: usize,
    amounts: Vec<String>,
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn named<'a, 'input>(node: Node<'a, 'input>, names: &'static [&'static str]) -> impl Iterator<Item = Node<'a, 'input>> {
    node.descendants().filter(move |node| node.is_element() && names.contains(&node.tag_name().name()))
}

fn text(node: Node<'_, '_>) -> String {
    let texts = node.descendants().filter(Node::is_text).filter_map(|node| node.text());
    texts.collect::<String>().trim().to_owned()
}

/// Counts what is in the XML; `None` for what is no XML.
fn counted(xml: &str) -> Option<Counts> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let tree = roxmltree::Document::parse_with_options(xml, options).ok()?;
    let mut counts = Counts { products: 0, product_rows: 0, features: 0, amounts: Vec::new() };
    for product in named(tree.root(), &["PRODUCT", "ARTICLE"]) {
        counts.products += 1;
        // Texts without a language are of one and the same.
        let described =
            named(product, &["DESCRIPTION_SHORT", "DESCRIPTION_LONG"]).filter(|node| !text(*node).is_empty());
        let languages: BTreeSet<Option<&str>> = described.map(|node| node.attribute("lang")).collect();
        counts.product_rows += languages.len().max(1);
        for feature in named(product, &["FEATURE"]) {
            let values = named(feature, &["FVALUE"])
                .filter(|node| node.ancestors().all(|node| node.tag_name().name() != "VARIANT"));
            let (values, ids) = (values.count(), named(feature, &["VALUE_IDREF"]).count());
            counts.features += if values > 0 { values } else { ids.max(1) };
        }
        let prices = product.descendants().filter(|node| node.has_attribute("price_type"));
        counts.amounts.extend(prices.map(|price| named(price, &["PRICE_AMOUNT"]).map(text).next().unwrap_or_default()));
    }
    Some(counts)
}

async fn ask(access: &Access, text: &str) -> SqlAnswer {
    let request =
        SqlRequest { text: text.to_owned(), max_rows: 1_000_000, max_seconds: 60, at: None, vectors: Vec::new() };
    let access = access.clone();
    let asked = tokio::spawn(async move { access.sql(request).await }).await.unwrap();
    asked.unwrap_or_else(|error| panic!("{text}: {error}"))
}

async fn rows(access: &Access, text: &str) -> Value {
    json!(ask(access, text).await.rows)
}

/// What the tables have of a document.
async fn kept(access: &Access, id: &str) -> Counts {
    let number = async |text: String| rows(access, &text).await[0][0].as_u64().unwrap() as usize;
    let products = number(format!("SELECT count(DISTINCT ordinal) FROM products WHERE document_id = '{id}'")).await;
    let product_rows = number(format!("SELECT count(*) FROM products WHERE document_id = '{id}'")).await;
    let features = number(format!("SELECT count(*) FROM features WHERE document_id = '{id}'")).await;
    let prices = format!("SELECT amount FROM prices WHERE document_id = '{id}'");
    let amounts = ask(access, &prices).await.rows;
    let amounts = amounts.iter().map(|row| row[0].as_str().unwrap_or_default().to_owned()).collect();
    Counts { products, product_rows, features, amounts }
}

fn sorted(mut counts: Counts) -> Counts {
    counts.amounts.sort();
    counts
}

/// The planner wants more stack than a test's thread has.
fn roomy<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).thread_stack_size(16 << 20).enable_all().build().unwrap();
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

#[test]
fn a_catalogue_can_be_asked_until_its_file_changes_or_goes() {
    roomy(async {
        let world = World::new().await;
        let xml = fs::read_to_string(fixture("src/extract/catalog/fixtures/bmecat-2005.xml")).unwrap();
        let kessler =
            fs::read_to_string(fixture("tests/fixtures/share/Katalog/BMEcat_2005_Kessler_Auszug.xml")).unwrap();
        world.write("muster.xml", &xml);
        world.write("kopie/muster.xml", &xml);
        world.write("kessler.xml", &kessler);
        world.write(
            "etim.json",
            &fs::read_to_string(fixture("src/extract/catalog/fixtures/etim-xchange-2.0.json")).unwrap(),
        );
        world.write("a.txt", "Ein Text ohne Artikel.");
        let report = world.run().await;
        assert_eq!(report.searchable, 5, "{report:?}");
        let access = world.access();
        let documents = world.documents().await;
        let expect = sorted(counted(&xml).unwrap());
        assert_eq!((expect.products, expect.product_rows, expect.amounts.len()), (2, 3, 2));
        for path in ["muster.xml", "kopie/muster.xml"] {
            assert_eq!(sorted(kept(access, &documents[path].id).await), expect, "{path}");
        }
        assert_eq!(sorted(kept(access, &documents["kessler.xml"].id).await), sorted(counted(&kessler).unwrap()));
        let etim = kept(access, &documents["etim.json"].id).await;
        assert!(etim.products > 0 && etim.features > 0 && !etim.amounts.is_empty(), "{etim:?}");
        assert_eq!(documents["etim.json"].metadata[CATALOGUE_KEY], "rows");

        let joined = rows(
            access,
            "SELECT d.path, p.short, f.value, f.value_number, f.unit, r.amount, r.amount_number, r.currency, r.quantity, r.territory \
             FROM products p JOIN documents d ON d.id = p.document_id \
             JOIN features f ON f.document_id = p.document_id AND f.ordinal = p.ordinal \
             JOIN prices r ON r.document_id = p.document_id AND r.ordinal = p.ordinal \
             WHERE p.language = 'eng' AND f.name = 'Querschnitt' AND f.value_number > 1 AND r.lower_bound = 1 ORDER BY d.path",
        );
        let row = |path: &str| {
            json!([
                path,
                "Feed-through terminal",
                "2.50",
                2.5,
                "MMK",
                "12345678901234567890.120",
                12345678901234567890.12_f64,
                "EUR",
                100.0,
                "DE, AT"
            ])
        };
        assert_eq!(joined.await, json!([row("kopie/muster.xml"), row("muster.xml")]));
        let first = "SELECT supplier, article_number, gtin, manufacturer, language, short, long, mode FROM products \
             WHERE language = 'deu' AND article_number = 'MK 2.5/1' LIMIT 1";
        let expect_first = json!([[
            "Muster Klemmen GmbH",
            "MK 2.5/1",
            "04012345678901",
            "Muster",
            "deu",
            "Durchgangsklemme",
            "Für Leiter < 2,5 mm²",
            "new"
        ]]);
        assert_eq!(rows(access, first).await, expect_first);
        let with_graph =
            "SELECT count(DISTINCT e.name) > 0 FROM entities e JOIN products p ON p.document_id = e.document_id";
        assert_eq!(rows(access, with_graph).await, json!([[true]]));

        assert_eq!(world.run().await.unchanged, 5);
        world.write("muster.xml", &xml.replace("1,05", "1,07").replace("0.01620", "0.01621"));
        fs::remove_file(world.share().join("kopie/muster.xml")).unwrap();
        world.run().await;
        let access = world.access();
        let mut changed = sorted(counted(&xml).unwrap());
        changed.amounts = vec!["1,07".to_owned(), "12345678901234567890.120".to_owned()];
        assert_eq!(sorted(kept(access, &documents["muster.xml"].id).await), changed);
        assert_eq!(kept(access, &documents["kopie/muster.xml"].id).await.product_rows, 0);
        assert_eq!(rows(access, "SELECT count(*) FROM features WHERE value_number = 0.0162").await, json!([[0]]));
        let Access::Local(lake) = access else { panic!("the lake is open here") };
        assert_eq!(lake.check().await.unwrap().faults, [""; 0]);
        let before: Vec<Snapshot> = lake.snapshots(1).await.unwrap();
        let world = world.reopened().await;
        assert_eq!(sorted(kept(world.access(), &documents["muster.xml"].id).await), changed);
        let Access::Local(lake) = world.access() else { panic!("the lake is open here") };
        lake.vacuum(1).await.unwrap();
        assert_eq!(lake.snapshots(1).await.unwrap(), before);
        assert_eq!(sorted(kept(world.access(), &documents["muster.xml"].id).await), changed);
    });
}

/// A worker whose answer to a file breaks off after so many bytes: enough for passages, and not for all products.
fn breaking_pool(bytes: usize) -> Pool {
    let program = std::env::current_exe().unwrap();
    let command = format!("'{}' worker extract | dd bs=1 count={bytes} 2>/dev/null", program.display());
    Pool::with_arguments("/bin/sh".into(), ["-c".to_owned(), command], 1, limits())
}

#[test]
fn rows_of_a_worker_that_died_are_not_the_files() {
    roomy(async {
        let world = World::new().await;
        let product = |number: usize| {
            format!(
                "<PRODUCT><SUPPLIER_PID>MK {number}</SUPPLIER_PID><PRODUCT_DETAILS>\
                 <DESCRIPTION_SHORT>Klemme {number}</DESCRIPTION_SHORT></PRODUCT_DETAILS></PRODUCT>"
            )
        };
        let products: String = (0..300).map(product).collect();
        let xml = format!(
            "<?xml version=\"1.0\"?><BMECAT version=\"2005\"><HEADER><CATALOG><LANGUAGE>deu</LANGUAGE><CATALOG_ID>1</CATALOG_ID>\
             <CATALOG_VERSION>1.0</CATALOG_VERSION></CATALOG></HEADER><T_NEW_CATALOG>{products}</T_NEW_CATALOG></BMECAT>"
        );
        world.write("katalog.xml", &xml);
        let path = world.share().join("katalog.xml");
        let found = put_aside(&breaking_pool(20_000), world.access(), "none", &path).await.unwrap();
        assert!(matches!(found, Found::Broken { .. }), "{found:?}");

        // The run before: it was read, and its products were not.
        world.run().await;
        let row = world.documents().await.remove("katalog.xml").unwrap();
        assert_eq!(row.metadata[CATALOGUE_KEY], "rows");
        assert_eq!(kept(world.access(), &row.id).await.products, 300);
        age(&path, 30);
        let report = world.run_job(Job { pool: breaking_pool(20_000), ..world.job() }).await;
        assert_eq!((report.unchanged, report.stages.chunk), (1, 0.0), "{report:?}");
        let broken = world.documents().await.remove("katalog.xml").unwrap();
        assert_eq!((broken.status, broken.metadata.get(CATALOGUE_KEY)), (DocumentStatus::Searchable, None));
        assert_eq!(kept(world.access(), &row.id).await.products, 0, "none is better than some");

        let report = world.run().await;
        assert!(report.bytes_read > 0 && report.stages.chunk == 0.0, "its passages are not cut again: {report:?}");
        assert_eq!(world.documents().await["katalog.xml"].metadata[CATALOGUE_KEY], "rows");
        assert_eq!(kept(world.access(), &row.id).await.products, 300);
        assert_eq!(world.run().await.bytes_read, 0);

        // Where it is the file that workers die of, that is told at last.
        age(&path, 20);
        for attempt in 1..=BROKEN_MOST {
            let report = world.run_job(Job { pool: breaking_pool(20_000), ..world.job() }).await;
            assert!(report.bytes_read > 0, "{attempt}: {report:?}");
        }
        let note = world.documents().await["katalog.xml"].metadata[CATALOGUE_KEY].clone();
        assert!(note.starts_with("no products"), "{note}");
        assert_eq!(kept(world.access(), &row.id).await.products, 0);
        assert_eq!(world.run().await.bytes_read, 0, "until the file changes");
    });
}

#[test]
fn every_catalogue_of_the_corpus_is_kept_to_the_last_row() {
    let corpus = fixture("../shared/corpus");
    if !corpus.is_dir() {
        println!("skipped: no corpus at {}", corpus.display());
        return;
    }
    roomy(async {
        let world = World::new().await;
        let access = world.access();
        let mut seen = 0;
        let files = walkdir::WalkDir::new(&corpus).sort_by_file_name().into_iter().map(Result::unwrap);
        for file in files.filter(|entry| entry.file_type().is_file()) {
            let bytes = fs::read(file.path()).unwrap();
            if extract::sniff_catalog(&bytes) != Some(extract::CatalogFormat::Bmecat) {
                continue;
            }
            let name = file.path().strip_prefix(&corpus).unwrap().display().to_string();
            let Some(expect) = std::str::from_utf8(&bytes).ok().and_then(counted) else {
                println!("{name}: damaged, or no UTF-8: not compared");
                continue;
            };
            let id = lake::document_id("/corpus", &name);
            let found = put_aside(&pool(), access, &id, file.path()).await.unwrap();
            let Found::Rows { named: catalogue, fault: None } = found else { panic!("{name}: {found:?}") };
            let row = json!({
                "id": id, "source": "/corpus", "path": name, "name": name, "size_bytes": bytes.len(), "modified_ms": 0,
                "format": "bmecat", "status": "empty", "chunk_count": 0, "ingested_ms": 0,
            });
            let upsert = vec![serde_json::from_value(row).unwrap()];
            access.commit(Commit { upsert, catalogues: vec![catalogue], ..Commit::default() }).await.unwrap();
            let found = sorted(kept(access, &id).await);
            println!(
                "{name}: {} products, {} rows of them, {} of features, {} prices",
                found.products,
                found.product_rows,
                found.features,
                found.amounts.len()
            );
            assert_eq!(found, sorted(expect), "{name}");
            seen += 1;
        }
        assert!(seen > 0, "the corpus has BMEcat files");
    });
}
