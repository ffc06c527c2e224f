use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A log file that never grows beyond its limit; older parts stand beside it with `.1` (the newest) to `.4`.
///
/// The file is copied and emptied rather than renamed: a role's stderr (panics, native libraries) is open on the same file
/// in append mode, and goes on at its new end. Whatever was written between the copy and the cut is lost, which for a
/// log is a better bargain than a file that grows without limit behind a rotated name.
#[derive(Debug)]
pub struct RotatingWriter {
    path: PathBuf,
    file: File,
    bytes_max: u64,
    parts: usize,
}

impl RotatingWriter {
    /// A part's size, unless said otherwise.
    pub const BYTES_MAX: u64 = 10 << 20;
    /// All parts, the one being written counted.
    pub const PARTS: usize = 5;

    /// Opens (or makes, mode 0600, with its folder) the log at `path` with 5 parts of 10 MB.
    ///
    /// # Errors
    /// When it cannot be opened for appending.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_limits(path, Self::BYTES_MAX, Self::PARTS)
    }

    /// As [`RotatingWriter::open`], with other limits.
    ///
    /// # Errors
    /// When it cannot be opened for appending.
    pub fn with_limits(path: &Path, bytes_max: u64, parts: usize) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file, bytes_max, parts })
    }

    fn part(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (1..self.parts.saturating_sub(1)).rev() {
            // A part that does not exist yet is no fault.
            let _ = fs::rename(self.part(number), self.part(number + 1));
        }
        if self.parts > 1 {
            // On a full disk the copy fails; the file is emptied all the same, since logs must not keep a disk full.
            let _ = fs::copy(&self.path, self.part(1));
        }
        self.file.set_len(0)
    }
}

impl Write for RotatingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The size is asked each time, because stderr writes to the same file.
        if self.file.metadata()?.len().saturating_add(bytes.len() as u64) > self.bytes_max {
            self.rotate()?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_capped_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/llm.log");
        let mut log = RotatingWriter::with_limits(&path, 10, 3).unwrap();
        for line in ["aaaaaaaa\n", "bbbbbbbb\n", "cccccccc\n", "dddddddd\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let part = |name: &str| fs::read_to_string(dir.path().join("logs").join(name)).unwrap();
        assert_eq!(
            (part("llm.log"), part("llm.log.1"), part("llm.log.2")),
            ("dddddddd\n".into(), "cccccccc\n".into(), "bbbbbbbb\n".into())
        );
        assert_eq!(fs::read_dir(dir.path().join("logs")).unwrap().count(), 3);
    }

    #[test]
    fn another_writer_of_the_same_file_is_counted_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut log = RotatingWriter::with_limits(&path, 20, 2).unwrap();
        let mut stderr = OpenOptions::new().append(true).open(&path).unwrap();
        stderr.write_all(b"0123456789012345\n").unwrap();
        log.write_all(b"line\n").unwrap();
        stderr.write_all(b"more\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\nmore\n");
        let mut reopened = RotatingWriter::with_limits(&path, 20, 2).unwrap();
        reopened.write_all(b"again\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\nmore\nagain\n");
    }
}
