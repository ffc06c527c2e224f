//! What documents name, spreadsheets as tables, and questions in SQL.

use serde_json::json;

use super::*;
use crate::{
    ColumnKind, EdgeRow, EntityRow, Named, NeighborsRequest, Numbers, PathRequest, SheetTable, SqlAnswer, SqlRequest,
    entity_id,
};

pub(super) fn entity(document: &str, kind: &str, key: &str) -> EntityRow {
    EntityRow {
        id: entity_id(kind, key),
        document_id: document_id("/data", document),
        kind: kind.to_owned(),
        key: key.to_owned(),
        name: key.to_uppercase(),
        attributes: BTreeMap::new(),
        mentions: 1,
        chunk_id: Some("c".to_owned()),
        place: Place::page(3),
    }
}

pub(super) fn edge(document: &str, kind: &str, from: (&str, &str), to: (&str, &str)) -> EdgeRow {
    EdgeRow {
        document_id: document_id("/data", document),
        kind: kind.to_owned(),
        from_id: entity_id(from.0, from.1),
        from_kind: from.0.to_owned(),
        from_key: from.1.to_owned(),
        to_id: entity_id(to.0, to.1),
        to_kind: to.0.to_owned(),
        to_key: to.1.to_owned(),
        chunk_id: Some("c".to_owned()),
        place: Place::page(3),
    }
}

pub(super) fn table(document: &str, ordinal: u32, rows: &[&str]) -> SheetTable {
    let cells = |row: &str| row.split(';').map(str::to_owned).collect::<Vec<_>>();
    SheetTable {
        document_id: document_id("/data", document),
        ordinal,
        label: None,
        place: Place::rows(None, 2, rows.len() as u32 + 1),
        header: cells("Artikel;Preis €;gültig ab;Lager"),
        rows: rows.iter().map(|row| cells(row)).collect(),
        numbers: Numbers::Comma,
    }
}

fn named(kind: &str, key: &str) -> Vec<Named> {
    vec![Named { kind: kind.to_owned(), key: key.to_owned() }]
}

async fn around(lake: &Lake, kind: &str, key: &str, depth: u32) -> Vec<String> {
    let request = NeighborsRequest { of: named(kind, key), kinds: Vec::new(), depth, limit: 100 };
    let found = lake.neighbors(request).await.unwrap();
    let line = |one: &crate::Neighbor| {
        let arrow = if one.step.forward { "→" } else { "←" };
        format!("{} {arrow}{} {} ×{}", one.distance, one.step.kind, one.node.key, one.step.documents)
    };
    found.neighbors.iter().map(line).collect()
}

/// A certificate for two products, and a complaint about one of them.
fn story() -> [Commit; 2] {
    let (kx4, kx6, ul) = (("product", "kx4"), ("product", "kx6"), ("certificate", "e1"));
    let mut certificate = write("zertifikat.pdf", &["alpha"]);
    certificate.entities = [kx4, kx6, ul].map(|(kind, key)| entity("zertifikat.pdf", kind, key)).to_vec();
    certificate.edges = [kx4, kx6].map(|product| edge("zertifikat.pdf", "certified_by", product, ul)).to_vec();
    let mut complaint = write("reklamation.eml", &["beta"]);
    complaint.entities = [kx4, ("issue", "4711")].map(|(kind, key)| entity("reklamation.eml", kind, key)).to_vec();
    complaint.edges = vec![edge("reklamation.eml", "concerns", ("issue", "4711"), kx4)];
    [certificate, complaint]
}

#[tokio::test]
async fn from_a_product_to_its_certificate_and_to_complaints_about_it() {
    let home = home();
    let lake = home.open().await;
    // The graph is there before the documents are: it is kept in step from then on.
    assert_eq!(around(&lake, "product", "kx4", 1).await, [""; 0]);
    for commit in story() {
        lake.commit(commit).await.unwrap();
    }
    let of_kx4 = ["1 →certified_by e1 ×1", "1 ←concerns 4711 ×1"];
    assert_eq!(around(&lake, "product", "kx4", 1).await, of_kx4);
    assert_eq!(around(&lake, "certificate", "e1", 2).await[2], "2 ←concerns 4711 ×1");
    let path = PathRequest { from: named("product", "kx6"), to: named("issue", "4711") };
    let found = lake.path(path.clone()).await.unwrap();
    let way: Vec<_> = found.nodes.iter().map(|node| node.key.as_str()).collect();
    assert_eq!(way, ["kx6", "e1", "kx4", "4711"]);
    assert_eq!(found.steps[2].evidence[0].document, "reklamation.eml");
    assert_eq!(found.steps[2].evidence[0].place, "page 3");
    drop(lake);
    // Made from the tables it says the same.
    let lake = home.open().await;
    assert_eq!(around(&lake, "product", "kx4", 1).await, of_kx4);
    assert_eq!(lake.path(path.clone()).await.unwrap(), found);
    lake.commit(remove("zertifikat.pdf")).await.unwrap();
    assert_eq!(around(&lake, "product", "kx4", 1).await, of_kx4[1..]);
    assert!(lake.path(path.clone()).await.unwrap().from.is_empty(), "nobody names kx6 any more");
    drop(lake);
    let lake = home.open().await;
    assert_eq!(around(&lake, "product", "kx4", 3).await, of_kx4[1..]);
}

