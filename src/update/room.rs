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

/// Removes from the staging folder what an earlier release left there: one that was refused, or overtaken while it was fetched.
///
/// # Errors
/// [`Error::File`].
pub fn tidy_staging(layout: &Layout, release: &Release) -> Result<(), Error> {
    let staging = layout.update_staging();
    for dir in [staging.join("blobs/sha256"), staging.join(".fetching")] {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Parts are called by the digest too, with an ending.
            let is_blob = name.len() >= 64 && name.bytes().take(64).all(|byte| byte.is_ascii_hexdigit());
            if is_blob && !release.blobs.iter().any(|blob| name.starts_with(&blob.digest.hex())) {
                tree::remove(&entry.path())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base::Digest;

    use super::*;

    #[test]
    fn only_what_the_release_names_stays_in_the_staging_folder() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        let (wanted, other) = (Digest::of(b"wanted"), Digest::of(b"other"));
        let version: semver::Version = "0.2.0".parse().unwrap();
        let release = Release {
            format: 1,
            version: version.clone(),
            channel: "stable".to_owned(),
            minimum_agent: version,
            schemas: Default::default(),
            images: Vec::new(),
            models: Vec::new(),
            blobs: vec![Blob { digest: wanted, size_bytes: 6, kind: BlobKind::Model }],
        };
        let (blobs, parts) = (layout.update_staging().join("blobs/sha256"), layout.update_staging().join(".fetching"));
        for dir in [&blobs, &parts] {
            std::fs::create_dir_all(dir).unwrap();
        }
        for digest in [wanted, other] {
            std::fs::write(blobs.join(digest.hex()), "x").unwrap();
            std::fs::write(parts.join(format!("{}.part", digest.hex())), "x").unwrap();
        }
        std::fs::write(parts.join("lock"), "").unwrap();
        tidy_staging(&layout, &release).unwrap();
        let count = |dir: &std::path::Path| std::fs::read_dir(dir).unwrap().count();
        assert_eq!((count(&blobs), count(&parts)), (1, 2));
        assert!(blobs.join(wanted.hex()).exists() && parts.join("lock").exists());
    }
}
