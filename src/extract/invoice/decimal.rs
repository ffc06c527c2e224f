//! Exact decimals: what an invoice adds up is not a matter of floating point.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Mul, Sub};

/// Digits a number may have before and after its point: far beyond any invoice, and products of two still fit.
const MAX_DIGITS: usize = 18;

/// A decimal number, `units × 10^-scale`. Sums, differences and products are exact.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decimal {
    units: i128,
    scale: u32,
}

impl Decimal {
    pub(super) const ZERO: Self = Self { units: 0, scale: 0 };
    pub(super) const ONE: Self = Self { units: 1, scale: 0 };
    /// A hundredth: the unit amounts are given in.
    pub(super) const CENT: Self = Self { units: 1, scale: 2 };

    /// Reads `xs:decimal`: a sign, digits, a point, digits; nothing else, no comma, no exponent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = whole.trim_start_matches('0');
        let part = part.trim_end_matches('0');
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if !all_digits || !digits.bytes().any(|byte| byte.is_ascii_digit()) || part.contains('.') {
            return None;
        }
        if whole.len() + part.len() > MAX_DIGITS {
            return None;
        }
        let mut units: i128 = 0;
        for byte in whole.bytes().chain(part.bytes()) {
            units = units * 10 + i128::from(byte - b'0');
        }
        Some(Self { units: if negative { -units } else { units }, scale: part.len() as u32 })
    }

    pub(super) fn is_zero(self) -> bool {
        self.units == 0
    }

    pub(super) fn is_negative(self) -> bool {
        self.units < 0
    }

    pub(super) fn abs(self) -> Self {
        Self { units: self.units.saturating_abs(), ..self }
    }

    /// A hundredth of it: a percentage as a factor.
    pub(super) fn percent(self) -> Self {
        Self { scale: self.scale + 2, ..self }
    }

    /// Rounds to a number of places as XPath does: a half goes up, also below zero.
    pub(super) fn round(self, places: u32) -> Self {
        if self.scale <= places {
            return self;
        }
        let divisor = power(self.scale - places);
        // floor(x + 1/2)
        let units = (self.units.saturating_mul(2).saturating_add(divisor)).div_euclid(divisor.saturating_mul(2));
        Self { units, scale: places }
    }

    /// Divides; the quotient is cut after twelve places. `None` for a divisor of zero.
    pub(super) fn divide(self, divisor: Self) -> Option<Self> {
        let places = 12 + divisor.scale;
        let scaled = self.rescaled(self.scale.max(places));
        let units = scaled.units.checked_div(divisor.units)?;
        Some(Self { units, scale: scaled.scale - divisor.scale })
    }

    fn rescaled(self, scale: u32) -> Self {
        if scale <= self.scale {
            return self;
        }
        Self { units: self.units.saturating_mul(power(scale - self.scale)), scale }
    }
}

fn power(exponent: u32) -> i128 {
    10_i128.saturating_pow(exponent)
}

impl Add for Decimal {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let scale = self.scale.max(other.scale);
        Self { units: self.rescaled(scale).units.saturating_add(other.rescaled(scale).units), scale }
    }
}

impl Sub for Decimal {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let scale = self.scale.max(other.scale);
        Self { units: self.rescaled(scale).units.saturating_sub(other.rescaled(scale).units), scale }
    }
}

impl Mul for Decimal {
    type Output = Self;

    #[expect(clippy::suspicious_arithmetic_impl, reason = "the places of the factors add up")]
    fn mul(self, other: Self) -> Self {
        Self { units: self.units.saturating_mul(other.units), scale: self.scale + other.scale }
    }
}

impl std::iter::Sum for Decimal {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Self::add)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        self.rescaled(scale).units.cmp(&other.rescaled(scale).units)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:0width$}", self.units.unsigned_abs(), width = self.scale as usize + 1);
        let (whole, part) = digits.split_at(digits.len() - self.scale as usize);
        let sign = if self.units < 0 { "-" } else { "" };
        if part.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{part}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn sums_that_floats_get_wrong_are_right() {
        assert_eq!(d("0.1") + d("0.2"), d("0.30"));
        assert_eq!(d("1.005") * d("100"), d("100.5"));
        assert_eq!((d("473.00") * d("19.00").percent()).round(2).to_string(), "89.87");
        assert_eq!((0..1000).map(|_| d("0.001")).sum::<Decimal>(), Decimal::ONE);
        assert_eq!(d("-0.5") - d("0.25"), d("-0.75"));
    }

    #[test]
    fn a_half_goes_up() {
        for (number, expect) in
            [("0.125", "0.13"), ("-0.125", "-0.12"), ("1.995", "2.00"), ("-1.999", "-2.00"), ("7", "7")]
        {
            assert_eq!(d(number).round(2), d(expect), "{number}");
        }
        assert_eq!(d("10").divide(d("3")).unwrap().round(4).to_string(), "3.3333");
        assert_eq!(d("10").divide(Decimal::ZERO), None);
    }

    #[test]
    fn only_decimals_are_decimals() {
        for text in ["", ".", "-", "1,5", "1e3", "0x1", "1.2.3", "NaN", "12345678901234567890"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(d(" +01.50 ").to_string(), "1.5");
        assert_eq!(d("-.5").to_string(), "-0.5");
    }
}
