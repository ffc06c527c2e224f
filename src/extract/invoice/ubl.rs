//! OASIS UBL 2.1 (`Invoice`, `CreditNote`) → the model, by the binding of CEN/TS 16931-3-2.

use super::format::{
    Address, AllowanceCharge, Attribute, Delivery, DocumentReference, Identifier, Invoice, InvoiceHeader, InvoiceLine,
    PaymentMeans, PaymentTerms, Period, Syntax, Totals, Trader, VatBreakdown,
};
use super::tree::Element;

/// Reads an invoice from its root.
pub(super) fn read(root: Element<'_>) -> Invoice {
    let credit = root.name() == "CreditNote";
    let mut invoice = Invoice {
        syntax: if credit { Syntax::UblCreditNote } else { Syntax::UblInvoice },
        header: header(root),
        seller: root.one("AccountingSupplierParty/Party").map(trader).unwrap_or_default(),
        buyer: root.one("AccountingCustomerParty/Party").map(trader).unwrap_or_default(),
        payee: root.one("PayeeParty").map(trader),
        tax_representative: root.one("TaxRepresentativeParty").map(trader),
        delivery: root.one("Delivery").map(delivery).unwrap_or_default(),
        payment_means: root.all("PaymentMeans").into_iter().map(payment_means).collect(),
        payment_terms: root.all("PaymentTerms").into_iter().map(payment_terms).collect(),
        allowances: root.all("AllowanceCharge").into_iter().map(allowance).collect(),
        vat: root.all("TaxTotal/TaxSubtotal").into_iter().map(vat).collect(),
        totals: totals(root),
        preceding: root.all("BillingReference/InvoiceDocumentReference").into_iter().map(document).collect(),
        attachments: root.all("AdditionalDocumentReference").into_iter().map(document).collect(),
        third_party_prepaid: root.all("PrepaidPayment/PaidAmount").into_iter().filter_map(Element::text).collect(),
        ..Invoice::default()
    };
    let lines = root.children().filter(|child| matches!(child.name(), "InvoiceLine" | "CreditNoteLine"));
    invoice.lines = lines.map(line).collect();
    invoice
}

fn header(root: Element<'_>) -> InvoiceHeader {
    let project = root.get("ProjectReference/ID").or_else(|| {
        let is_project = |document: &Element<'_>| document.get("DocumentTypeCode").as_deref() == Some("50");
        root.all("AdditionalDocumentReference").into_iter().find(is_project).and_then(|document| document.get("ID"))
    });
    InvoiceHeader {
        specification: root.get("CustomizationID"),
        process: root.get("ProfileID"),
        number: root.get("ID"),
        issue_date: root.get("IssueDate"),
        due_date: root.get("DueDate").or_else(|| root.get("PaymentMeans/PaymentDueDate")),
        type_code: root.get("InvoiceTypeCode").or_else(|| root.get("CreditNoteTypeCode")),
        currency: root.get("DocumentCurrencyCode"),
        vat_currency: root.get("TaxCurrencyCode"),
        tax_point_date: root.get("TaxPointDate"),
        tax_point_code: root.get("InvoicePeriod/DescriptionCode"),
        buyer_reference: root.get("BuyerReference"),
        order: root.get("OrderReference/ID"),
        sales_order: root.get("OrderReference/SalesOrderID"),
        contract: root.get("ContractDocumentReference/ID"),
        project,
        despatch_advice: root.get("DespatchDocumentReference/ID"),
        receiving_advice: root.get("ReceiptDocumentReference/ID"),
        buyer_accounting: root.get("AccountingCost"),
        period: root.one("InvoicePeriod").map(period).unwrap_or_default(),
        notes: root.all("Note").into_iter().filter_map(Element::text).collect(),
    }
}

fn period(element: Element<'_>) -> Period {
    Period { start: element.get("StartDate"), end: element.get("EndDate") }
}

fn identifier(element: Element<'_>) -> Option<Identifier> {
    Some(Identifier { value: element.text()?, scheme: element.attribute("schemeID").map(str::to_owned) })
}

