use super::*;
use crate::render::{plain_text, to_markdown};
use std::io::Write;

fn text(bytes: &[u8], name: &str) -> Document {
    match read(bytes, name, &Limits::default()) {
        Ok(Outcome::Text(document)) => document,
        other => panic!("{name}: no text but {other:?}"),
    }
}

fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn refusals_say_why() {
    let limits = Limits { max_file_bytes: 1000, ..Limits::default() };
    for (bytes, name, expect) in [
        (&b""[..], "leer.pdf", "empty pdf: the file is empty (0 bytes)"),
        (b"  \n \n", "leer.txt", "empty txt: the document holds no text"),
        (b"\x89PNG\r\n\x1a\nxxxx", "scan.pdf", "empty image: a PNG image: text recognition (OCR) is not installed"),
        (&[b'x'; 1001], "gross.txt", "the file is larger than the limit of 1000 bytes"),
        (b"AC1024\0\0\0\0\0\0\0\x01\x02", "plan.dwg", "no reader for this format: DWG drawing"),
    ] {
        let got = match read(bytes, name, &limits) {
            Ok(Outcome::Empty { format, reason }) => format!("empty {format}: {reason}"),
            Ok(Outcome::Text(document)) => format!("text {document:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{name}");
    }
    assert!(matches!(read(b"%PDF-1.4 nichts", "x.pdf", &limits), Err(Error::Unreadable { .. })));
}

#[test]
fn html_keeps_headings_tables_and_umlauts_in_any_encoding() {
    let page = b"<html><head><meta charset=\"iso-8859-1\"><title>Klemmen</title></head><body><h1>\xdcbersicht</h1><p>Gr\xf6\xdfe</p><table><tr><th>Art</th><th>Breite</th><th>Preis</th></tr><tr><td>WDU</td><td>5,1</td><td>1,20</td></tr></table></body></html>";
    let document = text(page, "seite.html");
    assert_eq!(document.title.as_deref(), Some("Klemmen"));
    let markdown = to_markdown(&document);
    assert!(markdown.contains("# Übersicht") && markdown.contains("Größe"), "{markdown}");
    assert!(plain_text(&document).contains("Art: WDU; Breite: 5,1; Preis: 1,20"), "{document:?}");
}

#[test]
fn numbered_lists_keep_their_numbers() {
    let page = b"<html><body><ol><li>eins</li><li>zwei</li></ol><ul><li>drei</li></ul></body></html>";
    assert_eq!(to_markdown(&text(page, "liste.html")), "1. eins\n2. zwei\n- drei\n");
}

#[test]
fn tables_on_slides_are_tables() {
    let cell = |text: &str| format!("<a:tc><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>");
    let row = |cells: [&str; 3]| format!("<a:tr>{}</a:tr>", cells.map(cell).concat());
    let slide = format!(
        "<p:sld xmlns:p='http://schemas.openxmlformats.org/presentationml/2006/main' xmlns:a='http://schemas.openxmlformats.org/drawingml/2006/main'><p:cSld><p:spTree><p:graphicFrame><a:graphic><a:graphicData uri='http://schemas.openxmlformats.org/drawingml/2006/table'><a:tbl>{}{}</a:tbl></a:graphicData></a:graphic></p:graphicFrame></p:spTree></p:cSld></p:sld>",
        row(["Artikel", "Breite", "Preis"]),
        row(["WDU 2.5", "5,1", "1,20"])
    );
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let package = "http://schemas.openxmlformats.org/package/2006";
    let pptx = zip_of(&[
        (
            "[Content_Types].xml",
            format!("<Types xmlns='{package}/content-types'><Default Extension='rels' ContentType='application/vnd.openxmlformats-package.relationships+xml'/><Default Extension='xml' ContentType='application/xml'/><Override PartName='/ppt/presentation.xml' ContentType='application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml'/></Types>").as_bytes(),
        ),
        (
            "_rels/.rels",
            format!("<Relationships xmlns='{package}/relationships'><Relationship Id='r1' Type='{relations}/officeDocument' Target='ppt/presentation.xml'/></Relationships>").as_bytes(),
        ),
        (
            "ppt/presentation.xml",
            format!("<p:presentation xmlns:p='http://schemas.openxmlformats.org/presentationml/2006/main' xmlns:r='{relations}'><p:sldIdLst><p:sldId id='256' r:id='r1'/></p:sldIdLst></p:presentation>").as_bytes(),
        ),
        (
            "ppt/_rels/presentation.xml.rels",
            format!("<Relationships xmlns='{package}/relationships'><Relationship Id='r1' Type='{relations}/slide' Target='slides/slide1.xml'/></Relationships>").as_bytes(),
        ),
        ("ppt/slides/slide1.xml", slide.as_bytes()),
    ]);
    let document = text(&pptx, "folien.pptx");
    assert!(plain_text(&document).contains("Artikel: WDU 2.5; Breite: 5,1; Preis: 1,20"), "{document:?}");
    assert!(document.blocks.iter().all(|block| block.place.slide == Some(1)), "{document:?}");
}

#[test]
fn attachments_are_parts_of_their_mail() {
    let mail = "From: Anna <a@b.de>\r\nTo: c@d.de\r\nSubject: Reklamation =?utf-8?Q?f=C3=BCr?= 4711\r\nDate: Fri, 2 Jan 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGuten Tag\r\n--x\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename=\"liste.csv\"\r\n\r\nArt;Preis\r\nWDU;1,20\r\n--x--\r\n";
    let document = text(mail.as_bytes(), "mail.eml");
    assert_eq!(document.title.as_deref(), Some("Reklamation für 4711"));
    assert!(document.blocks[0].text.contains("From: Anna <a@b.de>"));
    assert!(document.blocks[0].text.contains("Date: Fri, 2 Jan 2026 10:00:00 +0100"), "{document:?}");
    assert_eq!(document.metadata["date"], "2026-01-02T10:00:00+01:00");
    assert_eq!(document.blocks[0].place.to_string(), "part body");
    let row = document.blocks.last().unwrap();
    assert_eq!(row.place.to_string(), "part liste.csv, row 2", "{document:?}");
    assert!(plain_text(&document).contains("Art: WDU; Preis: 1,20"));
}

#[test]
fn archives_are_read_and_bounded() {
    let inner = zip_of(&[("b.txt", b"innen"), ("../../ausbruch.txt", b"harmlos")]);
    let document = text(&zip_of(&[("a.txt", "außen".as_bytes()), ("in.zip", &inner)]), "x.zip");
    let places: Vec<_> = document
        .blocks
        .iter()
        .filter(|b| b.kind == BlockKind::Paragraph)
        .map(|b| b.place.part.clone().unwrap())
        .collect();
    assert_eq!(places, ["a.txt", "in.zip/b.txt", "in.zip/ausbruch.txt"]);

    let mut nest = b"tief".to_vec();
    for _ in 0..20 {
        nest = zip_of(&[("n.zip", &nest)]);
    }
    match read(&nest, "n.zip", &Limits::default()) {
        Ok(Outcome::Empty { reason, .. }) => assert!(reason.contains("8 levels"), "{reason}"),
        other => panic!("{other:?}"),
    }

    let bomb = zip_of(&[("null.txt", &vec![b'0'; 20 << 20])]);
    assert!(matches!(read(&bomb, "bombe.zip", &Limits::default()), Err(Error::TooLarge { .. })));
}

#[test]
fn text_beyond_the_limit_is_left_out_and_said_so() {
    let limits = Limits { max_text_bytes: 100, ..Limits::default() };
    let Ok(Outcome::Text(document)) = read("wort ".repeat(100).as_bytes(), "a.txt", &limits) else { panic!("no text") };
    assert!(plain_text(&document).len() <= 100);
    assert_eq!(document.warnings.len(), 1);
}

#[test]
fn invisible_characters_do_not_break_words() {
    let document = text("Reihen\u{ad}klemme u\u{308}ber\u{0}all".as_bytes(), "a.txt");
    assert_eq!(document.blocks[0].text, "Reihenklemme überall");
}

#[test]
fn the_same_bytes_give_the_same_result() {
    let bytes = b"a;b;c\n1;2;3\n4;5;6\n";
    assert_eq!(read(bytes, "x.csv", &Limits::default()), read(bytes, "x.csv", &Limits::default()));
}
