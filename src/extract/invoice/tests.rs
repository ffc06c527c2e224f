use lopdf::{Dictionary, Document as Pdf, Object, Stream, dictionary};

use super::*;
use crate::render::plain_text;
use crate::{Limits, Outcome};

const UBL: &str = include_str!("fixtures/ubl-invoice.xml");
const CII_XML: &str = include_str!("fixtures/cii-factur-x.xml");

fn rules(text: &str) -> Vec<String> {
    let report = read_invoice(text).unwrap();
    let mut rules: Vec<String> = report.verdict.findings.into_iter().map(|finding| finding.rule).collect();
    rules.sort();
    rules.dedup();
    assert_eq!(report.verdict.valid, rules.is_empty());
    rules
}

fn document(bytes: &[u8], name: &str) -> Document {
    match crate::read(bytes, name, &Limits::default()) {
        Ok(Outcome::Text(document)) => document,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_xrechnung_in_ubl_is_read_and_valid() {
    assert_eq!(rules(UBL), Vec::<String>::new());
    let invoice = read_invoice(UBL).unwrap().invoice;
    assert_eq!((invoice.syntax, invoice.profile), (Syntax::UblInvoice, Profile::Xrechnung));
    assert_eq!(invoice.header.number.as_deref(), Some("R-2026/17"));
    assert_eq!(invoice.seller.vat_id.as_deref(), Some("DE123456789"));
    assert_eq!(invoice.buyer.vat_id, None);
    let totals = &invoice.totals;
    assert_eq!((totals.with_vat.as_deref(), totals.paid.as_deref()), (Some("276.68"), Some("76.68")));
    let line = &invoice.lines[1];
    assert_eq!(line.net_price.as_deref(), Some("27.1400"), "nothing is rounded");
    assert_eq!(line.xpath, "/Invoice/InvoiceLine[2]");
    assert_eq!(invoice.payment_terms[0].text.as_deref(), Some("30 Tage netto"));
}

#[test]
fn a_credit_note_in_cii_is_read_and_valid() {
    assert_eq!(rules(CII_XML), Vec::<String>::new());
    let invoice = read_invoice(CII_XML).unwrap().invoice;
    assert_eq!((invoice.syntax, invoice.profile), (Syntax::Cii, Profile::En16931));
    assert_eq!(invoice.header.issue_date.as_deref(), Some("2026-03-04"));
    assert_eq!(invoice.buyer.vat_id.as_deref(), Some("FR12345678901"));
    assert_eq!(invoice.vat[0].exemption_reason.as_deref(), Some("Innergemeinschaftliche Lieferung"));
    assert_eq!(invoice.delivery.date.as_deref(), Some("2026-03-02"));
}

/// One change to a valid invoice each, and all the rules that breaks.
#[test]
fn every_fault_has_its_rule() {
    let mut found = Vec::new();
    let vat_id = "<cbc:CompanyID>DE123456789</cbc:CompanyID>";
    for (from, to, expect) in [
        (">245.24<", ">245.25<", &["BR-CO-10", "BR-CO-13"][..]),
        (">10.00</cbc:Amount>", ">11.00</cbc:Amount>", &["BR-CO-11", "BR-S-08"]),
        (">41.44<", ">41.45<", &["BR-CO-14", "BR-CO-15"]),
        (">276.68<", ">276.69<", &["BR-CO-15", "BR-CO-16"]),
        (">200.00<", ">200.01<", &["BR-CO-16"]),
        (">39.54<", ">49.54<", &["BR-CO-14", "BR-CO-17"]),
        (">208.10<", ">210.10<", &["BR-S-08"]),
        (vat_id, "", &["BR-CO-26", "BR-S-02", "BR-S-03"]),
        (vat_id, "<cbc:CompanyID>123456789</cbc:CompanyID>", &["BR-CO-09"]),
        ("<cbc:ID>R-2026/17</cbc:ID>", "<cbc:ID/>", &["BR-02"]),
        ("<cbc:IssueDate>2026-03-04</cbc:IssueDate>", "<cbc:IssueDate>4.3.2026</cbc:IssueDate>", &["XSD"]),
        (">EUR<", ">EURO<", &["BR-CL-04", "BR-CO-15"]),
        ("schemeID=\"0160\"", "", &["BR-64"]),
        ("<cbc:Name>Handbuch</cbc:Name>", "", &["BR-25"]),
        (">27.1400<", ">-27.14<", &["BR-27", "PEPPOL-EN16931-R120"]),
        (">300<", ">3000<", &["PEPPOL-EN16931-R120"]),
        ("<cbc:ID>DE75512108001245126199</cbc:ID>", "", &["BR-61"]),
        ("<cbc:AllowanceChargeReason>Treuerabatt</cbc:AllowanceChargeReason>", "", &["BR-33", "BR-CO-21"]),
        (">76.68<", ">76.680<", &["BR-DEC-16"]),
    ] {
        found.push((from, rules(&UBL.replacen(from, to, 1)), expect));
    }
    for (from, to, expect) in [
        ("<ram:ID schemeID=\"VA\">FR12345678901</ram:ID>", "<ram:ID schemeID=\"FC\">1</ram:ID>", &["BR-IC-02"][..]),
        ("<ram:ExemptionReason>Innergemeinschaftliche Lieferung</ram:ExemptionReason>", "", &["BR-IC-10"]),
        (">0.00</ram:CalculatedAmount>", ">0.10</ram:CalculatedAmount>", &["BR-CO-14", "BR-IC-09"]),
        ("<ram:TypeCode>381</ram:TypeCode>", "<ram:TypeCode>Gutschrift</ram:TypeCode>", &["BR-CL-01"]),
        ("<ram:Name>Bornes SARL</ram:Name>", "", &["BR-07"]),
        ("<ram:CityName>Ulm</ram:CityName>", "<ram:Ort>Ulm</ram:Ort>", &["XSD"]),
        ("<udt:DateTimeString format=\"102\">20260302</udt:DateTimeString>", "", &["BR-IC-11", "XSD"]),
    ] {
        found.push((from, rules(&CII_XML.replacen(from, to, 1)), expect));
    }
    found.retain(|(_, rules, expect)| rules != expect);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_profile_without_lines_needs_none() {
    let (start, end) = ("<ram:IncludedSupplyChainTradeLineItem>", "</ram:IncludedSupplyChainTradeLineItem>");
    let from = CII_XML.find(start).unwrap();
    let to = CII_XML.find(end).unwrap() + end.len();
    let without = format!("{}{}", &CII_XML[..from], &CII_XML[to..]);
    assert_eq!(rules(&without), ["BR-16", "BR-CO-10", "XSD"]);
    let basic_wl = without.replace("urn:cen.eu:en16931:2017", "urn:factur-x.eu:1p0:basicwl");
    assert_eq!(rules(&basic_wl), Vec::<String>::new());
    let unknown = without.replace("urn:cen.eu:en16931:2017", "urn:factur-x.eu:2p0:basicwl");
    assert_eq!(rules(&unknown), ["FX-PROFILE"]);
    let currency = basic_wl.replace("<ram:GrandTotalAmount>", "<ram:GrandTotalAmount currencyID=\"EUR\">");
    assert_eq!(rules(&currency), ["FX-UNUSED"]);
}

/// The work is linear in the lines: twenty thousand take no longer than they should.
#[test]
fn many_lines_are_no_danger() {
    let end = "</cac:InvoiceLine>";
    let from = UBL.find("<cac:InvoiceLine>").unwrap();
    let line = &UBL[from..UBL.find(end).unwrap() + end.len()];
    let text = UBL.replacen(line, &line.repeat(20_000), 1);
    let report = read_invoice(&text).unwrap();
    assert_eq!(report.invoice.lines.len(), 20_001);
    assert_eq!(report.invoice.lines[19_999].xpath, "/Invoice/InvoiceLine[20000]");
    assert!(report.verdict.findings.iter().any(|finding| finding.rule == "BR-CO-10"));
}

#[test]
fn a_document_of_it_can_be_searched() {
    let document = document(UBL.as_bytes(), "r.xml");
    assert_eq!(document.format, "invoice");
    assert_eq!(document.title.as_deref(), Some("Invoice R-2026/17 – Muster Klemmen GmbH – 2026-03-04"));
    let text = plain_text(&document);
    for expect in [
        "VAT number: DE123456789",
        "Item: Durchgangsklemme MK 2.5; Article: MK 2.5; Quantity: 300; Unit: C62; Price: 72.70; Per: 100; Amount: 218.10",
        "Total: Amount due; Amount: 200.00; Currency: EUR",
        "Valid by EN 16931",
    ] {
        assert!(text.contains(expect), "{expect} in {text}");
    }
    assert_eq!(document.metadata["amount_due"], "200.00");
}

#[test]
fn damaged_and_hostile_xml_is_not_valid_and_still_text() {
    let cut = &UBL[..UBL.len() - 500];
    let document = document(cut.as_bytes(), "r.xml");
    let report = &document.invoices[0];
    assert!(!report.verdict.valid && report.verdict.findings[0].rule == "XML");
    assert!(plain_text(&document).contains("Muster Klemmen GmbH"));
    let bomb = UBL
        .replacen("<ubl:Invoice", "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><ubl:Invoice", 1)
        .replace("30 Tage netto", "&b;");
    let report = self::document(bomb.as_bytes(), "r.xml").invoices.remove(0);
    assert!(report.verdict.findings[0].message.contains("`b` is not defined"), "{report:?}");
    let wrong = UBL.replacen("UTF-8", "UTF-8-W/O-BOM", 1);
    let report = self::document(wrong.as_bytes(), "r.xml").invoices.remove(0);
    assert!(!report.verdict.data_valid && report.invoice.header.number.is_some());
}

#[test]
fn an_invoice_in_a_mail_or_an_archive_is_kept_with_its_way() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("2026/a.xml", UBL), ("2026/b.xml", CII_XML)] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut archive, text.as_bytes()).unwrap();
    }
    let document = document(&archive.finish().unwrap().into_inner(), "rechnungen.zip");
    let parts: Vec<_> = document.invoices.iter().map(|report| (report.part.as_deref(), report.verdict.valid)).collect();
    assert_eq!(parts, [(Some("2026/a.xml"), true), (Some("2026/b.xml"), true)]);
    assert!(document.blocks.iter().any(|block| block.place.to_string() == "part 2026/b.xml, /CrossIndustryInvoice"));
}

