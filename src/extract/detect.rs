//! What a file is: by its content first, by its name where the content leaves it open.

mod signatures;

use std::io::Cursor;

use crate::catalog::{self, CatalogFormat};
use crate::encoding::is_binary;
use signatures::{KNOWN, SIGNATURES};

/// How a file will be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text in some encoding; what it holds is decided once it is decoded.
    Text,
    Zip,
    Tar,
    Gzip,
    /// A workbook `calamine` reads.
    Sheet(&'static str),
    /// A format of the general extractor: our name for it and its media type.
    Office(&'static str, &'static str),
    /// A file that is an image and nothing else.
    Image(&'static str),
    Encrypted,
    /// Recognised, and no reader for it.
    Unsupported(String),
}

/// What decoded text turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKind {
    Plain,
    Markdown,
    Html,
    Xml,
    Catalog(CatalogFormat),
    /// XML of an electronic invoice.
    Invoice,
    Delimited,
    Json,
    Mail,
    Mbox,
    /// Light markup the general extractor knows: our name and its media type.
    Markup(&'static str, &'static str),
}

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const PPTX: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";

/// Decides how bytes are read. Never fails: what nobody knows is `Unsupported` with a description.
pub(crate) fn detect(bytes: &[u8], name: &str) -> Kind {
    let extension = extension(name);
    let file_name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    if file_name.starts_with("~$") && bytes.len() < 1024 {
        return Kind::Unsupported("lock file of an open Office document".to_owned());
    }
    if file_name.eq_ignore_ascii_case("thumbs.db") {
        return Kind::Unsupported("thumbnail cache".to_owned());
    }
    if window(bytes).windows(5).any(|five| five == b"%PDF-") && !looks_like_mail(window(bytes)) {
        return Kind::Office("pdf", "application/pdf");
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") || bytes.starts_with(b"PK00PK") {
        return zip_kind(bytes);
    }
    if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return compound_kind(bytes, &extension);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Kind::Tar;
    }
    if let Some((_, kind)) = SIGNATURES.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        // `BM` begins many texts.
        if *kind != Kind::Image("BMP") || is_binary(bytes, true) {
            return kind.clone();
        }
    }
    if extension == "dbf" && bytes.first().is_some_and(|version| matches!(version & 7, 3..=5)) && bytes.len() > 32 {
        return Kind::Office("dbf", "application/x-dbf");
    }
    if let Some((_, format)) =
        KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic) && (is_binary(bytes, true) || magic.len() > 3))
    {
        return Kind::Unsupported((*format).to_owned());
    }
    let textual = matches!(
        extension.as_str(),
        "txt"
            | "csv"
            | "tsv"
            | "md"
            | "html"
            | "htm"
            | "xml"
            | "json"
            | "eml"
            | "log"
            | "yaml"
            | "yml"
            | "mbox"
            | "dxf"
            | "asc"
    );
    if is_binary(bytes, textual) {
        return match by_general_extractor(bytes) {
            Some(kind) => kind,
            None if extension.is_empty() => Kind::Unsupported("binary data of unknown kind".to_owned()),
            None => Kind::Unsupported(format!("binary data of unknown kind, named .{extension}")),
        };
    }
    Kind::Text
}

/// Formats only the general extractor can tell: those of its own it has a signature for.
fn by_general_extractor(bytes: &[u8]) -> Option<Kind> {
    let media_type = xberg::detect_mime_type_from_bytes(bytes).ok()?;
    if media_type.starts_with("image/") {
        return Some(Kind::Image("pixel"));
    }
    if media_type.starts_with("audio/") || media_type.starts_with("video/") {
        return Some(Kind::Unsupported(format!("sound or film ({media_type})")));
    }
    None
}

fn window(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(1024)]
}

/// The extension of a file name in lower case, without the dot; empty where there is none.
pub(crate) fn extension(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match last.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 10 => extension.to_lowercase(),
        _ => String::new(),
    }
}

