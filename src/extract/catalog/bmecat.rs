//! BMEcat 1.2, 2005 and 2005.1, with or without a namespace: XML events → items.
//!
//! Elements are known by their local names; `ARTICLE…` and `…AID` of 1.2 become `PRODUCT…` and `…PID` of 2005 first. The stack
//! holds names only, the model one product. Entities a document defines itself stay unexpanded.

use std::collections::VecDeque;
use std::io::Read;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::format::{CatalogEnd, CatalogGroup, CatalogItem, GroupMember, Text};
use super::header::HeaderBuilder;
use super::product::ProductBuilder;
use super::source::Utf8Source;
use crate::error::Error;

/// Real files nest some ten deep.
const MAX_DEPTH: usize = 10_000;

/// The text of one element, however many pieces it comes in.
const MAX_TEXT_BYTES: usize = 32 << 20;

/// An open element. The strings are used again for the next one at this depth.
#[derive(Default)]
pub(super) struct Frame {
    pub name: String,
    pub lang: Option<String>,
    pub kind: Option<String>,
    pub text: String,
    pub has_children: bool,
    /// Whether the file calls it by its name of 1.2.
    legacy: bool,
}

impl Frame {
    /// The name it has in the file, where that may be shown as a place.
    pub(super) fn source_name(&self) -> String {
        match self.name.strip_prefix("PRODUCT") {
            Some(rest) if self.legacy => format!("ARTICLE{rest}"),
            _ => self.name.clone(),
        }
    }

    pub(super) fn value(&self) -> String {
        self.text.trim().to_owned()
    }

    pub(super) fn as_text(&self) -> Text {
        Text { lang: self.lang.clone(), text: self.value() }
    }
}

/// The reader of BMEcat.
pub(super) struct Bmecat<R> {
    reader: Reader<Utf8Source<R>>,
    buffer: Vec<u8>,
    frames: Vec<Frame>,
    depth: usize,
    header: Option<HeaderBuilder>,
    product: Option<ProductBuilder>,
    /// The depth at which the open product stands.
    product_depth: usize,
    products_here: u64,
    group: Option<CatalogGroup>,
    /// The name of the classification whose groups are read; none in the catalogue's own tree.
    group_system: Option<String>,
    member: GroupMember,
    pending: VecDeque<CatalogItem>,
    end: CatalogEnd,
    done: bool,
}

impl<R: Read> Bmecat<R> {
    pub(super) fn new(source: R) -> Result<Self, Error> {
        let source = Utf8Source::new(source).map_err(|error| Error::unreadable(error.to_string()))?;
        let mut reader = Reader::from_reader(source);
        reader.config_mut().allow_dangling_amp = true;
        Ok(Self {
            reader,
            buffer: Vec::new(),
            frames: Vec::new(),
            depth: 0,
            header: Some(HeaderBuilder::default()),
            product: None,
            product_depth: 0,
            products_here: 0,
            group: None,
            group_system: None,
            member: GroupMember::default(),
            pending: VecDeque::new(),
            end: CatalogEnd::default(),
            done: false,
        })
    }

