use lopdf::{Document as Pdf, Object, Stream, dictionary};

use super::*;
use crate::render::to_markdown;

/// A PDF of pages with these content streams, in Helvetica (`/F1`) and Helvetica-Bold (`/F2`); `rotate` turns them on screen.
fn pdf(contents: &[String], rotate: i64) -> Vec<u8> {
    with_files(contents, rotate, &[])
}

fn with_files(contents: &[String], rotate: i64, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut pdf = Pdf::with_version("1.5");
    let pages = pdf.new_object_id();
    let mut font = |name: &str| {
        pdf.add_object(dictionary! {
            "Type" => "Font", "Subtype" => "Type1", "BaseFont" => name, "Encoding" => "WinAnsiEncoding",
        })
    };
    let fonts = dictionary! { "F1" => font("Helvetica"), "F2" => font("Helvetica-Bold") };
    let mut kids: Vec<Object> = Vec::new();
    for content in contents {
        let content = pdf.add_object(Stream::new(dictionary! {}, content.clone().into_bytes()));
        let page = dictionary! {
            "Type" => "Page", "Parent" => pages, "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
            "Contents" => content, "Resources" => dictionary! { "Font" => fonts.clone() }, "Rotate" => rotate,
        };
        kids.push(pdf.add_object(page).into());
    }
    let count = kids.len() as i64;
    pdf.objects.insert(pages, dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count }.into());
    let mut names: Vec<Object> = Vec::new();
    for (name, bytes) in files {
        let stream = pdf.add_object(Stream::new(dictionary! { "Type" => "EmbeddedFile" }, bytes.to_vec()));
        let file = dictionary! {
            "Type" => "Filespec", "F" => Object::string_literal(*name), "EF" => dictionary! { "F" => stream },
        };
        names.extend([Object::string_literal(*name), pdf.add_object(file).into()]);
    }
    let names = dictionary! { "EmbeddedFiles" => dictionary! { "Names" => names } };
    let catalog = pdf.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages, "Names" => names });
    let info = pdf.add_object(dictionary! {
        "Title" => Object::string_literal("Datenblatt"), "CreationDate" => Object::string_literal("D:20260131120000+01'00'"),
    });
    pdf.trailer.set("Root", catalog);
    pdf.trailer.set("Info", info);
    let mut bytes = Vec::new();
    pdf.save_to(&mut bytes).unwrap();
    bytes
}

fn at(x: f32, y: f32, text: &str) -> String {
    sized(x, y, 10.0, text)
}

fn sized(x: f32, y: f32, size: f32, text: &str) -> String {
    format!("BT /F1 {size} Tf 1 0 0 1 {x} {y} Tm ({text}) Tj ET\n")
}

fn rule(x0: f32, y0: f32, x1: f32, y1: f32) -> String {
    format!("{x0} {y0} m {x1} {y1} l S\n")
}

/// Rules around `columns` × `rows` fields of 80 × 20 points with the upper left corner at (50, 700).
fn grid(columns: usize, rows: usize) -> String {
    let (right, bottom) = (50.0 + columns as f32 * 80.0, 700.0 - rows as f32 * 20.0);
    let across = (0..=rows).map(|row| rule(50.0, 700.0 - row as f32 * 20.0, right, 700.0 - row as f32 * 20.0));
    let down =
        (0..=columns).map(|column| rule(50.0 + column as f32 * 80.0, bottom, 50.0 + column as f32 * 80.0, 700.0));
    across.chain(down).collect()
}

fn cell(column: usize, row: usize, text: &str) -> String {
    at(53.0 + column as f32 * 80.0, 686.0 - row as f32 * 20.0, text)
}

fn document(contents: &[String]) -> Document {
    read(&pdf(contents, 0)).unwrap().unwrap()
}

fn tables(document: &Document) -> Vec<(&[String], &[Vec<String>])> {
    let mut found = Vec::new();
    for block in &document.blocks {
        if let BlockKind::Table { header, rows } = &block.kind {
            found.push((header.as_slice(), rows.as_slice()));
        }
    }
    found
}