/// The office formats that are zip archives, told apart by the members they must have.
fn zip_kind(bytes: &[u8]) -> Kind {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else {
        // The directory is at the end and gone; the first members still tell what it was.
        let head = &bytes[..bytes.len().min(64 << 10)];
        let has = |name: &str| head.windows(name.len()).any(|window| window == name.as_bytes());
        return if has("word/") {
            Kind::Office("docx", DOCX)
        } else if has("xl/") {
            Kind::Sheet("xlsx")
        } else if has("ppt/") {
            Kind::Office("pptx", PPTX)
        } else {
            Kind::Zip
        };
    };
    let names: Vec<String> = archive
        .file_names()
        .take(20_000)
        .filter_map(Result::ok)
        .map(|name| name.to_lowercase().replace('\\', "/"))
        .collect();
    let has = |name: &str| names.iter().any(|member| member == name);
    let starts = |prefix: &str| names.iter().any(|member| member.starts_with(prefix));
    if has("[content_types].xml") {
        if starts("word/") {
            return Kind::Office("docx", DOCX);
        }
        if starts("xl/") {
            return Kind::Sheet(if has("xl/workbook.bin") { "xlsb" } else { "xlsx" });
        }
        if starts("ppt/") {
            return Kind::Office("pptx", PPTX);
        }
    }
    if starts("index/") && names.iter().any(|name| name.ends_with(".iwa")) || has("index.zip") {
        return if has("index/presentation.iwa") || starts("index/slide") {
            Kind::Office("key", "application/x-iwork-keynote-sffkey")
        } else if has("index/calculationengine.iwa") && starts("index/tables/") {
            Kind::Office("numbers", "application/x-iwork-numbers-sffnumbers")
        } else {
            Kind::Office("pages", "application/x-iwork-pages-sffpages")
        };
    }
    let Some(declared) = archive.by_name("mimetype").ok().and_then(|member| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(member, 200), &mut text).ok()?;
        Some(text.trim().to_owned())
    }) else {
        return Kind::Zip;
    };
    if names.iter().any(|name| name == "meta-inf/manifest.xml")
        && let Ok(manifest) = archive.by_name("META-INF/manifest.xml")
    {
        let mut text = String::new();
        let _damaged_is_not_encrypted =
            std::io::Read::read_to_string(&mut std::io::Read::take(manifest, 1 << 20), &mut text);
        if text.contains("encryption-data") {
            return Kind::Encrypted;
        }
    }
    match declared.as_str() {
        "application/epub+zip" => Kind::Office("epub", "application/epub+zip"),
        text if text.contains("opendocument.text") || text.contains("sun.xml.writer") => {
            Kind::Office("odt", "application/vnd.oasis.opendocument.text")
        }
        text if text.contains("opendocument.spreadsheet") || text.contains("sun.xml.calc") => Kind::Sheet("ods"),
        text if text.contains("opendocument.presentation") => {
            Kind::Office("odp", "application/vnd.oasis.opendocument.presentation")
        }
        text if text.contains("opendocument.graphics") => {
            Kind::Office("odg", "application/vnd.oasis.opendocument.graphics")
        }
        _ => Kind::Zip,
    }
}

