//! The invoice inside a PDF/A-3: the XML that is attached to it, and what ISO 19005-3 and Factur-X ask of the PDF itself.

use lopdf::{Dictionary, Document, Object, Stream};

/// Names the XML of a hybrid invoice has (ZUGFeRD 1.0 to Factur-X 1.0).
const NAMES: [&str; 3] = ["factur-x.xml", "zugferd-invoice.xml", "xrechnung.xml"];

/// XML of an invoice is some hundred kilobytes; one with attachments, a few megabytes.
const MAX_XML_BYTES: usize = 32 << 20;
const MAX_METADATA_BYTES: usize = 4 << 20;

/// Nodes of the tree of attachments that are looked at.
const MAX_NODES: usize = 500;

/// An attached invoice.
pub(crate) struct Embedded {
    pub name: String,
    pub xml: Vec<u8>,
    /// What is wrong with the PDF around it.
    pub faults: Vec<String>,
}

/// Finds the invoice in a PDF; `None` when there is none, or the PDF cannot be opened.
pub(crate) fn embedded(bytes: &[u8]) -> Option<Embedded> {
    // Most PDFs have nothing attached, and the streams of attachments cannot hide in compressed objects: no need to open those.
    let has = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
    if !has(b"EmbeddedFile") && !has(b"text#2Fxml") && !has(b"text#2fxml") {
        return None;
    }
    // A parser that panics on damage must not take the text of the PDF with it.
    std::panic::catch_unwind(|| find(bytes)).unwrap_or(None)
}

/// The files attached to a PDF, by name, as far as they fit into `limit_bytes`; of two with one name the first.
pub(crate) fn attachments(bytes: &[u8], limit_bytes: u64) -> Vec<(String, Vec<u8>)> {
    if memchr::memmem::find(bytes, b"EmbeddedFile").is_none() {
        return Vec::new();
    }
    std::panic::catch_unwind(|| unpacked(bytes, limit_bytes)).unwrap_or_default()
}

fn unpacked(bytes: &[u8], limit_bytes: u64) -> Vec<(String, Vec<u8>)> {
    let Ok(document) = Document::load_mem(bytes) else { return Vec::new() };
    let Ok(catalog) = document.catalog() else { return Vec::new() };
    let mut left = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let mut attached: Vec<(String, Vec<u8>)> = Vec::new();
    for file in files(&document, catalog) {
        let name = file_name(&document, file).unwrap_or_else(|| format!("attachment {}", attached.len() + 1));
        if attached.iter().any(|(known, _)| *known == name) {
            continue;
        }
        if let Some(content) = content(&document, file, left) {
            left -= content.len().min(left);
            attached.push((name, content));
        }
    }
    attached
}

/// What describes an attached file: entries of the catalogue's tree, and files associated with the document.
fn files<'a>(document: &'a Document, catalog: &'a Dictionary) -> Vec<&'a Dictionary> {
    let mut files = Vec::new();
    if let Some(names) =
        dictionary(document, catalog, b"Names").and_then(|names| dictionary(document, names, b"EmbeddedFiles"))
    {
        from_tree(document, names, &mut files);
    }
    if let Some(Object::Array(associated)) = get(document, catalog, b"AF") {
        let specifications =
            associated.iter().take(MAX_NODES).filter_map(|item| resolve(document, item)?.as_dict().ok());
        files.extend(specifications);
    }
    files
}