#[test]
fn ruled_tables_are_tables_with_their_page() {
    let mut page = grid(3, 3) + &at(50.0, 750.0, "Technische Daten der Reihenklemme.");
    for (row, cells) in
        [["Artikel", "Breite", "Preis"], ["WDU 2.5", "0", "1,096"], ["WDU 4", "6,1", "180.116"]].iter().enumerate()
    {
        page.extend(cells.iter().enumerate().map(|(column, text)| cell(column, row, text)));
    }
    let document = document(&[at(50.0, 700.0, "Erste Seite."), page]);
    let [(header, rows)] = tables(&document)[..] else { panic!("{document:?}") };
    assert_eq!(header, ["Artikel", "Breite", "Preis"]);
    assert_eq!(rows, [["WDU 2.5", "0", "1,096"], ["WDU 4", "6,1", "180.116"]]);
    assert_eq!(document.blocks.last().unwrap().place, Place::page(2));
    assert_eq!(document.blocks[1].text, "Technische Daten der Reihenklemme.");
    assert_eq!(document.title.as_deref(), Some("Datenblatt"));
    assert_eq!(document.metadata["created"], "2026-01-31T12:00:00");
}

#[test]
fn cells_without_a_rule_between_them_are_one() {
    // The rule between the first two fields of the first row is missing, and the sides of the table are open.
    let mut page = String::new();
    for row in 0..=2 {
        page += &rule(50.0, 700.0 - row as f32 * 20.0, 290.0, 700.0 - row as f32 * 20.0);
    }
    page += &(rule(130.0, 660.0, 130.0, 680.0) + &rule(210.0, 660.0, 210.0, 700.0));
    page += &(cell(0, 0, "Abmessungen und Gewicht") + &cell(2, 0, "mm"));
    page += &(cell(0, 1, "5,1") + &cell(1, 1, "60") + &cell(2, 1, "47"));
    let document = document(&[page]);
    let [(header, rows)] = tables(&document)[..] else { panic!("{document:?}") };
    assert_eq!(header, ["Abmessungen und Gewicht", "", "mm"]);
    assert_eq!(rows, [["5,1", "60", "47"]]);
}

#[test]
fn lines_beside_each_other_in_one_ruled_row_are_rows() {
    let mut page = grid(3, 2) + &rule(50.0, 600.0, 290.0, 600.0);
    for column in 0..=3 {
        page += &rule(50.0 + column as f32 * 80.0, 600.0, 50.0 + column as f32 * 80.0, 660.0);
    }
    for (column, name) in ["Land", "Menge", "Summe"].iter().enumerate() {
        page += &cell(column, 0, name);
    }
    for line in 0..4 {
        for column in 0..3 {
            page += &at(53.0 + column as f32 * 80.0, 648.0 - line as f32 * 12.0, &format!("{line}{column}"));
        }
    }
    let document = document(&[page]);
    let [(_, rows)] = tables(&document)[..] else { panic!("{document:?}") };
    assert_eq!(rows.last().unwrap(), &["30", "31", "32"], "{rows:?}");
    assert_eq!(rows.len(), 4, "{rows:?}");
}

#[test]
fn a_wall_cuts_figures_apart_but_no_word() {
    let mut page = grid(3, 2) + &at(100.0, 686.0, "Abmessungen") + &cell(2, 0, "Preis");
    page += &(cell(0, 1, "5") + &at(118.0, 666.0, "10") + &at(130.5, 666.0, "1,096") + &cell(2, 1, "1,20"));
    let document = document(&[page]);
    let BlockKind::Table { header, rows } = &document.blocks[0].kind else { panic!("{document:?}") };
    assert_eq!(header, &["Abmessungen", "", "Preis"]);
    assert_eq!(rows, &[["5 10", "1,096", "1,20"]]);
}

