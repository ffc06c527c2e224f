//! What people write, and what it means.

use super::*;

fn nature(path: &str) -> issue::Nature {
    issue::Nature::of(&About { path, title: None, format: "txt" }, "")
}

/// Kinds and keys of one line.
fn check(line: &str, expect: &[&str]) {
    let found: Vec<_> =
        recognise(line, &nature("a.txt")).iter().map(|one| format!("{} {}", one.kind.as_str(), one.key)).collect();
    assert_eq!(found, expect, "{line}");
}

#[test]
fn spellings_of_one_type_meet() {
    for spelling in ["WDU 2.5", "WDU2,5", "WDU-2.5", "WDU 2,5"] {
        check(&format!("Die Klemme {spelling} ist grau."), &["product wdu2.5"]);
        assert_eq!(key_of(EntityKind::Product, spelling), "wdu2.5");
    }
    assert_eq!(key_of(EntityKind::Product, "wdu-2.5"), "wdu2.5");
    check("Baugruppe 6ES7 131-6BF01-0BA0", &["product 6es71316bf010ba0"]);
    check("Baugruppe 6ES7131-6BF01-0BA0", &["product 6es71316bf010ba0"]);
    check("KX 2,5, KX 4 und KX-Ex 10", &["product kx2.5", "product kx4", "product kxex10"]);
    check(
        "Schutzleiterklemme KX 4 PE, KV M20-EMC; UR20-16DI-P",
        &["product kx4pe", "product kvm20emc", "product ur2016dip"],
    );
    check("KX 4 A 24 V", &["product kx4"]);
}

#[test]
fn numbers_that_are_no_products_stay_numbers() {
    for line in [
        "RAL 7035, IP 67, EUR 500, DE 99741230, Tel. 0711 4711",
        "Lieferschein LS-2026-20418 vom 21.04.2026, Rechnung RE-2026-10397",
        "Bei 60 °C sind es 46 A und 24 V DC, PA 66, AWG 26",
        "Artikel 5 des Gesetzes, Seite 12345",
        "GMBH 12345678901234567890",
    ] {
        check(line, &[]);
    }
}

#[test]
fn article_numbers_have_a_label_or_stand_behind_their_type() {
    check("Artikelnummer: 7101025; Bezeichnung: Durchgangsklemme KX 2,5", &["product 7101025", "product kx2.5"]);
    check("Merkmal: Artikelnummer; Wert: 7101100", &["product 7101100"]);
    check("Netzteil PSN 120 (Artikel 7301120)", &["product psn120", "product 7301120"]);
    check("die Abschlussplatte AP-KX 10 (7109100)", &["product apkx10", "product 7109100"]);
    check("Article number 7201024. One contact", &["product 7201024"]);
    check("Best.-Nr. A9F74206 lieferbar", &["product a9f74206"]);
}

#[test]
fn a_gtin_has_a_right_check_digit() {
    check("EAN: 4006381333931", &["product gtin04006381333931"]);
    check("GTIN 04006381333931", &["product gtin04006381333931"]);
    check("EAN: 4006381333932", &[]);
    check("Merkmal: EAN; Wert: 96385074", &["product gtin00000096385074"]);
}

#[test]
fn standards_meet_across_publishers_and_editions() {
    for line in ["nach DIN EN 60947-7-1", "EN 60947-7-1:2009", "(EN60947-7-1)", "BS EN 60947-7-1"] {
        check(line, &["standard en60947-7-1"]);
    }
    check("DIN EN ISO 9227 und EN IEC 63000:2018", &["standard iso9227", "standard iec63000"]);
    check("comply with UL 1059 and CSA C22.2 No. 158.", &["standard ul1059", "standard csac222no158"]);
    check(
        "RoHS (2011/65/EU), REACH, 2014/35/EU",
        &["standard rohs", "standard rohs", "standard reach", "standard lvd"],
    );
    check("Der DIN-Schiene fehlt eine Nummer; in EN 2026", &[]);
    let edition = recognise("EN 60947-7-1:2009", &nature("a"));
    assert_eq!(edition[0].attributes["edition"], "2009");
}

#[test]
fn certificates_have_numbers() {
    check("PIN 23 ATEX 2207 U", &["certificate pin23atex2207u"]);
    check("IECEx PIN 23.0091U", &["certificate iecexpin230091u"]);
    check("Certificate number: E-0711481-20240917", &["certificate e071148120240917"]);
    check(
        "Zertifikat: cULus; Nummer: E-0711481-20240917; Produkt: KX 4",
        &["certificate e071148120240917", "product kx4"],
    );
    check("UL File E123456", &["certificate e123456"]);
    check("VDE-Ausweis-Nr. 40012345", &["certificate 40012345"]);
    check("Das Zertifikat 2026 wird erneuert", &[]);
    let own = recognise("Nr. KK-DoC-2025-118", &nature("EU-Konformitätserklärung.pdf"));
    assert_eq!(own[0].key, "kkdoc2025118");
}

