//! UN/CEFACT Cross Industry Invoice → the model, by the binding of CEN/TS 16931-3-3; and ZUGFeRD 1.0, whose elements are an older
//! draft of the same and differ in some names.

use super::format::{
    Address, AllowanceCharge, Attribute, Delivery, DocumentReference, Identifier, Invoice, InvoiceHeader, InvoiceLine,
    PaymentMeans, PaymentTerms, Period, Syntax, Totals, Trader, VatBreakdown,
};
use super::tree::Element;

/// The names that changed between ZUGFeRD 1.0 and D16B.
struct Names {
    context: &'static str,
    document: &'static str,
    transaction: &'static str,
    agreement: &'static str,
    delivery: &'static str,
    settlement: &'static str,
    line_agreement: &'static str,
    line_delivery: &'static str,
    line_settlement: &'static str,
    line_totals: &'static str,
    totals: &'static str,
    percent: &'static str,
}

const D16B: Names = Names {
    context: "ExchangedDocumentContext",
    document: "ExchangedDocument",
    transaction: "SupplyChainTradeTransaction",
    agreement: "ApplicableHeaderTradeAgreement",
    delivery: "ApplicableHeaderTradeDelivery",
    settlement: "ApplicableHeaderTradeSettlement",
    line_agreement: "SpecifiedLineTradeAgreement",
    line_delivery: "SpecifiedLineTradeDelivery",
    line_settlement: "SpecifiedLineTradeSettlement",
    line_totals: "SpecifiedTradeSettlementLineMonetarySummation",
    totals: "SpecifiedTradeSettlementHeaderMonetarySummation",
    percent: "RateApplicablePercent",
};

const ZUGFERD_1: Names = Names {
    context: "SpecifiedExchangedDocumentContext",
    document: "HeaderExchangedDocument",
    transaction: "SpecifiedSupplyChainTradeTransaction",
    agreement: "ApplicableSupplyChainTradeAgreement",
    delivery: "ApplicableSupplyChainTradeDelivery",
    settlement: "ApplicableSupplyChainTradeSettlement",
    line_agreement: "SpecifiedSupplyChainTradeAgreement",
    line_delivery: "SpecifiedSupplyChainTradeDelivery",
    line_settlement: "SpecifiedSupplyChainTradeSettlement",
    line_totals: "SpecifiedTradeSettlementMonetarySummation",
    totals: "SpecifiedTradeSettlementMonetarySummation",
    percent: "ApplicablePercent",
};

/// Reads an invoice from its root.
pub(super) fn read(root: Element<'_>) -> Invoice {
    let is_old = root.name() != "CrossIndustryInvoice";
    let names = if is_old { &ZUGFERD_1 } else { &D16B };
    let mut invoice = Invoice { syntax: if is_old { Syntax::Zugferd1 } else { Syntax::Cii }, ..Invoice::default() };
    invoice.header.specification =
        root.get(&format!("{}/GuidelineSpecifiedDocumentContextParameter/ID", names.context));
    invoice.header.process =
        root.get(&format!("{}/BusinessProcessSpecifiedDocumentContextParameter/ID", names.context));
    if let Some(document) = root.one(names.document) {
        invoice.header.number = document.get("ID");
        invoice.header.type_code = document.get("TypeCode");
        invoice.header.issue_date = date(document.one("IssueDateTime"));
        invoice.header.notes = document.all("IncludedNote/Content").into_iter().filter_map(Element::text).collect();
    }
    let Some(transaction) = root.one(names.transaction) else { return invoice };
    if let Some(agreement) = transaction.one(names.agreement) {
        read_agreement(&mut invoice, agreement);
    }
    if let Some(delivery) = transaction.one(names.delivery) {
        invoice.header.despatch_advice = delivery.get("DespatchAdviceReferencedDocument/IssuerAssignedID");
        invoice.header.receiving_advice = delivery.get("ReceivingAdviceReferencedDocument/IssuerAssignedID");
        let ship_to = delivery.one("ShipToTradeParty");
        invoice.delivery = Delivery {
            name: ship_to.and_then(|party| party.get("Name")),
            location: ship_to.and_then(|party| party.one("GlobalID").or_else(|| party.one("ID"))).and_then(identifier),
            date: date(delivery.one("ActualDeliverySupplyChainEvent/OccurrenceDateTime")),
            address: ship_to.and_then(|party| party.one("PostalTradeAddress")).map(address),
        };
    }
    if let Some(settlement) = transaction.one(names.settlement) {
        read_settlement(&mut invoice, settlement, names);
    }
    let lines = transaction.all("IncludedSupplyChainTradeLineItem");
    invoice.lines = lines.into_iter().map(|line| self::line(line, names)).collect();
    invoice
}

