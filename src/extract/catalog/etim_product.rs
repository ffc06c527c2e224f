//! One product of an ETIM xChange file, with its trade items.

use super::etim::extend;
use super::format::{
    Coded, Extension, Feature, FeatureSet, Mime, OrderDetails, Packing, Party, Price, Product, Range, Reference, Text,
    TradeItem,
};
use super::json::Json;

/// Texts in several languages: a list of objects with the language in one field and the text in another.
pub(super) fn texts(items: &[Json], language: &str, text: &str) -> Vec<Text> {
    items.iter().filter_map(|item| Some(Text { lang: item.get(language), text: item.get(text)? })).collect()
}

fn strings(value: &Json, name: &str) -> Vec<String> {
    value.list(name).iter().filter_map(Json::text).collect()
}

/// Reads a product; `xpath` is its JSON Pointer.
pub(super) fn product(value: &Json, xpath: String) -> Product {
    let none = Json::Null;
    let section = |name: &str| value.field(name).unwrap_or(&none);
    let (identification, details) = (section("ProductIdentification"), section("ProductDetails"));
    let mut product = Product {
        id: identification.get("ManufacturerProductNumber").unwrap_or_default(),
        manufacturer_id: identification.get("ManufacturerProductNumber"),
        international_ids: strings(identification, "ProductGtin")
            .into_iter()
            .map(|value| Coded { kind: Some("gtin".to_owned()), value })
            .collect(),
        manufacturer: manufacturer(identification),
        xpath,
        ..Product::default()
    };
    identity(&mut product, identification);
    for (key, field) in details.fields() {
        match key.as_str() {
            "ProductStatus" => {
                product.status.extend(field.text().map(|value| Coded { kind: None, value }));
            }
            "ProductDescriptions" => field.items().iter().for_each(|item| describe(&mut product, item)),
            _ => extend(&mut product.details, key, field),
        }
    }
    for (number, class) in value.list("EtimClassification").iter().enumerate() {
        product.feature_sets.push(etim_features(class, format!("{}/EtimClassification/{number}", product.xpath)));
    }
    for (number, class) in value.list("OtherClassifications").iter().enumerate() {
        product.feature_sets.push(other_features(class, format!("{}/OtherClassifications/{number}", product.xpath)));
    }
    for relation in value.list("ProductRelations") {
        product.references.extend(relations(relation));
    }
    product.mimes = value.list("ProductAttachments").iter().flat_map(attachment).collect();
    product.trade_items = value
        .list("TradeItem")
        .iter()
        .enumerate()
        .map(|(number, item)| trade_item(item, format!("{}/TradeItem/{number}", product.xpath)))
        .collect();
    for (key, field) in value.fields() {
        if !matches!(
            key.as_str(),
            "ProductIdentification"
                | "ProductDetails"
                | "EtimClassification"
                | "OtherClassifications"
                | "ProductRelations"
                | "ProductAttachments"
                | "TradeItem"
        ) {
            extend(&mut product.extensions, key, field);
        }
    }
    product
}

fn manufacturer(identification: &Json) -> Option<Party> {
    let ids = [("ManufacturerIdGln", "gln"), ("ManufacturerIdDuns", "duns")];
    let party = Party {
        role: None,
        ids: ids
            .into_iter()
            .filter_map(|(field, kind)| Some(Coded { kind: Some(kind.to_owned()), value: identification.get(field)? }))
            .collect(),
        name: identification.get("ManufacturerName"),
        vat_id: None,
    };
    (party != Party::default()).then_some(party)
}

fn identity(product: &mut Product, identification: &Json) {
    for (key, field) in identification.fields() {
        match key.as_str() {
            "ManufacturerProductNumber"
            | "ProductGtin"
            | "ManufacturerIdGln"
            | "ManufacturerIdDuns"
            | "ManufacturerName" => {}
            "BrandName" => product.type_names.extend(field.text().map(|text| Text { lang: None, text })),
            "CustomsCommodityCode" => product.logistics.customs_numbers.extend(field.text()),
            "CountryOfOrigin" => {
                product.logistics.countries_of_origin = field.items().iter().filter_map(Json::text).collect();
            }
            _ => extend(&mut product.details, key, field),
        }
    }
}

fn describe(product: &mut Product, item: &Json) {
    let lang = item.get("DescriptionLanguage");
    for (key, field) in item.fields() {
        let list = match key.as_str() {
            "DescriptionLanguage" => continue,
            "MinimalProductDescription" => &mut product.short_descriptions,
            "ProductKeyword" => &mut product.keywords,
            "UniqueMainProductDescription"
            | "FullProductDescription"
            | "ProductMarketingText"
            | "ProductSpecificationText"
            | "ProductApplicationInstructions" => &mut product.long_descriptions,
            _ => {
                if let Some(value) = field.text() {
                    product.details.push(Extension { name: key.clone(), lang: lang.clone(), value });
                }
                continue;
            }
        };
        let new = field.items().iter().filter_map(Json::text).map(|text| Text { lang: lang.clone(), text });
        list.extend(new);
    }
}

