use std::collections::BTreeSet;

use base::{Digest, Layout};
use plan::Binary;

/// Returns the digests of the models and the binary that are already in place: what is there needs no room on the disk
/// any more. Only whole files get these names; their digests are checked when the plan is executed.
pub fn present(layout: &Layout, models: &[Digest], binary: &Binary) -> BTreeSet<Digest> {
    let is_there = |digest: &&Digest| layout.model(digest).is_file() || layout.model_folder(digest).is_dir();
    let models = models.iter().filter(is_there).copied();
    let has_binary = layout.binary_version(&binary.version, &binary.digest).is_file();
    models.chain(has_binary.then_some(binary.digest)).collect()
}

/// Returns the customers of this installation, by the table of slots.
///
/// # Errors
/// As [`crate::read_slots`].
pub fn installed(layout: &Layout) -> Result<Vec<base::Slug>, crate::Error> {
    Ok(crate::read_slots(layout)?.slots.into_keys().collect())
}
