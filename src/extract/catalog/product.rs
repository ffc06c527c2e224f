//! One product of a BMEcat file, built from the elements that close in it.

use super::bmecat::Frame;
use super::format::{
    Coded, Extension, Feature, FeatureSet, Mime, Packing, Party, Price, Product, Reference, Tax, Variant,
};
use super::header::{DateParts, extension};
use crate::error::Error;

/// A product's text: the largest real one has some two megabytes.
const MAX_PRODUCT_BYTES: usize = 64 << 20;

/// Gathers a product. Features keep the order in which they begin, also where one stands inside another.
pub(super) struct ProductBuilder {
    product: Product,
    bytes: usize,
    group: Option<String>,
    /// The open features, as places in the last feature set.
    open_features: Vec<usize>,
    variant: Variant,
    price: Price,
    valid: (Option<String>, Option<String>),
    prices_from: usize,
    tax: Tax,
    mime: Mime,
    packing: Packing,
    reference: Reference,
    date: DateParts,
}

impl ProductBuilder {
    pub(super) fn new(xpath: String, mode: Option<String>) -> Self {
        Self {
            product: Product { xpath, mode, ..Product::default() },
            bytes: 0,
            group: None,
            open_features: Vec::new(),
            variant: Variant::default(),
            price: Price::default(),
            valid: (None, None),
            prices_from: 0,
            tax: Tax::default(),
            mime: Mime::default(),
            packing: Packing::default(),
            reference: Reference::default(),
            date: DateParts::default(),
        }
    }

    /// Counts text.
    pub(super) fn weigh(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes += bytes;
        if self.bytes > MAX_PRODUCT_BYTES {
            return Err(Error::TooLarge {
                what: format!("the product at {}", self.product.xpath),
                limit_bytes: MAX_PRODUCT_BYTES as u64,
            });
        }
        Ok(())
    }

    /// An element begins. `attribute` is its `mode` or `quantity`.
    pub(super) fn open(&mut self, parent: &str, frame: &Frame, attribute: Option<String>) {
        match (parent, frame.name.as_str()) {
            ("PRODUCT", "PRODUCT_FEATURES") => {
                let number = self.product.feature_sets.len() + 1;
                let xpath = format!("{}/{}[{number}]", self.product.xpath, frame.source_name());
                self.product.feature_sets.push(FeatureSet { xpath, ..FeatureSet::default() });
                self.group = None;
                self.open_features.clear();
            }
            (_, "FEATURE_GROUP") => self.group = None,
            (_, "FEATURE") => {
                if let Some(set) = self.product.feature_sets.last_mut() {
                    self.open_features.push(set.features.len());
                    set.features.push(Feature { group: self.group.clone(), ..Feature::default() });
                }
            }
            (_, "VARIANT") => self.variant = Variant::default(),
            (_, "PRODUCT_PRICE_DETAILS") => {
                self.valid = (None, None);
                self.prices_from = self.product.prices.len();
            }
            ("PRODUCT_PRICE_DETAILS", "PRODUCT_PRICE") => {
                self.price = Price { kind: frame.kind.clone(), ..Price::default() };
            }
            (_, "TAX_DETAILS") => self.tax = Tax::default(),
            (_, "MIME") => self.mime = Mime::default(),
            (_, "PACKING_UNIT") => self.packing = Packing::default(),
            ("PRODUCT", "PRODUCT_REFERENCE") => {
                self.reference = Reference { kind: frame.kind.clone(), quantity: attribute, ..Reference::default() };
            }
            _ => {}
        }
    }

