//! The rows of `products`, `features` and `prices`: what catalogues say, for questions in SQL.

use arrow::array::{ArrayRef, RecordBatch};

use crate::{
    Error, FeatureRow, PriceRow, ProductRow,
    columns::{
        Kind::{Double, Long, Text},
        Layout,
        Nullable::{No, Yes},
        longs, optional_doubles, optional_texts, texts,
    },
    format::CataloguePart,
    rows::long,
};

pub(crate) const PRODUCTS: Layout = Layout {
    name: "products",
    columns: &[
        ("document_id", Text, No),
        ("ordinal", Long, No),
        ("mode", Text, Yes),
        ("supplier", Text, Yes),
        ("article_number", Text, No),
        ("gtin", Text, Yes),
        ("manufacturer", Text, Yes),
        ("manufacturer_article_number", Text, Yes),
        ("language", Text, Yes),
        ("short", Text, Yes),
        ("long", Text, Yes),
        ("place", Text, Yes),
    ],
};

pub(crate) const FEATURES: Layout = Layout {
    name: "features",
    columns: &[
        ("document_id", Text, No),
        ("ordinal", Long, No),
        ("article_number", Text, No),
        ("class_system", Text, Yes),
        ("class", Text, Yes),
        ("feature_id", Text, Yes),
        ("name", Text, Yes),
        ("language", Text, Yes),
        ("value", Text, Yes),
        ("value_number", Double, Yes),
        ("unit", Text, Yes),
    ],
};

pub(crate) const PRICES: Layout = Layout {
    name: "prices",
    columns: &[
        ("document_id", Text, No),
        ("ordinal", Long, No),
        ("article_number", Text, No),
        ("kind", Text, Yes),
        ("amount", Text, Yes),
        ("amount_number", Double, Yes),
        ("currency", Text, Yes),
        ("lower_bound", Double, Yes),
        ("quantity", Double, Yes),
        ("unit", Text, Yes),
        ("territory", Text, Yes),
        ("valid_from", Text, Yes),
        ("valid_to", Text, Yes),
    ],
};

/// Returns the rows of the three tables, in the order products, features, prices.
pub(crate) fn batches(part: &CataloguePart) -> Result<[RecordBatch; 3], Error> {
    let id = part.document_id.as_str();
    Ok([products(id, &part.products)?, features(id, &part.features)?, prices(id, &part.prices)?])
}

fn products(document: &str, rows: &[ProductRow]) -> Result<RecordBatch, Error> {
    let text = |of: fn(&ProductRow) -> Option<&str>| optional(rows, of);
    PRODUCTS.batch(vec![
        texts(rows.iter().map(|_| document)),
        longs(rows.iter().map(|row| long(row.ordinal))),
        text(|row| row.mode.as_deref()),
        text(|row| row.supplier.as_deref()),
        texts(rows.iter().map(|row| row.article_number.as_str())),
        text(|row| row.gtin.as_deref()),
        text(|row| row.manufacturer.as_deref()),
        text(|row| row.manufacturer_article_number.as_deref()),
        text(|row| row.language.as_deref()),
        text(|row| row.short.as_deref()),
        text(|row| row.long.as_deref()),
        text(|row| row.place.as_deref()),
    ])
}

fn features(document: &str, rows: &[FeatureRow]) -> Result<RecordBatch, Error> {
    let text = |of: fn(&FeatureRow) -> Option<&str>| optional(rows, of);
    FEATURES.batch(vec![
        texts(rows.iter().map(|_| document)),
        longs(rows.iter().map(|row| long(row.ordinal))),
        texts(rows.iter().map(|row| row.article_number.as_str())),
        text(|row| row.class_system.as_deref()),
        text(|row| row.class.as_deref()),
        text(|row| row.feature_id.as_deref()),
        text(|row| row.name.as_deref()),
        text(|row| row.language.as_deref()),
        text(|row| row.value.as_deref()),
        optional_doubles(rows.iter().map(|row| row.value_number)),
        text(|row| row.unit.as_deref()),
    ])
}

fn prices(document: &str, rows: &[PriceRow]) -> Result<RecordBatch, Error> {
    let text = |of: fn(&PriceRow) -> Option<&str>| optional(rows, of);
    PRICES.batch(vec![
        texts(rows.iter().map(|_| document)),
        longs(rows.iter().map(|row| long(row.ordinal))),
        texts(rows.iter().map(|row| row.article_number.as_str())),
        text(|row| row.kind.as_deref()),
        text(|row| row.amount.as_deref()),
        optional_doubles(rows.iter().map(|row| row.amount_number)),
        text(|row| row.currency.as_deref()),
        optional_doubles(rows.iter().map(|row| row.lower_bound)),
        optional_doubles(rows.iter().map(|row| row.quantity)),
        text(|row| row.unit.as_deref()),
        text(|row| row.territory.as_deref()),
        text(|row| row.valid_from.as_deref()),
        text(|row| row.valid_to.as_deref()),
    ])
}

fn optional<T>(rows: &[T], of: fn(&T) -> Option<&str>) -> ArrayRef {
    optional_texts(rows.iter().map(of))
}
