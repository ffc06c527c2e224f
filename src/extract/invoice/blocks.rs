//! An invoice as blocks of text, for search.

use base::Place;

use super::format::{Address, Invoice, InvoiceReport, Layer, Syntax, Trader};
use crate::format::{Block, BlockKind};
use crate::table::one_line;

/// An invoice as blocks: who owes whom how much and until when, its lines, its VAT, its totals, and whether it is valid. The XPath of
/// a block is its element; `part` is the name of the XML in a PDF.
pub(crate) fn blocks(report: &InvoiceReport, root: &str, part: Option<&str>) -> Vec<Block> {
    let invoice = &report.invoice;
    let place = |xpath: &str| Place { part: part.map(str::to_owned), ..Place::xpath(xpath) };
    let whole = place(&format!("/{root}"));
    let mut blocks = vec![
        Block::new(BlockKind::Heading(1), title(invoice), whole.clone()),
        Block::new(BlockKind::Paragraph, head(invoice), whole.clone()),
        Block::new(BlockKind::Paragraph, trader("Seller", &invoice.seller), whole.clone()),
        Block::new(BlockKind::Paragraph, trader("Buyer", &invoice.buyer), whole.clone()),
    ];
    let others = [("Payee", &invoice.payee), ("Tax representative", &invoice.tax_representative)];
    for (role, party) in others.into_iter().filter_map(|(role, party)| Some((role, party.as_ref()?))) {
        blocks.push(Block::new(BlockKind::Paragraph, trader(role, party), whole.clone()));
    }
    let notes = invoice.header.notes.iter().map(|note| Block::new(BlockKind::Paragraph, note.clone(), whole.clone()));
    blocks.extend(notes);
    blocks.extend(lines(invoice, part));
    blocks.push(Block::new(BlockKind::Heading(2), "VAT and totals", whole.clone()));
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let vat = |vat: &super::format::VatBreakdown| {
        vec![text(&vat.category), text(&vat.rate), text(&vat.taxable), text(&vat.tax), text(&vat.exemption_reason)]
    };
    if !invoice.vat.is_empty() {
        let header = ["VAT category", "Rate %", "Taxable", "VAT", "Exemption"];
        blocks.push(table(&header, invoice.vat.iter().map(vat).collect(), whole.clone()));
    }
    let totals = &invoice.totals;
    let rows = [
        ("Sum of lines", &totals.lines),
        ("Allowances", &totals.allowances),
        ("Charges", &totals.charges),
        ("Total without VAT", &totals.without_vat),
        ("VAT", &totals.vat),
        ("VAT in accounting currency", &totals.vat_in_accounting_currency),
        ("Total with VAT", &totals.with_vat),
        ("Paid", &totals.paid),
        ("Rounding", &totals.rounding),
        ("Amount due", &totals.due),
    ];
    let given = rows.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let currency = text(&invoice.header.currency);
    let rows: Vec<Vec<String>> =
        given.map(|(name, value)| vec![name.to_owned(), value.clone(), currency.clone()]).collect();
    blocks.push(table(&["Total", "Amount", "Currency"], rows, whole.clone()));
    blocks.push(Block::new(BlockKind::Paragraph, verdict(report), whole));
    blocks
}

fn title(invoice: &Invoice) -> String {
    let code = invoice.header.type_code.as_deref();
    let is_credit = invoice.syntax == Syntax::UblCreditNote || code == Some("381");
    let kind = if is_credit { "Credit note" } else { "Invoice" };
    let name = invoice.seller.name.as_ref().or(invoice.seller.trade_name.as_ref());
    let parts = [invoice.header.number.as_ref(), name, invoice.header.issue_date.as_ref()];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    one_line(&format!("{kind} {}", parts.join(" – ")))
}

