//! The reader of both formats, and telling them apart.

use std::io::Read;

use super::bmecat::Bmecat;
use super::etim::Etim;
use super::format::{CatalogFormat, CatalogItem};
use crate::error::Error;

/// Yields a catalogue item by item; holds one product at a time. After an error nothing follows.
pub struct CatalogReader<R> {
    kind: Kind<R>,
}

enum Kind<R> {
    Bmecat(Box<Bmecat<R>>),
    Etim(Box<Etim<R>>),
}

impl<R: Read> CatalogReader<R> {
    /// Reads a catalogue of a known format; [`sniff`] tells which.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] when the first bytes cannot be had.
    pub fn new(source: R, format: CatalogFormat) -> Result<Self, Error> {
        let kind = match format {
            CatalogFormat::Bmecat => Kind::Bmecat(Box::new(Bmecat::new(source)?)),
            CatalogFormat::EtimXchange => Kind::Etim(Box::new(Etim::new(source)?)),
        };
        Ok(Self { kind })
    }
}

impl<R: Read> Iterator for CatalogReader<R> {
    type Item = Result<CatalogItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.kind {
            Kind::Bmecat(reader) => reader.next(),
            Kind::Etim(reader) => reader.next(),
        }
    }
}

/// Tells whether a stream is a catalogue, and gives it back from its beginning.
pub(crate) fn sniff_stream(mut source: impl Read) -> Result<(Option<CatalogFormat>, impl Read), Error> {
    let mut head = Vec::new();
    let taken = source.by_ref().take(SNIFFED_BYTES as u64).read_to_end(&mut head);
    taken.map_err(|error| Error::unreadable(error.to_string()))?;
    Ok((sniff(&head), std::io::Cursor::new(head).chain(source)))
}

/// How much of a file decides what it is.
const SNIFFED_BYTES: usize = 16 << 10;

/// Tells from the first bytes of a file (a few thousand are enough) whether it is a catalogue.
pub fn sniff(head: &[u8]) -> Option<CatalogFormat> {
    let head = &head[..head.len().min(SNIFFED_BYTES)];
    let text = match encoding_rs::Encoding::for_bom(head) {
        Some((encoding, length)) => encoding.decode_without_bom_handling(&head[length..]).0,
        None => String::from_utf8_lossy(head),
    };
    let start = text.trim_start();
    if start.starts_with('<') {
        return (crate::xml::root(start).as_deref() == Some("BMECAT")).then_some(CatalogFormat::Bmecat);
    }
    // Every version has an object at the top with the suppliers' list and, before it, fields only this format has.
    let is_etim = start.starts_with('{')
        && start.contains("\"Supplier\"")
        && ["\"CatalogueId\"", "\"CatalogueVersion\"", "\"CatalogueType\""].iter().any(|key| start.contains(key));
    is_etim.then_some(CatalogFormat::EtimXchange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catalogues_are_told_by_their_first_element_or_field() {
        for (head, expect) in [
            (
                "<?xml version='1.0'?><!DOCTYPE BMECAT SYSTEM 'x.dtd'>\n<BMECAT version='1.2'>",
                Some(CatalogFormat::Bmecat),
            ),
            ("<b:BMECAT xmlns:b='http://www.bmecat.org/bmecat/2005'>", Some(CatalogFormat::Bmecat)),
            ("<!-- BMECAT --><KATALOG>", None),
            ("{\"CatalogueId\":\"1\",\"Supplier\":[", Some(CatalogFormat::EtimXchange)),
            ("{\"Supplier\":\"x\"}", None),
            ("", None),
        ] {
            assert_eq!(sniff(head.as_bytes()), expect, "{head}");
        }
        let wide: Vec<u8> = "\u{feff}<BMECAT>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(sniff(&wide), Some(CatalogFormat::Bmecat));
    }
}