/// The code of a tax category, where it is one of VAT.
fn category(tax: Option<Element<'_>>) -> Option<String> {
    let tax = tax?;
    let is_other = tax.get("TypeCode").is_some_and(|code| !code.eq_ignore_ascii_case("VAT"));
    if is_other { None } else { tax.get("CategoryCode") }
}

/// A date: `YYYYMMDD` in the form 102 becomes ISO 8601, anything else stays as it is written.
fn date(element: Option<Element<'_>>) -> Option<String> {
    let element = element?;
    let string = element
        .one("DateTimeString")
        .or_else(|| element.one("DateString"))
        .or_else(|| element.one("DateTime"))
        .unwrap_or(element);
    let text = string.text()?;
    let is_102 =
        string.attribute("format") == Some("102") && text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    Some(if is_102 { format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]) } else { text })
}

fn read_agreement(invoice: &mut Invoice, agreement: Element<'_>) {
    let header = &mut invoice.header;
    header.buyer_reference = agreement.get("BuyerReference");
    let document = |name: &str| {
        agreement.get(&format!("{name}/IssuerAssignedID")).or_else(|| agreement.get(&format!("{name}/ID")))
    };
    header.order = document("BuyerOrderReferencedDocument");
    header.sales_order = document("SellerOrderReferencedDocument");
    header.contract = document("ContractReferencedDocument");
    header.project = agreement.get("SpecifiedProcuringProject/ID");
    invoice.seller = agreement.one("SellerTradeParty").map(trader).unwrap_or_default();
    invoice.buyer = agreement.one("BuyerTradeParty").map(trader).unwrap_or_default();
    invoice.tax_representative = agreement.one("SellerTaxRepresentativeTradeParty").map(trader);
    invoice.attachments = agreement.all("AdditionalReferencedDocument").into_iter().map(self::document).collect();
}

fn read_settlement(invoice: &mut Invoice, settlement: Element<'_>, names: &Names) {
    let header = &mut invoice.header;
    header.currency = settlement.get("InvoiceCurrencyCode");
    header.vat_currency = settlement.get("TaxCurrencyCode");
    header.buyer_accounting = settlement.get("ReceivableSpecifiedTradeAccountingAccount/ID");
    header.due_date = date(settlement.one("SpecifiedTradePaymentTerms/DueDateDateTime"));
    header.tax_point_date = date(settlement.one("ApplicableTradeTax/TaxPointDate"));
    header.tax_point_code = settlement.get("ApplicableTradeTax/DueDateTypeCode");
    header.period = settlement.one("BillingSpecifiedPeriod").map(period).unwrap_or_default();
    invoice.payee = settlement.one("PayeeTradeParty").map(trader);
    let reference = settlement.get("PaymentReference");
    let mandate = settlement.get("SpecifiedTradePaymentTerms/DirectDebitMandateID");
    let means = |means: Element<'_>| PaymentMeans {
        code: means.get("TypeCode"),
        text: means.get("Information"),
        reference: reference.clone(),
        account: means
            .get("PayeePartyCreditorFinancialAccount/IBANID")
            .or_else(|| means.get("PayeePartyCreditorFinancialAccount/ProprietaryID")),
        account_name: means.get("PayeePartyCreditorFinancialAccount/AccountName"),
        bank: means.get("PayeeSpecifiedCreditorFinancialInstitution/BICID"),
        card: means.get("ApplicableTradeSettlementFinancialCard/ID"),
        mandate: mandate.clone(),
        debited_account: means.get("PayerPartyDebtorFinancialAccount/IBANID"),
    };
    invoice.payment_means = settlement.all("SpecifiedTradeSettlementPaymentMeans").into_iter().map(means).collect();
    let terms = |terms: Element<'_>| PaymentTerms {
        text: terms.get("Description"),
        due_date: date(terms.one("DueDateDateTime")),
    };
    invoice.payment_terms = settlement.all("SpecifiedTradePaymentTerms").into_iter().map(terms).collect();
    invoice.allowances = allowances(settlement, names);
    // Freight and the like of ZUGFeRD 1.0 and of the extended profile are charges by another name.
    for charge in settlement.all("SpecifiedLogisticsServiceCharge") {
        invoice.allowances.push(AllowanceCharge {
            is_charge: true,
            amount: charge.get("AppliedAmount"),
            reason: charge.get("Description"),
            vat_category: charge.get("AppliedTradeTax/CategoryCode"),
            vat_rate: charge.get(&format!("AppliedTradeTax/{}", names.percent)),
            ..AllowanceCharge::default()
        });
    }
    let vat = |tax: Element<'_>| VatBreakdown {
        taxable: tax.get("BasisAmount"),
        tax: tax.get("CalculatedAmount"),
        category: category(Some(tax)),
        rate: tax.get(names.percent),
        exemption_reason: tax.get("ExemptionReason"),
        exemption_code: tax.get("ExemptionReasonCode"),
    };
    invoice.vat = settlement.all("ApplicableTradeTax").into_iter().map(vat).collect();
    invoice.preceding = settlement.all("InvoiceReferencedDocument").into_iter().map(document).collect();
    if let Some(totals) = settlement.one(names.totals) {
        invoice.totals = read_totals(totals, &invoice.header);
    }
}