    /// An element ends; `above` are the elements between the product and it.
    pub(super) fn close(&mut self, above: &[Frame], frame: &Frame) {
        if above.iter().any(|frame| frame.name == "USER_DEFINED_EXTENSIONS") {
            if frame.name == "MIME" || above.iter().any(|frame| frame.name == "MIME") {
                self.files(above.last().map_or("", |frame| frame.name.as_str()), frame);
            } else {
                self.product.extensions.extend(extension(above, frame));
            }
            return;
        }
        let section = above.first().map_or("", |frame| frame.name.as_str());
        let parent = above.last().map_or("PRODUCT", |frame| frame.name.as_str());
        match section {
            "" => self.top(frame),
            "PRODUCT_DETAILS" => self.detail(above, frame),
            "PRODUCT_FEATURES" => self.feature(parent, frame),
            "PRODUCT_ORDER_DETAILS" => self.order(parent, frame),
            "PRODUCT_PRICE_DETAILS" => self.price(parent, frame),
            "MIME_INFO" => self.files(parent, frame),
            "PRODUCT_REFERENCE" if above.iter().any(|frame| frame.name == "MIME_INFO") => self.files(parent, frame),
            "PRODUCT_REFERENCE" => match frame.name.as_str() {
                "PROD_ID_TO" => self.reference.product_id = frame.value(),
                "CATALOG_ID" => self.reference.catalog_id = Some(frame.value()),
                "REFERENCE_DESCR" => self.reference.descriptions.push(frame.as_text()),
                _ => {}
            },
            "PRODUCT_LOGISTIC_DETAILS" => self.logistics(parent, frame),
            _ => {}
        }
    }

    fn top(&mut self, frame: &Frame) {
        match frame.name.as_str() {
            "SUPPLIER_PID" => self.product.id = frame.value(),
            "PRODUCT_PRICE_DETAILS" => {
                for price in &mut self.product.prices[self.prices_from..] {
                    price.valid_from.clone_from(&self.valid.0);
                    price.valid_to.clone_from(&self.valid.1);
                }
            }
            "PRODUCT_REFERENCE" => self.product.references.push(std::mem::take(&mut self.reference)),
            _ => {}
        }
    }

    fn detail(&mut self, above: &[Frame], frame: &Frame) {
        let product = &mut self.product;
        let coded = || Coded { kind: frame.kind.clone(), value: frame.value() };
        match frame.name.as_str() {
            "DESCRIPTION_SHORT" => product.short_descriptions.push(frame.as_text()),
            "DESCRIPTION_LONG" => product.long_descriptions.push(frame.as_text()),
            "EAN" => {
                product.international_ids.push(Coded { kind: Some("ean".to_owned()), value: frame.value() });
            }
            "INTERNATIONAL_PID" => product.international_ids.push(coded()),
            "SUPPLIER_ALT_PID" => product.alternative_ids.push(coded()),
            "BUYER_PID" => product.buyer_ids.push(coded()),
            "MANUFACTURER_PID" => product.manufacturer_id = Some(frame.value()),
            "MANUFACTURER_NAME" => {
                product.manufacturer.get_or_insert_with(Party::default).name = Some(frame.value());
            }
            "MANUFACTURER_IDREF" => product.manufacturer.get_or_insert_with(Party::default).ids.push(coded()),
            "MANUFACTURER_TYPE_DESCR" => product.type_names.push(frame.as_text()),
            "KEYWORD" => product.keywords.push(frame.as_text()),
            "REMARKS" => product.remarks.push(frame.as_text()),
            "PRODUCT_STATUS" => product.status.push(coded()),
            "SPECIAL_TREATMENT_CLASS" => product.special_treatment.push(coded()),
            "DELIVERY_TIME" => product.delivery_time = Some(frame.value()),
            _ if frame.has_children || frame.text.trim().is_empty() => {}
            name => {
                let way = above[1..].iter().map(|frame| format!("{}/", frame.name)).collect::<String>();
                product.details.push(Extension {
                    name: format!("{way}{name}"),
                    lang: frame.lang.clone(),
                    value: frame.value(),
                });
            }
        }
    }