#[test]
fn a_frame_is_no_table() {
    let frame = rule(50.0, 700.0, 500.0, 700.0)
        + &rule(50.0, 600.0, 500.0, 600.0)
        + &rule(50.0, 600.0, 50.0, 700.0)
        + &rule(500.0, 600.0, 500.0, 700.0);
    let document = document(&[frame + &at(60.0, 660.0, "Hinweis: nur von Fachpersonal zu oeffnen.")]);
    assert!(tables(&document).is_empty(), "{document:?}");
    assert_eq!(document.blocks[0].text, "Hinweis: nur von Fachpersonal zu oeffnen.");
}

#[test]
fn a_page_turned_on_screen_reads_the_same() {
    let mut page = grid(3, 2);
    for (row, cells) in [["Artikel", "Breite", "Preis"], ["WDU 2.5", "5,1", "1,20"]].iter().enumerate() {
        page.extend(cells.iter().enumerate().map(|(column, text)| cell(column, row, text)));
    }
    let turned = format!("0 1 -1 0 700 0 cm\n{page}");
    for document in [read(&pdf(&[turned], 90)), read(&pdf(&[page], 0))] {
        let document = document.unwrap().unwrap();
        let [(header, rows)] = tables(&document)[..] else { panic!("{document:?}") };
        assert_eq!(
            (header, rows),
            (
                &["Artikel".to_owned(), "Breite".to_owned(), "Preis".to_owned()][..],
                &[vec!["WDU 2.5".to_owned(), "5,1".to_owned(), "1,20".to_owned()]][..]
            )
        );
    }
}

#[test]
fn rows_in_columns_without_rules_are_a_table() {
    let mut page = String::new();
    for (row, cells) in [
        ["Nennstrom", "24 A", "IEC 60947"],
        ["Nennspannung", "800 V", "IEC 60947"],
        ["Querschnitt", "2,5 mm", "IEC 60999"],
    ]
    .iter()
    .enumerate()
    {
        for (column, text) in cells.iter().enumerate() {
            page += &at(50.0 + column as f32 * 150.0, 700.0 - row as f32 * 14.0, text);
        }
    }
    let document = document(&[page]);
    let [(_, rows)] = tables(&document)[..] else { panic!("{document:?}") };
    assert_eq!(rows[0], ["Nennspannung", "800 V", "IEC 60947"]);
}

#[test]
fn columns_are_read_one_after_the_other_and_hyphens_joined() {
    let left = [
        "Die Klemme wird auf die Trag-",
        "schiene gesetzt und gerastet. Ein-",
        "und Ausgang sind vertauschbar. Die",
        "Montage dauert nur wenige Sekun-",
        "den und braucht kein Werkzeug an der",
        "Schiene.",
    ];
    let right = [
        "Nach EN-",
        "60947 ist die Klemme zugelassen. Sie",
        "darf nur von einer Elektrofachkraft",
        "angeschlossen werden, die dafür in",
        "das Werk eingewiesen wurde und die",
        "Regeln kennt.",
    ];
    let mut page = sized(50.0, 760.0, 18.0, "Montageanleitung der Reihenklemme WDU");
    for (line, text) in left.iter().enumerate() {
        page += &at(50.0, 700.0 - line as f32 * 12.0, text);
    }
    for (line, text) in right.iter().enumerate() {
        page += &at(300.0, 700.0 - line as f32 * 12.0, &text.replace('ü', "\\374"));
    }
    let markdown = to_markdown(&document(&[page]));
    assert!(markdown.starts_with("# Montageanleitung der Reihenklemme WDU\n"), "{markdown}");
    assert!(markdown.contains("auf die Tragschiene gesetzt und gerastet. Ein- und Ausgang"), "{markdown}");
    assert!(markdown.contains("wenige Sekunden und braucht kein Werkzeug an der Schiene."), "{markdown}");
    assert!(markdown.contains("EN-60947 ist") && markdown.contains("die dafür in das Werk"), "{markdown}");
}

