//! Waits until files are on the disk.
//!
//! Neither Delta's nor Lance's local storage calls fsync: after `kill -9` that does not matter, after a power cut it does.
//! A commit therefore names the files it made, and they are synced before the row of `commits` that makes them count.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::Error;

/// Syncs `files` and then the folders they lie in. A file that is gone again (compacted, replaced) is passed over.
pub(crate) async fn sync(files: Vec<PathBuf>) -> Result<(), Error> {
    tokio::task::spawn_blocking(move || {
        let mut folders = BTreeSet::new();
        for file in &files {
            if sync_one(file).map_err(Error::io("sync", file))? {
                folders.extend(file.parent().map(Path::to_owned));
            }
        }
        for folder in folders {
            sync_one(&folder).map_err(Error::io("sync", &folder))?;
        }
        Ok(())
    })
    .await?
}

fn sync_one(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => file.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
