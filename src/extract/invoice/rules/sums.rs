//! What must add up: BR-CO-10 to BR-CO-18.

use super::{Check, amount, number};
use crate::invoice::decimal::Decimal;
use crate::invoice::format::{Profile, Syntax};

impl Check<'_> {
    pub(super) fn sums(&mut self) {
        let invoice = self.invoice;
        let totals = &invoice.totals;
        for (name, text) in [
            ("the sum of the lines", &totals.lines),
            ("the total without VAT", &totals.without_vat),
            ("the total of VAT", &totals.vat),
            ("the total with VAT", &totals.with_vat),
            ("the amount due", &totals.due),
        ] {
            if let Some(text) = text
                && Decimal::parse(text).is_none()
            {
                self.fault("XSD", format!("{name} `{text}` is not a number"));
            }
        }
        if self.is_minimum() {
            self.with_vat();
            return;
        }
        // In ZUGFeRD 1.0 the lines of some are with VAT, which its rules let pass.
        if self.has_lines() && !self.is_old() {
            let lines = self.line_amounts();
            self.equal("BR-CO-10", "the sum of the lines (BT-106)", &totals.lines, lines.round(2));
        }
        let sum = |is_charge: bool| -> Decimal {
            let of_kind = invoice.allowances.iter().filter(|allowance| allowance.is_charge == is_charge);
            of_kind.map(|allowance| amount(&allowance.amount)).sum()
        };
        for (rule, name, total, is_charge) in [
            ("BR-CO-11", "the sum of the allowances (BT-107)", &totals.allowances, false),
            ("BR-CO-12", "the sum of the charges (BT-108)", &totals.charges, true),
        ] {
            let any = invoice.allowances.iter().any(|allowance| allowance.is_charge == is_charge);
            if any || total.is_some() {
                self.equal(rule, name, total, sum(is_charge).round(2));
            }
        }
        let without_vat = amount(&totals.lines) - amount(&totals.allowances) + amount(&totals.charges);
        self.equal("BR-CO-13", "the total without VAT (BT-109)", &totals.without_vat, without_vat.round(2));
        let vat: Decimal = invoice.vat.iter().map(|vat| amount(&vat.tax)).sum();
        if !invoice.vat.is_empty() {
            self.equal("BR-CO-14", "the total of VAT (BT-110)", &totals.vat, vat.round(2));
        }
        self.with_vat();
        let third: Decimal = if invoice.profile == Profile::XrechnungExtension {
            invoice.third_party_prepaid.iter().filter_map(|text| Decimal::parse(text)).sum()
        } else {
            Decimal::ZERO
        };
        if totals.due.is_some() {
            // Rule BR-DEX-09 of the extension adds what third parties were paid through this invoice.
            let due = amount(&totals.with_vat) - amount(&totals.paid) + amount(&totals.rounding) + third;
            self.equal("BR-CO-16", "the amount due (BT-115)", &totals.due, due.round(2));
        }
        for vat in &invoice.vat {
            let (taxable, tax, rate) = (amount(&vat.taxable), amount(&vat.tax), amount(&vat.rate));
            // The published rule leaves a unit of room on both sides, for those who round by line.
            let exact = (taxable.abs() * rate.percent()).round(2);
            let holds = if rate.round(0).is_zero() {
                tax.round(0).is_zero()
            } else {
                let difference = tax.abs() - exact;
                difference < Decimal::ONE && difference > Decimal::ZERO - Decimal::ONE
            };
            if !holds {
                let message = format!("VAT of {tax} on {taxable} at {rate} %: it would be {exact}");
                self.fault("BR-CO-17", message);
            }
        }
        if !self.is_old() {
            self.require(!invoice.vat.is_empty(), "BR-CO-18", "there is no VAT breakdown (BG-23)");
        }
    }

    fn with_vat(&mut self) {
        let totals = &self.invoice.totals;
        let is_ubl = matches!(self.invoice.syntax, Syntax::UblInvoice | Syntax::UblCreditNote);
        if totals.vat.is_none() && is_ubl {
            self.fault("BR-CO-15", "the total of VAT in the invoice's currency (BT-110) is missing");
            return;
        }
        let with_vat = amount(&totals.without_vat) + amount(&totals.vat);
        self.equal("BR-CO-15", "the total with VAT (BT-112)", &totals.with_vat, with_vat.round(2));
    }

    /// The sum of the lines' amounts. Lines that only gather others do not count (extended profiles).
    fn line_amounts(&self) -> Decimal {
        let gathers = |status: &str| status == "GROUP" || status == "INFORMATION";
        let path = "AssociatedDocumentLineDocument/LineStatusReasonCode";
        let elements = self.root.all("SupplyChainTradeTransaction/IncludedSupplyChainTradeLineItem");
        let lines = self.invoice.lines.iter().enumerate();
        lines
            .filter(|(at, _)| {
                let status = elements.get(*at).and_then(|element| element.get(path));
                !status.is_some_and(|status| gathers(&status))
            })
            .map(|(_, line)| amount(&line.net_amount))
            .sum()
    }

    fn equal(&mut self, rule: &str, name: &str, given: &Option<String>, expected: Decimal) {
        // What is missing is told by a rule of its own, except where a sum exists without its parts' total.
        match number(given) {
            Some(given) if given != expected => {
                self.fault(rule, format!("{name} is {given}, its parts give {expected}"))
            }
            None if matches!(rule, "BR-CO-11" | "BR-CO-12") => {
                self.fault(rule, format!("{name} is missing, its parts give {expected}"));
            }
            _ => {}
        }
    }
}