#[tokio::test]
async fn two_things_of_one_document_are_connected_by_it_when_no_edge_is() {
    let home = home();
    let lake = home.open().await;
    let mut commit = write("notiz.txt", &["alpha"]);
    commit.entities = vec![entity("notiz.txt", "product", "kx4"), entity("notiz.txt", "standard", "en1")];
    lake.commit(commit).await.unwrap();
    let found = lake.path(PathRequest { from: named("product", "kx4"), to: named("standard", "en1") }).await.unwrap();
    let kinds: Vec<_> = found.nodes.iter().map(|node| format!("{} {}", node.kind, node.name)).collect();
    assert_eq!(kinds, ["product KX4", "document notiz.txt", "standard EN1"]);
    assert!(found.steps.iter().all(|step| step.kind == "mentions"));
    let by_name = NeighborsRequest { of: named("document", "notiz.txt"), kinds: Vec::new(), depth: 1, limit: 1 };
    let found = lake.neighbors(by_name).await.unwrap();
    assert!(found.neighbors[0].node.key == "kx4" && found.has_more);
}

#[tokio::test]
async fn an_edge_between_what_its_document_does_not_name_is_refused() {
    let home = home();
    let lake = home.open().await;
    let [mut dangling, mut foreign] = story();
    dangling.entities.pop();
    foreign.entities[0].document_id = document_id("/data", "other.txt");
    let mut empty = write("a.csv", &["alpha"]);
    empty.tables = vec![table("a.csv", 0, &[])];
    for commit in [dangling, foreign, empty] {
        assert!(matches!(lake.commit(commit).await, Err(Error::Refused(_))));
    }
    assert_eq!(lake.stats().await.unwrap().commits, 0);
}

/// The planner wants more stack than a test's thread has.
pub(super) fn roomy<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).thread_stack_size(16 << 20).enable_all().build().unwrap();
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

async fn sql(lake: &Lake, text: &str) -> Result<SqlAnswer, Error> {
    ask(lake, question(text)).await
}

fn question(text: &str) -> SqlRequest {
    SqlRequest { text: text.to_owned(), max_rows: 100, max_seconds: 20, at: None, vectors: Vec::new() }
}

async fn ask(lake: &Lake, request: SqlRequest) -> Result<SqlAnswer, Error> {
    let lake = lake.clone();
    tokio::spawn(async move { lake.sql(request).await }).await.unwrap()
}

pub(super) async fn rows(lake: &Lake, text: &str) -> serde_json::Value {
    json!(sql(lake, text).await.unwrap_or_else(|error| panic!("{text}: {error}")).rows)
}

