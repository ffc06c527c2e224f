//! Every XML invoice of the corpus, where it is at hand: totals, VAT numbers and lines against a tree of the whole XML (`roxmltree`), and
//! the verdicts the folders carry in their names.

use std::path::{Path, PathBuf};

use extract::{Invoice, InvoiceReport, Limits, Outcome, read};
use roxmltree::{Document, Node};

fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/invoices");
    if !root.is_dir() {
        println!("skipped: no corpus at {}", root.display());
    }
    root.is_dir().then_some(root)
}

fn files(root: &Path) -> Vec<PathBuf> {
    let (mut pending, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() { pending.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

fn report(bytes: &[u8], name: &str) -> Option<InvoiceReport> {
    match read(bytes, name, &Limits::default()) {
        Ok(Outcome::Text(document)) => document.invoices.into_iter().next(),
        other => panic!("{name}: {other:?}"),
    }
}

/// The texts of the elements whose way from the root ends with these names.
fn texts(root: Node<'_, '_>, end: &[&str]) -> Vec<String> {
    let ends = |node: &Node<'_, '_>| {
        let mut way = node.ancestors().filter(Node::is_element).map(|node| node.tag_name().name());
        end.iter().rev().all(|name| way.next() == Some(*name))
    };
    let text = |node: Node<'_, '_>| node.text().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    root.descendants().filter(|node| node.is_element() && ends(node)).filter_map(text).collect()
}

fn compare(invoice: &Invoice, root: Node<'_, '_>, name: &str) {
    let is_cii = root.tag_name().name() == "CrossIndustryInvoice";
    let totals = &invoice.totals;
    let (sums, ours) = if is_cii {
        (
            "SpecifiedTradeSettlementHeaderMonetarySummation",
            [
                ("LineTotalAmount", &totals.lines),
                ("AllowanceTotalAmount", &totals.allowances),
                ("ChargeTotalAmount", &totals.charges),
                ("TaxBasisTotalAmount", &totals.without_vat),
                ("GrandTotalAmount", &totals.with_vat),
                ("TotalPrepaidAmount", &totals.paid),
                ("RoundingAmount", &totals.rounding),
                ("DuePayableAmount", &totals.due),
            ],
        )
    } else {
        (
            "LegalMonetaryTotal",
            [
                ("LineExtensionAmount", &totals.lines),
                ("AllowanceTotalAmount", &totals.allowances),
                ("ChargeTotalAmount", &totals.charges),
                ("TaxExclusiveAmount", &totals.without_vat),
                ("TaxInclusiveAmount", &totals.with_vat),
                ("PrepaidAmount", &totals.paid),
                ("PayableRoundingAmount", &totals.rounding),
                ("PayableAmount", &totals.due),
            ],
        )
    };
    for (element, value) in ours {
        assert_eq!(value.iter().cloned().collect::<Vec<_>>(), texts(root, &[sums, element]), "{name}: {element}");
    }
    let vat: Vec<String> = totals.vat.iter().chain(&totals.vat_in_accounting_currency).cloned().collect();
    let given = if is_cii { texts(root, &[sums, "TaxTotalAmount"]) } else { texts(root, &["TaxTotal", "TaxAmount"]) };
    assert_eq!(vat.iter().collect::<std::collections::BTreeSet<_>>(), given.iter().collect(), "{name}: VAT");
    let ids = |party: [&str; 2], way: &[&str]| {
        let of_party = root.descendants().filter(|node| party.contains(&node.tag_name().name()));
        of_party.flat_map(|node| texts(node, way)).collect::<Vec<_>>()
    };
    let way: &[&str] = if is_cii { &["SpecifiedTaxRegistration", "ID"] } else { &["PartyTaxScheme", "CompanyID"] };
    for (party, trader) in [
        (["SellerTradeParty", "AccountingSupplierParty"], &invoice.seller),
        (["BuyerTradeParty", "AccountingCustomerParty"], &invoice.buyer),
    ] {
        let mut ours: Vec<String> = trader.vat_id.iter().chain(&trader.tax_id).cloned().collect();
        let mut theirs = ids(party, way);
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{name}: {party:?}");
    }
    let amounts: Vec<String> = invoice.lines.iter().filter_map(|line| line.net_amount.clone()).collect();
    let given = if is_cii {
        texts(root, &["SpecifiedTradeSettlementLineMonetarySummation", "LineTotalAmount"])
    } else {
        [
            texts(root, &["Invoice", "InvoiceLine", "LineExtensionAmount"]),
            texts(root, &["CreditNoteLine", "LineExtensionAmount"]),
        ]
        .concat()
    };
    assert_eq!(amounts, given, "{name}: lines");
}

#[test]
fn every_invoice_says_what_its_xml_says() {
    let Some(root) = corpus() else { return };
    let mut seen = 0;
    for path in files(&root).iter().filter(|path| path.extension().is_some_and(|end| end == "xml")) {
        let bytes = std::fs::read(path).unwrap();
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let Some(report) = report(&bytes, &name) else { continue };
        let text = String::from_utf8(bytes).unwrap();
        let tree = Document::parse(text.trim_start_matches('\u{feff}')).unwrap();
        compare(&report.invoice, tree.root_element(), &name);
        seen += 1;
    }
    println!("{seen} invoices compared");
    assert!(seen > 0, "the corpus has invoices");
}

#[test]
fn what_must_be_faulty_is_and_the_standard_s_own_examples_are_valid() {
    let Some(root) = corpus() else { return };
    let (mut faulty, mut valid) = (0, 0);
    for path in files(&root) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let expect = match () {
            () if name.contains("/fail/") => false,
            () if name.starts_with("xrechnung-testsuite") => true,
            () => continue,
        };
        let report = report(&std::fs::read(&path).unwrap(), &name).expect("an invoice");
        assert_eq!(report.verdict.valid, expect, "{name}: {:?}", report.verdict.findings);
        *if expect { &mut valid } else { &mut faulty } += 1;
    }
    println!("{faulty} faulty, {valid} valid");
}
