//! Opening a file of unknown kind without waiting for it and without following it elsewhere.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use crate::error::Error;

/// Opens a regular file for reading and returns it with its size. The last component is not followed when it is a symbolic
/// link: whoever walks the folder decides about links and hands in what they lead to.
///
/// # Errors
///
/// [`Error::NotRegular`] for anything but a regular file (a pipe without a writer does not block), [`Error::TooLarge`],
/// [`Error::Unreadable`] when the system refuses.
pub(crate) fn open(path: &Path, max_bytes: u64) -> Result<(File, u64), Error> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => not_regular("a symbolic link"),
            Some(libc::ENXIO) => not_regular("a socket or device"),
            _ => Error::unreadable(plain(&error)),
        })?;
    let metadata = file.metadata().map_err(|error| Error::unreadable(plain(&error)))?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        return Err(not_regular(if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a pipe"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        }));
    }
    if metadata.len() > max_bytes {
        return Err(Error::TooLarge { what: format!("the file ({} bytes)", metadata.len()), limit_bytes: max_bytes });
    }
    Ok((file, metadata.len()))
}

fn not_regular(kind: &str) -> Error {
    Error::NotRegular { kind: kind.to_owned() }
}

/// The system's words without its error number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