fn read_totals(totals: Element<'_>, header: &InvoiceHeader) -> Totals {
    let amounts = totals.all("TaxTotalAmount");
    // An amount without a currency is in the invoice's.
    let in_currency = |wanted: Option<&str>| {
        let amount = amounts.iter().find(|amount| amount.attribute("currencyID") == wanted);
        amount.and_then(|amount| amount.text())
    };
    let accounting = header.vat_currency.as_deref().filter(|currency| Some(*currency) != header.currency.as_deref());
    Totals {
        lines: totals.get("LineTotalAmount"),
        allowances: totals.get("AllowanceTotalAmount"),
        charges: totals.get("ChargeTotalAmount"),
        without_vat: totals.get("TaxBasisTotalAmount"),
        vat: in_currency(header.currency.as_deref()).or_else(|| in_currency(None)),
        vat_in_accounting_currency: accounting.and_then(|currency| in_currency(Some(currency))),
        with_vat: totals.get("GrandTotalAmount"),
        paid: totals.get("TotalPrepaidAmount"),
        rounding: totals.get("RoundingAmount"),
        due: totals.get("DuePayableAmount"),
    }
}

fn identifier(element: Element<'_>) -> Option<Identifier> {
    Some(Identifier { value: element.text()?, scheme: element.attribute("schemeID").map(str::to_owned) })
}

fn period(element: Element<'_>) -> Period {
    Period { start: date(element.one("StartDateTime")), end: date(element.one("EndDateTime")) }
}

fn trader(party: Element<'_>) -> Trader {
    let tax = |scheme: &str| {
        let ids = party.all("SpecifiedTaxRegistration/ID");
        ids.into_iter().find(|id| id.attribute("schemeID") == Some(scheme)).and_then(Element::text)
    };
    let contact = |path: &str| party.get(&format!("DefinedTradeContact/{path}"));
    Trader {
        name: party.get("Name"),
        trade_name: party.get("SpecifiedLegalOrganization/TradingBusinessName"),
        ids: party
            .children()
            .filter(|child| matches!(child.name(), "ID" | "GlobalID"))
            .filter_map(identifier)
            .collect(),
        legal_id: party.one("SpecifiedLegalOrganization/ID").and_then(identifier),
        vat_id: tax("VA"),
        tax_id: tax("FC"),
        address: party.one("PostalTradeAddress").map(address),
        endpoint: party.one("URIUniversalCommunication/URIID").and_then(identifier),
        contact: contact("PersonName").or_else(|| contact("DepartmentName")),
        phone: contact("TelephoneUniversalCommunication/CompleteNumber"),
        email: contact("EmailURIUniversalCommunication/URIID"),
        description: party.get("Description"),
    }
}

fn address(element: Element<'_>) -> Address {
    Address {
        lines: ["LineOne", "LineTwo", "LineThree"].into_iter().filter_map(|name| element.get(name)).collect(),
        postcode: element.get("PostcodeCode"),
        city: element.get("CityName"),
        subdivision: element.get("CountrySubDivisionName"),
        country: element.get("CountryID"),
    }
}

fn allowances(element: Element<'_>, names: &Names) -> Vec<AllowanceCharge> {
    let one = |allowance: Element<'_>| AllowanceCharge {
        is_charge: is_charge(allowance),
        amount: allowance.get("ActualAmount"),
        base: allowance.get("BasisAmount"),
        percent: allowance.get("CalculationPercent"),
        reason: allowance.get("Reason"),
        reason_code: allowance.get("ReasonCode"),
        vat_category: category(allowance.one("CategoryTradeTax")),
        vat_rate: allowance.get(&format!("CategoryTradeTax/{}", names.percent)),
    };
    element.all("SpecifiedTradeAllowanceCharge").into_iter().map(one).collect()
}

