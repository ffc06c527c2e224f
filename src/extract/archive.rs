//! Archives: their members are parts of one document. Members are unpacked in memory, one at a time, within the limits;
//! their names are labels and never paths.

use std::io::{Cursor, Read};

use crate::error::Error;
use crate::format::Document;
use crate::read::Reading;

/// Beyond this ratio a member is a bomb, once it is larger than [`BOMB_BYTES`].
const BOMB_RATIO: u64 = 200;
const BOMB_BYTES: u64 = 16 << 20;

/// Reads a zip archive.
pub(crate) fn zip(reading: &mut Reading<'_>, bytes: &[u8]) -> Result<Document, Error> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| Error::unreadable(format!("damaged zip archive: {error}")))?;
    let mut document = new("zip");
    let (mut members, mut encrypted) = (0, 0);
    for index in 0..archive.len().min(reading.limits.max_parts as usize) {
        let member = match archive.by_index_raw(index) {
            Ok(member) => member,
            Err(error) => {
                document.warnings.push(format!("member {}: {error}", index + 1));
                continue;
            }
        };
        let name = label(member.name_raw());
        if member.is_dir() || is_noise(&name) {
            continue;
        }
        members += 1;
        if member.encrypted() {
            encrypted += 1;
            document.warnings.push(format!("{name}: protected by a password"));
            continue;
        }
        let (packed, size) = (member.compressed_size(), member.size());
        drop(member);
        if size > BOMB_BYTES && size / packed.max(1) > BOMB_RATIO {
            document.warnings.push(format!("{name}: not unpacked, {packed} bytes would become {size}"));
            continue;
        }
        match archive.by_index(index) {
            Ok(member) => unpack(reading, &mut document, member, packed, &name),
            Err(error) => document.warnings.push(format!("{name}: {error}")),
        }
    }
    if encrypted > 0 && encrypted == members {
        return Err(Error::Encrypted);
    }
    finish(document)
}

/// Reads a tar archive.
pub(crate) fn tar(reading: &mut Reading<'_>, bytes: &[u8]) -> Result<Document, Error> {
    let mut document = new("tar");
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().map_err(|error| Error::unreadable(format!("damaged tar archive: {error}")))?;
    for entry in entries.take(reading.limits.max_parts as usize) {
        match entry {
            Ok(entry) => {
                let name = label(&entry.path_bytes());
                if entry.header().entry_type().is_file() && !is_noise(&name) {
                    let size = entry.size();
                    unpack(reading, &mut document, entry, size, &name);
                }
            }
            Err(error) => {
                document.warnings.push(format!("the archive is cut off or damaged: {error}"));
                break;
            }
        }
    }
    finish(document)
}

/// Reads a gzip file: one member, most often a tar archive.
pub(crate) fn gzip(reading: &mut Reading<'_>, bytes: &[u8], name: &str) -> Result<Document, Error> {
    let mut document = new("gz");
    let last = name.rsplit('/').next().unwrap_or(name);
    let lower = last.to_lowercase();
    let inner = if lower.ends_with(".tgz") {
        format!("{}.tar", &last[..last.len() - 4])
    } else if lower.ends_with(".gz") {
        last[..last.len() - 3].to_owned()
    } else {
        "content".to_owned()
    };
    unpack(reading, &mut document, flate2::read::MultiGzDecoder::new(bytes), bytes.len() as u64, &inner);
    finish(document)
}

fn new(format: &str) -> Document {
    Document { format: format.to_owned(), ..Document::default() }
}

/// An archive of which nothing could be had because of its size is too large, not empty.
fn finish(document: Document) -> Result<Document, Error> {
    if document.blocks.is_empty()
        && let Some(warning) = document.warnings.iter().find(|warning| warning.contains("not unpacked"))
    {
        return Err(Error::TooLarge {
            what: format!("what the archive unpacks to ({warning})"),
            limit_bytes: BOMB_BYTES,
        });
    }
    Ok(document)
}

fn unpack(reading: &mut Reading<'_>, document: &mut Document, member: impl Read, packed: u64, name: &str) {
    let allowed = reading.unpacked_left.min(packed.saturating_mul(BOMB_RATIO).max(BOMB_BYTES));
    let mut bytes = Vec::new();
    let read = member.take(allowed + 1).read_to_end(&mut bytes);
    if bytes.len() as u64 > allowed {
        reading.unpacked_left = reading.unpacked_left.saturating_sub(allowed);
        let warning = format!("{name}: not unpacked, it becomes more than {allowed} bytes");
        document.warnings.push(warning);
        return;
    }
    reading.unpacked_left = reading.unpacked_left.saturating_sub(bytes.len() as u64);
    if let Err(error) = read {
        if bytes.is_empty() {
            document.warnings.push(format!("{name}: cannot be unpacked: {error}"));
            return;
        }
        document.warnings.push(format!("{name}: cut off or damaged ({error}); what came out before was read"));
    }
    reading.part(document, &bytes, name);
}

/// A member's name as a label: no control characters, no way up, no root.
/// Archives rarely say in which encoding they write names.
fn label(raw: &[u8]) -> String {
    let name = crate::encoding::decode(raw, None).text.replace('\\', "/");
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != "." && *part != "..").collect();
    let label: String = parts.join("/").chars().filter(|c| !c.is_control()).take(300).collect();
    if label.is_empty() { "unnamed".to_owned() } else { label }
}

/// What systems leave in archives for themselves.
fn is_noise(name: &str) -> bool {
    name.starts_with("__MACOSX/")
        || name.ends_with(".DS_Store")
        || name.ends_with("Thumbs.db")
        || name.ends_with("desktop.ini")
}
