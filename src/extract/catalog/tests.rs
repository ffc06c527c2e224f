use super::*;
use crate::render::plain_text;
use crate::{BlockKind, Outcome};

const BMECAT_2005: &str = include_str!("fixtures/bmecat-2005.xml");
const BMECAT_12: &[u8] = include_bytes!("fixtures/bmecat-1.2-latin1.xml");
const ETIM: &str = include_str!("fixtures/etim-xchange-2.0.json");

fn items(bytes: &[u8]) -> Vec<CatalogItem> {
    let format = sniff(bytes).expect("a catalogue");
    CatalogReader::new(bytes, format).unwrap().map(Result::unwrap).collect()
}

fn header(items: &[CatalogItem]) -> &CatalogHeader {
    match &items[0] {
        CatalogItem::Header(header) => header,
        other => panic!("{other:?}"),
    }
}

fn products(items: &[CatalogItem]) -> Vec<&Product> {
    let mut products = Vec::new();
    for item in items {
        if let CatalogItem::Product(product) = item {
            products.push(&**product);
        }
    }
    products
}

fn end(items: &[CatalogItem]) -> &CatalogEnd {
    match items.last() {
        Some(CatalogItem::End(end)) => end,
        other => panic!("{other:?}"),
    }
}

fn shown(texts: &[Text]) -> String {
    texts
        .iter()
        .map(|text| format!("{}={}", text.lang.as_deref().unwrap_or(""), text.text))
        .collect::<Vec<_>>()
        .join("|")
}

#[test]
fn a_catalogue_of_2005_is_whole() {
    let items = items(BMECAT_2005.as_bytes());
    let header = header(&items);
    assert_eq!(header.languages, ["deu", "eng"], "the default language is the first");
    assert_eq!(header.title().as_deref(), Some("Muster Klemmen GmbH – Klemmen & Zubehör – 001.002"));
    assert_eq!(header.supplier.as_ref().unwrap().vat_id.as_deref(), Some("DE999999999"));
    assert_eq!(header.generated.as_deref(), Some("2026-02-03T04:05:06+01:00"));
    let products = products(&items);
    let product = products[0];
    assert_eq!((product.id.as_str(), product.mode.as_deref()), ("MK 2.5/1", Some("new")));
    assert_eq!(product.xpath, "/BMECAT/T_NEW_CATALOG/PRODUCT[1]");
    assert_eq!(shown(&product.short_descriptions), "deu=Durchgangsklemme|eng=Feed-through terminal");
    assert_eq!(shown(&product.long_descriptions), "deu=Für Leiter < 2,5 mm²");
    assert_eq!(product.international_ids[0], Coded { kind: Some("gtin".into()), value: "04012345678901".into() });
    let [etim, eclass] = &product.feature_sets[..] else { panic!("{:?}", product.feature_sets) };
    assert_eq!(etim.class_system(), Some(ClassSystem::Etim(Some("9.0".into()))));
    assert_eq!(eclass.class_system(), Some(ClassSystem::Eclass(Some("13.0".into()))));
    assert_eq!(shown(&etim.features[0].values), "deu=grau|eng=grey");
    assert_eq!(shown(&etim.features[1].values), "=0,50|=2.50", "commas and points are as written");
    assert_eq!(etim.features[1].unit.as_deref(), Some("MMK"));
    assert_eq!((etim.features[0].code(), etim.features[1].code()), (Some("EF000007"), None));
    let by_name = Feature { names: vec![Text { lang: None, text: "EF000227".into() }], ..Feature::default() };
    assert_eq!(by_name.code(), Some("EF000227"));
    let weight = &eclass.features[1];
    assert_eq!(
        (weight.fid.as_deref(), weight.parent_fid.as_deref(), weight.group.as_deref()),
        (Some("51"), Some("5"), Some("G1"))
    );
    assert_eq!(shown(&weight.values), "=0.01620");
    let price = &product.prices[0];
    assert_eq!(price.amount.as_deref(), Some("12345678901234567890.120"), "no float ever held it");
    assert_eq!((price.territories.join(","), price.unit_factor.as_deref()), ("DE,AT".to_owned(), Some("100")));
    assert_eq!(price.taxes[0].rate.as_deref(), Some("0.19"));
    assert_eq!(product.prices[1].valid_to.as_deref(), Some("2026-12-31"));
    assert_eq!(shown(&product.mimes[0].sources), "deu=mk25_de.pdf|eng=mk25_en.pdf");
    assert_eq!(product.references[0].quantity.as_deref(), Some("2"));
    assert_eq!(product.extensions[0].name, "UDX.EDXF.REACH.INFO");
    assert_eq!(product.logistics.customs_numbers, ["85369010"]);
    assert_eq!(products[1].mode.as_deref(), Some("delete"));
    assert!(items.iter().any(|item| matches!(item, CatalogItem::Member(member) if member.group_id == "1")));
    let end = end(&items);
    assert_eq!((end.products, end.features, end.prices, end.mimes), (2, 4, 2, 1));
    assert_eq!(end.languages, ["deu", "eng"]);
}