fn is_charge(allowance: Element<'_>) -> bool {
    let indicator = allowance.get("ChargeIndicator/Indicator").or_else(|| allowance.get("ChargeIndicator"));
    matches!(indicator.as_deref(), Some("true" | "1"))
}

fn document(element: Element<'_>) -> DocumentReference {
    let binary = element.one("AttachmentBinaryObject");
    let attribute = |name: &str| binary.and_then(|binary| binary.attribute(name)).map(str::to_owned);
    DocumentReference {
        id: element.get("IssuerAssignedID").or_else(|| element.get("ID")),
        type_code: element.get("TypeCode"),
        description: element.get("Name"),
        date: date(element.one("FormattedIssueDateTime").or_else(|| element.one("IssueDateTime"))),
        uri: element.get("URIID"),
        file: attribute("filename"),
        media_type: attribute("mimeCode"),
    }
}

fn line(element: Element<'_>, names: &Names) -> InvoiceLine {
    let product = element.one("SpecifiedTradeProduct");
    let of_product = |path: &str| product.and_then(|product| product.get(path));
    let agreement = element.one(names.line_agreement);
    let settlement = element.one(names.line_settlement);
    let of_settlement = |path: &str| settlement.and_then(|settlement| settlement.get(path));
    let quantity = element.one(&format!("{}/BilledQuantity", names.line_delivery));
    let net = agreement.and_then(|agreement| agreement.one("NetPriceProductTradePrice"));
    let gross = agreement.and_then(|agreement| agreement.one("GrossPriceProductTradePrice"));
    let base =
        net.and_then(|net| net.one("BasisQuantity")).or_else(|| gross.and_then(|gross| gross.one("BasisQuantity")));
    let unit =
        |element: Option<Element<'_>>| element.and_then(|element| element.attribute("unitCode")).map(str::to_owned);
    let classes = product.map(|product| product.all("DesignatedProductClassification/ClassCode")).unwrap_or_default();
    let classification = |code: Element<'_>| {
        Some(Identifier { value: code.text()?, scheme: code.attribute("listID").map(str::to_owned) })
    };
    let properties = product.map(|product| product.all("ApplicableProductCharacteristic")).unwrap_or_default();
    let property = |element: Element<'_>| Attribute { name: element.get("Description"), value: element.get("Value") };
    InvoiceLine {
        xpath: element.path(),
        id: element.get("AssociatedDocumentLineDocument/LineID"),
        note: element.get("AssociatedDocumentLineDocument/IncludedNote/Content"),
        quantity: quantity.and_then(Element::text),
        unit: unit(quantity),
        net_amount: of_settlement(&format!("{}/LineTotalAmount", names.line_totals)),
        order_line: agreement.and_then(|agreement| agreement.get("BuyerOrderReferencedDocument/LineID")),
        buyer_accounting: of_settlement("ReceivableSpecifiedTradeAccountingAccount/ID"),
        period: settlement
            .and_then(|settlement| settlement.one("BillingSpecifiedPeriod"))
            .map(period)
            .unwrap_or_default(),
        allowances: settlement.map(|settlement| allowances(settlement, names)).unwrap_or_default(),
        net_price: net.and_then(|net| net.get("ChargeAmount")),
        gross_price: gross.and_then(|gross| gross.get("ChargeAmount")),
        price_discount: gross.and_then(|gross| gross.get("AppliedTradeAllowanceCharge/ActualAmount")),
        price_quantity: base.and_then(Element::text),
        price_unit: unit(base),
        vat_category: category(settlement.and_then(|settlement| settlement.one("ApplicableTradeTax"))),
        vat_rate: of_settlement(&format!("ApplicableTradeTax/{}", names.percent)),
        name: of_product("Name"),
        description: of_product("Description"),
        seller_item_id: of_product("SellerAssignedID"),
        buyer_item_id: of_product("BuyerAssignedID"),
        standard_item_id: product.and_then(|product| product.one("GlobalID")).and_then(identifier),
        classifications: classes.into_iter().filter_map(classification).collect(),
        origin: of_product("OriginTradeCountry/ID"),
        attributes: properties.into_iter().map(property).collect(),
    }
}
