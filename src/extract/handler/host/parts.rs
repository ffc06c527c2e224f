//! What is inside the bytes: members of archives, elements of XML. Bounded in count, depth and size.

use std::io::{Cursor, Read};

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use monty_types::MontyObject;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// More members than this are another archive.
const MAX_MEMBERS: usize = 1_000;
const MAX_EVENTS: usize = 200_000;
const MAX_DEPTH: usize = 256;
const MAX_ATTRIBUTES: usize = 256;

/// Why nothing came out of an archive.
pub(super) enum UnzipError {
    Damaged(String),
    /// More came out than may.
    TooMuch,
}

/// Unpacks a zip, gzip or zlib stream: a list of names and bytes. `left` is how much may still come out, over all calls.
pub(super) fn unzip(bytes: &[u8], left: &mut u64) -> Result<MontyObject, UnzipError> {
    let mut members = Vec::new();
    match bytes {
        [b'P', b'K', ..] => {
            let damaged = |error: zip::result::ZipError| UnzipError::Damaged(format!("damaged zip archive: {error}"));
            let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
            if archive.len() > MAX_MEMBERS {
                return Err(UnzipError::Damaged(format!("the archive has more than {MAX_MEMBERS} members")));
            }
            for index in 0..archive.len() {
                let member = archive.by_index(index).map_err(damaged)?;
                if member.is_dir() {
                    continue;
                }
                let name: String = String::from_utf8_lossy(member.name_raw()).chars().take(200).collect();
                members.push(pair(name, drain(member, left)?));
            }
        }
        [0x1f, 0x8b, ..] => members.push(pair(String::new(), drain(MultiGzDecoder::new(bytes), left)?)),
        [0x78, ..] => members.push(pair(String::new(), drain(ZlibDecoder::new(bytes), left)?)),
        _ => return Err(UnzipError::Damaged("these bytes are no zip, gzip or zlib stream".to_owned())),
    }
    Ok(MontyObject::List(members))
}

fn pair(name: String, bytes: Vec<u8>) -> MontyObject {
    MontyObject::Tuple(vec![MontyObject::String(name), MontyObject::Bytes(bytes)])
}

fn drain(source: impl Read, left: &mut u64) -> Result<Vec<u8>, UnzipError> {
    let mut bytes = Vec::new();
    let read = source.take(left.saturating_add(1)).read_to_end(&mut bytes);
    if bytes.len() as u64 > *left {
        *left = 0;
        return Err(UnzipError::TooMuch);
    }
    *left -= bytes.len() as u64;
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(UnzipError::Damaged(format!("damaged stream: {error}"))),
    }
}

/// Returns the events of an XML text: `("start", name, {attributes})`, `("text", text)`, `("end", name)`. Names keep their
/// prefixes. Entities other than the five predefined ones are left as they stand, so a definition that multiplies itself does
/// nothing.
pub(super) fn xml_events(bytes: &[u8]) -> Result<MontyObject, String> {
    let decoded = crate::encoding::decode(bytes, None).text;
    let mut reader = Reader::from_str(&decoded);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut events: Vec<MontyObject> = Vec::new();
    let (mut depth, mut text) = (0_usize, String::new());
    loop {
        if events.len() > MAX_EVENTS {
            return Err(format!("the XML has more than {MAX_EVENTS} events; give it in parts"));
        }
        let event = reader.read_event().map_err(|error| format!("damaged XML: {error}"))?;
        if matches!(event, Event::Start(_) | Event::Empty(_) | Event::End(_) | Event::Eof) {
            let gathered = std::mem::take(&mut text);
            if !gathered.trim().is_empty() {
                events.push(tuple(["text", gathered.trim()]));
            }
        }
        match event {
            Event::Start(start) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("the XML is nested deeper than {MAX_DEPTH}"));
                }
                events.push(started(&start));
            }
            Event::Empty(start) => {
                events.push(started(&start));
                let name: &str = start.name().into_inner();
                events.push(tuple(["end", name]));
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                let name: &str = end.name().into_inner();
                events.push(tuple(["end", name]));
            }
            Event::Text(content) => text.push_str(&content.xml10_content()),
            Event::CData(content) => text.push_str(&content.into_inner()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(character)) => text.push(character),
                _ => match quick_xml::escape::resolve_predefined_entity(&reference) {
                    Some(known) => text.push_str(known),
                    None => text.push_str(&format!("&{};", &*reference)),
                },
            },
            Event::Eof => return Ok(MontyObject::List(events)),
            _ => {}
        }
    }
}

fn started(start: &BytesStart<'_>) -> MontyObject {
    let name: &str = start.name().into_inner();
    let mut attributes = start.attributes();
    let pairs: Vec<(MontyObject, MontyObject)> = attributes
        .with_checks(false)
        .filter_map(Result::ok)
        .take(MAX_ATTRIBUTES)
        .map(|attribute| {
            let key: &str = attribute.key.into_inner();
            let value: &str = &attribute.value;
            let value = quick_xml::escape::unescape(value).map_or_else(|_| value.to_owned(), |text| text.into_owned());
            (MontyObject::String(key.to_owned()), MontyObject::String(value))
        })
        .collect();
    MontyObject::Tuple(vec![
        MontyObject::String("start".to_owned()),
        MontyObject::String(name.to_owned()),
        MontyObject::dict(pairs),
    ])
}

fn tuple(texts: [&str; 2]) -> MontyObject {
    MontyObject::Tuple(texts.map(|text| MontyObject::String(text.to_owned())).to_vec())
}
