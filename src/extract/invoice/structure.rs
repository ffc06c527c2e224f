//! The elements of a Cross Industry Invoice in their order and number, for the core of EN 16931 (CEN/TS 16931-3-3; the same subset the
//! schema of Factur-X's profile EN 16931 describes); of UBL, what its schema says must be there.

use super::decimal::Decimal;
use super::format::{Finding, Layer, Profile};
use super::tree::Element;

/// Which elements share a content, and that content: names in their order, `?` none or one, `*` any number, `+` at least one.
const CONTENT: [(&str, &str); 39] = [
    ("CrossIndustryInvoice", "ExchangedDocumentContext ExchangedDocument SupplyChainTradeTransaction"),
    (
        "ExchangedDocumentContext",
        "BusinessProcessSpecifiedDocumentContextParameter? GuidelineSpecifiedDocumentContextParameter",
    ),
    ("BusinessProcessSpecifiedDocumentContextParameter GuidelineSpecifiedDocumentContextParameter", "ID"),
    ("ExchangedDocument", "ID TypeCode IssueDateTime IncludedNote*"),
    ("IncludedNote", "Content SubjectCode?"),
    (
        "SupplyChainTradeTransaction",
        "IncludedSupplyChainTradeLineItem+ ApplicableHeaderTradeAgreement ApplicableHeaderTradeDelivery ApplicableHeaderTradeSettlement",
    ),
    (
        "ApplicableHeaderTradeAgreement",
        "BuyerReference? SellerTradeParty BuyerTradeParty SellerTaxRepresentativeTradeParty? SellerOrderReferencedDocument? BuyerOrderReferencedDocument? ContractReferencedDocument? AdditionalReferencedDocument* SpecifiedProcuringProject?",
    ),
    (
        "ApplicableHeaderTradeDelivery",
        "ShipToTradeParty? ActualDeliverySupplyChainEvent? DespatchAdviceReferencedDocument? ReceivingAdviceReferencedDocument?",
    ),
    (
        "ApplicableHeaderTradeSettlement",
        "CreditorReferenceID? PaymentReference? TaxCurrencyCode? InvoiceCurrencyCode PayeeTradeParty? SpecifiedTradeSettlementPaymentMeans* ApplicableTradeTax+ BillingSpecifiedPeriod? SpecifiedTradeAllowanceCharge* SpecifiedTradePaymentTerms? SpecifiedTradeSettlementHeaderMonetarySummation InvoiceReferencedDocument* ReceivableSpecifiedTradeAccountingAccount?",
    ),
    (
        "IncludedSupplyChainTradeLineItem",
        "AssociatedDocumentLineDocument SpecifiedTradeProduct SpecifiedLineTradeAgreement SpecifiedLineTradeDelivery SpecifiedLineTradeSettlement",
    ),
    ("AssociatedDocumentLineDocument", "LineID IncludedNote?"),
    (
        "SpecifiedTradeProduct",
        "GlobalID? SellerAssignedID? BuyerAssignedID? Name Description? ApplicableProductCharacteristic* DesignatedProductClassification* OriginTradeCountry?",
    ),
    ("ApplicableProductCharacteristic", "Description Value"),
    ("DesignatedProductClassification", "ClassCode?"),
    ("OriginTradeCountry", "ID"),
    (
        "SpecifiedLineTradeAgreement",
        "BuyerOrderReferencedDocument? GrossPriceProductTradePrice? NetPriceProductTradePrice",
    ),
    (
        "GrossPriceProductTradePrice NetPriceProductTradePrice",
        "ChargeAmount BasisQuantity? AppliedTradeAllowanceCharge?",
    ),
    (
        "AppliedTradeAllowanceCharge SpecifiedTradeAllowanceCharge",
        "ChargeIndicator CalculationPercent? BasisAmount? ActualAmount ReasonCode? Reason? CategoryTradeTax?",
    ),
    ("SpecifiedLineTradeDelivery", "BilledQuantity"),
    (
        "SpecifiedLineTradeSettlement",
        "ApplicableTradeTax BillingSpecifiedPeriod? SpecifiedTradeAllowanceCharge* SpecifiedTradeSettlementLineMonetarySummation AdditionalReferencedDocument? ReceivableSpecifiedTradeAccountingAccount?",
    ),
    ("SpecifiedTradeSettlementLineMonetarySummation", "LineTotalAmount"),
    (
        "ApplicableTradeTax CategoryTradeTax",
        "CalculatedAmount? TypeCode ExemptionReason? BasisAmount? CategoryCode ExemptionReasonCode? TaxPointDate? DueDateTypeCode? RateApplicablePercent?",
    ),
    ("BillingSpecifiedPeriod", "StartDateTime? EndDateTime?"),
    (
        "SellerTradeParty BuyerTradeParty SellerTaxRepresentativeTradeParty ShipToTradeParty PayeeTradeParty",
        "ID* GlobalID* Name? Description? SpecifiedLegalOrganization? DefinedTradeContact? PostalTradeAddress? URIUniversalCommunication? SpecifiedTaxRegistration*",
    ),
    ("SpecifiedLegalOrganization", "ID? TradingBusinessName?"),
    (
        "DefinedTradeContact",
        "PersonName? DepartmentName? TelephoneUniversalCommunication? EmailURIUniversalCommunication?",
    ),
    (
        "TelephoneUniversalCommunication EmailURIUniversalCommunication URIUniversalCommunication",
        "URIID? CompleteNumber?",
    ),
    ("PostalTradeAddress", "PostcodeCode? LineOne? LineTwo? LineThree? CityName? CountryID CountrySubDivisionName?"),
    ("SpecifiedTaxRegistration", "ID"),
    (
        "SellerOrderReferencedDocument BuyerOrderReferencedDocument ContractReferencedDocument AdditionalReferencedDocument DespatchAdviceReferencedDocument ReceivingAdviceReferencedDocument InvoiceReferencedDocument",
        "IssuerAssignedID? URIID? LineID? TypeCode? Name? AttachmentBinaryObject? ReferenceTypeCode? FormattedIssueDateTime?",
    ),
    ("SpecifiedProcuringProject", "ID Name"),
    ("ActualDeliverySupplyChainEvent", "OccurrenceDateTime"),
    ("IssueDateTime OccurrenceDateTime StartDateTime EndDateTime DueDateDateTime", "DateTimeString"),
    (
        "SpecifiedTradeSettlementPaymentMeans",
        "TypeCode Information? ApplicableTradeSettlementFinancialCard? PayerPartyDebtorFinancialAccount? PayeePartyCreditorFinancialAccount? PayeeSpecifiedCreditorFinancialInstitution?",
    ),
    ("ApplicableTradeSettlementFinancialCard", "ID CardholderName?"),
    ("PayeePartyCreditorFinancialAccount", "IBANID? AccountName? ProprietaryID?"),
    ("PayerPartyDebtorFinancialAccount", "IBANID"),
    ("SpecifiedTradePaymentTerms", "Description? DueDateDateTime? DirectDebitMandateID?"),
    (
        "SpecifiedTradeSettlementHeaderMonetarySummation",
        "LineTotalAmount ChargeTotalAmount? AllowanceTotalAmount? TaxBasisTotalAmount TaxTotalAmount* RoundingAmount? GrandTotalAmount TotalPrepaidAmount? DuePayableAmount",
    ),
];

