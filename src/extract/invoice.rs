//! Electronic invoices by EN 16931: UBL 2.1, UN/CEFACT CII (XRechnung, ZUGFeRD 2, Factur-X), ZUGFeRD 1.0, and the XML of each inside a
//! PDF/A-3. Read into one model, every number as it is written, and judged by the rules of the standard.
//!
//! It refuses to judge what the standard leaves to others: whether a VAT number exists, or a tax is due.

mod blocks;
mod cii;
mod codes;
mod decimal;
mod format;
mod pdf;
mod rules;
mod structure;
mod tree;
mod ubl;

pub use format::{
    Address, AllowanceCharge, Attribute, Delivery, DocumentReference, Finding, Identifier, Invoice, InvoiceHeader,
    InvoiceLine, InvoiceReport, Layer, PaymentMeans, PaymentTerms, Period, Profile, Syntax, Totals, Trader,
    VatBreakdown, Verdict,
};
pub(crate) use pdf::{Embedded, attachments, embedded};

use crate::encoding;
use crate::error::Error;
use crate::format::Document;
use tree::Tree;

const UBL_INVOICE: &str = "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2";
const UBL_CREDIT_NOTE: &str = "urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2";
const CII: &str = "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:";
const ZUGFERD_1: &str = "urn:ferd:CrossIndustryDocument:invoice:";
const ZUGFERD_RC: &str = "urn:un:unece:uncefact:data:standard:CBFBUY:";

/// Tells by the root element of XML whether it is an invoice; its beginning is enough.
pub(crate) fn sniff(text: &str) -> Option<Syntax> {
    let (name, namespace) = crate::xml::root_with_namespace(text)?;
    match name.as_str() {
        "Invoice" if namespace == UBL_INVOICE => Some(Syntax::UblInvoice),
        "CreditNote" if namespace == UBL_CREDIT_NOTE => Some(Syntax::UblCreditNote),
        "CrossIndustryInvoice" if namespace.starts_with(CII) => Some(Syntax::Cii),
        "CrossIndustryDocument" if namespace.starts_with(ZUGFERD_1) => Some(Syntax::Zugferd1),
        "Invoice" if namespace.starts_with(ZUGFERD_RC) => Some(Syntax::Zugferd1),
        _ => None,
    }
}

/// Reads and judges the XML of an invoice.
///
/// # Errors
///
/// [`Error::Unreadable`] when the XML is not well formed or not an invoice.
pub fn read_invoice(text: &str) -> Result<InvoiceReport, Error> {
    judge(text, false).map(|(report, _)| report)
}

/// The report, and the name of the root element.
fn judge(text: &str, embedded: bool) -> Result<(InvoiceReport, String), Error> {
    let syntax = sniff(text).ok_or_else(|| Error::unreadable("its root element is not that of an invoice"))?;
    let tree = Tree::parse(text)?;
    let root = tree.root();
    let mut invoice = match syntax {
        Syntax::UblInvoice | Syntax::UblCreditNote => ubl::read(root),
        Syntax::Cii | Syntax::Zugferd1 => cii::read(root),
    };
    invoice.profile = profile(invoice.header.specification.as_deref().unwrap_or_default());
    let mut layers = vec![Layer::Xml];
    let mut findings = match syntax {
        Syntax::Cii => structure::check(root, invoice.profile),
        Syntax::UblInvoice | Syntax::UblCreditNote => structure::check_ubl(root),
        Syntax::Zugferd1 => Vec::new(),
    };
    if syntax != Syntax::Zugferd1 {
        layers.push(Layer::Structure);
    }
    layers.push(Layer::Rules);
    findings.extend(rules::check(&invoice, root, embedded));
    let verdict = Verdict { valid: findings.is_empty(), data_valid: findings.is_empty(), layers, findings };
    Ok((InvoiceReport { part: None, invoice, verdict }, root.name().to_owned()))
}

