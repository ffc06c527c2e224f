//! Lines, and the allowances and charges of lines and of the whole: BR-21 to BR-44, BR-54, BR-64, BR-65.

use super::{Check, amount, number};
use crate::invoice::decimal::Decimal;
use crate::invoice::format::{AllowanceCharge, InvoiceLine, Profile};

impl Check<'_> {
    pub(super) fn lines(&mut self) {
        let invoice = self.invoice;
        for line in &invoice.lines {
            let mut faults = Vec::new();
            let mut require = |holds: bool, rule: &'static str, message: String| {
                if !holds {
                    faults.push((rule, message));
                }
            };
            let is_old = self.is_old();
            // Lines of ZUGFeRD 1.0 that only hold a note are no items.
            if is_old && line.net_amount.is_none() {
                continue;
            }
            require(line.id.is_some() || is_old, "BR-21", "the line has no number (BT-126)".to_owned());
            require(line.quantity.is_some(), "BR-22", "the line has no quantity (BT-129)".to_owned());
            require(line.unit.is_some() || is_old, "BR-23", "the quantity has no unit (BT-130)".to_owned());
            require(line.net_amount.is_some(), "BR-24", "the line has no amount (BT-131)".to_owned());
            require(line.name.is_some(), "BR-25", "the item has no name (BT-153)".to_owned());
            require(line.net_price.is_some() || is_old, "BR-26", "the item has no price (BT-146)".to_owned());
            for (rule, price) in [("BR-27", &line.net_price), ("BR-28", &line.gross_price)] {
                let negative = number(price).is_some_and(Decimal::is_negative);
                require(!negative, rule, "the price is negative".to_owned());
            }
            require(
                line.vat_category.is_some() || is_old,
                "BR-CO-04",
                "the line has no VAT category (BT-151)".to_owned(),
            );
            for attribute in &line.attributes {
                let whole = attribute.name.is_some() && attribute.value.is_some();
                require(whole, "BR-54", "a property without a name or a value".to_owned());
            }
            if let Some(id) = &line.standard_item_id {
                require(
                    id.scheme.is_some(),
                    "BR-64",
                    format!("the item's standard number `{}` has no scheme", id.value),
                );
            }
            for class in &line.classifications {
                require(class.scheme.is_some(), "BR-65", format!("the item's class `{}` has no scheme", class.value));
            }
            for allowance in &line.allowances {
                let (missing, reason, reason_co) =
                    if allowance.is_charge { ("BR-43", "BR-44", "BR-CO-24") } else { ("BR-41", "BR-42", "BR-CO-23") };
                require(allowance.amount.is_some(), missing, "an allowance or charge without an amount".to_owned());
                if !is_old && !has_reason(allowance) {
                    require(false, reason, "an allowance or charge without a reason".to_owned());
                    require(false, reason_co, "an allowance or charge without a reason".to_owned());
                }
            }
            if let Some((expected, given)) = self.line_differs(line) {
                let message = format!("the line's amount is {given}, its quantity and price give {expected}");
                require(false, "PEPPOL-EN16931-R120", message);
            }
            for (rule, message) in faults {
                self.fault_at(rule, message, Some(line.xpath.clone()));
            }
        }
    }

    /// As rule R120 of Peppol and XRechnung has it: quantity × price, less allowances, is the amount, within two cents for rounding.
    /// Insurers and others give the amount by the gross price; only an amount that neither price explains is a fault.
    fn line_differs(&self, line: &InvoiceLine) -> Option<(Decimal, Decimal)> {
        if self.is_old() || matches!(self.invoice.profile, Profile::Extended | Profile::XrechnungExtension) {
            return None;
        }
        let (quantity, given) = (number(&line.quantity)?, number(&line.net_amount)?);
        let base = number(&line.price_quantity).filter(|base| !base.is_zero()).unwrap_or(Decimal::ONE);
        let allowances: Decimal = line
            .allowances
            .iter()
            .map(|allowance| {
                let amount = amount(&allowance.amount);
                if allowance.is_charge { amount } else { Decimal::ZERO - amount }
            })
            .sum();
        let by = |price: Decimal| Some((quantity * price).divide(base)? + allowances);
        let room = Decimal::CENT + Decimal::CENT;
        let explains = |expected: Decimal| (expected - given).abs() <= room;
        let expected = by(number(&line.net_price)?)?;
        let by_gross = number(&line.gross_price).and_then(by);
        (!explains(expected) && !by_gross.is_some_and(explains)).then_some((expected.round(2), given))
    }

    /// The allowances and charges on the whole invoice.
    pub(super) fn allowances(&mut self) {
        let invoice = self.invoice;
        for allowance in &invoice.allowances {
            let [missing, category, reason, reason_co] = if allowance.is_charge {
                ["BR-36", "BR-37", "BR-38", "BR-CO-22"]
            } else {
                ["BR-31", "BR-32", "BR-33", "BR-CO-21"]
            };
            self.require(allowance.amount.is_some(), missing, "an allowance or charge without an amount");
            self.require(allowance.vat_category.is_some(), category, "an allowance or charge without a VAT category");
            if !has_reason(allowance) {
                self.fault(reason, "an allowance or charge without a reason");
                self.fault(reason_co, "an allowance or charge without a reason");
            }
        }
    }
}

fn has_reason(allowance: &AllowanceCharge) -> bool {
    allowance.reason.is_some() || allowance.reason_code.is_some()
}