/// What the profiles without lines may leave out.
const OPTIONAL_WITHOUT_LINES: [&str; 4] =
    ["IncludedSupplyChainTradeLineItem", "ApplicableTradeTax", "LineTotalAmount", "DuePayableAmount"];

/// What elements of UBL 2.1 must have, as far as an invoice of EN 16931 uses them.
const REQUIRED_UBL: [(&str, &str); 13] = [
    ("Invoice CreditNote", "ID IssueDate AccountingSupplierParty AccountingCustomerParty LegalMonetaryTotal"),
    ("InvoiceLine CreditNoteLine", "ID LineExtensionAmount Item"),
    ("LegalMonetaryTotal", "PayableAmount"),
    ("TaxTotal", "TaxAmount"),
    ("TaxSubtotal", "TaxAmount TaxCategory"),
    ("TaxCategory ClassifiedTaxCategory PartyTaxScheme", "TaxScheme"),
    ("AllowanceCharge", "ChargeIndicator Amount"),
    ("Price", "PriceAmount"),
    ("PartyName", "Name"),
    ("PaymentMeans", "PaymentMeansCode"),
    ("AdditionalItemProperty", "Name"),
    ("PartyIdentification SellersItemIdentification StandardItemIdentification ProjectReference", "ID"),
    ("OrderReference InvoiceDocumentReference AdditionalDocumentReference ContractDocumentReference", "ID"),
];

