//! The types of an invoice: the business terms of EN 16931-1, named, with their numbers (BT-…) where that helps. Numbers and
//! dates are the text of the file.

use serde::{Deserialize, Serialize};

/// What a file says as an invoice, and whether it may say so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InvoiceReport {
    /// Where in the file it is: the XML in a PDF, an attachment of a mail; none for the file itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    pub invoice: Invoice,
    pub verdict: Verdict,
}

/// The outcome of the rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// Whether nothing was found in any layer.
    pub valid: bool,
    /// Whether the invoice itself is valid, whatever the PDF around it is like.
    pub data_valid: bool,
    /// The layers that were looked at.
    pub layers: Vec<Layer>,
    pub findings: Vec<Finding>,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The PDF/A-3 around the XML.
    Container,
    /// Well-formed XML in a declared encoding.
    Xml,
    /// Elements in their order and number.
    Structure,
    /// The business rules of EN 16931 and, where it is one, the profile.
    Rules,
}

/// A rule an invoice breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's id: `BR-CO-10`; `XSD` for structure, `PDF` for the container.
    pub rule: String,
    pub layer: Layer,
    /// What is wrong, with the numbers.
    pub message: String,
    /// The element, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xpath: Option<String>,
}

/// How the invoice is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Syntax {
    /// OASIS UBL 2.1 `Invoice`.
    #[default]
    UblInvoice,
    /// OASIS UBL 2.1 `CreditNote`.
    UblCreditNote,
    /// UN/CEFACT `CrossIndustryInvoice` D16B and later (XRechnung, ZUGFeRD 2, Factur-X).
    Cii,
    /// `CrossIndustryDocument` of ZUGFeRD 1.0, and the `Invoice` of its release candidate.
    Zugferd1,
}

/// How much an invoice of its kind has to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Header and totals only.
    Minimum,
    /// Without lines.
    BasicWl,
    Basic,
    /// The whole core of the standard (COMFORT).
    #[default]
    En16931,
    /// More than the standard has (EXTENDED).
    Extended,
    Xrechnung,
    /// XRechnung with its extension, or the one for clean vehicles.
    XrechnungExtension,
    Peppol,
}

macro_rules! fields {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:tt $(<$inner:ty>)?,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(skip_serializing_if = "is_default")]
                pub $field: $kind $(<$inner>)?,
            )*
        }
    };
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An invoice or credit note.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Invoice {
    pub syntax: Syntax,
    pub profile: Profile,
    #[serde(flatten)]
    pub header: InvoiceHeader,
    pub seller: Trader,
    pub buyer: Trader,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payee: Option<Trader>,
    /// Who answers for the seller's VAT (BG-11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_representative: Option<Trader>,
    #[serde(skip_serializing_if = "is_default")]
    pub delivery: Delivery,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub payment_means: Vec<PaymentMeans>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub payment_terms: Vec<PaymentTerms>,
    pub lines: Vec<InvoiceLine>,
    /// Allowances and charges on the whole invoice (BG-20, BG-21).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowances: Vec<AllowanceCharge>,
    pub vat: Vec<VatBreakdown>,
    pub totals: Totals,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preceding: Vec<DocumentReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<DocumentReference>,
    /// Amounts third parties prepaid (XRechnung extension, BG-DEX-09).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub third_party_prepaid: Vec<String>,
}

fields! {
    /// What stands at the head of an invoice.
    InvoiceHeader {
        /// The specification it follows (BT-24) and the process it is part of (BT-23).
        specification: Option<String>,
        process: Option<String>,
        number: Option<String>,
        /// Dates as ISO 8601 where the file's form says what they are, else as written.
        issue_date: Option<String>,
        due_date: Option<String>,
        /// 380 invoice, 381 credit note, 384 correction, … (UNTDID 1001).
        type_code: Option<String>,
        currency: Option<String>,
        /// The currency VAT is accounted in (BT-6).
        vat_currency: Option<String>,
        tax_point_date: Option<String>,
        tax_point_code: Option<String>,
        buyer_reference: Option<String>,
        order: Option<String>,
        sales_order: Option<String>,
        contract: Option<String>,
        project: Option<String>,
        despatch_advice: Option<String>,
        receiving_advice: Option<String>,
        buyer_accounting: Option<String>,
        period: Period,
        notes: Vec<String>,
    }
}