#[test]
fn a_catalogue_of_1_2_in_latin_1_has_the_same_shape() {
    let items = items(BMECAT_12);
    let header = header(&items);
    assert_eq!(header.supplier.as_ref().and_then(Party::label), Some("Müller & Söhne"));
    assert_eq!(header.generated.as_deref(), Some("2003-04-05T06:07:08+01:00"));
    assert_eq!(
        (header.transaction.as_deref(), header.previous_version.as_deref()),
        (Some("T_UPDATE_PRODUCTS"), Some("6"))
    );
    let product = products(&items)[0];
    assert_eq!(product.xpath, "/BMECAT/T_UPDATE_PRODUCTS/ARTICLE[1]");
    assert_eq!(product.feature_sets[0].xpath, "/BMECAT/T_UPDATE_PRODUCTS/ARTICLE[1]/ARTICLE_FEATURES[1]");
    assert_eq!(product.short_descriptions[0].text, "Schlüsselschalter 10\u{a0}A");
    assert_eq!(product.international_ids[0].kind.as_deref(), Some("ean"));
    assert_eq!(product.manufacturer_id.as_deref(), Some("S-10"));
    let variants = &product.feature_sets[0].features[0].variants;
    assert_eq!((shown(&variants[1].values).as_str(), variants[1].id_supplement.as_deref()), ("=rechts", Some("R")));
    let price = &product.prices[0];
    assert_eq!((price.amount.as_deref(), price.valid_from.as_deref()), (Some("149,90"), Some("2003-05-01")));
    assert_eq!(product.references[0].product_id, "4711-E");
    assert!(items.iter().any(|item| matches!(item, CatalogItem::Member(member) if member.product_id == "4711")));
    assert!(end(&items).warnings.is_empty());
}

#[test]
fn etim_xchange_has_the_same_shape_too() {
    let items = items(ETIM.as_bytes());
    let header = header(&items);
    assert_eq!(header.title().as_deref(), Some("Muster Klemmen GmbH – Klemmen – 3"));
    assert_eq!(header.buyer.as_ref().unwrap().ids[0].value, "4099999999992");
    let products = products(&items);
    let product = products[0];
    assert_eq!(product.xpath, "/Supplier/0/Product/0");
    assert_eq!(shown(&product.keywords), "de-DE=Klemme|de-DE=Reihe");
    let set = &product.feature_sets[0];
    assert_eq!(set.class_system(), Some(ClassSystem::Etim(Some("9.0".into()))));
    assert_eq!(set.features[0].value_ids, ["EV000080"]);
    assert_eq!(shown(&set.features[1].values), "=5.1000");
    assert_eq!(
        set.features[2].range,
        Some(Range { lower: "0.50".into(), upper: "2.5".into() }),
        "a number is its text"
    );
    assert_eq!(shown(&set.features[3].values), "=false");
    assert_eq!(shown(&set.features[4].value_details), "de-DE=siehe Blatt");
    let item = &product.trade_items[0];
    let amounts: Vec<_> = item.prices.iter().map(|price| (price.kind.as_deref(), price.amount.as_deref())).collect();
    assert_eq!(amounts, [(Some("gross_list"), Some("123.4500")), (Some("net"), Some("98.76"))]);
    assert_eq!(item.prices[0].discount_group.as_deref(), Some("R1"));
    assert_eq!(item.order.packings[0].gtins, ["4012345678925"]);
    assert_eq!(product.references[0].product_id, "MK-AP");
    assert_eq!(product.mimes[0].sources[0].text, "https://example.org/mk.pdf");
    assert_eq!(
        product.extensions[0],
        Extension { name: "Legislation/RohsIndicator".into(), lang: None, value: "true".into() }
    );
    let end = end(&items);
    assert_eq!((end.products, end.features, end.prices, end.mimes), (2, 5, 2, 1));
    assert_eq!(end.languages, ["de-DE", "en-GB"]);
}

#[test]
fn what_is_read_is_what_is_written_and_read_again() {
    for bytes in [BMECAT_2005.as_bytes(), BMECAT_12, ETIM.as_bytes()] {
        for item in items(bytes) {
            let text = serde_json::to_string(&item).unwrap();
            assert_eq!(serde_json::from_str::<CatalogItem>(&text).unwrap(), item, "{text}");
        }
    }
}