fn head(invoice: &Invoice) -> String {
    let header = &invoice.header;
    let mut lines: Vec<String> = Vec::new();
    let mut line = |name: &str, value: Option<&String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            lines.push(format!("{name}: {}", one_line(value)));
        }
    };
    line("Number", header.number.as_ref());
    line("Date", header.issue_date.as_ref());
    line("Due", header.due_date.as_ref());
    line("Type", header.type_code.as_ref());
    line("Currency", header.currency.as_ref());
    line("Buyer reference", header.buyer_reference.as_ref());
    line("Order", header.order.as_ref());
    line("Contract", header.contract.as_ref());
    line("Project", header.project.as_ref());
    line("Delivered", invoice.delivery.date.as_ref());
    line("Period from", header.period.start.as_ref());
    line("Period to", header.period.end.as_ref());
    for terms in &invoice.payment_terms {
        line("Payment terms", terms.text.as_ref());
    }
    for means in &invoice.payment_means {
        line("Account", means.account.as_ref());
        line("Bank", means.bank.as_ref());
        line("Payment reference", means.reference.as_ref());
    }
    for document in &invoice.preceding {
        line("Preceding invoice", document.id.as_ref());
    }
    for document in &invoice.attachments {
        line("Document", document.description.as_ref().or(document.id.as_ref()));
    }
    line("Specification", header.specification.as_ref());
    lines.join("\n")
}

fn trader(role: &str, party: &Trader) -> String {
    let mut lines =
        vec![format!("{role}: {}", party.name.as_ref().or(party.trade_name.as_ref()).map_or("", String::as_str))];
    let mut line = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            lines.push(format!("{name}: {}", one_line(value)));
        }
    };
    line("VAT number", party.vat_id.as_ref());
    line("Tax number", party.tax_id.as_ref());
    line("Registration", party.legal_id.as_ref().map(|id| &id.value));
    for id in &party.ids {
        line("Id", Some(&id.value));
    }
    line("Address", party.address.as_ref().map(address).as_ref());
    line("Contact", party.contact.as_ref());
    line("Telephone", party.phone.as_ref());
    line("E-mail", party.email.as_ref());
    lines.join("\n")
}

fn address(address: &Address) -> String {
    let city =
        [address.postcode.as_deref(), address.city.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let parts = address.lines.iter().map(String::as_str).chain([city.as_str()]).chain(address.country.as_deref());
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn lines(invoice: &Invoice, part: Option<&str>) -> Option<Block> {
    let first = invoice.lines.first()?;
    let header = [
        "Line",
        "Item",
        "Article",
        "Quantity",
        "Unit",
        "Price",
        "Per",
        "Amount",
        "VAT category",
        "VAT %",
        "Description",
    ];
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let rows = invoice.lines.iter().map(|line| {
        let article = line.seller_item_id.clone().or_else(|| line.standard_item_id.as_ref().map(|id| id.value.clone()));
        let more = [line.description.as_deref(), line.note.as_deref()].into_iter().flatten();
        let properties =
            line.attributes.iter().map(|attribute| format!("{}: {}", text(&attribute.name), text(&attribute.value)));
        vec![
            text(&line.id),
            text(&line.name),
            article.unwrap_or_default(),
            text(&line.quantity),
            text(&line.unit),
            text(&line.net_price),
            text(&line.price_quantity),
            text(&line.net_amount),
            text(&line.vat_category),
            text(&line.vat_rate),
            one_line(&more.map(str::to_owned).chain(properties).collect::<Vec<_>>().join("; ")),
        ]
    });
    let xpath = first.xpath.trim_end_matches("[1]").to_owned();
    Some(table(&header, rows.collect(), Place { part: part.map(str::to_owned), ..Place::xpath(xpath) }))
}

fn verdict(report: &InvoiceReport) -> String {
    let verdict = &report.verdict;
    let mut text = match (verdict.data_valid, verdict.valid) {
        (true, true) => "Valid by EN 16931 as far as its rules were checked.".to_owned(),
        (true, false) => "The invoice is valid by EN 16931; the PDF around it is at fault:".to_owned(),
        _ => "Not valid by EN 16931:".to_owned(),
    };
    for finding in verdict.findings.iter().take(50) {
        let layer = if finding.layer == Layer::Container { "PDF" } else { finding.rule.as_str() };
        text.push_str(&format!("\n{layer}: {}", finding.message));
    }
    text
}

/// A table without the columns nothing stands in.
fn table(header: &[&str], rows: Vec<Vec<String>>, place: Place) -> Block {
    let used: Vec<bool> = (0..header.len())
        .map(|column| rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let keep = |cells: Vec<String>| -> Vec<String> {
        cells.into_iter().zip(&used).filter(|(_, used)| **used).map(|(cell, _)| one_line(&cell)).collect()
    };
    let header = keep(header.iter().map(|name| (*name).to_owned()).collect());
    Block::table(header, rows.into_iter().map(keep).collect(), place)
}