/// Checks that UBL has what it must, that amounts name their currency, and that dates are dates.
pub(super) fn check_ubl(root: Element<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fault = |element: Element<'_>, message: String| {
        if findings.len() < 1_000 {
            let xpath = Some(element.path());
            findings.push(Finding { rule: "XSD".to_owned(), layer: Layer::Structure, message, xpath });
        }
    };
    for element in root.elements() {
        let name = element.name();
        let required = REQUIRED_UBL.iter().filter(|(names, _)| names.split(' ').any(|known| known == name));
        for child in required.flat_map(|(_, children)| children.split(' ')) {
            if element.one(child).is_none() {
                fault(element, format!("{name} has no {child}"));
            }
        }
        let is_leaf = element.children().next().is_none();
        if is_leaf && name.ends_with("Amount") && element.attribute("currencyID").is_none() {
            fault(element, format!("{name} does not say its currency"));
        }
        if is_leaf && is_number(name) && element.text().is_none_or(|text| Decimal::parse(&text).is_none()) {
            fault(element, format!("{name} is no number"));
        }
        if is_leaf && name.ends_with("Date") && element.text().is_none_or(|text| !is_date(&text)) {
            fault(element, format!("{name} is no date (YYYY-MM-DD)"));
        }
    }
    findings
}

fn is_number(name: &str) -> bool {
    ["Amount", "Quantity", "Percent"].iter().any(|end| name.ends_with(end))
}

/// `xs:date`: a year, month and day, and maybe a time zone.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| bytes.get(from..to).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let number = |from: usize| text.get(from..from + 2).and_then(|part| part.parse::<u8>().ok()).unwrap_or(0);
    digits(0, 4)
        && digits(5, 7)
        && digits(8, 10)
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && (1..=12).contains(&number(5))
        && (1..=31).contains(&number(8))
        && matches!(&bytes[10..], [] | [b'Z'] | [b'+' | b'-', _, _, b':', _, _])
}

/// Checks the order and number of the elements. Extended profiles have more elements than the core and are not looked at.
pub(super) fn check(root: Element<'_>, profile: Profile) -> Vec<Finding> {
    if profile == Profile::Extended {
        return Vec::new();
    }
    let without_lines = matches!(profile, Profile::Minimum | Profile::BasicWl);
    let mut findings = Vec::new();
    for element in root.elements() {
        let is_leaf = element.children().next().is_none();
        let is_broken = match element.name() {
            "DateTimeString" => element.attribute("format").is_none(),
            name if is_leaf && is_number(name) => element.text().is_none_or(|text| Decimal::parse(&text).is_none()),
            _ => false,
        };
        if is_broken && findings.len() < 1_000 {
            findings.push(Finding {
                rule: "XSD".to_owned(),
                layer: Layer::Structure,
                message: format!("{} is no number, or no date that says its form", element.name()),
                xpath: Some(element.path()),
            });
        }
        let Some((_, content)) = CONTENT.iter().find(|(names, _)| names.split(' ').any(|name| name == element.name()))
        else {
            continue;
        };
        if let Some(message) = compare(element, content, without_lines)
            && findings.len() < 1_000
        {
            findings.push(Finding {
                rule: "XSD".to_owned(),
                layer: Layer::Structure,
                message,
                xpath: Some(element.path()),
            });
        }
    }
    findings
}

/// Returns the first thing wrong with the children of an element.
fn compare(element: Element<'_>, content: &str, without_lines: bool) -> Option<String> {
    let mut children = element.children().peekable();
    for item in content.split(' ') {
        let name = item.trim_end_matches(['?', '*', '+']);
        let mut least = usize::from(!item.ends_with(['?', '*']));
        let most = if item.ends_with(['*', '+']) { usize::MAX } else { 1 };
        if without_lines && OPTIONAL_WITHOUT_LINES.contains(&name) {
            least = 0;
        }
        let mut count = 0;
        while count < most && children.peek().is_some_and(|child| child.name() == name) {
            children.next();
            count += 1;
        }
        if count < least {
            let instead = children.peek().map_or("nothing", |child| child.name());
            return Some(format!("{} should have {name} here and has {instead}", element.name()));
        }
    }
    let extra = children.next()?;
    Some(format!("{} is not expected in {}, or not at this place", extra.name(), element.name()))
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn order_and_number_count() {
        for (xml, expect) in [
            ("<PostalTradeAddress><PostcodeCode>1</PostcodeCode><CountryID>DE</CountryID></PostalTradeAddress>", None),
            (
                "<PostalTradeAddress><CountryID>DE</CountryID><PostcodeCode>1</PostcodeCode></PostalTradeAddress>",
                Some("PostcodeCode is not expected in PostalTradeAddress, or not at this place"),
            ),
            ("<OriginTradeCountry/>", Some("OriginTradeCountry should have ID here and has nothing")),
            (
                "<SpecifiedTaxRegistration><ID>1</ID><ID>2</ID></SpecifiedTaxRegistration>",
                Some("ID is not expected in SpecifiedTaxRegistration, or not at this place"),
            ),
        ] {
            let tree = Tree::parse(xml).unwrap();
            let found = check(tree.root(), Profile::En16931);
            assert_eq!(found.first().map(|finding| finding.message.as_str()), expect, "{xml}");
        }
    }
}