fn etim_features(class: &Json, xpath: String) -> FeatureSet {
    let release = class.get("EtimReleaseVersion");
    let system = match &release {
        Some(release) => format!("ETIM-{}", release.trim_start_matches("ETIM-")),
        None => "ETIM".to_owned(),
    };
    let mut class_ids: Vec<Coded> = class
        .get("EtimClassCode")
        .map(|value| Coded { kind: Some("etim_class".to_owned()), value })
        .into_iter()
        .collect();
    for (field, kind) in [("EtimClassVersion", "class_version"), ("EtimModellingClassCode", "modelling_class")] {
        class_ids.extend(class.get(field).map(|value| Coded { kind: Some(kind.to_owned()), value }));
    }
    let mut features: Vec<Feature> =
        class.list("EtimFeatures").iter().map(|item| feature(item, "Etim", None)).collect();
    for port in class.list("EtimModellingPorts") {
        let group = port.get("EtimModellingPortcode").map(|code| format!("port {code}"));
        features.extend(port.list("EtimModellingFeatures").iter().map(|item| feature(item, "Etim", group.clone())));
    }
    FeatureSet { xpath, system: Some(system), class_ids, class_names: Vec::new(), features }
}

fn other_features(class: &Json, xpath: String) -> FeatureSet {
    let name = class.get("ClassificationName").unwrap_or_default();
    let system = match class.get("ClassificationVersion") {
        Some(version) => format!("{name}-{version}"),
        None => name,
    };
    FeatureSet {
        xpath,
        system: (!system.is_empty()).then_some(system),
        class_ids: class.get("ClassificationClassCode").map(|value| Coded { kind: None, value }).into_iter().collect(),
        class_names: Vec::new(),
        features: class
            .list("ClassificationFeatures")
            .iter()
            .map(|item| feature(item, "Classification", None))
            .collect(),
    }
}

/// A feature: a code, and a value that is a code, a number, a range, a truth value or, by its details, text.
fn feature(item: &Json, prefix: &str, group: Option<String>) -> Feature {
    let get = |name: &str| item.get(&format!("{prefix}{name}"));
    let mut feature = Feature { id: get("FeatureCode"), group, ..Feature::default() };
    feature.names = get("FeatureName").map(|text| Text { lang: None, text }).into_iter().collect();
    feature.value_ids = get("ValueCode").into_iter().collect();
    feature.unit = get("UnitCode").or_else(|| get("FeatureUnit"));
    let plain = ["ValueNumeric", "ValueLogical", "ValueAlphanumeric", "Value", "FeatureValue"];
    feature.values = plain.into_iter().filter_map(get).map(|text| Text { lang: None, text }).collect();
    for axis in ["ValueCoordinateX", "ValueCoordinateY", "ValueCoordinateZ"] {
        feature.values.extend(get(axis).map(|text| Text { lang: None, text }));
    }
    let kind = match () {
        () if get("ValueNumeric").is_some() => Some("numeric"),
        () if get("ValueLogical").is_some() => Some("logical"),
        () if get("ValueRangeLower").is_some() => Some("range"),
        () if !feature.value_ids.is_empty() => Some("alphanumeric"),
        () => None,
    };
    feature.value_type = kind.map(str::to_owned);
    if let (Some(lower), Some(upper)) = (get("ValueRangeLower"), get("ValueRangeUpper")) {
        feature.range = Some(Range { lower, upper });
    }
    let details = format!("{prefix}ValueDetails");
    feature.value_details = texts(item.list(&details), "Language", &details);
    if let Some(reason) = item.get("ReasonNoValue") {
        feature.value_type = Some(format!("no value: {reason}"));
    }
    feature
}

fn relations(relation: &Json) -> Vec<Reference> {
    let kind = relation.get("RelationType");
    let one = |item: &Json| {
        let id = item.get("RelatedManufacturerProductNumber").or_else(|| item.get("RelatedSupplierItemNumber"))?;
        let quantity = item.get("RelatedProductQuantity").or_else(|| item.get("RelatedItemQuantity"));
        Some(Reference { kind: kind.clone(), product_id: id, quantity, ..Reference::default() })
    };
    // V1 has the related product in the relation itself, V2 a list of them.
    match relation.list("RelatedProducts") {
        [] => one(relation).into_iter().collect(),
        items => items.iter().filter_map(one).collect(),
    }
}

