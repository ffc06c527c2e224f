//! The second walk: text in lines and blocks.

use std::collections::HashMap;

use base::Place;
use quick_xml::events::BytesStart;

use super::paths::Paths;
use super::{RECORD_BYTES, Visit, attributes, local};
use crate::format::{Block, BlockKind};

/// A path says no more than this many steps.
const MAX_STEPS: usize = 64;

/// A line of values does not grow beyond this.
const LINE_BYTES: usize = 400;

/// Elements that carry running text in well-known vocabularies. Their names say nothing a reader wants to see.
const PROSE: [&str; 24] = [
    "p", "h", "h1", "h2", "h3", "h4", "h5", "h6", "t", "text", "tspan", "span", "para", "title", "td", "th", "li", "a",
    "b", "i", "em", "strong", "div", "emphasis",
];

/// Elements whose content is for machines.
const SILENT: [&str; 10] = [
    "style",
    "script",
    "binData",
    "binary-data",
    "EmbeddedDocumentBinaryObject",
    "AttachmentBinaryObject",
    "metadata",
    "automatic-styles",
    "font-face-decls",
    "styles",
];

/// Roots of documents kept as XML (flat OpenDocument, Word and Excel 2003, SVG): their text flows, and their element names
/// and attributes are layout.
const FLOWING: [&str; 6] = ["svg", "svg:svg", "office:document", "w:wordDocument", "pkg:package", "Workbook"];

/// Elements that end a line in them.
const LINES: [&str; 8] = ["p", "h", "tr", "table-row", "Row", "text", "title", "desc"];

/// Elements of theirs that hold no text of the document.
const FURNITURE: [&str; 14] = [
    "settings",
    "scripts",
    "styles",
    "Styles",
    "master-styles",
    "fonts",
    "lists",
    "docPr",
    "docOleData",
    "forms",
    "meta",
    "docSuppData",
    "WorksheetOptions",
    "ExcelWorkbook",
];

/// An open element of the second walk.
struct Open {
    name: String,
    attributes: Vec<(String, String)>,
    /// Text of the element itself since its start or since the last child.
    text: String,
    had_children: bool,
    silent: bool,
    record: bool,
    serial: u64,
    /// Its position among its siblings of the same name, from 1.
    position: u32,
    /// How many children of each name it has had.
    children: HashMap<String, u32>,
}

pub(super) struct Writer<'a> {
    source: &'a str,
    paths: Paths,
    /// Whether this is one of the [`FLOWING`] documents.
    flowing: bool,
    open: Vec<Open>,
    pub(super) root: Option<String>,
    /// Depth of the open record, if any.
    record_depth: Option<usize>,
    block: String,
    block_start: usize,
    /// The element the block is, or that holds it.
    path: Option<String>,
    /// The element whose leaves stand on the last line, by its serial number.
    line_of: Option<u64>,
    serial: u64,
    line_start: usize,
    pub(super) blocks: Vec<Block>,
    counted: (usize, u32),
}

impl<'a> Writer<'a> {
    pub(super) fn new(source: &'a str, paths: Paths) -> Self {
        Self {
            source,
            paths,
            flowing: false,
            open: Vec::new(),
            root: None,
            record_depth: None,
            block: String::new(),
            block_start: 0,
            path: None,
            line_of: None,
            serial: 0,
            line_start: 0,
            blocks: Vec::new(),
            counted: (0, 1),
        }
    }

    /// The number of the line the byte stands on; asked in rising order, so that counting stays linear.
    fn line(&mut self, at: usize) -> u32 {
        let (from, line) = self.counted;
        if at > from {
            let newlines =
                self.source.as_bytes()[from..at.min(self.source.len())].iter().filter(|byte| **byte == b'\n').count();
            self.counted = (at, line.saturating_add(newlines as u32));
        }
        self.counted.1
    }

    pub(super) fn close_block(&mut self, at: usize) {
        self.line_of = None;
        self.line_start = 0;
        let text = std::mem::take(&mut self.block);
        if !text.trim().is_empty() {
            let first = self.line(self.block_start);
            let last = self.line(at);
            let place = Place { xpath: self.path.take(), ..Place::lines(first, last) };
            self.blocks.push(Block::new(BlockKind::Paragraph, text.trim_end(), place));
        }
    }

