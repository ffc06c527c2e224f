//! VAT by category: BR-45 to BR-48, and BR-S, BR-Z, BR-E, BR-AE, BR-IC, BR-G, BR-O, BR-AF, BR-AG with their numbers 01 to 14.

use super::{Check, amount, number};
use crate::invoice::decimal::Decimal;
use crate::invoice::format::{AllowanceCharge, VatBreakdown};

/// What a category asks for.
struct Category {
    code: &'static str,
    /// The name its rules have.
    rules: &'static str,
    rate: Rate,
    seller: Seller,
    buyer: Buyer,
    /// Whether a reason for the exemption must be given; where not, none may be.
    reason: bool,
    /// Whether there is one breakdown per rate, and one may be missing a unit by rounding.
    by_rate: bool,
}

#[derive(PartialEq)]
enum Rate {
    Positive,
    Zero,
    NotNegative,
    None,
}

#[derive(PartialEq)]
enum Seller {
    /// A VAT number, the tax office's number, or a representative's VAT number.
    Any,
    /// A VAT number, of the seller or the representative.
    Vat,
    /// No VAT number at all.
    None,
}

#[derive(PartialEq)]
enum Buyer {
    Anyone,
    Vat,
    VatOrRegistered,
    NoVat,
}

const CATEGORIES: [Category; 9] = [
    Category {
        code: "S",
        rules: "S",
        rate: Rate::Positive,
        seller: Seller::Any,
        buyer: Buyer::Anyone,
        reason: false,
        by_rate: true,
    },
    Category {
        code: "Z",
        rules: "Z",
        rate: Rate::Zero,
        seller: Seller::Any,
        buyer: Buyer::Anyone,
        reason: false,
        by_rate: false,
    },
    Category {
        code: "E",
        rules: "E",
        rate: Rate::Zero,
        seller: Seller::Any,
        buyer: Buyer::Anyone,
        reason: true,
        by_rate: false,
    },
    Category {
        code: "AE",
        rules: "AE",
        rate: Rate::Zero,
        seller: Seller::Any,
        buyer: Buyer::VatOrRegistered,
        reason: true,
        by_rate: false,
    },
    Category {
        code: "K",
        rules: "IC",
        rate: Rate::Zero,
        seller: Seller::Vat,
        buyer: Buyer::Vat,
        reason: true,
        by_rate: false,
    },
    Category {
        code: "G",
        rules: "G",
        rate: Rate::Zero,
        seller: Seller::Vat,
        buyer: Buyer::Anyone,
        reason: true,
        by_rate: false,
    },
    Category {
        code: "O",
        rules: "O",
        rate: Rate::None,
        seller: Seller::None,
        buyer: Buyer::NoVat,
        reason: true,
        by_rate: false,
    },
    Category {
        code: "L",
        rules: "AF",
        rate: Rate::NotNegative,
        seller: Seller::Any,
        buyer: Buyer::Anyone,
        reason: false,
        by_rate: true,
    },
    Category {
        code: "M",
        rules: "AG",
        rate: Rate::NotNegative,
        seller: Seller::Any,
        buyer: Buyer::Anyone,
        reason: false,
        by_rate: true,
    },
];

