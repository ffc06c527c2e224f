//! Bytes of any office format → a [`Document`]: text, tables and the place of each, then chunks of it.
//!
//! [`read`] looks at the content first and at the name second, hands the bytes to the maintained extractor of that format
//! and returns an [`Outcome`]: text, or the reason why there is none. [`chunk`] cuts a document by its structure, and
//! [`knowledge`] says which products, certificates, complaints and companies its passages name.
//! [`worker`] runs [`read`] in child processes that [`sandbox`] has stripped of files, network and new programs; [`handler`] runs
//! the small programs that read formats nobody here knows in processes of the same kind.
//!
//! Invariants:
//! - nothing here writes a file, opens a network connection or reads the environment;
//! - the same bytes under the same name give the same result;
//! - every refusal is an [`Error`] whose text a person understands; a reader that panics is one of them;
//! - archives, mails and entity definitions are bounded in depth, count and unpacked bytes ([`Limits`]);
//! - the chunks of a document, in order, hold all its text, and none is larger than the limit by the caller's counter.
//!
//! It refuses to recognise text in images (a scanned page is reported as such) and to guess passwords.

mod archive;
mod catalog;
mod chunk;
mod code_page;
mod delimited;
mod detect;
mod encoding;
mod entity;
mod error;
mod format;
pub mod handler;
mod invoice;
mod json;
mod language;
mod mail;
mod markdown;
mod office;
mod pdf;
mod read;
mod render;
pub mod sandbox;
mod sentence;
mod sheet;
mod table;
mod text;
pub mod worker;
mod xml;

pub use catalog::{
    CatalogEnd, CatalogFormat, CatalogGroup, CatalogHeader, CatalogItem, CatalogReader, ClassSystem, Coded, Extension,
    Feature, FeatureSet, GroupMember, Logistics, Mime, OrderDetails, Packing, Party, Price, Product, Range, Reference,
    Tax, Text, TradeItem, Variant, header_blocks, product_blocks, sniff as sniff_catalog,
};
pub use chunk::{Chunk, ChunkLimits, chunk};
pub use entity::{About, Entity, EntityKind, Knowledge, Relation, RelationKind, key_of, keys_of, knowledge};
pub use error::Error;
pub use format::{Block, BlockKind, Document, Limits, Outcome};
pub use invoice::{
    Address, AllowanceCharge, Attribute, Delivery, DocumentReference, Finding, Identifier, Invoice, InvoiceHeader,
    InvoiceLine, InvoiceReport, Layer, PaymentMeans, PaymentTerms, Period, Profile, Syntax, Totals, Trader,
    VatBreakdown, Verdict, read_invoice,
};
pub use read::{finish, read};
pub use render::{plain_text, to_markdown};