    /// Writes the text the innermost element has gathered, and its attributes when they have not been written yet.
    fn write(&mut self, at: usize) {
        let Some(element) = self.open.last_mut() else { return };
        let text = crate::table::one_line(&std::mem::take(&mut element.text));
        let attributes = std::mem::take(&mut element.attributes);
        // A long text without a single space is encoded data.
        if element.silent || (text.len() > 4096 && !text.contains(' ')) {
            return;
        }
        let list = attributes.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ");
        let prose = list.is_empty() && (element.had_children || PROSE.contains(&element.name.as_str()));
        let value = match (text.is_empty(), list.is_empty()) {
            (true, true) => return,
            (false, true) => text,
            (true, false) => list,
            (false, false) => format!("{text} ({list})"),
        };
        let label = element.name.clone();
        if self.block.is_empty() {
            self.block_start = at;
            self.path = self.path_of(self.record_depth);
        } else if self.record_depth.is_none() {
            // The element that holds all of the block.
            let place = |path: Option<String>| Place { xpath: path, ..Place::default() };
            let both = place(self.path.take()).union(&place(self.path_of(None)));
            self.path = both.and_then(|place| place.xpath);
        }
        let parent = self.open.len().checked_sub(2).and_then(|index| self.open.get(index));
        let parent_serial = parent.map(|parent| parent.serial);
        if self.flowing {
            if self.block.len() > self.line_start {
                self.block.push(' ');
            }
            self.block.push_str(&value);
        } else if prose {
            self.new_line();
            self.block.push_str(&value);
            self.line_of = None;
        } else if self.line_of.is_some()
            && self.line_of == parent_serial
            && self.block.len() - self.line_start < LINE_BYTES
        {
            self.block.push_str(&format!("; {label}: {value}"));
        } else {
            let container = self.container();
            self.new_line();
            self.block.push_str(&format!("{container}{label}: {value}"));
            self.line_of = parent_serial;
        }
        if self.record_depth.is_none() && self.block.len() as u64 > RECORD_BYTES {
            self.close_block(at);
        }
    }

    /// The way to the open element at a depth, or to the innermost; none in documents kept as XML, where it is layout.
    fn path_of(&self, depth: Option<usize>) -> Option<String> {
        if self.flowing {
            return None;
        }
        let last = depth.unwrap_or(usize::MAX).min(self.open.len().checked_sub(1)?);
        let mut path = String::new();
        for (depth, element) in self.open[..=last].iter().take(MAX_STEPS).enumerate() {
            path.push('/');
            path.push_str(&element.name);
            if depth > 0 {
                path.push_str(&format!("[{}]", element.position));
            }
        }
        Some(path)
    }

    /// What stands before a line: the parent's name, and enough above it to tell one party or address from the next. The
    /// first line of a record begins with the record.
    fn container(&self) -> String {
        let Some(parent) = self.open.len().checked_sub(2) else {
            return String::new();
        };
        let record = self.record_depth.unwrap_or(0);
        let from = if self.block.is_empty() { record } else { (record + 1).max(parent.saturating_sub(1)) };
        let names: Vec<&str> =
            self.open[from.min(parent)..=parent].iter().map(|element| element.name.as_str()).collect();
        format!("{} – ", names.join(" "))
    }

    fn new_line(&mut self) {
        if !self.block.is_empty() && !self.block.ends_with('\n') {
            self.block.push('\n');
        }
        self.line_start = self.block.len();
    }
}

impl Visit for Writer<'_> {
    fn open(&mut self, start: &BytesStart<'_>, at: usize) {
        self.write(at);
        let name = local(start).to_owned();
        if self.root.is_none() {
            self.root = Some(name.clone());
            self.flowing = FLOWING.contains(&start.name().into_inner());
        }
        let mut silent = SILENT.contains(&name.as_str()) || (self.flowing && FURNITURE.contains(&name.as_str()));
        let mut position = 1;
        if let Some(parent) = self.open.last_mut() {
            parent.had_children = true;
            silent |= parent.silent;
            let count = parent.children.entry(name.clone()).or_default();
            *count += 1;
            position = *count;
        }
        let record = match self.paths.enter(&name) {
            Some(node) => !self.flowing && self.record_depth.is_none() && self.paths.is_record(node),
            None => false,
        };
        if record {
            self.close_block(at);
            self.record_depth = Some(self.open.len());
        }
        self.serial += 1;
        self.open.push(Open {
            name,
            attributes: if self.flowing { Vec::new() } else { attributes(start) },
            text: String::new(),
            had_children: false,
            silent,
            record,
            serial: self.serial,
            position,
            children: HashMap::new(),
        });
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut()
            && !element.silent
        {
            element.text.push_str(text);
        }
    }

    fn close(&mut self, at: usize) {
        self.write(at);
        self.paths.leave();
        if self.flowing
            && self.block.len() > self.line_start
            && self.open.last().is_some_and(|element| LINES.contains(&element.name.as_str()))
        {
            self.new_line();
        }
        if self.open.pop().is_some_and(|element| element.record) {
            self.close_block(at);
            self.record_depth = None;
        }
    }
}