    fn feature(&mut self, parent: &str, frame: &Frame) {
        let Some(set) = self.product.feature_sets.last_mut() else { return };
        let name = frame.name.as_str();
        match (parent, name) {
            ("PRODUCT_FEATURES", "REFERENCE_FEATURE_SYSTEM_NAME") => set.system = Some(frame.value()),
            ("PRODUCT_FEATURES", "REFERENCE_FEATURE_GROUP_ID" | "REFERENCE_FEATURE_GROUP_ID2") => {
                set.class_ids.push(Coded { kind: frame.kind.clone(), value: frame.value() });
            }
            ("PRODUCT_FEATURES", "REFERENCE_FEATURE_GROUP_NAME") => set.class_names.push(frame.as_text()),
            ("FEATURE_GROUP", "REFERENCE_FEATURE_GROUP_ID" | "FEATURE_GROUP_ID") => self.group = Some(frame.value()),
            (_, "FEATURE_GROUP") => self.group = None,
            (_, "FEATURE") => {
                self.open_features.pop();
            }
            _ => {
                let open = self.open_features.last().copied();
                let Some(feature) = open.and_then(|at| set.features.get_mut(at)) else { return };
                match (parent, name) {
                    ("VARIANT", "FVALUE") => self.variant.values.push(frame.as_text()),
                    ("VARIANT", "SUPPLIER_PID_SUPPLEMENT" | "SUPPLIER_AID_SUPPLEMENT") => {
                        self.variant.id_supplement = Some(frame.value());
                    }
                    (_, "VARIANT") => feature.variants.push(std::mem::take(&mut self.variant)),
                    ("FEATURE", "FNAME") | ("FTEMPLATE", "FT_NAME") => feature.names.push(frame.as_text()),
                    ("FEATURE", "FT_IDREF") | ("FTEMPLATE", "FT_ID") => feature.id = Some(frame.value()),
                    ("FEATURE", "FVALUE") => feature.values.push(frame.as_text()),
                    ("FEATURE", "VALUE_IDREF") => feature.value_ids.push(frame.value()),
                    ("FEATURE", "FVALUE_DETAILS") => feature.value_details.push(frame.as_text()),
                    ("FEATURE", "FVALUE_TYPE") => feature.value_type = Some(frame.value()),
                    ("FEATURE", "FUNIT") => feature.unit = Some(frame.value()),
                    ("FEATURE" | "FTEMPLATE", "UNIT_IDREF" | "FT_UNIT" | "FT_UNIT_IDREF") if feature.unit.is_none() => {
                        feature.unit = Some(frame.value());
                    }
                    ("FEATURE", "FDESCR") => feature.descriptions.push(frame.as_text()),
                    ("FEATURE", "FORDER") => feature.order = Some(frame.value()),
                    ("FEATURE", "FID") => feature.fid = Some(frame.value()),
                    ("FEATURE", "FPARENT_ID") => feature.parent_fid = Some(frame.value()),
                    _ => {}
                }
            }
        }
    }

    fn order(&mut self, parent: &str, frame: &Frame) {
        let order = &mut self.product.order;
        let slot = match (parent, frame.name.as_str()) {
            ("PRODUCT_ORDER_DETAILS", "ORDER_UNIT") => &mut order.order_unit,
            ("PRODUCT_ORDER_DETAILS", "CONTENT_UNIT") => &mut order.content_unit,
            ("PRODUCT_ORDER_DETAILS", "NO_CU_PER_OU") => &mut order.content_quantity,
            ("PRODUCT_ORDER_DETAILS", "PRICE_QUANTITY") => &mut order.price_quantity,
            ("PRODUCT_ORDER_DETAILS", "QUANTITY_MIN") => &mut order.quantity_min,
            ("PRODUCT_ORDER_DETAILS", "QUANTITY_INTERVAL") => &mut order.quantity_interval,
            ("PRODUCT_ORDER_DETAILS", "QUANTITY_MAX") => &mut order.quantity_max,
            ("PACKING_UNIT", "PACKING_UNIT_CODE") => &mut self.packing.code,
            ("PACKING_UNIT", "QUANTITY_MIN") => &mut self.packing.quantity,
            (_, "PACKING_UNIT") => {
                order.packings.push(std::mem::take(&mut self.packing));
                return;
            }
            _ => return,
        };
        *slot = Some(frame.value());
    }