#[test]
fn a_spreadsheet_is_a_table_until_its_file_changes_or_goes() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        let mut commit = write("Preisliste 2026.csv", &["alpha"]);
        commit.tables = vec![table("Preisliste 2026.csv", 0, &["KX 4;1.234,50;01.02.2026;7.440", "KX 6;2,00;;12"])];
        lake.commit(commit.clone()).await.unwrap();
        let tables = lake.sql_tables().await.unwrap();
        let own = tables.iter().find(|table| table.name == "preisliste_2026").unwrap();
        let columns: Vec<_> = own.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
        let (text, decimal, date, integer) =
            (ColumnKind::Text, ColumnKind::Decimal, ColumnKind::Date, ColumnKind::Integer);
        assert_eq!(columns, [("artikel", text), ("preis_eur", decimal), ("gueltig_ab", date), ("lager", integer)]);
        assert_eq!((own.rows, own.about.as_str()), (2, "Preisliste 2026.csv, rows 2–3"));
        let all = rows(&lake, "SELECT * FROM preisliste_2026 ORDER BY artikel").await;
        assert_eq!(all, json!([["KX 4", 1234.5, "2026-02-01", 7440], ["KX 6", 2.0, null, 12]]));
        let joined = "SELECT d.path, p.lager FROM preisliste_2026 p, catalog c JOIN documents d ON d.id = c.document_id \
                      WHERE p.preis_eur > 100 AND c.name = 'preisliste_2026'";
        assert_eq!(rows(&lake, joined).await, json!([["Preisliste 2026.csv", 7440]]));
        // Another file of that name gets another name for its table, and the first keeps its own when it changes.
        let mut other = write("sub/Preisliste 2026.csv", &["beta"]);
        other.upsert[0].name = "Preisliste 2026.csv".to_owned();
        other.tables = vec![table("sub/Preisliste 2026.csv", 0, &["KX 9;9,99;;1"])];
        lake.commit(other).await.unwrap();
        let before = lake.stats().await.unwrap().commits;
        commit.tables[0].rows.truncate(1);
        lake.commit(commit).await.unwrap();
        assert_eq!(rows(&lake, "SELECT count(*) FROM preisliste_2026").await, json!([[1]]));
        assert_eq!(rows(&lake, "SELECT artikel FROM preisliste_2026_2").await, json!([["KX 9"]]));
        let at_once = lake.check().await.unwrap();
        assert!(at_once.faults.is_empty() && at_once.rows["catalog"] == 2, "{at_once:?}");
        let nearest = at_once.nearest.unwrap();
        assert_eq!((nearest.scan.as_str(), nearest.recall), ("exact", 1.0));
        drop(lake);
        let lake = home.open().await;
        let at = SqlRequest {
            text: "SELECT count(*) FROM preisliste_2026".to_owned(),
            max_rows: 1,
            max_seconds: 20,
            at: Some(CommitId(before)),
            vectors: vec![],
        };
        assert_eq!(json!(ask(&lake, at).await.unwrap().rows), json!([[2]]), "as it was");
        lake.commit(remove("Preisliste 2026.csv")).await.unwrap();
        assert!(matches!(sql(&lake, "SELECT * FROM preisliste_2026").await, Err(Error::Refused(_))));
        assert_eq!(rows(&lake, "SELECT count(*) FROM catalog").await, json!([[1]]));
        check_stored(&home).await;
    });
}

#[test]
fn one_question_joins_what_is_found_with_tables_and_edges() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        for commit in story() {
            lake.commit(commit).await.unwrap();
        }
        lake.commit(write("anderes.txt", &["gamma", "alpha beta"])).await.unwrap();
        let found = "SELECT s.rank, d.path, s.place FROM search('alpha', 2) s JOIN documents d ON d.id = s.document_id \
                     WHERE s.path <> 'anderes.txt' ORDER BY s.rank";
        let hits = rows(&lake, found).await;
        assert!(!hits.as_array().unwrap().is_empty() && !hits.to_string().contains("anderes.txt"), "{hits}");
        // With the vector of the words, the passage that leans its way comes first, though it lacks the word.
        let by_meaning = SqlRequest {
            vectors: vec![crate::AskedVector { text: "omega".to_owned(), vector: towards(1) }],
            ..question("SELECT text, similarity > 0.99 FROM search('omega', 1)")
        };
        assert_eq!(json!(ask(&lake, by_meaning).await.unwrap().rows), json!([["alpha beta", true]]));
        let near = "SELECT n.distance, n.kind, n.key, n.edge, d.path FROM neighbors('product', 'kx4', 2) n \
                    JOIN documents d ON d.id = n.document_id JOIN entities e ON e.id = n.id \
                    WHERE n.kind = 'issue' ORDER BY n.distance";
        assert_eq!(rows(&lake, near).await, json!([[1, "issue", "4711", "concerns", "reklamation.eml"]]));
        for text in [
            "SELECT * FROM search()",
            "SELECT * FROM search(7)",
            "SELECT * FROM search('alpha', 0)",
            "SELECT * FROM search('alpha', 100000)",
            "SELECT * FROM neighbors('product')",
            "SELECT * FROM neighbors('product', 'kx4', 9)",
            "SELECT * FROM search",
        ] {
            assert!(matches!(sql(&lake, text).await, Err(Error::Refused(_))), "{text}");
        }
        let many = vec!["SELECT rank FROM search('alpha')"; 17].join(" UNION ALL ");
        assert!(matches!(sql(&lake, &many).await, Err(Error::Refused(why)) if why.contains("at most 16")));
        let wrong = SqlRequest {
            vectors: vec![crate::AskedVector { text: "omega".to_owned(), vector: vec![1.0] }],
            ..question("SELECT * FROM search('omega')")
        };
        assert!(matches!(ask(&lake, wrong).await, Err(Error::Refused(why)) if why.contains("finite numbers")));
        let before = SqlRequest { at: Some(CommitId(1)), ..question("SELECT * FROM search('alpha')") };
        assert!(matches!(ask(&lake, before).await, Err(Error::Refused(why)) if why.contains("newest")));
    });
}

