//! A product as blocks of text, for search.

use base::Place;

use super::format::{
    CatalogGroup, CatalogHeader, Coded, Feature, FeatureSet, Mime, Party, Price, Product, Text, TradeItem,
};
use crate::format::{Block, BlockKind};
use crate::table::one_line;

/// The header as blocks: a heading and what the catalogue says about itself.
pub fn header_blocks(header: &CatalogHeader) -> Vec<Block> {
    let place = Place::xpath("/");
    let mut blocks = Vec::new();
    if let Some(title) = header.title() {
        blocks.push(Block::new(BlockKind::Heading(1), one_line(&title), place.clone()));
    }
    let names = header.names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(" / ");
    let party = |party: &Option<Party>| {
        party.as_ref().map(|party| {
            let ids = party.ids.iter().map(|id| id.value.as_str()).collect::<Vec<_>>().join(", ");
            joined(
                &[party.name.as_deref().unwrap_or_default(), &ids, party.vat_id.as_deref().unwrap_or_default()],
                ", ",
            )
        })
    };
    let lines = lines(&[
        ("Catalogue", Some(names)),
        ("Id", header.catalog_id.clone()),
        ("Version", header.catalog_version.clone()),
        ("Supplier", party(&header.supplier)),
        ("Buyer", party(&header.buyer)),
        ("Generated", header.generated.clone()),
        ("Valid from", header.valid_from.clone()),
        ("Valid to", header.valid_to.clone()),
        ("Languages", Some(header.languages.join(", "))),
        ("Currency", header.currency.clone()),
        ("Territories", Some(header.territories.join(", "))),
        ("Agreements", Some(header.agreements.join(", "))),
    ]);
    if !lines.is_empty() {
        blocks.push(Block::new(BlockKind::Paragraph, lines, place));
    }
    blocks
}

/// A node of a tree of groups as a block.
pub(crate) fn group_block(group: &CatalogGroup) -> Block {
    let text = joined(&[&texts(&group.names), &texts(&group.descriptions)], " – ");
    let system = group.system.as_deref().unwrap_or("Group");
    Block::new(BlockKind::ListItem, one_line(&format!("{system} {}: {text}", group.id)), Place::xpath("/"))
}

/// A product as blocks: a heading, who makes it and how it is numbered, what it is called in each language, its features, its
/// prices and its files. The place of each is the element it comes from.
pub fn product_blocks(product: &Product) -> Vec<Block> {
    let place = Place::xpath(product.xpath.as_str());
    let mut blocks = vec![Block::new(BlockKind::Heading(2), heading(product), place.clone())];
    let paragraph = |text: String| Block::new(BlockKind::Paragraph, text, place.clone());
    blocks.push(paragraph(identity(product)));
    blocks.extend(descriptions(product).into_iter().map(paragraph));
    for set in &product.feature_sets {
        blocks.extend(features(set));
    }
    if let Some(prices) = prices(&product.prices, &place) {
        blocks.push(Block::new(BlockKind::Heading(3), "Prices", place.clone()));
        blocks.push(prices);
    }
    for item in &product.trade_items {
        blocks.extend(trade_item(item));
    }
    let order = &product.order;
    let text = lines(&[
        ("Order unit", order.order_unit.clone()),
        ("Content unit", order.content_unit.clone()),
        ("Content per order unit", order.content_quantity.clone()),
        ("Price quantity", order.price_quantity.clone()),
        ("Least quantity", order.quantity_min.clone()),
        ("Quantity step", order.quantity_interval.clone()),
        ("Customs number", Some(product.logistics.customs_numbers.join(", "))),
        ("Origin", Some(product.logistics.countries_of_origin.join(", "))),
    ]);
    let more = product
        .logistics
        .measures
        .iter()
        .chain(&product.details)
        .chain(&product.extensions)
        .map(|field| format!("{}: {}", field.name, one_line(&field.value)));
    let text = std::iter::once(text).filter(|text| !text.is_empty()).chain(more).collect::<Vec<_>>().join("\n");
    if !text.is_empty() || !product.references.is_empty() || !product.mimes.is_empty() {
        // What follows belongs to the product, not to the class or the prices before it.
        blocks.push(Block::new(BlockKind::Heading(3), "Ordering, related products, files", place.clone()));
    }
    if !text.is_empty() {
        blocks.push(paragraph(text));
    }
    for reference in &product.references {
        let kind = reference.kind.as_deref().unwrap_or("reference");
        let text = joined(&[&reference.product_id, &texts(&reference.descriptions)], " – ");
        blocks.push(Block::new(BlockKind::ListItem, format!("{kind}: {text}"), place.clone()));
    }
    blocks.extend(product.mimes.iter().map(|mime| file(mime, &place)));
    blocks
}

