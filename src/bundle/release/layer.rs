//! Layers of images: tar archives that depend on nothing but their content, compressed with zstd.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
};

use base::{Digest, DigestWriter};
use flate2::bufread::MultiGzDecoder;
use tar::{Builder, EntryType, Header};

use super::{Blob, BlobKind, ReleaseError as Error, blobs::Blobs};

/// zstd's middle: twice the speed of the levels above for three percent more bytes.
const LEVEL: i32 = 9;
/// A window a decoder may keep: zstd's own default limit.
pub(crate) const WINDOW_LOG: u32 = 27;
/// What a layer of others may unpack to. The largest of real images have a tenth of it; a bomb has no end.
const MAX_UNPACKED_BYTES: u64 = 256 << 30;

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

/// Compresses a layer that is there as a tar. The inner error is the tar's, which could not be read.
pub(crate) fn pack(blobs: &Blobs, tar: impl Read) -> Result<io::Result<Blob>, Error> {
    let mut source = Source { inner: tar, failure: None };
    let packed = compressed(blobs, |writer| io::copy(&mut source, writer).map(drop));
    match source.failure {
        Some(failure) => Ok(Err(failure)),
        None => packed.map(Ok),
    }
}

/// Returns the tar of a layer, whatever it is compressed with: the first bytes tell, as they do to engines.
pub(crate) fn unpacked<'a>(layer: impl Read + 'a) -> io::Result<impl Read + 'a> {
    let mut layer = BufReader::with_capacity(1 << 17, layer);
    let start = layer.fill_buf()?;
    let tar: Box<dyn Read + 'a> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(layer))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(layer)?;
        decoder.window_log_max(WINDOW_LOG)?;
        Box::new(decoder)
    } else {
        Box::new(layer)
    };
    Ok(Bounded { inner: tar, left_bytes: MAX_UNPACKED_BYTES })
}

/// Keeps the error of a reader, to tell it from one of the writer it is copied to.
struct Source<R> {
    inner: R,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failure = (kind != io::ErrorKind::Interrupted).then_some(error);
            kind.into()
        })
    }
}

/// Fails where a reader has more bytes than allowed.
struct Bounded<R> {
    inner: R,
    left_bytes: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let too_much = || io::Error::other("it unpacks to more than any layer has: it is a bomb");
        self.left_bytes = self.left_bytes.checked_sub(count as u64).ok_or_else(too_much)?;
        Ok(count)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_of_more_bytes_than_allowed_ends() {
        let read = |left_bytes| io::copy(&mut Bounded { inner: io::repeat(0).take(1000), left_bytes }, &mut io::sink());
        assert_eq!(read(1000).unwrap(), 1000);
        assert!(read(999).unwrap_err().to_string().contains("bomb"));
    }

    #[test]
    fn what_cannot_be_read_is_no_failure_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::of(dir.path());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[7; 10_000]).unwrap();
        let whole = gzip.finish().unwrap();
        let packed = |bytes: &[u8]| pack(&blobs, unpacked(bytes).unwrap()).unwrap();
        let plain = pack(&blobs, [7; 10_000].as_slice()).unwrap().unwrap();
        assert_eq!(packed(&whole).unwrap(), plain);
        assert_eq!(packed(&[whole.clone(), whole.clone()].concat()).unwrap(), packed(&[7; 20_000]).unwrap());
        assert!(packed(&whole[..whole.len() / 2]).is_err());
        assert_eq!(std::fs::read_dir(blobs.dir()).unwrap().count(), 2, "nothing is left of what failed");
    }
}
