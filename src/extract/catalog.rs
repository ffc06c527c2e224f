//! Product catalogues: BMEcat and ETIM xChange, read one product at a time.
//!
//! [`CatalogReader`] takes bytes from anywhere and yields [`CatalogItem`]s; what it holds is one product, however large the
//! file. The types are the same for both formats, and every number in them is the text that stands in the file: a decimal
//! comma stays a comma, nothing is rounded.

mod blocks;
mod bmecat;
mod etim;
mod etim_product;
mod features;
mod format;
mod header;
mod json;
mod product;
mod reader;
mod source;

pub use blocks::{header_blocks, product_blocks};
pub use format::{
    CatalogEnd, CatalogFormat, CatalogGroup, CatalogHeader, CatalogItem, ClassSystem, Coded, Extension, Feature,
    FeatureSet, GroupMember, Logistics, Mime, OrderDetails, Packing, Party, Price, Product, Range, Reference, Tax,
    Text, TradeItem, Variant,
};
pub(crate) use reader::sniff_stream;
pub use reader::{CatalogReader, sniff};

use std::io::Read;

use crate::error::Error;
use crate::format::{Document, Limits};

/// Reads a catalogue as a document: one heading per product, its descriptions, features, prices and files below it. What
/// goes beyond the limit of text is left out with a warning, so memory stays bounded for a file of any size.
pub(crate) fn read(source: impl Read, format: CatalogFormat, limits: &Limits) -> Result<Document, Error> {
    let mut document = Document { format: format.name().to_owned(), ..Document::default() };
    let mut text_bytes = 0;
    let mut left_out = 0_u64;
    let mut seen = false;
    for item in CatalogReader::new(source, format)? {
        let blocks = match item {
            Ok(CatalogItem::Header(header)) => {
                seen = true;
                document.title = header.title();
                describe(&header, &mut document);
                header_blocks(&header)
            }
            Ok(CatalogItem::Product(product)) => {
                seen = true;
                product_blocks(&product)
            }
            Ok(CatalogItem::Group(group)) => vec![blocks::group_block(&group)],
            Ok(CatalogItem::Member(_)) => continue,
            Ok(CatalogItem::End(end)) => {
                finish(&end, &mut document);
                continue;
            }
            Err(error) if seen => {
                document.warnings.push(format!("what stands before the damage was kept: {error}"));
                break;
            }
            Err(error) => return Err(error),
        };
        let is_product = blocks.len() > 1;
        text_bytes += blocks.iter().map(crate::format::Block::text_bytes).sum::<usize>();
        if text_bytes as u64 > limits.max_text_bytes {
            left_out += u64::from(is_product);
        } else {
            document.blocks.extend(blocks);
        }
    }
    if left_out > 0 {
        document.warnings.push(format!(
            "only the first {} bytes of text were kept; {left_out} products are left out here, and all are there as structured data",
            limits.max_text_bytes
        ));
    }
    Ok(document)
}

fn describe(header: &CatalogHeader, document: &mut Document) {
    let languages = header.languages.join(", ");
    for (key, value) in [
        ("catalog_id", header.catalog_id.as_deref()),
        ("catalog_version", header.catalog_version.as_deref()),
        ("format_version", header.format_version.as_deref()),
        ("generated", header.generated.as_deref()),
        ("languages", Some(languages.as_str())),
        ("supplier", header.supplier.as_ref().and_then(Party::label)),
        ("transaction", header.transaction.as_deref()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            document.metadata.insert(key.to_owned(), value.to_owned());
        }
    }
}

fn finish(end: &CatalogEnd, document: &mut Document) {
    for (key, count) in
        [("products", end.products), ("features", end.features), ("prices", end.prices), ("files", end.mimes)]
    {
        document.metadata.insert(key.to_owned(), count.to_string());
    }
    document.warnings.extend(end.warnings.iter().cloned());
}

#[cfg(test)]
mod tests;