/// The formats that are OLE compound files, told apart by the streams at their root.
fn compound_kind(bytes: &[u8], extension: &str) -> Kind {
    let mut file = cfb::CompoundFile::open(Cursor::new(bytes)).ok();
    let names: Vec<String> =
        file.iter().flat_map(|file| file.read_root_storage()).map(|entry| entry.name().to_owned()).collect();
    if file.as_mut().is_some_and(is_encrypted_word) {
        return Kind::Encrypted;
    }
    // A damaged directory is searched for the names themselves.
    let has = |name: &str| {
        if names.is_empty() {
            let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            bytes.windows(wide.len()).any(|window| window == wide)
        } else {
            names.iter().any(|entry| entry.eq_ignore_ascii_case(name))
        }
    };
    if has("EncryptedPackage") || has("EncryptionInfo") {
        Kind::Encrypted
    } else if has("WordDocument") {
        Kind::Office("doc", "application/msword")
    } else if has("Workbook") || has("Book") {
        Kind::Sheet("xls")
    } else if has("PowerPoint Document") {
        Kind::Office("ppt", "application/vnd.ms-powerpoint")
    } else if has("__properties_version1.0") || has("__nameid_version1.0") {
        Kind::Office("msg", "application/vnd.ms-outlook")
    } else if has("VisioDocument") {
        Kind::Unsupported("Visio drawing".to_owned())
    } else if has("Quill") {
        Kind::Unsupported("Publisher document".to_owned())
    } else if has("MatOST") || has("SPELLING") {
        Kind::Unsupported("Works document".to_owned())
    } else if has("StarWriterDocument") || has("StarCalcDocument") || has("StarDrawDocument3") {
        Kind::Unsupported("StarOffice document".to_owned())
    } else if extension.is_empty() {
        Kind::Unsupported("OLE compound file of unknown kind".to_owned())
    } else {
        Kind::Unsupported(format!("OLE compound file of unknown kind, named .{extension}"))
    }
}

/// Word's flag `fEncrypted`, bit 8 of the word at offset 10 of its main stream ([MS-DOC] 2.5.2, FibBase).
fn is_encrypted_word(file: &mut cfb::CompoundFile<Cursor<&[u8]>>) -> bool {
    let mut head = [0; 12];
    file.open_stream("/WordDocument")
        .and_then(|mut stream| std::io::Read::read_exact(&mut stream, &mut head))
        .is_ok_and(|()| head[11] & 1 != 0)
}

/// Decides what decoded text is.
pub(crate) fn detect_text(text: &str, name: &str) -> TextKind {
    let extension = extension(name);
    let start = text.trim_start();
    let head: String = start.chars().take(2048).collect::<String>().to_lowercase();
    if start.starts_with("From ") && start.lines().skip(1).take(40).any(is_mail_header) {
        return TextKind::Mbox;
    }
    if looks_like_mail(start.as_bytes()) || (extension == "eml" && start.lines().take(5).any(is_mail_header)) {
        return TextKind::Mail;
    }
    if matches!(extension.as_str(), "mhtml" | "mht") {
        return TextKind::Mail;
    }
    if head.starts_with("<?xml") || head.starts_with('<') {
        let root = if head.starts_with("<!doctype html") || head.starts_with("<html") {
            Some("html".to_owned())
        } else {
            crate::xml::root(text).map(|root| root.to_lowercase())
        };
        if root.as_deref() == Some("bmecat") {
            return TextKind::Catalog(CatalogFormat::Bmecat);
        }
        if root.is_some() && crate::invoice::sniff(text).is_some() {
            return TextKind::Invoice;
        }
        match root.as_deref() {
            Some("html" | "head" | "body" | "meta" | "title" | "div" | "p" | "table" | "h1" | "center" | "font") => {
                return TextKind::Html;
            }
            Some(_)
                if head.starts_with("<?xml") || extension == "xml" || !matches!(extension.as_str(), "md" | "txt") =>
            {
                return TextKind::Xml;
            }
            None if head.starts_with("<!") || head.contains("<html") || head.contains("<body") => {
                return TextKind::Html;
            }
            _ => {}
        }
    }
    if (head.contains("<html") || head.contains("<body"))
        && matches!(extension.as_str(), "html" | "htm" | "xls" | "doc" | "")
    {
        return TextKind::Html;
    }
    if catalog::sniff(start.as_bytes()) == Some(CatalogFormat::EtimXchange) {
        return TextKind::Catalog(CatalogFormat::EtimXchange);
    }
    match extension.as_str() {
        "md" | "markdown" | "mdown" | "qmd" => TextKind::Markdown,
        "html" | "htm" | "xhtml" => TextKind::Html,
        "csv" | "tsv" | "tab" => TextKind::Delimited,
        "json" | "ndjson" | "jsonl" | "geojson" => TextKind::Json,
        "rst" => TextKind::Markup("rst", "text/x-rst"),
        "org" => TextKind::Markup("org", "text/x-org"),
        "tex" | "latex" => TextKind::Markup("tex", "application/x-latex"),
        "xlsx" | "xls" | "" if is_delimited(start) => TextKind::Delimited,
        _ if start.starts_with(['{', '[']) && crate::json::read(text).is_some() => TextKind::Json,
        _ => TextKind::Plain,
    }
}