fn attachment(item: &Json) -> Vec<Mime> {
    let kind = item.get("AttachmentType");
    let details = item.list("AttachmentDetails");
    let parts = if details.is_empty() { std::slice::from_ref(item) } else { details };
    let one = |part: &Json| {
        let languages = strings(part, "AttachmentLanguage");
        let source = part.get("AttachmentUri").or_else(|| part.get("AttachmentFilename"));
        let lang = (!languages.is_empty()).then(|| languages.join(","));
        Mime {
            kind: item.get("AttachmentTypeSpecification"),
            purpose: kind.clone(),
            order: item.get("AttachmentOrder"),
            sources: source.map(|text| Text { lang, text }).into_iter().collect(),
            descriptions: texts(part.list("AttachmentDescription"), "Language", "AttachmentDescription"),
            alternatives: Vec::new(),
        }
    };
    parts.iter().map(one).collect()
}

fn trade_item(value: &Json, xpath: String) -> TradeItem {
    let none = Json::Null;
    let section = |name: &str| value.field(name).unwrap_or(&none);
    let (identification, details, ordering) =
        (section("ItemIdentification"), section("ItemDetails"), section("Ordering"));
    let mut item = TradeItem {
        xpath,
        id: identification.get("SupplierItemNumber").unwrap_or_default(),
        gtins: strings(identification, "ItemGtin"),
        order: OrderDetails {
            order_unit: ordering.get("OrderUnit"),
            content_unit: ordering.get("UseUnit"),
            content_quantity: ordering.get("UseUnitConversionFactor"),
            quantity_min: ordering.get("MinimumOrderQuantity"),
            quantity_interval: ordering.get("OrderStepSize"),
            packings: value.list("PackagingUnit").iter().map(packing).collect(),
            ..OrderDetails::default()
        },
        ..TradeItem::default()
    };
    for text in details.list("ItemDescriptions") {
        let lang = text.get("DescriptionLanguage");
        for field in ["MinimalItemDescription", "UniqueMainItemDescription"] {
            item.short_descriptions.extend(text.get(field).map(|text| Text { lang: lang.clone(), text }));
        }
    }
    let discount = identification.get("DiscountGroupId");
    for price in value.list("Pricing") {
        item.prices.extend(prices(price, discount.as_deref()));
    }
    item.mimes = value.list("ItemAttachments").iter().flat_map(attachment).collect();
    item.references = value.list("ItemRelations").iter().flat_map(relations).collect();
    for (key, field) in identification.fields() {
        if !matches!(key.as_str(), "SupplierItemNumber" | "ItemGtin" | "DiscountGroupId") {
            extend(&mut item.details, key, field);
        }
    }
    for (key, field) in details.fields().iter().filter(|(key, _)| key != "ItemDescriptions") {
        extend(&mut item.details, key, field);
    }
    for section in ["ItemLogisticDetails", "ItemCountrySpecificFields"] {
        extend(&mut item.details, section, value.field(section).unwrap_or(&none));
    }
    item
}

/// A price entry holds up to three prices of different kinds.
fn prices(entry: &Json, discount: Option<&str>) -> Vec<Price> {
    let kinds =
        [("GrossListPrice", "gross_list"), ("NetPrice", "net"), ("RecommendedRetailPrice", "recommended_retail")];
    let price = |amount: Option<String>, kind: &str| Price {
        kind: Some(kind.to_owned()),
        amount,
        currency: entry.get("CurrencyCode"),
        tax: entry.get("Vat"),
        unit: entry.get("PriceUnit"),
        unit_factor: entry.get("PriceUnitFactor"),
        quantity: entry.get("PriceQuantity"),
        valid_from: entry.get("PriceValidityDate"),
        valid_to: entry.get("PriceExpiryDate"),
        discount_group: discount.map(str::to_owned),
        ..Price::default()
    };
    let given = kinds.into_iter().filter_map(|(field, kind)| Some(price(Some(entry.get(field)?), kind)));
    let mut given: Vec<Price> = given.collect();
    if given.is_empty() {
        given.push(price(
            None,
            if entry.get("PriceOnRequest").as_deref() == Some("true") { "on_request" } else { "none" },
        ));
    }
    given
}

fn packing(value: &Json) -> Packing {
    let none = Json::Null;
    let identification = value.field("PackagingIdentification").unwrap_or(value);
    let details = value.list("PackagingDetails").first().or_else(|| value.field("PackagingDetails")).unwrap_or(&none);
    let mut measures = Vec::new();
    for section in ["PackagingDetails", "PackagingLogisticDetails"] {
        extend(&mut measures, section, value.field(section).unwrap_or(&none));
    }
    Packing {
        code: identification.get("PackagingTypeCode"),
        quantity: identification.get("PackagingQuantity").or_else(|| details.get("PackagingQuantity")),
        gtins: strings(identification, "PackagingGtin"),
        measures,
    }
}
