//! The table of port blocks, shared by all customers of an installation.

use base::{Layout, Slug, file};
use plan::journal::Evidence;
use plan::{Slot, SlotTable};

use crate::act::Probe;
use crate::files::brief_lock;
use crate::{Error, read_slots};

pub(super) fn probe(layout: &Layout, slug: &Slug, slot: Slot) -> Result<Probe, Error> {
    let table = read_slots(layout)?;
    Ok(if table.slots.get(slug) == Some(&slot) { Probe::Holds(Evidence::default()) } else { Probe::Missing })
}

pub(super) async fn apply(layout: &Layout, slug: &Slug, slot: Slot) -> Result<Evidence, Error> {
    change(layout, |table| {
        if let Some((owner, _)) =
            table.slots.iter().find(|(owner, taken)| *owner != slug && taken.port_base == slot.port_base)
        {
            return Err(Error::SlotTaken { port_base: slot.port_base, owner: owner.clone() });
        }
        table.slots.insert(slug.clone(), slot);
        Ok(())
    })
    .await?;
    Ok(Evidence::default().with("port_base", slot.port_base))
}

/// Forgets a customer whose data is gone.
pub(crate) async fn release(layout: &Layout, slug: &Slug) -> Result<(), Error> {
    change(layout, |table| {
        table.slots.remove(slug);
        Ok(())
    })
    .await
}

async fn change(layout: &Layout, edit: impl FnOnce(&mut SlotTable) -> Result<(), Error>) -> Result<(), Error> {
    let _held = brief_lock(&layout.slots_lock(), "change the table of slots").await?;
    let path = layout.slots_file();
    let mut table = read_slots(layout)?;
    edit(&mut table)?;
    let bytes = table.to_json().map_err(|source| Error::Format { path: path.clone(), source })?;
    file::write_atomic(&path, &bytes, 0o644).map_err(Error::file("write", &path))
}
