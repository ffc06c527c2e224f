//! What a profile of Factur-X or ZUGFeRD asks for beyond the standard: that it names itself rightly, and uses no element or attribute the
//! profile does not have. In XRechnung, Peppol and the plain standard these are free.

use super::Check;
use crate::invoice::format::{Profile, Syntax};

/// The specifications that are known, as written (EN 16931-1 BT-24; Factur-X 1.0; ZUGFeRD 1.0 and 2.0; XRechnung 1.2 to 3.0).
const KNOWN: [&str; 14] = [
    "urn:cen.eu:en16931:2017",
    "urn:factur-x.eu:1p0:minimum",
    "urn:factur-x.eu:1p0:basicwl",
    "urn:cen.eu:en16931:2017#compliant#urn:factur-x.eu:1p0:basic",
    "urn:cen.eu:en16931:2017#conformant#urn:factur-x.eu:1p0:extended",
    "urn:zugferd.de:2p0:minimum",
    "urn:zugferd.de:2p0:basicwl",
    "urn:cen.eu:en16931:2017#compliant#urn:zugferd.de:2p0:basic",
    "urn:cen.eu:en16931:2017#conformant#urn:zugferd.de:2p0:extended",
    "urn:ferd:CrossIndustryDocument:invoice:1p0:basic",
    "urn:ferd:CrossIndustryDocument:invoice:1p0:comfort",
    "urn:ferd:CrossIndustryDocument:invoice:1p0:extended",
    "urn:ferd:invoice:rc:basic",
    "urn:ferd:invoice:rc:comfort",
];

impl Check<'_> {
    pub(super) fn profile(&mut self, embedded: bool) {
        let invoice = self.invoice;
        let specification = invoice.header.specification.as_deref().unwrap_or_default();
        let lower = specification.to_lowercase();
        let is_hybrid = embedded || ["factur-x", "zugferd", "ferd:"].iter().any(|word| lower.contains(word));
        if !is_hybrid || !matches!(invoice.syntax, Syntax::Cii | Syntax::Zugferd1) {
            return;
        }
        let is_known = KNOWN.contains(&specification) || lower.contains("xrechnung") || lower.contains("peppol");
        if !is_known && !specification.is_empty() {
            self.fault("FX-PROFILE", format!("`{specification}` is no profile of Factur-X or ZUGFeRD"));
        }
        if invoice.syntax == Syntax::Cii && invoice.profile != Profile::Extended {
            self.unused();
        }
        if invoice.syntax == Syntax::Zugferd1 {
            self.date_forms();
        }
    }

    fn unused(&mut self) {
        let profile = self.invoice.profile;
        let mut found = Vec::new();
        for element in self.root.elements() {
            let name = element.name();
            let parent = element.parent();
            let parent_name = parent.map_or("", |parent| parent.name());
            for attribute in element.attributes() {
                if !is_attribute_used(parent_name, name, attribute) {
                    found.push((element.path(), format!("the profile does not use the attribute {attribute} here")));
                }
            }
            let grandparent = parent.and_then(|parent| parent.parent()).map_or("", |element| element.name());
            let of_minimum = profile == Profile::Minimum && parent_name == "BuyerTradeParty";
            if is_element_unused(grandparent, parent_name, name)
                || of_minimum && matches!(name, "PostalTradeAddress" | "SpecifiedTaxRegistration")
            {
                found.push((element.path(), format!("the profile does not use {name} here")));
            }
        }
        for (path, message) in found {
            self.fault_at("FX-UNUSED", message, Some(path));
        }
    }

    /// ZUGFeRD 1.0 knows the forms 102, 610 and 616 of dates.
    fn date_forms(&mut self) {
        let strings: Vec<_> =
            self.root.elements().into_iter().filter(|element| element.name() == "DateTimeString").collect();
        for element in strings {
            let form = element.attribute("format").unwrap_or_default();
            if !matches!(form, "102" | "610" | "616") {
                self.fault_at("ZF-DATE", format!("`{form}` is no form of a date"), Some(element.path()));
            }
        }
    }
}

fn is_attribute_used(parent: &str, name: &str, attribute: &str) -> bool {
    match attribute {
        // The currency is the invoice's; only VAT may be in another.
        "currencyID" => name == "TaxTotalAmount",
        "schemeID" => {
            let has_schemes = ["SpecifiedLegalOrganization", "SpecifiedTaxRegistration", "URIUniversalCommunication"];
            name == "GlobalID" || has_schemes.contains(&parent)
        }
        "listID" | "listVersionID" => name == "ClassCode",
        _ => true,
    }
}

/// What the types of the schema have and the profile EN 16931 of Factur-X 1.0 leaves out, by the element and what it stands in.
fn is_element_unused(grandparent: &str, parent: &str, name: &str) -> bool {
    let in_line = grandparent.starts_with("SpecifiedLineTrade");
    let of_tax = [
        "CalculatedAmount",
        "DueDateTypeCode",
        "ExemptionReason",
        "ExemptionReasonCode",
        "TaxPointDate",
        "BasisAmount",
    ];
    match (parent, name) {
        ("CategoryTradeTax", name) => of_tax.contains(&name),
        ("ApplicableTradeTax", name) => in_line && of_tax.contains(&name),
        ("AppliedTradeAllowanceCharge", name) => {
            matches!(name, "CalculationPercent" | "BasisAmount" | "Reason" | "ReasonCode" | "CategoryTradeTax")
        }
        ("NetPriceProductTradePrice", "AppliedTradeAllowanceCharge") => true,
        ("SpecifiedTradeAllowanceCharge", "CategoryTradeTax") => in_line,
        ("IncludedNote", "SubjectCode") => grandparent == "AssociatedDocumentLineDocument",
        ("TelephoneUniversalCommunication", "URIID") => true,
        ("EmailURIUniversalCommunication" | "URIUniversalCommunication", "CompleteNumber") => true,
        ("BuyerTradeParty", "Description") => true,
        ("SellerTaxRepresentativeTradeParty", name) => {
            !matches!(name, "Name" | "PostalTradeAddress" | "SpecifiedTaxRegistration")
        }
        ("ShipToTradeParty", name) => !matches!(name, "ID" | "GlobalID" | "Name" | "PostalTradeAddress"),
        ("PayeeTradeParty", name) => !matches!(name, "ID" | "GlobalID" | "Name" | "SpecifiedLegalOrganization"),
        ("SpecifiedLegalOrganization", "TradingBusinessName") => grandparent == "PayeeTradeParty",
        ("AdditionalReferencedDocument", "LineID" | "FormattedIssueDateTime") => true,
        ("AdditionalReferencedDocument", "AttachmentBinaryObject" | "Name" | "URIID") => in_line,
        ("BuyerOrderReferencedDocument", name) if in_line => name != "LineID",
        ("InvoiceReferencedDocument", name) => !matches!(name, "IssuerAssignedID" | "FormattedIssueDateTime"),
        (document, name) if document.ends_with("ReferencedDocument") && document != "AdditionalReferencedDocument" => {
            name != "IssuerAssignedID"
        }
        _ => false,
    }
}