#[test]
fn a_question_can_read_and_nothing_else() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        for commit in story() {
            lake.commit(commit).await.unwrap();
        }
        let certificates = "SELECT e.key, d.path, c.text FROM entities e JOIN documents d ON d.id = e.document_id \
                            JOIN chunks c ON c.document_id = d.id WHERE e.kind = 'certificate'";
        assert_eq!(rows(&lake, certificates).await, json!([["e1", "zertifikat.pdf", "alpha"]]));
        let hops = "WITH c AS (SELECT from_id FROM edges WHERE kind = 'certified_by') \
                    SELECT e.from_key FROM edges e JOIN c ON c.from_id = e.to_id WHERE e.kind = 'concerns'";
        assert_eq!(rows(&lake, hops).await, json!([["4711"]]));
        let outside = home.layout.dir().join("geheim.csv");
        std::fs::write(&outside, "a,b\n1,2\n").unwrap();
        let target = home.layout.dir().join("out.csv");
        let (outside, to) = (outside.display(), target.display());
        for text in [
            "CREATE TABLE x AS SELECT 1",
            "CREATE VIEW x AS SELECT 1",
            "DROP TABLE documents",
            "DELETE FROM documents",
            "UPDATE documents SET path = ''",
            "INSERT INTO documents SELECT * FROM documents",
            "SET datafusion.execution.batch_size = 1",
            &format!("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '{outside}'"),
            &format!("COPY (SELECT 1) TO '{to}' STORED AS CSV"),
            &format!("EXPLAIN COPY (SELECT 1) TO '{to}' STORED AS CSV"),
            &format!("SELECT * FROM '{outside}'"),
            "EXPLAIN ANALYZE SELECT 1",
            "SELECT 1; SELECT 2",
            "SELECT * FROM interactions",
            "SELECT * FROM information_schema.tables",
            "SELECT repeat('x', 1000000000)",
            "SELECT array_agg(text) FROM chunks",
            "SELECT string_agg(text, ',') FROM chunks",
            "SELECT * FROM generate_series(1, 1000000000000)",
            "SELECT",
            "",
            &format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000)),
            &"x".repeat(100_000),
        ] {
            let refused = sql(&lake, text).await;
            let shown: String = text.chars().take(80).collect();
            assert!(matches!(refused, Err(Error::Refused(_))), "{shown}: {refused:?}");
        }
        assert!(!target.exists());
        let unknown = sql(&lake, "SELECT * FROM dokuments").await.unwrap_err().to_string();
        assert!(unknown.contains("there is no table `dokuments`") && unknown.contains("`documents`"), "{unknown}");
        assert_eq!(rows(&lake, "SELECT count(*) FROM documents").await, json!([[2]]));
    });
}

#[test]
fn a_question_costs_no_more_than_it_may() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        let mut commit = write("a.csv", &["alpha"]);
        let lines: Vec<String> = (0..2000).map(|number| format!("KX {number};1,5;;7")).collect();
        commit.tables = vec![table("a.csv", 0, &lines.iter().map(String::as_str).collect::<Vec<_>>())];
        lake.commit(commit).await.unwrap();
        let few = sql(&lake, "SELECT artikel FROM a").await.unwrap();
        assert!(few.truncated && few.rows.len() == 100);
        let exact = sql(&lake, "SELECT artikel FROM a LIMIT 100").await.unwrap();
        assert!(!exact.truncated && exact.rows.len() == 100);
        // A thousand million triples.
        let few = "(SELECT artikel FROM a LIMIT 1000)";
        let text = format!(
            "SELECT count(*) FROM {few} a, {few} b, {few} c WHERE a.artikel || b.artikel || c.artikel LIKE '%zz%'"
        );
        let request = SqlRequest { text, max_rows: 1, max_seconds: 1, at: None, vectors: vec![] };
        let started = std::time::Instant::now();
        let refused = ask(&lake, request).await.unwrap_err().to_string();
        assert!(refused.contains("longer than 1 s") && started.elapsed().as_secs() < 15, "{refused}");
        let text = format!("SELECT a.artikel || b.artikel || c.artikel AS x FROM {few} a, {few} b, {few} c ORDER BY x");
        let greedy = sql(&lake, &text).await;
        assert!(matches!(greedy, Err(Error::Refused(_))), "{greedy:?}");
    });
}