fields! {
    /// A span of days.
    Period { start: Option<String>, end: Option<String>, }
}

fields! {
    /// A party.
    Trader {
        name: Option<String>,
        trade_name: Option<String>,
        ids: Vec<Identifier>,
        legal_id: Option<Identifier>,
        /// The VAT number (`DE123456789`) and the number the tax office knows the party by.
        vat_id: Option<String>,
        tax_id: Option<String>,
        address: Option<Address>,
        endpoint: Option<Identifier>,
        contact: Option<String>,
        phone: Option<String>,
        email: Option<String>,
        description: Option<String>,
    }
}

fields! {
    /// An identifier with the scheme it belongs to.
    Identifier { value: String, scheme: Option<String>, }
}

fields! {
    /// An address.
    Address {
        lines: Vec<String>,
        postcode: Option<String>,
        city: Option<String>,
        subdivision: Option<String>,
        country: Option<String>,
    }
}

fields! {
    /// Where to and when (BG-13).
    Delivery {
        name: Option<String>,
        location: Option<Identifier>,
        date: Option<String>,
        address: Option<Address>,
    }
}

fields! {
    /// How to pay (BG-16).
    PaymentMeans {
        code: Option<String>,
        text: Option<String>,
        reference: Option<String>,
        /// The accounts as given, most often IBANs.
        account: Option<String>,
        account_name: Option<String>,
        bank: Option<String>,
        card: Option<String>,
        mandate: Option<String>,
        debited_account: Option<String>,
    }
}

fields! {
    /// When to pay, with what discount.
    PaymentTerms { text: Option<String>, due_date: Option<String>, }
}

fields! {
    /// A line (BG-25).
    InvoiceLine {
        xpath: String,
        id: Option<String>,
        note: Option<String>,
        quantity: Option<String>,
        unit: Option<String>,
        net_amount: Option<String>,
        order_line: Option<String>,
        buyer_accounting: Option<String>,
        period: Period,
        allowances: Vec<AllowanceCharge>,
        net_price: Option<String>,
        gross_price: Option<String>,
        price_discount: Option<String>,
        price_quantity: Option<String>,
        price_unit: Option<String>,
        vat_category: Option<String>,
        vat_rate: Option<String>,
        name: Option<String>,
        description: Option<String>,
        seller_item_id: Option<String>,
        buyer_item_id: Option<String>,
        standard_item_id: Option<Identifier>,
        classifications: Vec<Identifier>,
        origin: Option<String>,
        attributes: Vec<Attribute>,
    }
}

fields! {
    /// A property of an item.
    Attribute { name: Option<String>, value: Option<String>, }
}

fields! {
    /// An allowance, or a charge.
    AllowanceCharge {
        is_charge: bool,
        amount: Option<String>,
        base: Option<String>,
        percent: Option<String>,
        reason: Option<String>,
        reason_code: Option<String>,
        vat_category: Option<String>,
        vat_rate: Option<String>,
    }
}

fields! {
    /// VAT of one category and rate (BG-23).
    VatBreakdown {
        taxable: Option<String>,
        tax: Option<String>,
        category: Option<String>,
        rate: Option<String>,
        exemption_reason: Option<String>,
        exemption_code: Option<String>,
    }
}

fields! {
    /// The totals (BG-22).
    Totals {
        lines: Option<String>,
        allowances: Option<String>,
        charges: Option<String>,
        without_vat: Option<String>,
        vat: Option<String>,
        vat_in_accounting_currency: Option<String>,
        with_vat: Option<String>,
        paid: Option<String>,
        rounding: Option<String>,
        due: Option<String>,
    }
}

fields! {
    /// Another document.
    DocumentReference {
        id: Option<String>,
        type_code: Option<String>,
        description: Option<String>,
        date: Option<String>,
        uri: Option<String>,
        file: Option<String>,
        media_type: Option<String>,
    }
}