fn document(bytes: &[u8], name: &str) -> Document {
    match crate::read(bytes, name, &Limits::default()) {
        Ok(Outcome::Text(document)) => document,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_product_is_a_heading_with_tables_and_places() {
    let document = document(BMECAT_2005.as_bytes(), "katalog.dat");
    assert_eq!(document.format, "bmecat");
    assert_eq!(document.metadata["products"], "2");
    let heading = document.blocks.iter().find(|block| block.kind == BlockKind::Heading(2)).unwrap();
    assert_eq!(heading.text, "MK 2.5/1 – Durchgangsklemme");
    assert_eq!(heading.place.to_string(), "/BMECAT/T_NEW_CATALOG/PRODUCT[1]");
    let text = plain_text(&document);
    for expect in [
        "Features ETIM-9.0 EC000897",
        "Group 1: Alles",
        "Code: EF000007; Feature: Farbe; Value: grau; Language: deu",
        "Feature: Colour; Value: grey; Language: eng",
        "Feature: Querschnitt; Value: 0,50; 2.50; feindrähtig; Unit: MMK",
        "Amount: 12345678901234567890.120; Currency: EUR; From quantity: 1; Unit: 100 C62; Tax: 0.19; Territory: DE, AT",
        "data_sheet: mk25_de.pdf mk25_en.pdf",
        "GTIN/EAN: 04012345678901",
    ] {
        assert!(text.contains(expect), "{expect} in {text}");
    }
    let etim = self::document(ETIM.as_bytes(), "x.json");
    assert_eq!(etim.format, "etim-xchange");
    assert!(plain_text(&etim).contains("Price: gross_list; Amount: 123.4500"), "{}", plain_text(&etim));
}

#[test]
fn a_cut_catalogue_gives_the_products_before_the_cut() {
    let cut = BMECAT_2005.find("<bme:PRODUCT mode=\"delete\"").unwrap();
    let document = document(&BMECAT_2005.as_bytes()[..cut], "a.xml");
    assert_eq!(document.format, "bmecat");
    assert!(document.warnings[0].contains("it ends before its elements do"), "{:?}", document.warnings);
    assert!(plain_text(&document).contains("MK 2.5/1"));
    let cut = ETIM.find("{\"ProductIdentification\": {\"ManufacturerProductNumber\": \"MK-AP\"").unwrap();
    let results: Vec<_> = CatalogReader::new(&ETIM.as_bytes()[..cut], CatalogFormat::EtimXchange).unwrap().collect();
    assert!(matches!(&results[..], [Ok(CatalogItem::Header(_)), Ok(CatalogItem::Product(_)), Err(_)]), "{results:?}");
}

#[test]
fn entities_that_multiply_stay_as_they_are() {
    let bomb = "<!DOCTYPE BMECAT [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><BMECAT><T_NEW_CATALOG><PRODUCT><SUPPLIER_PID>&b;</SUPPLIER_PID></PRODUCT></T_NEW_CATALOG></BMECAT>";
    assert_eq!(products(&items(bomb.as_bytes()))[0].id, "&b;");
}

fn with_features(features: &str) -> String {
    format!(
        "<BMECAT><T_NEW_CATALOG><PRODUCT><SUPPLIER_PID>1</SUPPLIER_PID><PRODUCT_FEATURES>{features}</PRODUCT_FEATURES></PRODUCT></T_NEW_CATALOG></BMECAT>"
    )
}

#[test]
fn a_hundred_thousand_features_are_read_and_endless_nesting_is_refused() {
    let mut chain = String::new();
    for number in 0..100_000 {
        chain.push_str(&format!(
            "<FEATURE><FNAME>n</FNAME><FID>{}</FID><FPARENT_ID>{number}</FPARENT_ID></FEATURE>",
            number + 1
        ));
    }
    let items = items(with_features(&chain).as_bytes());
    let product = products(&items)[0];
    assert_eq!(product.features().count(), 100_000);
    assert_eq!(product.features().last().unwrap().parent_fid.as_deref(), Some("99999"));

    let nested = format!("{}{}", "<FEATURE><FID>7</FID>".repeat(5_000), "</FEATURE>".repeat(5_000));
    assert_eq!(products(&self::items(with_features(&nested).as_bytes()))[0].features().count(), 5_000);

    let deep = with_features(&"<FEATURE>".repeat(100_000));
    let error = CatalogReader::new(deep.as_bytes(), CatalogFormat::Bmecat).unwrap().find_map(Result::err).unwrap();
    assert!(error.to_string().contains("nest more than 10000 deep"), "{error}");
}
