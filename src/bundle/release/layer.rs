//! Layers of images: tar archives that depend on nothing but their content, compressed with zstd.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
};

use base::{Digest, DigestWriter};
use tar::{Builder, EntryType, Header};

use super::{Blob, BlobKind, ReleaseError as Error, blobs::Blobs};

/// zstd's middle: twice the speed of the levels above for three percent more bytes.
const LEVEL: i32 = 9;

/// One file or folder of a layer.
pub(crate) struct Entry {
    /// Without a leading slash.
    pub path: String,
    pub mode: u32,
    /// Owner and group.
    pub owner: u64,
    pub content: Content,
}

/// What an [`Entry`] is.
pub(crate) enum Content {
    Folder,
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// Writes the entries, in the order of their paths, as one layer.
///
/// Times are zero and names of owners empty, so that the same content is the same layer on every machine.
pub(crate) fn write(blobs: &Blobs, mut entries: Vec<Entry>) -> Result<Blob, Error> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    compressed(blobs, |writer| {
        let mut builder = Builder::new(writer);
        for entry in &entries {
            append(&mut builder, entry)?;
        }
        builder.finish()
    })
}

/// Compresses a layer that is there as a tar.
pub(crate) fn pack(blobs: &Blobs, mut tar: impl Read) -> Result<Blob, Error> {
    compressed(blobs, |writer| io::copy(&mut tar, writer).map(drop))
}

/// Writes what `fill` writes as one compressed blob that knows what is inside.
fn compressed(blobs: &Blobs, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Blob, Error> {
    let mut unpacked = None;
    let (digest, size_bytes) = blobs.put(|writer| {
        let mut encoder = zstd::Encoder::new(writer, LEVEL)?;
        encoder.include_checksum(true)?;
        let mut digested = DigestWriter::new(encoder);
        fill(&mut digested)?;
        let (encoder, diff_id, unpacked_bytes) = digested.finish();
        unpacked = Some((diff_id, unpacked_bytes));
        encoder.finish().map(drop)
    })?;
    let (diff_id, unpacked_bytes) = unpacked.unwrap_or((Digest::of(b""), 0));
    Ok(Blob { digest, size_bytes, kind: BlobKind::Layer { diff_id, unpacked_bytes } })
}

fn append(builder: &mut Builder<impl Write>, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_mode(entry.mode);
    header.set_uid(entry.owner);
    header.set_gid(entry.owner);
    header.set_mtime(0);
    match &entry.content {
        Content::Folder => {
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            builder.append_data(&mut header, format!("{}/", entry.path), io::empty())
        }
        Content::Bytes(bytes) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, &entry.path, bytes.as_slice())
        }
        Content::File(path) => {
            let file = File::open(path)?;
            header.set_entry_type(EntryType::Regular);
            header.set_size(file.metadata()?.len());
            builder.append_data(&mut header, &entry.path, file)
        }
    }
}