impl Check<'_> {
    pub(super) fn vat(&mut self) {
        let invoice = self.invoice;
        if self.is_minimum() {
            return;
        }
        self.allowances();
        for vat in &invoice.vat {
            self.require(vat.taxable.is_some(), "BR-45", "a VAT breakdown without the taxable amount (BT-116)");
            self.require(vat.tax.is_some(), "BR-46", "a VAT breakdown without the amount of VAT (BT-117)");
            self.require(vat.category.is_some(), "BR-47", "a VAT breakdown without a category (BT-118)");
            let has_rate = vat.rate.is_some() || vat.category.as_deref() == Some("O");
            self.require(has_rate, "BR-48", "a VAT breakdown without a rate (BT-119)");
        }
        for category in &CATEGORIES {
            self.category(category);
        }
        self.only_outside_vat();
    }

    fn category(&mut self, category: &Category) {
        let invoice = self.invoice;
        let is = |code: &Option<String>| code.as_deref() == Some(category.code);
        let rule = |number: &str| format!("BR-{}-{number}", category.rules);
        let breakdowns: Vec<&VatBreakdown> = invoice.vat.iter().filter(|vat| is(&vat.category)).collect();
        let lines = invoice.lines.iter().filter(|line| is(&line.vat_category));
        let on_whole = |charge: bool| {
            invoice
                .allowances
                .iter()
                .filter(move |allowance| allowance.is_charge == charge && is(&allowance.vat_category))
        };
        let uses = [lines.clone().next().is_some(), on_whole(false).next().is_some(), on_whole(true).next().is_some()];
        let used = uses.contains(&true);
        let code = category.code;
        if category.by_rate {
            // Without lines (BASIC WL) a breakdown has nothing it could stand for.
            if used && breakdowns.is_empty() || self.has_lines() && !used && !breakdowns.is_empty() {
                self.fault(rule("01"), format!("category {code} is used, or broken down, but not both"));
            }
        } else if (used || !breakdowns.is_empty()) && breakdowns.len() != 1 {
            self.fault(rule("01"), format!("category {code} is used and has {} breakdowns", breakdowns.len()));
        }
        for (number, used) in ["02", "03", "04"].into_iter().zip(uses) {
            if used && let Some(message) = self.who(category) {
                self.fault(rule(number), message);
            }
        }
        let wrong = |rate: &Option<String>| match (&category.rate, number(rate)) {
            (Rate::Positive, Some(rate)) => rate <= Decimal::ZERO,
            (Rate::Zero, Some(rate)) => !rate.is_zero(),
            (Rate::NotNegative, Some(rate)) => rate.is_negative(),
            (Rate::None, None) => rate.is_some(),
            (Rate::None, Some(_)) | (_, None) => true,
        };
        let wrong_rate = |number: &str, rate: &Option<String>| {
            let given = rate.as_deref().unwrap_or("no rate");
            wrong(rate).then(|| (rule(number), format!("{given} is no rate for category {code}")))
        };
        let mut faults: Vec<(String, String)> = lines.filter_map(|line| wrong_rate("05", &line.vat_rate)).collect();
        faults.extend(on_whole(false).filter_map(|allowance| wrong_rate("06", &allowance.vat_rate)));
        faults.extend(on_whole(true).filter_map(|allowance| wrong_rate("07", &allowance.vat_rate)));
        for vat in breakdowns {
            faults.extend(self.taxable(category, vat).map(|message| (rule("08"), message)));
            let tax = amount(&vat.tax);
            if !category.by_rate && !tax.is_zero() {
                faults.push((rule("09"), format!("VAT of {tax} in category {code}, where there is none")));
            }
            let explained = vat.exemption_reason.is_some() || vat.exemption_code.is_some();
            if explained != category.reason {
                let word = if category.reason { "a" } else { "no" };
                faults.push((rule("10"), format!("category {code} has {word} reason for exemption")));
            }
        }
        for (rule, message) in faults {
            self.fault(rule, message);
        }
        if category.code == "K" && invoice.vat.iter().any(|vat| is(&vat.category)) {
            let period = &invoice.header.period;
            let dated = invoice.delivery.date.is_some() || period.start.is_some() || period.end.is_some();
            self.require(dated, "BR-IC-11", "a supply within the Union without a day of delivery (BT-72) or a period");
            let country = invoice.delivery.address.as_ref().is_some_and(|address| address.country.is_some());
            self.require(country, "BR-IC-12", "a supply within the Union without the country delivered to (BT-80)");
        }
    }

    /// What the category asks of seller and buyer and is not there.
    fn who(&self, category: &Category) -> Option<String> {
        let invoice = self.invoice;
        let agent = invoice.tax_representative.as_ref().is_some_and(|agent| agent.vat_id.is_some());
        let vat = invoice.seller.vat_id.is_some() || agent;
        let seller = match category.seller {
            Seller::Any => vat || invoice.seller.tax_id.is_some(),
            Seller::Vat => vat,
            Seller::None => !vat,
        };
        let buyer_vat = invoice.buyer.vat_id.is_some();
        let buyer = match category.buyer {
            Buyer::Anyone => true,
            Buyer::Vat => buyer_vat,
            Buyer::VatOrRegistered => buyer_vat || invoice.buyer.legal_id.is_some(),
            Buyer::NoVat => !buyer_vat,
        };
        let wanted = |wanted: bool| if wanted { "needs" } else { "forbids" };
        if !seller {
            let word = wanted(category.seller != Seller::None);
            return Some(format!("category {} {word} a VAT number of the seller (BT-31, BT-32, BT-63)", category.code));
        }
        if !buyer {
            let word = wanted(category.buyer != Buyer::NoVat);
            return Some(format!("category {} {word} a VAT number of the buyer (BT-48)", category.code));
        }
        None
    }

    /// Whether the taxable amount is the sum of what it is made of.
    fn taxable(&self, category: &Category, vat: &VatBreakdown) -> Option<String> {
        let invoice = self.invoice;
        if !self.has_lines() || invoice.lines.is_empty() {
            return None;
        }
        let rate = number(&vat.rate);
        let mine = |code: &Option<String>, its: &Option<String>| {
            code.as_deref() == Some(category.code) && (!category.by_rate || number(its) == rate)
        };
        let lines = invoice.lines.iter().filter(|line| mine(&line.vat_category, &line.vat_rate));
        let lines: Decimal = lines.map(|line| amount(&line.net_amount)).sum();
        let signed = |allowance: &AllowanceCharge| {
            let amount = amount(&allowance.amount);
            if allowance.is_charge { amount } else { Decimal::ZERO - amount }
        };
        let others = invoice.allowances.iter().filter(|allowance| mine(&allowance.vat_category, &allowance.vat_rate));
        let expected = lines + others.map(signed).sum();
        let given = amount(&vat.taxable);
        let difference = (given - expected).abs();
        let holds = if category.by_rate { difference < Decimal::ONE } else { difference.is_zero() };
        (!holds).then(|| format!("the taxable amount is {given}, the lines and allowances give {expected}"))
    }

    /// BR-O-11 to 14: what is outside VAT stands alone.
    fn only_outside_vat(&mut self) {
        let invoice = self.invoice;
        let is_o = |code: &Option<String>| code.as_deref() == Some("O");
        let other = |code: &Option<String>| code.is_some() && !is_o(code);
        if !invoice.vat.iter().any(|vat| is_o(&vat.category)) {
            return;
        }
        let allowance = |charge: bool| {
            invoice.allowances.iter().any(|allowance| allowance.is_charge == charge && other(&allowance.vat_category))
        };
        for (rule, mixed) in [
            ("BR-O-11", invoice.vat.iter().any(|vat| other(&vat.category))),
            ("BR-O-12", invoice.lines.iter().any(|line| other(&line.vat_category))),
            ("BR-O-13", allowance(false)),
            ("BR-O-14", allowance(true)),
        ] {
            self.require(!mixed, rule, "category O (outside VAT) stands beside another");
        }
    }
}
