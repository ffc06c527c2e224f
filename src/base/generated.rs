//! Files that are written here and that people edit all the same: an edit is noticed, and kept under another name.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Digest, file};

const BYTES_MAX: u64 = 4 << 20;
const WHOSE: &str = "# Written by 0711. ";
const CONTENT: &str = " Content: ";
/// Stands in the name of a kept edit, before a part of its digest.
const EDITED: &str = ".edited-";

/// Returns the text of such a file: a comment that says whose it is and gives `advice` to who would edit it, with the digest of
/// `body`, and then `body`. The format is one in which `#` begins a comment.
pub fn text(advice: &str, body: &str) -> String {
    format!("{WHOSE}{advice}{CONTENT}{}\n{body}", Digest::of(body.as_bytes()))
}

/// Returns whether a text still is what [`text`] made, whatever the advice.
pub fn is_as_written(text: &str) -> bool {
    let Some((first, body)) = text.split_once('\n') else { return false };
    let named = first.strip_prefix(WHOSE).and_then(|rest| rest.rsplit_once(CONTENT));
    named.is_some_and(|(_, digest)| digest == Digest::of(body.as_bytes()).to_string())
}

/// Writes what [`text`] made, private to its owner. A file that was edited is kept beside it, and its new path returned.
///
/// # Errors
/// When the file cannot be read or written; one of more than 4 MiB was not written here and is left alone.
pub fn write(path: &Path, text: &str) -> io::Result<Option<PathBuf>> {
    let mut kept = None;
    match std::fs::symlink_metadata(path) {
        Ok(_) => {
            let found = file::read_bounded(path, BYTES_MAX).map_err(io::Error::other)?;
            if found == text.as_bytes() {
                return Ok(None);
            }
            if !std::str::from_utf8(&found).is_ok_and(is_as_written) {
                let aside = aside(path, &found);
                file::write_atomic(&aside, &found, 0o600)?;
                kept = Some(aside);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file::write_atomic(path, text.as_bytes(), 0o600)?;
    Ok(kept)
}

/// `config.yaml` becomes `config.edited-01234567.yaml`: the same edit twice is one file, another one does not replace it.
fn aside(path: &Path, content: &[u8]) -> PathBuf {
    let part =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    let (stem, ending) = (part(path.file_stem()), part(path.extension()));
    path.with_file_name(format!("{stem}{EDITED}{}.{ending}", Digest::of(content).short()))
}

/// Returns the edits that were kept in a folder, in the order of their names.
pub fn kept_edits(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().contains(EDITED))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_noticed() {
        let written = text("Do not.", "a: 1\nb: 2\n");
        assert!(is_as_written(&written));
        assert!(!is_as_written(&written.replace("a: 1", "a: 9")));
        assert!(!is_as_written("a: 1\nb: 2\n"));
        assert!(is_as_written(&text("Other advice. Content: none.", "a: 1\n")));
    }

    #[test]
    fn an_edited_file_is_kept_and_any_other_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker-compose.yml");
        let first = text("Do not.", "services: {}\n");
        assert_eq!(write(&path, &first).unwrap(), None);
        let second = text("Do not.", "services: {a: {}}\n");
        assert_eq!(write(&path, &second).unwrap(), None, "ours may be replaced");
        let edited = second.replace("{a: {}}", "{mine: {}}");
        std::fs::write(&path, &edited).unwrap();
        let kept = write(&path, &first).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), edited);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
        assert_eq!(kept_edits(dir.path()), [kept]);
        std::fs::write(&path, edited.replace("mine", "mine_too")).unwrap();
        write(&path, &first).unwrap().unwrap();
        assert_eq!(kept_edits(dir.path()).len(), 2, "one edit does not replace another");
    }
}