fn find(bytes: &[u8]) -> Option<Embedded> {
    let document = Document::load_mem(bytes).ok()?;
    let catalog = document.catalog().ok()?;
    let files = files(&document, catalog);
    let named = files.into_iter().filter_map(|file| Some((file_name(&document, file)?, file)));
    let mut found: Vec<(String, Vec<u8>)> = named
        .filter(|(name, _)| name.to_lowercase().ends_with(".xml"))
        .filter_map(|(name, file)| Some((name, content(&document, file, MAX_XML_BYTES)?)))
        .collect();
    // The one that has a name for it comes first; among others, the first that is an invoice.
    found.sort_by_key(|(name, _)| !NAMES.contains(&name.to_lowercase().as_str()));
    let (name, xml) = found.into_iter().find(|(name, xml)| {
        NAMES.contains(&name.to_lowercase().as_str()) || super::sniff(&String::from_utf8_lossy(xml)).is_some()
    })?;
    let faults = faults(&document, catalog);
    Some(Embedded { name, xml, faults })
}

fn resolve<'a>(document: &'a Document, object: &'a Object) -> Option<&'a Object> {
    document.dereference(object).ok().map(|(_, object)| object)
}

fn get<'a>(document: &'a Document, dictionary: &'a Dictionary, key: &[u8]) -> Option<&'a Object> {
    resolve(document, dictionary.get(key).ok()?)
}

fn dictionary<'a>(document: &'a Document, parent: &'a Dictionary, key: &[u8]) -> Option<&'a Dictionary> {
    get(document, parent, key)?.as_dict().ok()
}

/// Walks a name tree; a loop in it ends with the number of nodes.
fn from_tree<'a>(document: &'a Document, root: &'a Dictionary, files: &mut Vec<&'a Dictionary>) {
    let mut pending = vec![root];
    let mut seen = 0;
    while let Some(node) = pending.pop() {
        seen += 1;
        if seen > MAX_NODES {
            return;
        }
        if let Some(Object::Array(names)) = get(document, node, b"Names") {
            let values = names.iter().skip(1).step_by(2).take(MAX_NODES);
            files.extend(values.filter_map(|value| resolve(document, value)?.as_dict().ok()));
        }
        if let Some(Object::Array(kids)) = get(document, node, b"Kids") {
            pending.extend(kids.iter().take(MAX_NODES).filter_map(|kid| resolve(document, kid)?.as_dict().ok()));
        }
    }
}

fn file_name(document: &Document, file: &Dictionary) -> Option<String> {
    let name = [b"UF".as_slice(), b"F"].into_iter().find_map(|key| get(document, file, key))?;
    let Object::String(bytes, _) = name else { return None };
    Some(crate::pdf::string(bytes))
}

fn content(document: &Document, file: &Dictionary, limit: usize) -> Option<Vec<u8>> {
    let streams = dictionary(document, file, b"EF")?;
    let stream = [b"F".as_slice(), b"UF"].into_iter().find_map(|key| get(document, streams, key)?.as_stream().ok())?;
    unpack(stream, limit)
}

fn unpack(stream: &Stream, limit: usize) -> Option<Vec<u8>> {
    stream.get_plain_content_with_limit(limit).ok()
}

fn faults(document: &Document, catalog: &Dictionary) -> Vec<String> {
    let mut faults = Vec::new();
    let metadata = get(document, catalog, b"Metadata").and_then(|object| object.as_stream().ok());
    let metadata = metadata.and_then(|stream| unpack(stream, MAX_METADATA_BYTES)).unwrap_or_default();
    let metadata = String::from_utf8_lossy(&metadata);
    match metadata.find("pdfaid:part") {
        None => faults.push("its metadata do not say that it is PDF/A (pdfaid:part)".to_owned()),
        Some(at) => {
            let rest = metadata[at + "pdfaid:part".len()..].trim_start_matches(['=', '>', '"', '\'', ' ']);
            if !rest.starts_with('3') {
                faults.push("it is PDF/A, but not its part 3, the only one that may hold an invoice".to_owned());
            }
        }
    }
    if !metadata.contains("ConformanceLevel") {
        faults.push("its metadata do not name the profile of the invoice (ConformanceLevel)".to_owned());
    }
    if catalog.get(b"OutputIntents").is_err() {
        faults.push("it has no output intent (colour profile), which PDF/A asks for".to_owned());
    }
    faults
}
