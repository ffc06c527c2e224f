//! The business rules of EN 16931-1, by the ids the standard gives them. Each is written from its text in the standard; how exactly a
//! number must agree is what the published test artefacts say.

mod head;
mod lines;
mod profile;
mod sums;
mod vat;

use super::decimal::Decimal;
use super::format::{AllowanceCharge, Finding, Invoice, Layer, Profile, Syntax};
use super::tree::Element;

/// What is looked at, and what was found.
pub(super) struct Check<'a> {
    invoice: &'a Invoice,
    root: Element<'a>,
    findings: Vec<Finding>,
}

/// Checks the rules that hold for the invoice's profile.
pub(super) fn check(invoice: &Invoice, root: Element<'_>, embedded: bool) -> Vec<Finding> {
    let mut check = Check { invoice, root, findings: Vec::new() };
    check.head();
    check.sums();
    if invoice.syntax != Syntax::Zugferd1 {
        check.vat();
        check.decimals();
    }
    if check.has_lines() {
        check.lines();
    }
    check.profile(embedded);
    check.findings
}

impl Check<'_> {
    /// Notes a broken rule.
    fn fault(&mut self, rule: impl Into<String>, message: impl Into<String>) {
        self.fault_at(rule, message, None);
    }

    fn fault_at(&mut self, rule: impl Into<String>, message: impl Into<String>, xpath: Option<String>) {
        // A hostile invoice breaks a rule in each of a million lines; a person needs the first few.
        if self.findings.len() < 1_000 {
            self.findings.push(Finding { rule: rule.into(), layer: Layer::Rules, message: message.into(), xpath });
        }
    }

    fn require(&mut self, holds: bool, rule: &str, message: &str) {
        if !holds {
            self.fault(rule, message);
        }
    }

    /// Whether an invoice of this profile has lines at all.
    fn has_lines(&self) -> bool {
        !matches!(self.invoice.profile, Profile::Minimum | Profile::BasicWl)
    }

    fn is_minimum(&self) -> bool {
        self.invoice.profile == Profile::Minimum
    }

    /// ZUGFeRD 1.0 is older than the standard: only what both ask for is asked of it.
    fn is_old(&self) -> bool {
        self.invoice.syntax == Syntax::Zugferd1
    }

    /// BR-DEC: amounts have two places at most.
    fn decimals(&mut self) {
        let invoice = self.invoice;
        let totals = &invoice.totals;
        let mut amounts: Vec<(&str, &Option<String>)> = vec![
            ("BR-DEC-09", &totals.lines),
            ("BR-DEC-10", &totals.allowances),
            ("BR-DEC-11", &totals.charges),
            ("BR-DEC-12", &totals.without_vat),
            ("BR-DEC-13", &totals.vat),
            ("BR-DEC-14", &totals.with_vat),
            ("BR-DEC-15", &totals.vat_in_accounting_currency),
            ("BR-DEC-16", &totals.paid),
            ("BR-DEC-17", &totals.rounding),
            ("BR-DEC-18", &totals.due),
        ];
        let of_allowance = |allowance: &AllowanceCharge, rules: [&'static str; 4]| {
            if allowance.is_charge { [rules[2], rules[3]] } else { [rules[0], rules[1]] }
        };
        for allowance in &invoice.allowances {
            let [amount, base] = of_allowance(allowance, ["BR-DEC-01", "BR-DEC-02", "BR-DEC-05", "BR-DEC-06"]);
            amounts.extend([(amount, &allowance.amount), (base, &allowance.base)]);
        }
        for vat in &invoice.vat {
            amounts.extend([("BR-DEC-19", &vat.taxable), ("BR-DEC-20", &vat.tax)]);
        }
        for line in &invoice.lines {
            amounts.push(("BR-DEC-23", &line.net_amount));
            for allowance in &line.allowances {
                let [amount, base] = of_allowance(allowance, ["BR-DEC-24", "BR-DEC-25", "BR-DEC-27", "BR-DEC-28"]);
                amounts.extend([(amount, &allowance.amount), (base, &allowance.base)]);
            }
        }
        for (rule, amount) in amounts {
            let places = amount.as_deref().and_then(|text| text.split_once('.')).map_or(0, |(_, places)| places.len());
            if places > 2 {
                self.fault(
                    rule,
                    format!("the amount {} has more than two decimal places", amount.as_deref().unwrap_or_default()),
                );
            }
        }
    }
}

/// A number of the invoice; an absent or unreadable one is `None`.
fn number(text: &Option<String>) -> Option<Decimal> {
    text.as_deref().and_then(Decimal::parse)
}

/// A number of the invoice; an absent one is zero, as in the sums of the standard.
fn amount(text: &Option<String>) -> Decimal {
    number(text).unwrap_or_default()
}
