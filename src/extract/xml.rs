//! XML of any vocabulary → readable lines, one record (a product, an invoice line) at a time.
//!
//! The reader walks the events twice and never recurses: first it weighs every path, then it cuts the text where a path's
//! elements are as large as a passage should be. Entities other than the five predefined ones are left unexpanded, so a
//! definition that multiplies itself does nothing.

mod paths;
mod write;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::error::Error;
use crate::format::Document;

use paths::Paths;
use write::Writer;

/// Elements of about this much text, in bytes, become one block.
const RECORD_BYTES: u64 = 900;

/// Reads XML already decoded to text.
pub(crate) fn read(text: &str, format: &str) -> Result<Document, Error> {
    let paths = Paths::weigh(text);
    let mut writer = Writer::new(text, paths);
    let damage = walk(text, &mut writer);
    writer.close_block(text.len());
    let mut document = Document { format: format.to_owned(), blocks: writer.blocks, ..Document::default() };
    if let Some(root) = writer.root {
        document.metadata.insert("root".to_owned(), root);
    }
    if let Some(damage) = damage {
        if document.blocks.is_empty() {
            return Err(Error::unreadable(format!("damaged XML: {damage}")));
        }
        document.warnings.push(format!("the XML is damaged; text up to there was kept: {damage}"));
    }
    Ok(document)
}

/// Returns the local name of the root element, where the text is XML up to there.
pub(crate) fn root(text: &str) -> Option<String> {
    root_with_namespace(text).map(|(name, _)| name)
}

/// Returns the local name of the root element, and its namespace (empty for none).
pub(crate) fn root_with_namespace(text: &str) -> Option<(String, String)> {
    let mut reader = reader(text);
    for _ in 0..1000 {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => {
                let full: &str = start.name().into_inner();
                let declaration = match full.rsplit_once(':') {
                    Some((prefix, _)) => format!("xmlns:{prefix}"),
                    None => "xmlns".to_owned(),
                };
                let mut attributes = start.attributes();
                let declared = attributes.with_checks(false).filter_map(Result::ok).take(256).find_map(|attribute| {
                    let key: &str = attribute.key.into_inner();
                    (key == declaration).then(|| unescape(&attribute.value))
                });
                return Some((local(&start).to_owned(), declared.unwrap_or_default()));
            }
            Event::Eof => return None,
            _ => {}
        }
    }
    None
}

/// What a walk tells about.
pub(crate) trait Visit {
    fn open(&mut self, start: &BytesStart<'_>, at: usize);
    fn text(&mut self, text: &str);
    fn close(&mut self, at: usize);
}

fn reader(text: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    reader
}

/// Walks the events; returns what stopped it before the end. An element left open at the end of the text counts as damage.
pub(crate) fn walk(text: &str, visit: &mut impl Visit) -> Option<String> {
    let mut reader = reader(text);
    let mut depth = 0_u64;
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(text.len());
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                depth += 1;
                visit.open(&start, at);
            }
            Ok(Event::Empty(start)) => {
                visit.open(&start, at);
                visit.close(at);
            }
            Ok(Event::End(_)) => {
                if depth > 0 {
                    depth -= 1;
                    visit.close(at);
                }
            }
            Ok(Event::Text(content)) => visit.text(&content.xml10_content()),
            Ok(Event::CData(content)) => visit.text(&content.into_inner()),
            Ok(Event::GeneralRef(reference)) => match reference.resolve_char_ref() {
                Ok(Some(c)) => visit.text(c.encode_utf8(&mut [0; 4])),
                _ => match quick_xml::escape::resolve_predefined_entity(&reference) {
                    Some(text) => visit.text(text),
                    None => visit.text(&format!("&{};", &*reference)),
                },
            },
            Ok(Event::Eof) => {
                return (depth > 0).then(|| "it ends before its elements do".to_owned());
            }
            Ok(_) => {}
            Err(error) => return Some(error.to_string()),
        }
    }
}

pub(crate) fn local<'a>(start: &'a BytesStart<'_>) -> &'a str {
    let name: &str = start.name().into_inner();
    name.rsplit(':').next().unwrap_or(name)
}

/// Attributes a person may want to read: no namespaces, schema places, ids, or drawing data.
fn attributes(start: &BytesStart<'_>) -> Vec<(String, String)> {
    let mut attributes = start.attributes();
    let wanted = |attribute: quick_xml::events::attributes::Attribute<'_>| {
        let key: &str = attribute.key.into_inner();
        let (prefix, name) = key.split_once(':').unwrap_or(("", key));
        let value: &str = &attribute.value;
        let is_markup = key == "xmlns" || matches!(prefix, "xmlns" | "xsi" | "xlink" | "xml");
        let is_technical = matches!(
            name,
            "style"
                | "style-name"
                | "id"
                | "d"
                | "points"
                | "transform"
                | "class"
                | "schemeID"
                | "listID"
                | "listAgencyID"
        );
        let wanted = !is_markup && !is_technical && !value.trim().is_empty() && value.len() <= 200;
        wanted.then(|| (name.to_owned(), unescape(value)))
    };
    // A doubled attribute is damage elsewhere; here it is just text.
    attributes.with_checks(false).filter_map(Result::ok).take(64).filter_map(wanted).collect()
}

