//! What stands at the head: BR-01 to BR-20, BR-49 to BR-63, and the code lists.

use super::Check;
use crate::invoice::codes::{
    ADDRESS_SCHEMES, COUNTRIES, CURRENCIES, DOCUMENT_TYPES, FORMER_ADDRESS_SCHEMES, PAYMENT_MEANS, VAT_CATEGORIES,
    is_listed,
};
use crate::invoice::format::{Address, Period, Syntax};
use crate::invoice::tree::Element;

const CII_ACCOUNT: &str = "SupplyChainTradeTransaction/ApplicableHeaderTradeSettlement/SpecifiedTradeSettlementPaymentMeans/PayeePartyCreditorFinancialAccount";

impl Check<'_> {
    pub(super) fn head(&mut self) {
        let invoice = self.invoice;
        let header = &invoice.header;
        self.require(header.specification.is_some(), "BR-01", "the specification it follows (BT-24) is missing");
        self.require(header.number.is_some(), "BR-02", "the invoice number (BT-1) is missing");
        self.require(header.issue_date.is_some(), "BR-03", "the issue date (BT-2) is missing");
        self.require(header.type_code.is_some(), "BR-04", "the type of the invoice (BT-3) is missing");
        self.require(header.currency.is_some(), "BR-05", "the currency (BT-5) is missing");
        self.require(invoice.seller.name.is_some(), "BR-06", "the seller's name (BT-27) is missing");
        self.require(invoice.buyer.name.is_some(), "BR-07", "the buyer's name (BT-44) is missing");
        let totals = &invoice.totals;
        let lines_total = totals.lines.is_some() || self.is_minimum();
        self.require(lines_total, "BR-12", "the sum of the lines (BT-106) is missing");
        self.require(totals.without_vat.is_some(), "BR-13", "the total without VAT (BT-109) is missing");
        self.require(totals.with_vat.is_some(), "BR-14", "the total with VAT (BT-112) is missing");
        let due = totals.due.is_some() || self.is_old();
        self.require(due, "BR-15", "the amount due (BT-115) is missing");
        if self.has_lines() {
            self.require(!invoice.lines.is_empty(), "BR-16", "it has no line");
        }
        self.codes();
        if self.is_old() {
            return;
        }
        self.parties();
        self.delivery_and_periods();
        self.payment();
        self.references();
    }

    fn codes(&mut self) {
        let invoice = self.invoice;
        let header = &invoice.header;
        let mut check = |rule: &str, what: &str, list: &str, code: &Option<String>| {
            if let Some(code) = code
                && !is_listed(list, code)
            {
                self.fault(rule, format!("{what} `{code}` is not in the code list"));
            }
        };
        check("BR-CL-01", "the type of the invoice", DOCUMENT_TYPES, &header.type_code);
        check("BR-CL-04", "the currency", CURRENCIES, &header.currency);
        check("BR-CL-05", "the accounting currency", CURRENCIES, &header.vat_currency);
        if invoice.syntax == Syntax::Zugferd1 {
            return;
        }
        let addresses = [&invoice.seller, &invoice.buyer]
            .into_iter()
            .chain(invoice.tax_representative.as_ref())
            .filter_map(|party| party.address.as_ref())
            .chain(invoice.delivery.address.as_ref());
        for address in addresses {
            check("BR-CL-14", "the country", COUNTRIES, &address.country);
        }
        for endpoint in [&invoice.seller, &invoice.buyer].into_iter().filter_map(|party| party.endpoint.as_ref()) {
            if endpoint.scheme.as_deref().is_some_and(|scheme| is_listed(FORMER_ADDRESS_SCHEMES, scheme)) {
                continue;
            }
            check("BR-CL-25", "the scheme of an electronic address", ADDRESS_SCHEMES, &endpoint.scheme);
        }
        for means in &invoice.payment_means {
            check("BR-CL-16", "the means of payment", PAYMENT_MEANS, &means.code);
        }
        for vat in &invoice.vat {
            check("BR-CL-17", "the VAT category", VAT_CATEGORIES, &vat.category);
        }
        for line in &invoice.lines {
            check("BR-CL-18", "the VAT category of a line", VAT_CATEGORIES, &line.vat_category);
        }
    }

    fn parties(&mut self) {
        let invoice = self.invoice;
        let country = |address: &Option<Address>| address.as_ref().is_some_and(|address| address.country.is_some());
        let (seller, buyer) = (&invoice.seller, &invoice.buyer);
        self.require(seller.address.is_some(), "BR-08", "the seller's address (BG-5) is missing");
        if seller.address.is_some() {
            self.require(country(&seller.address), "BR-09", "the seller's country (BT-40) is missing");
        }
        if !self.is_minimum() {
            self.require(buyer.address.is_some(), "BR-10", "the buyer's address (BG-8) is missing");
        }
        if buyer.address.is_some() {
            self.require(country(&buyer.address), "BR-11", "the buyer's country (BT-55) is missing");
        }
        if let Some(payee) = &invoice.payee {
            let named = payee.name.is_some() || payee.trade_name.is_some();
            self.require(named, "BR-17", "the payee's name (BT-59) is missing");
        }
        if let Some(agent) = &invoice.tax_representative {
            let named = agent.name.is_some() || agent.trade_name.is_some();
            self.require(named, "BR-18", "the tax representative's name (BT-62) is missing");
            self.require(agent.address.is_some(), "BR-19", "the tax representative's address (BG-12) is missing");
            if agent.address.is_some() {
                self.require(country(&agent.address), "BR-20", "the tax representative's country (BT-69) is missing");
            }
            self.require(agent.vat_id.is_some(), "BR-56", "the tax representative's VAT number (BT-63) is missing");
        }
        for (rule, whose, party) in [
            ("BR-62", "seller", ["AccountingSupplierParty", "SellerTradeParty"]),
            ("BR-63", "buyer", ["AccountingCustomerParty", "BuyerTradeParty"]),
        ] {
            let holds = self.endpoints_have_schemes(party);
            self.require(holds, rule, &format!("the {whose}'s electronic address has no scheme"));
        }
        let is_sepa = |scheme: &Option<String>| scheme.as_deref() == Some("SEPA");
        let identified = seller.vat_id.is_some()
            || seller.legal_id.is_some()
            || seller.ids.iter().any(|id| !is_sepa(&id.scheme))
            || self.is_minimum();
        self.require(
            identified,
            "BR-CO-26",
            "the seller has no VAT number (BT-31), identifier (BT-29) or registration (BT-30)",
        );
        let agent = invoice.tax_representative.as_ref();
        for id in [Some(seller), Some(buyer), agent].into_iter().flatten().filter_map(|party| party.vat_id.as_ref()) {
            let prefix: String = id.chars().take(2).collect();
            if prefix != "EL" && !is_listed(COUNTRIES, &prefix) {
                self.fault("BR-CO-09", format!("the VAT number `{id}` does not begin with the code of its country"));
            }
        }
    }

    fn endpoints_have_schemes(&self, parties: [&str; 2]) -> bool {
        let is_endpoint = |element: &Element<'_>| match element.name() {
            "EndpointID" => true,
            "URIID" => element.parent().is_some_and(|parent| parent.name() == "URIUniversalCommunication"),
            _ => false,
        };
        let endpoints = self.root.elements().into_iter().filter(is_endpoint);
        let mut of_party = endpoints.filter(|element| {
            // The party itself in CII; around it, its role, in UBL.
            let party = element.parent().and_then(|parent| parent.parent());
            let around = [element.parent(), party];
            around.into_iter().flatten().any(|party| parties.contains(&party.name()))
        });
        of_party.all(|element| element.attribute("schemeID").is_some())
    }

    fn delivery_and_periods(&mut self) {
        let invoice = self.invoice;
        if let Some(address) = &invoice.delivery.address {
            self.require(address.country.is_some(), "BR-57", "the country delivered to (BT-80) is missing");
        }
        let ordered = |period: &Period| match (&period.start, &period.end) {
            (Some(start), Some(end)) => start <= end,
            _ => true,
        };
        self.require(ordered(&invoice.header.period), "BR-29", "the invoicing period ends before it begins");
        for line in &invoice.lines {
            if !ordered(&line.period) {
                self.fault_at("BR-30", "the line's period ends before it begins", Some(line.xpath.clone()));
            }
        }
        let header = &invoice.header;
        let both = header.tax_point_date.is_some() && header.tax_point_code.is_some();
        self.require(!both, "BR-CO-03", "the tax point is given as a date (BT-7) and as a code (BT-8)");
        // A period that is there says a day (or, in UBL's header, what the tax point is).
        let is_empty = |element: &Element<'_>| element.children().next().is_none();
        for element in self.root.children().filter(|child| child.name() == "InvoicePeriod") {
            self.require(!is_empty(&element), "BR-CO-19", "the invoicing period has neither start nor end");
        }
    }

    fn payment(&mut self) {
        let invoice = self.invoice;
        for means in &invoice.payment_means {
            self.require(means.code.is_some(), "BR-49", "the means of payment (BT-81) is missing");
            // The binding to CII asks only where an account is begun.
            let asks = self.invoice.syntax != Syntax::Cii || !self.root.all(CII_ACCOUNT).is_empty();
            let is_transfer = asks && matches!(means.code.as_deref(), Some("30" | "58"));
            self.require(
                !is_transfer || means.account.is_some(),
                "BR-61",
                "a credit transfer without an account (BT-84)",
            );
        }
        if let Some(currency) = &invoice.header.vat_currency
            && Some(currency) != invoice.header.currency.as_ref()
        {
            let given = invoice.totals.vat_in_accounting_currency.is_some();
            self.require(given, "BR-53", "the total of VAT in the accounting currency (BT-111) is missing");
        }
    }

    fn references(&mut self) {
        let invoice = self.invoice;
        for document in &invoice.preceding {
            self.require(document.id.is_some(), "BR-55", "a preceding invoice (BG-3) without its number");
        }
        for document in &invoice.attachments {
            self.require(document.id.is_some(), "BR-52", "a supporting document (BG-24) without its reference");
        }
    }
}