fn profile(specification: &str) -> Profile {
    let lower = specification.to_lowercase();
    let last = lower.rsplit([':', '#']).next().unwrap_or_default();
    match last {
        "minimum" => Profile::Minimum,
        "basicwl" => Profile::BasicWl,
        "basic" => Profile::Basic,
        "extended" => Profile::Extended,
        _ if lower.contains("xrechnung") && (lower.contains("#conformant#") || lower.contains(":cvd")) => {
            Profile::XrechnungExtension
        }
        _ if lower.contains("xrechnung") => Profile::Xrechnung,
        _ if lower.contains("peppol") => Profile::Peppol,
        _ => Profile::En16931,
    }
}

/// Reads the XML of an invoice as a document. `None` when it is so damaged that only its words can be had.
pub(crate) fn read(text: &str, bytes: &[u8]) -> Option<Document> {
    let unknown = unknown_encoding(bytes);
    let (mut report, root) = judge(text, false).ok()?;
    if let Some(message) = unknown {
        report.verdict.add(Finding { rule: "XML".to_owned(), layer: Layer::Xml, message, xpath: None });
    }
    Some(document(report, &root, None))
}

/// A verdict on XML that cannot be read as an invoice.
pub(crate) fn unreadable(text: &str) -> InvoiceReport {
    let message = judge(text, false).err().map_or_else(String::new, |error| error.to_string());
    let mut report = InvoiceReport::default();
    report.verdict.layers.push(Layer::Xml);
    report.verdict.add(Finding { rule: "XML".to_owned(), layer: Layer::Xml, message, xpath: None });
    report
}

/// Reads the invoice attached to a PDF as a document; its places name the attachment.
pub(crate) fn read_embedded(embedded: &Embedded) -> Document {
    let declared = crate::read::declared_encoding(&embedded.xml);
    let decoded = encoding::decode(&embedded.xml, declared.as_deref());
    let (mut report, root) = match judge(&decoded.text, true) {
        Ok(read) => read,
        Err(_) => (unreadable(&decoded.text), String::new()),
    };
    if let Some(message) = unknown_encoding(&embedded.xml) {
        report.verdict.add(Finding { rule: "XML".to_owned(), layer: Layer::Xml, message, xpath: None });
    }
    report.verdict.layers.insert(0, Layer::Container);
    for message in &embedded.faults {
        report.verdict.add(Finding {
            rule: "PDF".to_owned(),
            layer: Layer::Container,
            message: message.clone(),
            xpath: None,
        });
    }
    document(report, &root, Some(&embedded.name))
}

impl Verdict {
    fn add(&mut self, finding: Finding) {
        self.valid = false;
        self.data_valid &= finding.layer == Layer::Container;
        self.findings.push(finding);
    }
}

fn unknown_encoding(bytes: &[u8]) -> Option<String> {
    let label = crate::read::declared_encoding(bytes)?;
    let is_known = encoding_rs::Encoding::for_label(label.as_bytes()).is_some();
    (!is_known).then(|| format!("the encoding it declares (`{label}…`) does not exist"))
}

fn document(mut report: InvoiceReport, root: &str, part: Option<&str>) -> Document {
    let mut document = Document { format: "invoice".to_owned(), ..Document::default() };
    if !root.is_empty() {
        document.blocks = blocks::blocks(&report, root, part);
        document.title = document.blocks.first().map(|block| block.text.clone());
    }
    let header = &report.invoice.header;
    let valid = report.verdict.valid.to_string();
    for (key, value) in [
        ("invoice_number", header.number.as_deref()),
        ("invoice_date", header.issue_date.as_deref()),
        ("currency", header.currency.as_deref()),
        ("amount_due", report.invoice.totals.due.as_deref()),
        ("seller_vat_id", report.invoice.seller.vat_id.as_deref()),
        ("buyer_vat_id", report.invoice.buyer.vat_id.as_deref()),
        ("specification", header.specification.as_deref()),
        ("valid", Some(valid.as_str())),
    ] {
        if let Some(value) = value {
            document.metadata.insert(key.to_owned(), value.to_owned());
        }
    }
    report.part = part.map(str::to_owned);
    document.invoices.push(report);
    document
}

#[cfg(test)]
mod tests;