/// Many lines with the same number of semicolons or tabs, whatever the name says.
fn is_delimited(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().take(20).collect();
    lines.len() >= 3
        && [';', '\t'].iter().any(|delimiter| {
            let count = lines[0].matches(*delimiter).count();
            count >= 2 && lines.iter().all(|line| line.matches(*delimiter).count() == count)
        })
}

const MAIL_HEADERS: [&str; 16] = [
    "from:",
    "to:",
    "subject:",
    "date:",
    "received:",
    "return-path:",
    "message-id:",
    "mime-version:",
    "delivered-to:",
    "content-type:",
    "x-mailer:",
    "reply-to:",
    "cc:",
    "x-original-to:",
    "dkim-signature:",
    "sender:",
];

fn is_mail_header(line: &str) -> bool {
    let line = line.to_lowercase();
    MAIL_HEADERS.iter().any(|header| line.starts_with(header))
}

/// A mail begins with header lines, and at least three of them are those every mail has.
fn looks_like_mail(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(8192)]);
    let mut known = 0;
    for (index, line) in head.lines().enumerate() {
        if line.starts_with([' ', '\t']) && index > 0 {
            continue;
        }
        let is_header = line
            .split_once(':')
            .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        if !is_header {
            break;
        }
        known += usize::from(is_mail_header(line));
    }
    known >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_weighs_more_than_the_name() {
        for (bytes, name, expect) in [
            (&b"%PDF-1.7\n"[..], "a.docx", Kind::Office("pdf", "application/pdf")),
            (b"{\\rtf1 x}", "a.doc", Kind::Office("rtf", "application/rtf")),
            (b"\x89PNG\r\n\x1a\n", "a.pdf", Kind::Image("PNG")),
            (b"AC1024\0\0\0\0\0\0\0", "a.dwg", Kind::Unsupported("DWG drawing".to_owned())),
            (b"Nur Text", "a.pdf", Kind::Text),
            (b"BMW ist kein Bild", "a.txt", Kind::Text),
        ] {
            assert_eq!(detect(bytes, name), expect, "{name}");
        }
    }

    #[test]
    fn text_is_told_apart() {
        for (text, name, expect) in [
            ("<!DOCTYPE html><p>x", "a.xls", TextKind::Html),
            ("<?xml version='1.0'?><Invoice/>", "a.txt", TextKind::Xml),
            ("<?xml version='1.0'?><html><body/></html>", "a.xml", TextKind::Html),
            ("From: a@b\nTo: c@d\nSubject: e\n\nf", "a", TextKind::Mail),
            ("From a@b Mon\nFrom: a@b\n\nx", "a", TextKind::Mbox),
            ("Hinweis: eins\nDatum: zwei\n", "a.txt", TextKind::Plain),
            ("a;b;c\n1;2;3\n4;5;6\n", "a", TextKind::Delimited),
            ("# T", "a.md", TextKind::Markdown),
            ("{\"a\":1}", "a", TextKind::Json),
        ] {
            assert_eq!(detect_text(text, name), expect, "{text}");
        }
    }

    #[test]
    fn extensions() {
        assert_eq!(extension("a/b.C/x.PDF"), "pdf");
        assert_eq!(extension(".DS_Store"), "");
        assert_eq!(extension("ohne"), "");
    }
}