/// A PDF with one page and one attachment.
fn pdf_with(name: &str, xml: &str, intent: bool) -> Vec<u8> {
    let mut pdf = Pdf::with_version("1.7");
    let pages = pdf.new_object_id();
    let font = pdf.add_object(dictionary! {"Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica"});
    let content = Stream::new(Dictionary::new(), b"BT /F1 12 Tf 72 700 Td (Rechnung auf Papier) Tj ET".to_vec());
    let content = pdf.add_object(content);
    let page = pdf.add_object(dictionary! {
        "Type" => "Page", "Parent" => pages, "Contents" => content,
        "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
        "Resources" => dictionary! {"Font" => dictionary! {"F1" => font}},
    });
    pdf.objects
        .insert(pages, Object::Dictionary(dictionary! {"Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1}));
    let mut file =
        Stream::new(dictionary! {"Type" => "EmbeddedFile", "Subtype" => "text/xml"}, xml.as_bytes().to_vec());
    file.compress().unwrap();
    let file = pdf.add_object(file);
    let specification = pdf.add_object(dictionary! {
        "Type" => "Filespec", "F" => Object::string_literal(name), "UF" => Object::string_literal(name),
        "EF" => dictionary! {"F" => file},
    });
    let metadata =
        b"<x:xmpmeta><pdfaid:part>3</pdfaid:part><fx:ConformanceLevel>EN 16931</fx:ConformanceLevel></x:xmpmeta>";
    let metadata =
        pdf.add_object(Stream::new(dictionary! {"Type" => "Metadata", "Subtype" => "XML"}, metadata.to_vec()));
    let mut catalog = dictionary! {
        "Type" => "Catalog", "Pages" => pages, "Metadata" => metadata,
        "Names" => dictionary! {"EmbeddedFiles" => dictionary! {
            "Names" => vec![Object::string_literal(name), specification.into()],
        }},
    };
    if intent {
        catalog.set("OutputIntents", vec![Object::Dictionary(dictionary! {"S" => "GTS_PDFA1"})]);
    }
    let catalog = pdf.add_object(catalog);
    pdf.trailer.set("Root", catalog);
    let mut bytes = Vec::new();
    pdf.save_to(&mut bytes).unwrap();
    bytes
}

#[test]
fn the_invoice_in_a_pdf_is_found_and_the_pages_follow() {
    let document = document(&pdf_with("factur-x.xml", CII_XML, true), "rechnung.pdf");
    let report = &document.invoices[0];
    assert!(report.verdict.valid, "{:?}", report.verdict);
    assert_eq!(document.blocks[0].place.to_string(), "part factur-x.xml, /CrossIndustryInvoice");
    let page = document.blocks.last().unwrap();
    assert_eq!((page.text.as_str(), page.place.page), ("Rechnung auf Papier", Some(1)), "{:?}", document.blocks);
    let without = self::document(&pdf_with("factur-x.xml", CII_XML, false), "rechnung.pdf");
    let verdict = &without.invoices[0].verdict;
    assert_eq!((verdict.valid, verdict.data_valid, verdict.findings[0].layer), (false, true, Layer::Container));
    let other = self::document(&pdf_with("daten.xml", "<a>b</a>", true), "rechnung.pdf");
    assert_eq!((other.format.as_str(), other.invoices.len()), ("pdf", 0));
}