    fn price(&mut self, parent: &str, frame: &Frame) {
        let slot = match (parent, frame.name.as_str()) {
            ("PRODUCT_PRICE_DETAILS", "VALID_START_DATE") => &mut self.valid.0,
            ("PRODUCT_PRICE_DETAILS", "VALID_END_DATE") => &mut self.valid.1,
            ("PRODUCT_PRICE_DETAILS", "DATETIME") => {
                let date = self.date.join();
                match frame.kind.as_deref() {
                    Some("valid_end_date") => self.valid.1 = date,
                    _ => self.valid.0 = date,
                }
                return;
            }
            ("DATETIME", _) => {
                self.date.take(frame);
                return;
            }
            ("PRODUCT_PRICE_DETAILS", "PRODUCT_PRICE") => {
                self.product.prices.push(std::mem::take(&mut self.price));
                return;
            }
            ("PRODUCT_PRICE", "TERRITORY") => {
                self.price.territories.push(frame.value());
                return;
            }
            ("PRODUCT_PRICE", "TAX_DETAILS") => {
                self.price.taxes.push(std::mem::take(&mut self.tax));
                return;
            }
            ("PRODUCT_PRICE", "PRICE_AMOUNT") => &mut self.price.amount,
            ("PRODUCT_PRICE", "PRICE_CURRENCY") => &mut self.price.currency,
            ("PRODUCT_PRICE", "TAX") => &mut self.price.tax,
            ("PRODUCT_PRICE", "PRICE_FACTOR") => &mut self.price.factor,
            ("PRODUCT_PRICE", "LOWER_BOUND") => &mut self.price.lower_bound,
            ("TAX_DETAILS", "TAX") => &mut self.tax.rate,
            ("TAX_DETAILS", "TAX_TYPE") => &mut self.tax.kind,
            ("TAX_DETAILS", "TAX_CATEGORY") => &mut self.tax.category,
            ("PRICE_BASE", "PRICE_UNIT") => &mut self.price.unit,
            ("PRICE_BASE", "PRICE_UNIT_FACTOR") => &mut self.price.unit_factor,
            _ => return,
        };
        *slot = Some(frame.value());
    }

    fn files(&mut self, parent: &str, frame: &Frame) {
        let mime = &mut self.mime;
        match (parent, frame.name.as_str()) {
            (_, "MIME") => self.product.mimes.push(std::mem::take(mime)),
            ("MIME", "MIME_TYPE") => mime.kind = Some(frame.value()),
            ("MIME", "MIME_SOURCE") => mime.sources.push(frame.as_text()),
            ("MIME", "MIME_DESCR") => mime.descriptions.push(frame.as_text()),
            ("MIME", "MIME_ALT") => mime.alternatives.push(frame.as_text()),
            ("MIME", "MIME_PURPOSE") => mime.purpose = Some(frame.value()),
            ("MIME", "MIME_ORDER") => mime.order = Some(frame.value()),
            _ => {}
        }
    }

    fn logistics(&mut self, parent: &str, frame: &Frame) {
        let logistics = &mut self.product.logistics;
        match (parent, frame.name.as_str()) {
            (_, "CUSTOMS_NUMBER") => logistics.customs_numbers.push(frame.value()),
            (_, "COUNTRY_OF_ORIGIN") => logistics.countries_of_origin.push(frame.value()),
            _ if frame.has_children || frame.text.trim().is_empty() => {}
            (_, name) => logistics.measures.push(Extension {
                name: name.to_owned(),
                lang: frame.lang.clone(),
                value: frame.value(),
            }),
        }
    }

    pub(super) fn finish(self) -> Product {
        self.product
    }
}