fn trader(party: Element<'_>) -> Trader {
    let tax = |vat: bool| {
        let of_kind = |scheme: &Element<'_>| {
            let id = scheme.get("TaxScheme/ID").unwrap_or_default();
            id.eq_ignore_ascii_case("VAT") == vat
        };
        party.all("PartyTaxScheme").into_iter().find(of_kind).and_then(|scheme| scheme.get("CompanyID"))
    };
    Trader {
        name: party.get("PartyLegalEntity/RegistrationName"),
        trade_name: party.get("PartyName/Name"),
        ids: party.all("PartyIdentification/ID").into_iter().filter_map(identifier).collect(),
        legal_id: party.one("PartyLegalEntity/CompanyID").and_then(identifier),
        vat_id: tax(true),
        tax_id: tax(false),
        address: party.one("PostalAddress").map(address),
        endpoint: party.one("EndpointID").and_then(identifier),
        contact: party.get("Contact/Name"),
        phone: party.get("Contact/Telephone"),
        email: party.get("Contact/ElectronicMail"),
        description: party.get("PartyLegalEntity/CompanyLegalForm"),
    }
}

fn address(element: Element<'_>) -> Address {
    let lines = ["StreetName", "AdditionalStreetName", "AddressLine/Line"];
    Address {
        lines: lines.into_iter().filter_map(|name| element.get(name)).collect(),
        postcode: element.get("PostalZone"),
        city: element.get("CityName"),
        subdivision: element.get("CountrySubentity"),
        country: element.get("Country/IdentificationCode"),
    }
}

fn delivery(element: Element<'_>) -> Delivery {
    Delivery {
        name: element.get("DeliveryParty/PartyName/Name"),
        location: element.one("DeliveryLocation/ID").and_then(identifier),
        date: element.get("ActualDeliveryDate"),
        address: element.one("DeliveryLocation/Address").map(address),
    }
}

fn payment_means(element: Element<'_>) -> PaymentMeans {
    PaymentMeans {
        code: element.get("PaymentMeansCode"),
        text: element.get_attribute("PaymentMeansCode", "name"),
        reference: element.get("PaymentID"),
        account: element.get("PayeeFinancialAccount/ID"),
        account_name: element.get("PayeeFinancialAccount/Name"),
        bank: element.get("PayeeFinancialAccount/FinancialInstitutionBranch/ID"),
        card: element.get("CardAccount/PrimaryAccountNumberID"),
        mandate: element.get("PaymentMandate/ID"),
        debited_account: element.get("PaymentMandate/PayerFinancialAccount/ID"),
    }
}

fn payment_terms(element: Element<'_>) -> PaymentTerms {
    let notes: Vec<String> = element.all("Note").into_iter().filter_map(Element::text).collect();
    PaymentTerms { text: (!notes.is_empty()).then(|| notes.join("\n")), due_date: element.get("PaymentDueDate") }
}

/// The code of a tax category, where it is one of VAT.
fn category(element: Element<'_>, path: &str) -> Option<String> {
    let category = element.one(path)?;
    let is_vat = category.get("TaxScheme/ID").is_some_and(|scheme| scheme.eq_ignore_ascii_case("VAT"));
    if is_vat { category.get("ID") } else { None }
}

fn allowance(element: Element<'_>) -> AllowanceCharge {
    AllowanceCharge {
        is_charge: matches!(element.get("ChargeIndicator").as_deref(), Some("true" | "1")),
        amount: element.get("Amount"),
        base: element.get("BaseAmount"),
        percent: element.get("MultiplierFactorNumeric"),
        reason: element.get("AllowanceChargeReason"),
        reason_code: element.get("AllowanceChargeReasonCode"),
        vat_category: category(element, "TaxCategory"),
        vat_rate: element.get("TaxCategory/Percent"),
    }
}

fn vat(element: Element<'_>) -> VatBreakdown {
    VatBreakdown {
        taxable: element.get("TaxableAmount"),
        tax: element.get("TaxAmount"),
        category: category(element, "TaxCategory"),
        rate: element.get("TaxCategory/Percent"),
        exemption_reason: element.get("TaxCategory/TaxExemptionReason"),
        exemption_code: element.get("TaxCategory/TaxExemptionReasonCode"),
    }
}

