use std::collections::BTreeMap;

use base::{Digest, Slug};
use serde::{Deserialize, Serialize};

use crate::{Error, Fault};

/// A customer's block of 100 ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Its number; absent for a block the administrator chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
    /// First port of the block.
    pub port_base: u16,
}

/// Which customer of this installation has which block. Recorded once per customer and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotTable {
    /// Version of this format: 1.
    pub format: u32,
    /// By customer.
    pub slots: BTreeMap<Slug, Slot>,
}

impl Default for SlotTable {
    fn default() -> Self {
        Self { format: Self::FORMAT, slots: BTreeMap::new() }
    }
}

/// Slots of a host; the last one ends below the ports the kernel takes for outgoing connections.
const SLOTS: u16 = 200;
const BLOCK: u16 = 100;

impl SlotTable {
    /// The version of the format this program writes and reads.
    pub const FORMAT: u32 = 1;
    /// First port of slot 0: the block of the first customer of a host.
    pub const FIRST_PORT: u16 = 5100;

    /// Parses the table's file.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::FormatUnknown`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        crate::plan::parse("table of slots", bytes, Self::FORMAT)
    }

    /// Returns the bytes of the table's file.
    ///
    /// # Errors
    /// None in practice; the signature is that of every writer.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        crate::plan::pretty("table of slots", self)
    }

    /// Returns the block for `slug`: the recorded one, else `asked`, else slot 0 for the first customer, else the first
    /// block from `sha256(slug) mod 200` on that is neither recorded nor busy.
    ///
    /// Slot 0 is not given up when somebody holds its ports: the first customer's ports are the ones in every document, so
    /// that is a fault the administrator decides about.
    pub(crate) fn allocate(
        &self,
        slug: &Slug,
        asked: Option<u16>,
        is_busy: impl Fn(u16) -> bool,
    ) -> Result<Slot, Fault> {
        match (self.slots.get(slug), asked) {
            (Some(slot), Some(asked)) if slot.port_base != asked => {
                Err(Fault::PortBaseFixed { slug: slug.clone(), recorded: slot.port_base, asked })
            }
            (Some(slot), _) => Ok(*slot),
            (None, Some(port_base)) => match self.owner_of(port_base) {
                Some(owner) => Err(Fault::PortBaseTaken { port_base, owner: owner.clone() }),
                None => Ok(Slot { number: None, port_base }),
            },
            (None, None) if self.slots.is_empty() => Ok(numbered(0)),
            (None, None) => {
                let digest = Digest::of(slug.as_str().as_bytes());
                let start = remainder(digest.as_bytes(), SLOTS);
                let free = |slot: &Slot| self.owner_of(slot.port_base).is_none() && !is_busy(slot.port_base);
                (0..SLOTS).map(|step| numbered((start + step) % SLOTS)).find(free).ok_or(Fault::NoFreePorts)
            }
        }
    }

    /// Returns whose block overlaps the 100 ports from `port_base` on.
    fn owner_of(&self, port_base: u16) -> Option<&Slug> {
        self.slots.iter().find(|(_, slot)| slot.port_base.abs_diff(port_base) < BLOCK).map(|(slug, _)| slug)
    }
}

fn numbered(number: u16) -> Slot {
    Slot { number: Some(number), port_base: SlotTable::FIRST_PORT + BLOCK * number }
}

/// Reads the digest as one big-endian number.
fn remainder(bytes: &[u8; 32], modulus: u16) -> u16 {
    let modulus = u32::from(modulus);
    let remainder = bytes.iter().fold(0_u32, |rest, byte| (rest << 8 | u32::from(*byte)) % modulus);
    u16::try_from(remainder).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(text: &str) -> Slug {
        Slug::parse(text).unwrap()
    }

    fn table(entries: &[(&str, u16)]) -> SlotTable {
        let slots = entries.iter().map(|(name, number)| (slug(name), numbered(*number))).collect();
        SlotTable { format: 1, slots }
    }

    #[test]
    fn the_first_customer_has_slot_0_even_if_a_port_is_busy() {
        assert_eq!(table(&[]).allocate(&slug("eaton"), None, |_| true), Ok(numbered(0)));
        assert_eq!(numbered(0).port_base, 5100);
    }

    #[test]
    fn a_recorded_block_never_changes() {
        let table = table(&[("eaton", 7)]);
        assert_eq!(table.allocate(&slug("eaton"), None, |_| true), Ok(numbered(7)));
        assert_eq!(table.allocate(&slug("eaton"), Some(5800), |_| true), Ok(numbered(7)));
        assert!(matches!(table.allocate(&slug("eaton"), Some(6000), |_| false), Err(Fault::PortBaseFixed { .. })));
    }

    #[test]
    fn further_customers_start_at_their_hash_and_probe() {
        let first = table(&[("eaton", 0)]).allocate(&slug("siemens"), None, |_| false).unwrap();
        let number = first.number.unwrap();
        assert_eq!(number, 160, "`printf siemens | sha256sum` as a number, mod 200");
        let next = table(&[("eaton", 0), ("other", number)]).allocate(&slug("siemens"), None, |_| false).unwrap();
        assert_eq!(next.number, Some((number + 1) % 200));
        let busy = table(&[("eaton", 0)]).allocate(&slug("siemens"), None, |base| base == first.port_base).unwrap();
        assert_eq!(busy, next);
        assert_eq!(table(&[("eaton", 0)]).allocate(&slug("siemens"), None, |_| true), Err(Fault::NoFreePorts));
    }

    #[test]
    fn the_hash_is_the_digest_as_a_number() {
        let mut bytes = [0_u8; 32];
        bytes[30] = 1;
        bytes[31] = 44; // 300
        assert_eq!(remainder(&bytes, 200), 100);
    }

    #[test]
    fn two_blocks_never_overlap() {
        let table = table(&[("eaton", 0)]);
        assert!(matches!(table.allocate(&slug("b"), Some(5150), |_| false), Err(Fault::PortBaseTaken { .. })));
        assert_eq!(table.allocate(&slug("b"), Some(5200), |_| false), Ok(Slot { number: None, port_base: 5200 }));
    }

    #[test]
    fn the_table_comes_back_as_it_went() {
        let table = table(&[("eaton", 0), ("siemens", 12)]);
        assert_eq!(SlotTable::from_json(&table.to_json().unwrap()).unwrap(), table);
    }
}