pub(crate) fn unescape(value: &str) -> String {
    quick_xml::escape::unescape(value).map_or_else(|_| value.to_owned(), |text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<(String, u32, u32)> {
        read(source, "xml")
            .unwrap()
            .blocks
            .into_iter()
            .map(|block| (block.text, block.place.line_first.unwrap(), block.place.line_last.unwrap()))
            .collect()
    }

    #[test]
    fn each_record_is_a_block_with_its_lines() {
        let long = "Reihenklemme für Leiter ".repeat(25);
        let source = format!(
            "<c:CAT xmlns:c='x'>\n<HEAD><LANG>deu</LANG><DATE>2026</DATE></HEAD>\n<P><PID>4711</PID><D>{long}</D>\n<PRICE cur='EUR'>1,20</PRICE></P>\n<P><PID>4712</PID><D>{long}</D></P>\n</c:CAT>"
        );
        let got = texts(&source);
        assert_eq!(got.len(), 3, "{got:?}");
        assert_eq!(got[0], ("HEAD – LANG: deu; DATE: 2026".to_owned(), 2, 2));
        assert!(got[1].0.starts_with("P – PID: 4711; D: Reihenklemme"), "{got:?}");
        assert!(got[1].0.ends_with("PRICE: 1,20 (cur EUR)"), "{got:?}");
        assert_eq!((got[1].1, got[1].2), (3, 4));
    }

    #[test]
    fn blocks_name_the_element_they_are() {
        let long = "Reihenklemme für Leiter ".repeat(25);
        let source = format!("<c:CAT><HEAD><LANG>deu</LANG></HEAD><P><D>{long}</D></P><P><D>{long}</D></P></c:CAT>");
        let blocks = read(&source, "xml").unwrap().blocks;
        let paths: Vec<_> = blocks.iter().map(|block| block.place.xpath.as_deref().unwrap()).collect();
        assert_eq!(paths, ["/CAT/HEAD[1]", "/CAT/P[1]", "/CAT/P[2]"]);
        // Small values outside of any record share the element that holds them.
        let blocks = read("<a><b>eins</b><c>zwei</c></a>", "xml").unwrap().blocks;
        assert_eq!(blocks[0].place.xpath.as_deref(), Some("/a"));
    }

    #[test]
    fn who_is_the_seller_can_be_told() {
        let party = |role: &str| {
            let address = "Straße ".repeat(40);
            format!(
                "<{role}><Party><Name>{role} GmbH</Name><Address><City>Ulm</City><Street>{address}</Street></Address></Party></{role}>"
            )
        };
        let source = format!("<I>{}{}{}{}</I>", party("Seller"), party("Buyer"), party("Payee"), party("Payer"));
        let got = texts(&source);
        assert!(
            got[0].0.starts_with("Seller Party – Name: Seller GmbH\nParty Address – City: Ulm; Street:"),
            "{got:?}"
        );
        assert!(got[1].0.starts_with("Buyer Party – Name: Buyer GmbH"), "{got:?}");
    }

    #[test]
    fn entities_do_not_multiply() {
        let source = "<!DOCTYPE a [<!ENTITY x \"xx\"><!ENTITY y \"&x;&x;&x;\">]><v>Wert &y; &amp; &#228;</v>";
        assert_eq!(texts(source)[0].0, "v: Wert &y; & ä");
    }

    #[test]
    fn documents_kept_as_xml_read_as_documents() {
        let source = "<w:wordDocument><w:fonts><w:f>Calibri</w:f></w:fonts><w:body><w:p><w:r w:v='1'><w:t>Ein</w:t></w:r><w:r><w:t>Satz</w:t></w:r></w:p><w:p><w:t>Neu</w:t></w:p></w:body></w:wordDocument>";
        assert_eq!(texts(source)[0].0, "Ein Satz\nNeu");
    }

    #[test]
    fn depth_is_no_danger() {
        let source = format!("{}tief{}", "<a>".repeat(40_000), "</a>".repeat(40_000));
        assert!(texts(&source)[0].0.ends_with("tief"));
    }

    #[test]
    fn damaged_xml_gives_what_stands_before_the_damage() {
        let document = read("<a><b>eins</b><c>zw", "xml").unwrap();
        assert!(document.blocks[0].text.contains("eins"));
        assert_eq!(document.warnings.len(), 1);
    }
}
