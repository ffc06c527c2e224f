//! One commit's files, held for a backup.
//!
//! Delta and Lance never change a file they wrote under a name: a version is a set of names. Holding a commit is therefore to
//! give each of its files a second name in a folder nobody else cleans up. That takes no copying, lets ingestion go on at
//! once, and needs no agreement with a reader that may have died: a folder left behind costs the room of files that would be
//! gone by now, and the next pin removes it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base::CustomerLayout;

use crate::Error;

/// Makes the pin anew, with these files of the lakehouse.
pub(crate) fn hold(layout: &CustomerLayout, files: &[PathBuf]) -> Result<(), Error> {
    release(layout)?;
    let (home, pin) = (layout.lakehouse(), layout.lake_pin());
    // The tables know their folders by the real path.
    let home = home.canonicalize().map_err(Error::io("open", &home))?;
    for file in files {
        let below = file.strip_prefix(&home).map_err(|_| Error::Damaged {
            table: "commits",
            what: format!("`{}` does not lie in the lakehouse", file.display()),
        })?;
        let to = pin.join(below);
        let dir = to.parent().unwrap_or(&pin);
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        link(file, &to).map_err(Error::io("hold", file))?;
    }
    Ok(())
}

/// Removes the pin, if there is one.
pub(crate) fn release(layout: &CustomerLayout) -> Result<(), Error> {
    let pin = layout.lake_pin();
    match fs::remove_dir_all(&pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &pin)(error)),
        _ => Ok(()),
    }
}

/// Gives a file a second name, or where the file system knows no such thing, copies it.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => fs::copy(from, to).map(drop),
        done => done,
    }
}