#[test]
fn dates_are_read_in_both_languages() {
    for (text, expect) in [
        ("21.04.2026", Some("2026-04-21")),
        ("2026-04-21", Some("2026-04-21")),
        ("21. April 2026", Some("2026-04-21")),
        ("5 Oktober 2023", Some("2023-10-05")),
        ("September 16, 2029", Some("2029-09-16")),
        ("1.2.26", Some("2026-02-01")),
        ("31.02.2026", None),
        ("29.02.2024", Some("2024-02-29")),
        ("10.0.0", None),
    ] {
        let words = words::words(text);
        let texts: Vec<_> = words.iter().map(|word| word.text).collect();
        assert_eq!(date::parse(&texts).as_deref(), expect, "{text}");
    }
}

#[test]
fn companies_have_a_legal_form_and_a_side() {
    check("Hersteller: Kessler Klemmtechnik GmbH, Stuttgart", &["manufacturer kessler klemmtechnik"]);
    check("Kunde: Elektro Maurer & Töchter OHG", &["customer elektro maurer töchter"]);
    check("Customer: Beta Holding GmbH & Co. KG, Ulm", &["customer beta holding"]);
    check("Die Lampe der Muster AG brennt", &[]);
    assert_eq!(key_of(EntityKind::Customer, "Northmere Switchgear Ltd"), "northmere switchgear");
}

#[test]
fn complaints_are_known_by_number_or_by_their_document() {
    check("8D-Bericht R-2026-007", &["issue r2026007"]);
    check("Reklamation Nr. 4711: Klemmen", &["issue 4711"]);
    check("Bitte RMA-20418 angeben", &["issue rma20418"]);
    check("37 Reklamationen sind 2026 eingegangen", &[]);
    let about =
        About { path: "Reklamationen/lose Schrauben.eml", title: Some("Order 88213: loose screws"), format: "eml" };
    let known = knowledge(&about, &["1,500 pieces of KX 4 orange (7101042)\nNorthmere Switchgear Ltd, Sunderland"]);
    assert_eq!(
        said(&known),
        [
            "7101042 has_type KX 4",
            "Order 88213: loose screws concerns KX 4",
            "Order 88213: loose screws concerns 7101042",
            "Order 88213: loose screws reported_by Northmere Switchgear Ltd",
        ]
    );
}

fn said(known: &Knowledge) -> Vec<String> {
    let name = |index: usize| known.entities[index].name.as_str();
    known.relations.iter().map(|one| format!("{} {} {}", name(one.from), one.kind.as_str(), name(one.to))).collect()
}

#[test]
fn a_certificate_covers_its_products_until_it_ends() {
    let about = About { path: "Zertifikate/cULus.pdf", title: Some("Certificate of Compliance"), format: "pdf" };
    let text = "Field: Certificate number; Value: E-0711481-20240917\nField: Applicant; Value: Kessler Klemmtechnik GmbH\n\
                Field: Issue date; Value: 17 September 2024\nField: Valid until; Value: 16 September 2029";
    let known = knowledge(&about, &[text, "KX 2.5 and KX 4 comply with UL 1059"]);
    let certificate = known.entities.iter().find(|one| one.kind == EntityKind::Certificate).unwrap();
    assert_eq!((&*certificate.attributes["issued"], &*certificate.attributes["expires"]), ("2024-09-17", "2029-09-16"));
    let said = said(&known);
    for expect in [
        "KX 4 certified_by E-0711481-20240917",
        "E-0711481-20240917 conforms_to UL 1059",
        "E-0711481-20240917 issued_to Kessler Klemmtechnik GmbH",
        "KX 4 conforms_to UL 1059",
        "KX 2.5 made_by Kessler Klemmtechnik GmbH",
    ] {
        assert!(said.iter().any(|one| one == expect), "{expect} is missing: {said:#?}");
    }
}

#[test]
fn a_sheet_joins_the_numbers_of_its_product() {
    let about = About { path: "Datenblätter/KX-10.md", title: Some("Durchgangsklemme KX 10"), format: "md" };
    let text = "Durchgangsklemme KX 10\nMerkmal: Artikelnummer; Wert: 7101100\nMerkmal: EAN; Wert: 4006381333931\n\
                Zubehör: Abschlussplatte AP-KX 10 (7109100)";
    let said = said(&knowledge(&about, &[text]));
    assert_eq!(said, ["7109100 has_type AP-KX 10", "7101100 has_type KX 10", "7101100 has_gtin 4006381333931"]);
}

#[test]
fn whatever_comes_in_comes_out_soon() {
    let about = About { path: "ü/\u{0}.bin", title: None, format: "txt" };
    let long = "EN 60947-2 ".repeat(200_000);
    let many: String = (0..20_000).map(|number| format!("Artikelnummer: {}\n", 1_000_000 + number)).collect();
    for text in [
        long.as_str(),
        many.as_str(),
        "",
        "EN",
        "EN ",
        "(((((",
        "8D",
        "E",
        "E1",
        "6ES7",
        "é6ES7 ÄÖ-Ü 1",
        "AG",
        "& Co. KG",
        "„“‚‘",
        "2,5",
        "-",
        "KX-",
        "KX-é 4",
    ] {
        let known = knowledge(&about, &[text]);
        assert!(known.entities.len() <= MAX_ENTITIES && known.relations.len() <= MAX_RELATIONS);
    }
}