#[test]
fn older_commits_are_there_until_a_vacuum() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        let count = |at: Option<CommitId>| {
            let text =
                "SELECT (SELECT count(*) FROM chunks) AS chunks, (SELECT count(*) FROM a) AS rows_of_a".to_owned();
            SqlRequest { text, max_rows: 1, max_seconds: 20, at, vectors: vec![] }
        };
        for number in 1..=3 {
            lake.commit(write_all("a.csv", &vec!["alpha"; number])).await.unwrap();
        }
        for number in 1..=3_u64 {
            let answer = ask(&lake, count(Some(CommitId(number)))).await.unwrap();
            assert_eq!(json!(answer.rows), json!([[number, number]]));
        }
        assert!(matches!(ask(&lake, count(Some(CommitId(9)))).await, Err(Error::Refused(_))));
        let before = everything(&lake).await;
        let done = lake.vacuum(2).await.unwrap();
        assert!(done.oldest == 2 && done.files >= 5 && done.bytes > 0, "{done:?}");
        assert_eq!(json!(ask(&lake, count(Some(CommitId(2)))).await.unwrap().rows), json!([[2, 2]]));
        let gone = ask(&lake, count(Some(CommitId(1)))).await.unwrap_err().to_string();
        assert!(gone.contains("vacuum"), "{gone}");
        let whole: Vec<_> = lake.snapshots(10).await.unwrap().iter().map(|one| (one.commit.0, one.is_whole)).collect();
        assert_eq!(whole, [(3, true), (2, true), (1, false)]);
        assert_eq!(lake.vacuum(2).await.unwrap().files, 0, "again removes nothing");
        assert_eq!(everything(&lake).await, before);
        assert_eq!(lake.check().await.unwrap().faults, [""; 0]);
        drop(lake);
        let lake = home.open().await;
        assert_eq!(everything(&lake).await, before);
        check_stored(&home).await;
        lake.commit(write_all("b.csv", &["beta"])).await.unwrap();
        check_stored(&home).await;
    });
}

#[test]
fn a_check_finds_what_is_missing() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        lake.commit(write_all("a.csv", &["alpha"])).await.unwrap();
        assert_eq!(lake.check().await.unwrap().faults, [""; 0]);
        let data = |folder: std::path::PathBuf| {
            let files = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
            files.into_iter().find(|path| path.extension().is_some_and(|end| end == "parquet")).unwrap()
        };
        let sheets = home.layout.delta().join("sheets");
        let sheet = std::fs::read_dir(&sheets).unwrap().flatten().next().unwrap().path();
        std::fs::remove_file(data(sheet)).unwrap();
        std::fs::write(data(home.layout.delta().join("edges")), b"PAR1 torn").unwrap();
        let faults = lake.check().await.unwrap().faults;
        assert!(faults.len() == 2 && faults[0].contains("edges/") && faults[1].contains("`a`"), "{faults:?}");
    });
}

#[test]
fn an_export_is_one_commit_in_formats_anybody_opens() {
    roomy(async {
        let home = home();
        let lake = home.open().await;
        let mut commit = write_all("a.csv", &["KX 4, grau;1,50;01.02.2026;7"]);
        commit.upsert[0].title = Some("sagt \"ja\"".to_owned());
        lake.commit(commit).await.unwrap();
        lake.commit(write("b.txt", &["beta"])).await.unwrap();
        let to = home.layout.dir().join("export");
        // The lake is open and held meanwhile: nothing is needed of it.
        let exported = Lake::export(&home.layout, &to, Some(CommitId(1))).await.unwrap();
        assert_eq!((exported.tables["documents"], exported.tables["chunks"], exported.tables["a"]), (1, 1, 1));
        let csv = std::fs::read_to_string(to.join("csv/a.csv")).unwrap();
        assert_eq!(csv, "artikel,preis_eur,gueltig_ab,lager\n\"KX 4, grau\",1.5,2026-02-01,7\n");
        let documents = std::fs::read_to_string(to.join("csv/documents.csv")).unwrap();
        assert!(documents.contains("\"sagt \"\"ja\"\"\""), "{documents}");
        let table = Table::open(to.join("delta/documents"), rows::DOCUMENTS).await.unwrap();
        assert_eq!(table.read().unwrap().iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 1);
        let again = Lake::export(&home.layout, &to, None).await;
        assert!(matches!(again, Err(Error::Refused(_))), "the folder is not empty");
    });
}
