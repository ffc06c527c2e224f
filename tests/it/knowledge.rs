//! From a product to its certificates and to complaints about it, and spreadsheets asked in SQL: over the demo's documents.

use serde_json::{Value, json};

use crate::product::{Product, checkout};

#[test]
fn what_documents_name_can_be_followed_and_asked() {
    let product = Product::new();
    let share = checkout("tests/fixtures/share").display().to_string();
    product.ok(&["ingest", &share]);
    the_graph_leads_from_product_to_certificate_and_complaint(&product);
    spreadsheets_are_tables(&product);
    catalogues_are_tables(&product);
    an_older_commit_can_be_searched(&product);
    questions_only_read(&product);
    the_tables_are_looked_after(&product);
}

fn names(nodes: &Value) -> Vec<String> {
    let name = |node: &Value| format!("{} {}", node["kind"].as_str().unwrap(), node["name"].as_str().unwrap());
    nodes.as_array().unwrap().iter().map(name).collect()
}

fn the_graph_leads_from_product_to_certificate_and_complaint(product: &Product) {
    let kinds = ["--kind", "certificate", "--kind", "issue"];
    let found = product.json(&[&["graph", "neighbors", "kx-4"][..], &kinds].concat());
    let around: Vec<Value> = found["neighbors"].as_array().unwrap().iter().map(|one| one["node"].clone()).collect();
    let around = names(&json!(around));
    for expect in
        ["certificate E-0711481-20240917", "issue Order 88213: loose terminal screws in first partial delivery"]
    {
        assert!(around.iter().any(|name| name == expect), "{expect} is missing: {around:#?}");
    }
    let path = product.json(&["graph", "path", "E-0711481-20240917", "customer:Northmere Switchgear Ltd"]);
    let way = names(&path["nodes"]);
    assert_eq!((way.len(), &*way[0]), (4, "certificate E-0711481-20240917"), "{way:?}");
    let evidence = &path["steps"][2]["evidence"][0];
    assert!(evidence["document"].as_str().unwrap().ends_with("loose_screws_order_88213.eml"), "{path}");
    let certificate = &path["nodes"][0]["attributes"];
    assert_eq!((&certificate["issued"], &certificate["expires"]), (&json!("2024-09-17"), &json!("2029-09-16")));
    let shown = product.ok(&["graph", "neighbors", "R-2026-007"]).out;
    assert!(shown.contains("PSN 120") && shown.contains("Quellberg Fördertechnik AG"), "{shown}");
    let unknown = product.run(&["graph", "neighbors", "ZZZ 99"]).expect(1);
    assert!(unknown.err.contains("no document names") && unknown.err.contains("remedy"), "{}", unknown.err);
}

fn spreadsheets_are_tables(product: &Product) {
    let tables = product.json(&["sql", "--tables"]);
    let prices = tables["tables"].as_array().unwrap().iter().find(|table| table["name"] == "preisliste_2026_haendler");
    let column = |index: usize| prices.expect("the price list is a table")["columns"][index].clone();
    assert_eq!(column(2), json!({"name": "listenpreis_eur", "title": "Listenpreis EUR", "kind": "decimal"}));
    assert_eq!(column(4), json!({"name": "gueltig_ab", "title": "gültig ab", "kind": "date"}));
    let dear =
        "SELECT artikelnummer, listenpreis_eur FROM preisliste_2026_haendler WHERE listenpreis_eur > 50 ORDER BY 2";
    let csv = product.ok(&["sql", dear, "--csv"]).out;
    assert_eq!(csv, "artikelnummer,listenpreis_eur\n7301120,79.0\n7301240,128.5\n");
    let joined = "SELECT p.listenpreis_eur, d.path FROM preisliste_2026_haendler p \
                  JOIN entities e ON e.key = CAST(p.artikelnummer AS varchar) JOIN documents d ON d.id = e.document_id \
                  WHERE e.kind = 'product' AND p.artikelnummer = 7301120 AND d.path LIKE 'Reklamationen/%' ORDER BY d.path";
    let answer = product.json(&["sql", joined]);
    let path = answer["rows"][0]["path"].as_str().unwrap_or_default();
    assert_eq!(answer["rows"][0]["listenpreis_eur"], 79.0, "{answer}");
    assert!(path.starts_with("Reklamationen/"), "{answer}");
}

fn catalogues_are_tables(product: &Product) {
    let priced = "SELECT p.article_number, r.amount, r.amount_number, d.path FROM products p \
                  JOIN prices r ON r.document_id = p.document_id AND r.ordinal = p.ordinal \
                  JOIN documents d ON d.id = p.document_id ORDER BY 1";
    let answer = product.json(&["sql", priced]);
    let row = &answer["rows"][0];
    assert!(row["path"].as_str().unwrap().ends_with("BMEcat_2005_Kessler_Auszug.xml"), "{answer}");
    assert_eq!(row["amount"].as_str().unwrap().replace(',', ".").parse::<f64>().ok(), row["amount_number"].as_f64());
}

fn an_older_commit_can_be_searched(product: &Product) {
    let newest = product.json(&["lake", "snapshot", "list", "-n", "1"])["snapshots"][0]["commit"].to_string();
    let search = |more: &[&str]| product.json(&[&["search", "Bemessungsstrom", "--mode", "lexical"], more].concat());
    let now = search(&[]);
    assert!(!now["results"].as_array().unwrap().is_empty(), "{now}");
    assert_eq!(search(&["--at", &newest]), now);
    assert_eq!(search(&["--at", "1"])["results"].as_array().map(|hits| hits.len() <= 10), Some(true));
    product.run(&["search", "Bemessungsstrom", "--mode", "lexical", "--at", "9999"]).expect(2);
}

fn questions_only_read(product: &Product) {
    let refused = product.run(&["sql", "CREATE TABLE x AS SELECT 1"]).expect(2);
    assert!(refused.err.contains("only questions are answered") && refused.err.contains("remedy"), "{}", refused.err);
    let unknown = product.run(&["sql", "SELECT * FROM preisliste", "--json"]).expect(2).json();
    assert!(unknown["caused_by"][0].as_str().unwrap().contains("preisliste_2026_haendler"), "{unknown}");
}

fn the_tables_are_looked_after(product: &Product) {
    let checked = product.json(&["lake", "check"]);
    assert!(checked["faults"] == json!([]) && checked["rows"]["edges"].as_u64().unwrap() > 20, "{checked}");
    let newest = product.json(&["lake", "snapshot", "list", "-n", "1"])["snapshots"][0].clone();
    assert_eq!((&newest["commit"], &newest["is_whole"]), (&checked["commit"], &json!(true)));
    let to = product.folder("out").join("export");
    let exported = product.json(&["lake", "export", to.to_str().unwrap()]);
    assert_eq!(exported["tables"]["edges"], checked["rows"]["edges"]);
    assert!(to.join("csv/preisliste_2026_haendler.csv").is_file() && to.join("delta/chunks/_delta_log").is_dir());
}