fn totals(root: Element<'_>) -> Totals {
    let get = |name: &str| root.get(&format!("LegalMonetaryTotal/{name}"));
    let (currency, accounting) = (root.get("DocumentCurrencyCode"), root.get("TaxCurrencyCode"));
    let amounts = root.all("TaxTotal/TaxAmount");
    let in_currency = |wanted: &Option<String>| {
        let amount = amounts.iter().find(|amount| amount.attribute("currencyID") == wanted.as_deref());
        amount.and_then(|amount| amount.text())
    };
    Totals {
        lines: get("LineExtensionAmount"),
        allowances: get("AllowanceTotalAmount"),
        charges: get("ChargeTotalAmount"),
        without_vat: get("TaxExclusiveAmount"),
        vat: in_currency(&currency),
        vat_in_accounting_currency: accounting.is_some().then(|| in_currency(&accounting)).flatten(),
        with_vat: get("TaxInclusiveAmount"),
        paid: get("PrepaidAmount"),
        rounding: get("PayableRoundingAmount"),
        due: get("PayableAmount"),
    }
}

fn document(element: Element<'_>) -> DocumentReference {
    let binary = element.one("Attachment/EmbeddedDocumentBinaryObject");
    let attribute = |name: &str| binary.and_then(|binary| binary.attribute(name)).map(str::to_owned);
    DocumentReference {
        id: element.get("ID"),
        type_code: element.get("DocumentTypeCode"),
        description: element.get("DocumentDescription"),
        date: element.get("IssueDate"),
        uri: element.get("Attachment/ExternalReference/URI"),
        file: attribute("filename"),
        media_type: attribute("mimeCode"),
    }
}

fn line(element: Element<'_>) -> InvoiceLine {
    let quantity = element.one("InvoicedQuantity").or_else(|| element.one("CreditedQuantity"));
    let unit =
        |element: Option<Element<'_>>| element.and_then(|element| element.attribute("unitCode")).map(str::to_owned);
    let base = element.one("Price/BaseQuantity");
    let classification = |code: Element<'_>| {
        Some(Identifier { value: code.text()?, scheme: code.attribute("listID").map(str::to_owned) })
    };
    let attribute = |element: Element<'_>| Attribute { name: element.get("Name"), value: element.get("Value") };
    InvoiceLine {
        xpath: element.path(),
        id: element.get("ID"),
        note: element.get("Note"),
        quantity: quantity.and_then(Element::text),
        unit: unit(quantity),
        net_amount: element.get("LineExtensionAmount"),
        order_line: element.get("OrderLineReference/LineID"),
        buyer_accounting: element.get("AccountingCost"),
        period: element.one("InvoicePeriod").map(period).unwrap_or_default(),
        allowances: element.all("AllowanceCharge").into_iter().map(allowance).collect(),
        net_price: element.get("Price/PriceAmount"),
        gross_price: element.get("Price/AllowanceCharge/BaseAmount"),
        price_discount: element.get("Price/AllowanceCharge/Amount"),
        price_quantity: base.and_then(Element::text),
        price_unit: unit(base),
        vat_category: category(element, "Item/ClassifiedTaxCategory"),
        vat_rate: element.get("Item/ClassifiedTaxCategory/Percent"),
        name: element.get("Item/Name"),
        description: element.get("Item/Description"),
        seller_item_id: element.get("Item/SellersItemIdentification/ID"),
        buyer_item_id: element.get("Item/BuyersItemIdentification/ID"),
        standard_item_id: element.one("Item/StandardItemIdentification/ID").and_then(identifier),
        classifications: element
            .all("Item/CommodityClassification/ItemClassificationCode")
            .into_iter()
            .filter_map(classification)
            .collect(),
        origin: element.get("Item/OriginCountry/IdentificationCode"),
        attributes: element.all("Item/AdditionalItemProperty").into_iter().map(attribute).collect(),
    }
}
