use std::collections::HashSet;

use base::Digest;
use serde::{Deserialize, Serialize};

use crate::{Entitlement, Error};

/// Binds a license to a machine: at least `needed` of `hashes` must be found on it, so that one replaced part does not
/// cost the customer the license. Hashes are made by [`machine_hash`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineBinding {
    pub needed: usize,
    pub hashes: Vec<Digest>,
}

/// A mark of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineFact {
    MachineId,
    DmiUuid,
    RootFileSystemUuid,
    FirstMac,
}

/// Returns the hash a license holds of a machine's mark: sha256 over a fixed label, the kind of mark, and the value in
/// lower case without surrounding blanks. The label keeps the hash from being looked up in tables made for other uses.
pub fn machine_hash(fact: MachineFact, value: &str) -> Digest {
    let kind = match fact {
        MachineFact::MachineId => "machine-id",
        MachineFact::DmiUuid => "dmi-uuid",
        MachineFact::RootFileSystemUuid => "root-file-system-uuid",
        MachineFact::FirstMac => "first-mac",
    };
    let value = value.trim().to_lowercase();
    Digest::of(format!("0711 machine v1\0{kind}\0{value}").as_bytes())
}

const MAX_HASHES: usize = 16;

impl MachineBinding {
    /// Checks that the binding can be met and does bind.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let distinct: HashSet<&Digest> = self.hashes.iter().collect();
        let reason = if distinct.len() != self.hashes.len() {
            "names a hash twice".to_owned()
        } else if self.hashes.len() > MAX_HASHES {
            format!("has {} hashes, more than {MAX_HASHES}", self.hashes.len())
        } else if self.needed == 0 || self.needed > self.hashes.len() {
            format!("needs {} of {} hashes", self.needed, self.hashes.len())
        } else {
            return Ok(());
        };
        Err(Error::Field { field: "machine", reason })
    }
}

impl Entitlement {
    /// Checks the binding, if there is one, against the hashes found on this machine.
    pub fn check_machine(&self, found: &[Digest]) -> Result<(), Error> {
        let Some(binding) = self.machine() else {
            return Ok(());
        };
        let matching = binding.hashes.iter().filter(|hash| found.contains(hash)).count();
        if matching >= binding.needed {
            return Ok(());
        }
        Err(Error::OtherMachine { matching, needed: binding.needed })
    }
}