fn heading(product: &Product) -> String {
    let kind = product.type_names.first().map_or("", |name| name.text.as_str());
    let short = product.short_descriptions.first().map_or("", |text| text.text.as_str());
    one_line(&joined(&[&product.id, kind, short], " – "))
}

fn identity(product: &Product) -> String {
    let ids = |ids: &[Coded]| {
        let list: Vec<&str> = ids.iter().map(|id| id.value.as_str()).collect();
        Some(list.join(", "))
    };
    let manufacturer = product.manufacturer.as_ref();
    let mut text = lines(&[
        ("Article", Some(product.id.clone())),
        ("GTIN/EAN", ids(&product.international_ids)),
        ("Type", Some(texts(&product.type_names))),
        ("Manufacturer", manufacturer.and_then(Party::label).map(str::to_owned)),
        ("Manufacturer article", product.manufacturer_id.clone()),
        ("Alternative numbers", ids(&product.alternative_ids)),
        ("Buyer numbers", ids(&product.buyer_ids)),
        ("Delivery time", product.delivery_time.clone()),
        ("Mode", product.mode.clone()),
    ]);
    for (name, list) in [("Status", &product.status), ("Special treatment", &product.special_treatment)] {
        for item in list {
            let kind = item.kind.as_deref().unwrap_or_default();
            text.push_str(&format!("\n{name}: {}", joined(&[kind, &item.value], " ")));
        }
    }
    text
}

/// One paragraph for each language, in the order they occur.
fn descriptions(product: &Product) -> Vec<String> {
    let mut languages: Vec<Option<&str>> = Vec::new();
    let all = || product.short_descriptions.iter().chain(&product.long_descriptions).chain(&product.remarks);
    for text in all().chain(&product.keywords) {
        if !languages.contains(&text.lang.as_deref()) {
            languages.push(text.lang.as_deref());
        }
    }
    let of = |lang: Option<&str>| {
        let mut lines: Vec<String> =
            all().filter(|text| text.lang.as_deref() == lang).map(|text| text.text.clone()).collect();
        let keywords: Vec<String> = product
            .keywords
            .iter()
            .filter(|text| text.lang.as_deref() == lang)
            .map(|text| one_line(&text.text))
            .collect();
        lines.push(keywords.join(", "));
        lines.retain(|line| !line.is_empty());
        lines.dedup();
        lines.join("\n")
    };
    languages.into_iter().map(of).filter(|text| !text.is_empty()).collect()
}

/// A set's features as a table below a heading that names the class.
fn features(set: &FeatureSet) -> Vec<Block> {
    let place = Place::xpath(set.xpath.as_str());
    let class: Vec<&str> = set.class_ids.iter().map(|id| id.value.as_str()).collect();
    let title = joined(
        &["Features", set.system.as_deref().unwrap_or_default(), &class.join(", "), &texts(&set.class_names)],
        " ",
    );
    let mut blocks = vec![Block::new(BlockKind::Heading(3), one_line(&title), place.clone())];
    let rows: Vec<Vec<String>> = set.features.iter().flat_map(feature_rows).collect();
    if !rows.is_empty() {
        let header = ["Code", "Feature", "Value", "Unit", "Language"].map(str::to_owned).to_vec();
        blocks.push(table(header, rows, &place));
    }
    blocks
}

/// One row for each language a feature has names or values in. What has no language stands in each.
fn feature_rows(feature: &Feature) -> Vec<Vec<String>> {
    let mut languages: Vec<Option<&str>> = Vec::new();
    for text in feature.names.iter().chain(&feature.values).chain(&feature.value_details) {
        if text.lang.is_some() && !languages.contains(&text.lang.as_deref()) {
            languages.push(text.lang.as_deref());
        }
    }
    if languages.is_empty() {
        languages.push(None);
    }
    let row = |lang: Option<&str>| {
        let of = |list: &[Text]| {
            let mine = |text: &&Text| text.lang.is_none() || lang.is_none() || text.lang.as_deref() == lang;
            let mut parts: Vec<String> = list.iter().filter(mine).map(|text| one_line(&text.text)).collect();
            // A feature with a value but no name in this language is still this feature.
            if parts.is_empty() {
                parts = list.first().map(|text| one_line(&text.text)).into_iter().collect();
            }
            parts.retain(|part| !part.is_empty());
            parts.join("; ")
        };
        let name = of(&feature.names);
        let name = if name.is_empty() { feature.id.clone().unwrap_or_default() } else { name };
        let mut values: Vec<String> = vec![of(&feature.values)];
        values.extend(feature.range.as_ref().map(|range| format!("{} … {}", range.lower, range.upper)));
        let details = of(&feature.value_details);
        let told = values.iter().all(String::is_empty) && details.is_empty();
        values.push(details);
        values.extend(feature.variants.iter().map(|variant| {
            joined(&[&texts(&variant.values), variant.id_supplement.as_deref().unwrap_or_default()], " ")
        }));
        if told {
            values.push(feature.value_ids.join("; "));
        }
        values.retain(|value| !value.is_empty());
        // A code people look for (`EF000007`) is short; an IRDI would only fill passages.
        let code = feature.code().filter(|code| code.len() <= 12 && *code != name).unwrap_or_default();
        vec![
            code.to_owned(),
            name,
            values.join("; "),
            feature.unit.clone().unwrap_or_default(),
            lang.unwrap_or_default().to_owned(),
        ]
    };
    languages.into_iter().map(row).collect()
}

