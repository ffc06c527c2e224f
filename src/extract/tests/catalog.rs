//! Every BMEcat file of the corpus, where it is at hand, against a count of its own: a tree of the whole XML (`roxmltree`), walked by
//! element names alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use extract::{CatalogFormat, CatalogItem, CatalogReader, Product, Text, sniff_catalog};
use roxmltree::{Document, Node, ParsingOptions};

fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    if !root.is_dir() {
        println!("skipped: no corpus at {}", root.display());
    }
    root.is_dir().then_some(root)
}

fn files(root: &Path) -> Vec<PathBuf> {
    let (mut pending, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => pending.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn named<'a>(node: Node<'a, 'a>, names: &'static [&'static str]) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants().filter(move |node| node.is_element() && names.contains(&node.tag_name().name()))
}

/// The texts of all elements of these names, trimmed, in the order of the file.
fn texts(node: Node<'_, '_>, names: &'static [&'static str]) -> Vec<String> {
    let text = |node: Node<'_, '_>| {
        node.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect::<String>().trim().to_owned()
    };
    // The life times of node and document are one here.
    node.descendants().filter(|node| node.is_element() && names.contains(&node.tag_name().name())).map(text).collect()
}

fn own(list: &[Text]) -> impl Iterator<Item = String> {
    list.iter().map(|text| text.text.clone())
}

/// Compares one product with its element.
fn compare(product: &Product, node: Node<'_, '_>, file: &str) -> usize {
    let mut values = 0;
    let mut check = |what: &str, ours: Vec<String>, names: &'static [&'static str]| {
        let theirs = texts(node, names);
        values += theirs.len();
        assert_eq!(ours, theirs, "{file}: {what} of {}", product.id);
    };
    let features = || product.features();
    check("id", vec![product.id.clone()], &["SUPPLIER_PID", "SUPPLIER_AID"]);
    check(
        "international ids",
        product.international_ids.iter().map(|id| id.value.clone()).collect(),
        &["EAN", "INTERNATIONAL_PID"],
    );
    check("short", own(&product.short_descriptions).collect(), &["DESCRIPTION_SHORT"]);
    check("long", own(&product.long_descriptions).collect(), &["DESCRIPTION_LONG"]);
    check("keywords", own(&product.keywords).collect(), &["KEYWORD"]);
    check("names", features().flat_map(|feature| own(&feature.names)).collect(), &["FNAME", "FT_NAME"]);
    check("feature ids", features().filter_map(|feature| feature.id.clone()).collect(), &["FT_ID", "FT_IDREF"]);
    check("values", features().flat_map(|feature| own(&feature.values)).collect(), &["FVALUE"]);
    check("value ids", features().flat_map(|feature| feature.value_ids.clone()).collect(), &["VALUE_IDREF"]);
    check("details", features().flat_map(|feature| own(&feature.value_details)).collect(), &["FVALUE_DETAILS"]);
    check("units", features().filter_map(|feature| feature.unit.clone()).collect(), &["FUNIT"]);
    check("fids", features().filter_map(|feature| feature.fid.clone()).collect(), &["FID"]);
    check("parents", features().filter_map(|feature| feature.parent_fid.clone()).collect(), &["FPARENT_ID"]);
    check("amounts", product.prices.iter().filter_map(|price| price.amount.clone()).collect(), &["PRICE_AMOUNT"]);
    check("bounds", product.prices.iter().filter_map(|price| price.lower_bound.clone()).collect(), &["LOWER_BOUND"]);
    check(
        "currencies",
        product.prices.iter().filter_map(|price| price.currency.clone()).collect(),
        &["PRICE_CURRENCY"],
    );
    check("factors", product.prices.iter().filter_map(|price| price.factor.clone()).collect(), &["PRICE_FACTOR"]);
    check("territories", product.prices.iter().flat_map(|price| price.territories.clone()).collect(), &["TERRITORY"]);
    check("sources", product.mimes.iter().flat_map(|mime| own(&mime.sources)).collect(), &["MIME_SOURCE"]);
    check(
        "references",
        product.references.iter().map(|to| to.product_id.clone()).collect(),
        &["PROD_ID_TO", "ART_ID_TO"],
    );
    check(
        "systems",
        product.feature_sets.iter().filter_map(|set| set.system.clone()).collect(),
        &["REFERENCE_FEATURE_SYSTEM_NAME"],
    );
    values
}

#[test]
fn every_bmecat_file_says_what_its_xml_says() {
    let Some(root) = corpus() else { return };
    let mut seen = 0;
    for path in files(&root) {
        let bytes = std::fs::read(&path).unwrap();
        if sniff_catalog(&bytes) != Some(CatalogFormat::Bmecat) {
            continue;
        }
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            println!("{name}: no UTF-8, not compared");
            continue;
        };
        let Ok(tree) = Document::parse_with_options(text, options) else {
            let damaged = CatalogReader::new(&bytes[..], CatalogFormat::Bmecat).unwrap().any(|item| item.is_err());
            assert!(damaged, "{name} is damaged, and nobody says so");
            println!("{name}: damaged, and reported");
            continue;
        };
        let items: Vec<CatalogItem> =
            CatalogReader::new(&bytes[..], CatalogFormat::Bmecat).unwrap().map(Result::unwrap).collect();
        let products: Vec<&Product> = items
            .iter()
            .filter_map(|item| match item {
                CatalogItem::Product(product) => Some(&**product),
                _ => None,
            })
            .collect();
        let nodes: Vec<Node<'_, '_>> = named(tree.root(), &["PRODUCT", "ARTICLE"]).collect();
        assert_eq!(products.len(), nodes.len(), "{name}");
        let mut values = 0;
        for (product, node) in products.iter().zip(nodes) {
            values += compare(product, node, &name);
        }
        let Some(CatalogItem::End(end)) = items.last() else { panic!("{name} does not end") };
        let count = |names| named(tree.root(), names).count() as u64;
        let prices = tree.root().descendants().filter(|node| node.has_attribute("price_type")).count() as u64;
        assert_eq!(
            (end.products, end.features, end.prices),
            (products.len() as u64, count(&["FEATURE"]), prices),
            "{name}"
        );
        let mimes = tree.root().descendants().filter(|node| node.tag_name().name() == "MIME");
        let of_products =
            mimes.filter(|node| node.ancestors().any(|node| matches!(node.tag_name().name(), "PRODUCT" | "ARTICLE")));
        assert_eq!(end.mimes, of_products.count() as u64, "{name}");
        let attributes = tree.root().descendants().filter_map(|node| node.attribute("lang").map(str::to_owned));
        let languages: BTreeSet<String> = texts(tree.root(), &["LANGUAGE"]).into_iter().chain(attributes).collect();
        assert_eq!(end.languages.iter().cloned().collect::<BTreeSet<_>>(), languages, "{name}");
        println!(
            "{name}: {} products, {} features, {} prices, {} languages, {values} values",
            end.products,
            end.features,
            end.prices,
            languages.len()
        );
        seen += 1;
    }
    assert!(seen > 0, "the corpus has BMEcat files");
}
