use base::{Digest, Slug, Timestamp};
use host::MachineIdentity;
use license::{Edition, Entitlement, MachineFact, Standing, machine_hash};

use crate::{Fault, Note};

/// What a plan takes from an entitlement. Outside this room it can only be made from one.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    pub(crate) license_id: String,
    /// Absent for a license anybody may use.
    pub(crate) customer: Option<Slug>,
    pub(crate) max_documents: u64,
    pub(crate) gpus: u32,
    pub(crate) not_before: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) standing: Standing,
}

/// Returns the hashes of the marks this machine has, for [`Entitlement::check_machine`].
pub fn machine_hashes(machine: &MachineIdentity) -> Vec<Digest> {
    [
        (MachineFact::MachineId, &machine.machine_id),
        (MachineFact::DmiUuid, &machine.dmi_uuid),
        (MachineFact::RootFileSystemUuid, &machine.root_file_system_uuid),
        (MachineFact::FirstMac, &machine.first_mac),
    ]
    .into_iter()
    .filter_map(|(fact, value)| Some(machine_hash(fact, value.as_deref()?)))
    .collect()
}

impl Grant {
    /// Takes what a plan needs. `standing` is that of the entitlement at the time of planning.
    pub fn new(entitlement: &Entitlement, standing: Standing) -> Self {
        // A demo license is there to be tried by anybody, under any name.
        let is_bound = entitlement.edition() != Edition::Demo;
        Self {
            license_id: entitlement.license_id().to_owned(),
            customer: is_bound.then(|| entitlement.customer_slug().clone()),
            max_documents: entitlement.max_documents(),
            gpus: entitlement.gpus(),
            not_before: entitlement.not_before(),
            expires: entitlement.expires(),
            standing,
        }
    }

    pub(crate) fn faults(&self, slug: Option<&Slug>, is_installed: bool) -> Vec<Fault> {
        let mut faults = Vec::new();
        match &self.customer {
            Some(licensed) if slug.is_some_and(|slug| slug != licensed) => {
                faults
                    .extend(slug.map(|slug| Fault::LicenseForOther { licensed: licensed.clone(), slug: slug.clone() }));
            }
            _ => {}
        }
        match self.standing {
            Standing::NotYet => faults.push(Fault::LicenseNotYet { from: self.not_before }),
            // Expiry never stops what is installed; it stops what would be new.
            Standing::Expired if !is_installed => faults.push(Fault::LicenseExpired { since: self.expires }),
            _ => {}
        }
        faults
    }

    pub(crate) fn allows_training(&self) -> bool {
        self.standing.allows_change()
    }

    pub(crate) fn note(&self) -> Option<Note> {
        match self.standing {
            Standing::Warning { days } => Some(Note::LicenseEnds { days, is_grace: false }),
            Standing::Grace { days } => Some(Note::LicenseEnds { days, is_grace: true }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_cannot_be_read_gives_no_hash() {
        let machine = MachineIdentity {
            machine_id: Some("abc".to_owned()),
            dmi_uuid: None,
            root_file_system_uuid: None,
            first_mac: Some("02:00:00:00:00:01".to_owned()),
        };
        let expect =
            [machine_hash(MachineFact::MachineId, "abc"), machine_hash(MachineFact::FirstMac, "02:00:00:00:00:01")];
        assert_eq!(machine_hashes(&machine), expect);
    }
}