fn prices(prices: &[Price], place: &Place) -> Option<Block> {
    let header = [
        "Price",
        "Amount",
        "Currency",
        "From quantity",
        "Unit",
        "Tax",
        "Territory",
        "Valid from",
        "Valid to",
        "Discount group",
    ];
    let rows: Vec<Vec<String>> = prices
        .iter()
        .map(|price| {
            let unit = joined(
                &[
                    price.quantity.as_deref().or(price.unit_factor.as_deref()).unwrap_or_default(),
                    price.unit.as_deref().unwrap_or_default(),
                ],
                " ",
            );
            let taxes = price.taxes.iter().filter_map(|tax| tax.rate.clone().or_else(|| tax.category.clone()));
            let tax = price.tax.iter().cloned().chain(taxes).collect::<Vec<_>>().join("; ");
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            vec![
                text(&price.kind),
                text(&price.amount),
                text(&price.currency),
                text(&price.lower_bound),
                unit,
                tax,
                price.territories.join(", "),
                text(&price.valid_from),
                text(&price.valid_to),
                text(&price.discount_group),
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| table(header.map(str::to_owned).to_vec(), rows, place))
}

fn trade_item(item: &TradeItem) -> Vec<Block> {
    let place = Place::xpath(item.xpath.as_str());
    let title = joined(&["Trade item", &item.id], " ");
    let mut text = lines(&[
        ("GTIN", Some(item.gtins.join(", "))),
        ("Description", Some(texts(&item.short_descriptions))),
        ("Order unit", item.order.order_unit.clone()),
        ("Content unit", item.order.content_unit.clone()),
        ("Content per order unit", item.order.content_quantity.clone()),
        ("Least quantity", item.order.quantity_min.clone()),
    ]);
    for field in &item.details {
        text.push_str(&format!("\n{}: {}", field.name, one_line(&field.value)));
    }
    let mut blocks = vec![Block::new(BlockKind::Heading(3), one_line(&title), place.clone())];
    if !text.trim().is_empty() {
        blocks.push(Block::new(BlockKind::Paragraph, text.trim(), place.clone()));
    }
    blocks.extend(prices(&item.prices, &place));
    blocks.extend(item.mimes.iter().map(|mime| file(mime, &place)));
    blocks
}

fn file(mime: &Mime, place: &Place) -> Block {
    let purpose = mime.purpose.as_deref().or(mime.kind.as_deref()).unwrap_or("file");
    let sources: Vec<&str> = mime.sources.iter().map(|source| source.text.as_str()).collect();
    let text = joined(&[&sources.join(" "), &texts(&mime.descriptions)], " – ");
    Block::new(BlockKind::ListItem, one_line(&format!("{purpose}: {text}")), place.clone())
}

/// A table without the columns nothing stands in.
fn table(header: Vec<String>, rows: Vec<Vec<String>>, place: &Place) -> Block {
    let used: Vec<bool> = (0..header.len())
        .map(|column| rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let keep = |cells: Vec<String>| -> Vec<String> {
        cells.into_iter().zip(&used).filter(|(_, used)| **used).map(|(cell, _)| cell).collect()
    };
    Block::table(keep(header), rows.into_iter().map(keep).collect(), place.clone())
}

fn texts(list: &[Text]) -> String {
    let mut parts: Vec<String> = list.iter().map(|text| one_line(&text.text)).filter(|text| !text.is_empty()).collect();
    parts.dedup();
    parts.join(" / ")
}

fn lines(pairs: &[(&str, Option<String>)]) -> String {
    let line = |(name, value): &(&str, Option<String>)| {
        let value = one_line(value.as_deref()?);
        (!value.is_empty()).then(|| format!("{name}: {value}"))
    };
    pairs.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

fn joined(parts: &[&str], separator: &str) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(separator)
}