#[test]
fn columns_ten_points_apart_are_columns() {
    // As LaTeX sets them: words drawn apart to make both margins even, and the right column two points lower.
    let line = "Die Klemme wird auf die Schiene gesetzt und rastet ein.";
    let right = "Der Deckel wird nach der Montage von Hand geschlossen.";
    let width = |text: &str| {
        let page = read(&pdf(&[at(0.0, 700.0, text)], 0)).unwrap().unwrap();
        assert_eq!(page.blocks.len(), 1);
        let glyphs = PdfDocument::from_bytes(pdf(&[at(0.0, 700.0, text)], 0)).unwrap().extract_chars(0).unwrap();
        glyphs.iter().map(|one| one.origin_x + one.advance_width).fold(0.0, f32::max)
    };
    let x = 50.0 + width(line) + 9.96;
    let mut page = String::new();
    for row in 0..8 {
        let y = 700.0 - row as f32 * 12.0;
        page += &(at(50.0, y, line) + &at(x, y - 2.0, right));
    }
    let markdown = to_markdown(&document(&[page]));
    assert!(markdown.contains(&[line; 8].join(" ")), "{markdown}");
    assert!(markdown.contains(&[right; 8].join(" ")), "{markdown}");
}

#[test]
fn what_is_written_over_other_text_is_read_apart_from_it() {
    let form = at(50.0, 700.0, "Name: ______________________") + &at(85.0, 700.0, "Weidemann");
    let text = document(&[form]).blocks.remove(0).text;
    assert!(text.contains("Weidemann") && text.contains("Name: _") && text.contains("_____"), "{text}");
}

#[test]
fn lists_are_lists() {
    let page = at(50.0, 700.0, "\\225 Klemme") + &at(50.0, 688.0, "\\225 Schiene") + &at(50.0, 664.0, "1. Rasten");
    let got: Vec<_> = document(&[page]).blocks.into_iter().map(|block| (block.kind, block.text)).collect();
    let item = |text: &str| (BlockKind::ListItem, text.to_owned());
    assert_eq!(got, [item("Klemme"), item("Schiene"), item("1. Rasten")]);
}

#[test]
fn pages_without_text_are_named() {
    let document = document(&[at(50.0, 700.0, "Text."), "0 0 100 100 re f".to_owned(), String::new()]);
    assert!(document.warnings[0].starts_with("pages 2, 3 without a text layer"), "{:?}", document.warnings);
    assert!(read(&pdf(&[String::new()], 0)).unwrap().is_none());
}

#[test]
fn attached_files_are_parts() {
    let bytes = with_files(
        &[at(50.0, 700.0, "Siehe Anlage.")],
        0,
        &[("Liste.csv", b"Art;Preis\nWDU;1,20\n"), ("leer.txt", b"")],
    );
    let outcome = crate::read::read(&bytes, "brief.pdf", &crate::format::Limits::default()).unwrap();
    let crate::format::Outcome::Text(document) = outcome else { panic!("{outcome:?}") };
    let last = document.blocks.last().unwrap();
    assert_eq!(last.place.to_string(), "part Liste.csv, row 2", "{document:?}");
    assert_eq!(document.warnings, ["leer.txt: the file is empty (0 bytes)"]);
}

#[test]
fn text_drawn_twice_is_read_once_and_small_figures_stay_in_their_line() {
    let page = at(50.0, 700.0, "Fett")
        + &at(50.3, 700.0, "Fett")
        + &at(50.0, 650.0, "Flaeche 5 m")
        + &sized(104.0, 654.0, 6.0, "2");
    let document = document(&[page]);
    let texts: Vec<&str> = document.blocks.iter().map(|block| block.text.as_str()).collect();
    assert_eq!(texts, ["Fett", "Flaeche 5 m2"]);
}

#[test]
fn lines_join_as_a_reader_joins_them() {
    for (first, second, expect) in [
        ("Reihen-", "klemme", "Reihenklemme"),
        ("Ein-", "und Ausgang", "Ein- und Ausgang"),
        ("EN-", "60947", "EN-60947"),
        ("Weidm\u{fc}ller-", "Klemme", "Weidm\u{fc}ller-Klemme"),
        ("weiter", "unten", "weiter unten"),
        ("a -", "b", "a - b"),
    ] {
        let mut text = first.to_owned();
        line::join(&mut text, second);
        assert_eq!(text, expect);
    }
}
