//! What an update takes of the disks beside the bundle itself: weighed before anything is fetched, and again before each rehearsal.

use base::{CustomerLayout, Layout};
use bundle::release::{Blob, BlobKind, Claim, Release};

use crate::program::linked;
use crate::{Error, tree};

/// What the new release writes on its own: logs, an index, a checkpoint.
const WRITES_BYTES: u64 = 256 << 20;

/// Of one customer: tables and adapters lie there twice during the rehearsal; a tenth more grows meanwhile.
pub(crate) fn rehearsal_bytes(customer: &CustomerLayout) -> u64 {
    let data = tree::bytes(&customer.lakehouse()) + tree::bytes(&customer.loras());
    data + data / 10 + WRITES_BYTES
}

/// Returns what unpacking, rehearsing and installing a release will need.
///
/// # Errors
/// [`Error::Install`] when it cannot be told who is installed.
pub fn claims(layout: &Layout, release: &Release) -> Result<Vec<Claim>, Error> {
    let slugs = install::installed(layout).map_err(Error::Install)?;
    // One customer after the other is rehearsed, and nothing of it stays.
    let rehearsal = slugs.iter().map(|slug| rehearsal_bytes(&layout.customer(slug))).max().unwrap_or_default();
    // The next program is about as large as this one: unpacked, in the rehearsal, and installed.
    let program = std::fs::metadata(linked(layout)).map_or(0, |found| found.len());
    let is_new = |blob: &&Blob| blob.kind == BlobKind::Model && !layout.model(&blob.digest).exists();
    let models = release.blobs.iter().filter(is_new).map(|blob| blob.size_bytes).sum();
    let claim =
        |path, what: &str, peak_bytes, final_bytes| Claim { path, what: what.to_owned(), peak_bytes, final_bytes };
    Ok(vec![
        claim(layout.update_rehearsal(), "the rehearsal", rehearsal + program + models, 0),
        claim(layout.update_programs(), "the new program", program, 0),
        claim(layout.bin_dir(), "its installation", program, program),
        claim(layout.models(), "new models", models, models),
    ])
}