    pub(super) fn next(&mut self) -> Option<Result<CatalogItem, Error>> {
        loop {
            if let Some(item) = self.pending.pop_front() {
                return Some(Ok(item));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.step() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        self.reader.get_mut().begin_event();
        let event = self.reader.read_event_into(&mut buffer);
        let result = match event {
            Ok(Event::Start(start)) => self.open(&start),
            Ok(Event::Empty(start)) => self.open(&start).and_then(|()| self.close()),
            Ok(Event::End(_)) => self.close(),
            Ok(Event::Text(text)) => self.text(&text.xml10_content()),
            Ok(Event::CData(text)) => self.text(&text.into_inner()),
            Ok(Event::GeneralRef(reference)) => match reference.resolve_char_ref() {
                Ok(Some(c)) => self.text(c.encode_utf8(&mut [0; 4])),
                _ => match quick_xml::escape::resolve_predefined_entity(&reference) {
                    Some(text) => self.text(text),
                    None => self.text(&format!("&{};", &*reference)),
                },
            },
            Ok(Event::Eof) => self.finish(),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::unreadable(format!("damaged XML: {error}"))),
        };
        self.buffer = buffer;
        // One giant value must not make every later one expensive.
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        result
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Error> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::unreadable(format!("its elements nest more than {MAX_DEPTH} deep")));
        }
        if self.depth > 0 {
            self.frames[self.depth - 1].has_children = true;
        }
        if self.frames.len() == self.depth {
            self.frames.push(Frame::default());
        }
        let depth = self.depth;
        let frame = &mut self.frames[depth];
        frame.text.clear();
        frame.lang = None;
        frame.kind = None;
        frame.has_children = false;
        let name: &str = start.name().into_inner();
        frame.legacy = modern_name(name.rsplit(':').next().unwrap_or(name), &mut frame.name);
        let mut mode = None;
        let mut version = None;
        for attribute in start.attributes().with_checks(false).filter_map(Result::ok) {
            let key: &str = attribute.key.into_inner();
            let slot = match key.rsplit(':').next().unwrap_or(key) {
                "lang" => &mut frame.lang,
                "type" | "price_type" => &mut frame.kind,
                "mode" => &mut mode,
                "version" | "prev_version" => &mut version,
                "quantity" | "default" => &mut mode,
                _ => continue,
            };
            let value: &str = &attribute.value;
            *slot =
                Some(quick_xml::escape::unescape(value).map_or_else(|_| value.to_owned(), |text| text.into_owned()));
        }
        self.depth += 1;
        if let Some(product) = &mut self.product {
            // Elements weigh as well: a million empty ones are a million features.
            product.weigh(64)?;
        }
        self.opened(mode, version);
        Ok(())
    }

    /// What an element that opens means. `mode` is its attribute of that name (or `quantity`, or `default`).
    fn opened(&mut self, mode: Option<String>, version: Option<String>) {
        let depth = self.depth - 1;
        let (above, here) = self.frames[..=depth].split_at(depth);
        let name = here[0].name.as_str();
        if let Some(lang) = &here[0].lang {
            see_language(&mut self.end.languages, lang);
        }
        if let Some(product) = &mut self.product {
            product.open(above.last().map_or("", |frame| frame.name.as_str()), &here[0], mode);
            return;
        }
        let in_transaction = depth == 2 && above[1].name.starts_with("T_");
        match name {
            "BMECAT" if depth == 0 => {
                if let Some(header) = &mut self.header {
                    header.header.format_version = version;
                }
            }
            "PRODUCT" if in_transaction => {
                self.products_here += 1;
                let path =
                    format!("/{}/{}/{}[{}]", above[0].name, above[1].name, here[0].source_name(), self.products_here);
                self.product = Some(ProductBuilder::new(path, mode));
                self.product_depth = depth;
            }
            _ if depth == 1 && name.starts_with("T_") => {
                self.products_here = 0;
                if let Some(mut header) = self.header.take() {
                    header.header.transaction = Some(name.to_owned());
                    header.header.previous_version = version;
                    let header = header.finish();
                    for lang in &header.languages {
                        see_language(&mut self.end.languages, lang);
                    }
                    self.pending.push_back(CatalogItem::Header(Box::new(header)));
                }
            }
            "CLASSIFICATION_SYSTEM" | "CATALOG_GROUP_SYSTEM" => self.group_system = None,
            "CATALOG_STRUCTURE" | "CLASSIFICATION_GROUP" => {
                self.group = Some(CatalogGroup { system: self.group_system.clone(), ..CatalogGroup::default() });
            }
            "PRODUCT_TO_CATALOGGROUP_MAP" => self.member = GroupMember::default(),
            _ => {
                if let Some(header) = &mut self.header {
                    header.open(above, &here[0], mode);
                }
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        if self.depth > 0 {
            let own = &mut self.frames[self.depth - 1].text;
            if own.len() + text.len() > MAX_TEXT_BYTES {
                return Err(Error::TooLarge {
                    what: "the text of an element".to_owned(),
                    limit_bytes: MAX_TEXT_BYTES as u64,
                });
            }
            own.push_str(text);
        }
        if let Some(product) = &mut self.product {
            product.weigh(text.len())?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.depth == 0 {
            return Ok(());
        }
        self.depth -= 1;
        let depth = self.depth;
        let (above, here) = self.frames[..=depth].split_at(depth);
        let frame = &here[0];
        let parent = above.last().map_or("", |frame| frame.name.as_str());
        if let Some(product) = &mut self.product {
            if depth > self.product_depth {
                product.close(&above[self.product_depth + 1..], frame);
            } else if let Some(product) = self.product.take() {
                let product = product.finish();
                self.end.products += 1;
                self.end.features += product.features().count() as u64;
                self.end.prices += product.prices.len() as u64;
                self.end.mimes += product.mimes.len() as u64;
                self.pending.push_back(CatalogItem::Product(Box::new(product)));
            }
            return Ok(());
        }
        if let Some(header) = &mut self.header {
            header.close(above, frame);
            return Ok(());
        }
        match (parent, frame.name.as_str()) {
            (_, "CLASSIFICATION_SYSTEM_NAME") => self.group_system = Some(frame.value()),
            (_, "CATALOG_STRUCTURE" | "CLASSIFICATION_GROUP") => {
                if let Some(group) = self.group.take() {
                    self.pending.push_back(CatalogItem::Group(Box::new(group)));
                }
            }
            ("PRODUCT_TO_CATALOGGROUP_MAP", "PROD_ID") => self.member.product_id = frame.value(),
            ("PRODUCT_TO_CATALOGGROUP_MAP", "CATALOG_GROUP_ID") => self.member.group_id = frame.value(),
            (_, "PRODUCT_TO_CATALOGGROUP_MAP") => {
                self.pending.push_back(CatalogItem::Member(std::mem::take(&mut self.member)));
            }
            ("CATALOG_STRUCTURE" | "CLASSIFICATION_GROUP", name) => {
                if let Some(group) = &mut self.group {
                    match name {
                        "GROUP_ID" | "CLASSIFICATION_GROUP_ID" => group.id = frame.value(),
                        "PARENT_ID" | "CLASSIFICATION_GROUP_PARENT_ID" => group.parent_id = Some(frame.value()),
                        "GROUP_NAME" | "CLASSIFICATION_GROUP_NAME" => group.names.push(frame.as_text()),
                        "GROUP_DESCRIPTION" | "CLASSIFICATION_GROUP_DESCR" => group.descriptions.push(frame.as_text()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        if self.depth > 0 {
            return Err(Error::unreadable("damaged XML: it ends before its elements do"));
        }
        self.done = true;
        if let Some(header) = self.header.take() {
            self.pending.push_back(CatalogItem::Header(Box::new(header.finish())));
        }
        let repaired = self.reader.get_mut().repaired();
        if repaired > 0 {
            self.end.warnings.push(format!(
                "{repaired} bytes are not in the encoding the file declares and were read as Windows-1252"
            ));
        }
        self.pending.push_back(CatalogItem::End(std::mem::take(&mut self.end)));
        Ok(())
    }
}

fn see_language(languages: &mut Vec<String>, lang: &str) {
    // Files of one language each are the rule, and a hostile one cannot make this list long.
    if languages.len() < 200 && !languages.iter().any(|known| known == lang) {
        languages.push(lang.to_owned());
    }
}

/// Writes the name 2005 gives an element, and says whether 1.2 calls it otherwise.
fn modern_name(name: &str, out: &mut String) -> bool {
    out.clear();
    let (stem, tail) = if let Some(rest) = name.strip_prefix("ARTICLE") {
        ("PRODUCT", rest)
    } else if let Some(rest) = name.strip_prefix("ART_ID") {
        ("PROD_ID", rest)
    } else if let Some(stem) = name.strip_suffix("_AID") {
        (stem, "_PID")
    } else {
        out.push_str(name);
        return false;
    };
    out.push_str(stem);
    out.push_str(tail);
    true
}
