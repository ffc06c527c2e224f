//! Versions of the binary side by side, and the link that says which one runs.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use base::job::Progress;
use base::{Digest, file};
use plan::journal::Evidence;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::model::is_file_of;
use crate::Error;
use crate::act::{Depth, Probe, Report};

/// Followed by the process that works there.
const UNFINISHED: &str = ".unfinished-";

pub(super) async fn probe(
    to: &Path,
    link: &Path,
    digest: Digest,
    size_bytes: u64,
    depth: Depth,
) -> Result<Probe, Error> {
    let is_linked = std::fs::read_link(link).is_ok_and(|target| target == relative(to, link));
    let holds = is_linked && is_file_of(to, size_bytes, digest, depth).await?;
    Ok(if holds { Probe::Holds(Evidence::default()) } else { Probe::Missing })
}

pub(super) async fn apply(
    from: &Path,
    to: &Path,
    link: &Path,
    digest: Digest,
    size_bytes: u64,
    report: Report<'_>,
) -> Result<Evidence, Error> {
    if !is_file_of(to, size_bytes, digest, Depth::Whole).await? {
        let (send, receive) = mpsc::channel();
        let (from, to) = (from.to_owned(), to.to_owned());
        let mut work = tokio::task::spawn_blocking(move || {
            // Nobody may be listening any more; the copy is worth finishing all the same.
            put(&from, &to, digest, &move |bytes| _ = send.send(bytes))
        });
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
            if let Some(done) = receive.try_iter().last() {
                report(Progress { done, total: size_bytes, unit: "bytes".to_owned(), ..Progress::default() });
            }
        };
        outcome.map_err(|error| Error::File {
            act: "copy",
            path: link.to_owned(),
            source: std::io::Error::other(error),
        })??;
    }
    let before = std::fs::read_link(link).ok().map(|target| link.with_file_name(target));
    switch(to, link)?;
    prune(to, before.as_deref());
    Ok(Evidence::default().with("bytes", size_bytes))
}

fn put(from: &Path, to: &Path, digest: Digest, progress: &dyn Fn(u64)) -> Result<(), Error> {
    let dir = to.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir).map_err(Error::file("make folder", dir))?;
    let temporary = workplace(dir)?;
    let fresh = temporary.path().join("binary");
    let found = copy_checked(from, &fresh, 0o755, progress)?;
    if found != digest {
        return Err(Error::DigestMismatch { what: "binary".to_owned(), expected: digest, found });
    }
    place(&fresh, to)
}

/// Copies a file and returns the digest of what was written. Not a link: the source is often a build's output, which the
/// next build overwrites.
pub(super) fn copy_checked(from: &Path, to: &Path, mode: u32, progress: &dyn Fn(u64)) -> Result<Digest, Error> {
    let mut input = File::open(from).map_err(Error::file("read", from))?;
    let options = OpenOptions::new().write(true).create_new(true).mode(mode).open(to);
    let mut output = options.map_err(Error::file("write", to))?;
    let (mut hasher, mut buffer, mut total) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let count = input.read(&mut buffer).map_err(Error::file("read", from))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        output.write_all(&buffer[..count]).map_err(Error::file("write", to))?;
        total += count as u64;
        progress(total);
    }
    output.sync_all().map_err(Error::file("write", to))?;
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// Makes a folder in `dir` for a file that is not finished, and removes those of processes that were killed.
pub(super) fn workplace(dir: &Path) -> Result<TempDir, Error> {
    for entry in std::fs::read_dir(dir).map_err(Error::file("read folder", dir))?.flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(UNFINISHED)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| stack::Identity::of(pid).is_none()) {
            // It is in nobody's way but the disk's.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{UNFINISHED}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(dir).map_err(Error::file("write in", dir))
}

/// Gives a finished file its name.
pub(super) fn place(fresh: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(fresh, to).map_err(Error::file("write", to))?;
    let dir = to.parent().unwrap_or(Path::new("/"));
    file::sync_dir(dir).map_err(Error::file("sync", dir))
}

/// Points `link` to `to` by one rename: there is always a version that can be started.
fn switch(to: &Path, link: &Path) -> Result<(), Error> {
    match std::fs::symlink_metadata(link) {
        Ok(metadata) if !metadata.file_type().is_symlink() => return Err(Error::NotOurs { path: link.to_owned() }),
        _ => {}
    }
    let dir = link.parent().unwrap_or(Path::new("/"));
    let temporary = workplace(dir)?;
    let fresh = temporary.path().join("link");
    std::os::unix::fs::symlink(relative(to, link), &fresh).map_err(Error::file("link", link))?;
    place(&fresh, link)
}

/// Removes the versions before the previous one: that one is the way back, older ones only fill the disk. A version some
/// role still runs stays in memory until that role is started anew, which the agent does next.
fn prune(current: &Path, previous: Option<&Path>) {
    let Some(versions) = current.parent().and_then(Path::parent) else { return };
    let Ok(entries) = std::fs::read_dir(versions) else { return };
    for dir in entries.flatten().map(|entry| entry.path()) {
        let kept = [Some(current), previous].into_iter().flatten().any(|file| file.parent() == Some(&dir));
        // Only what this room puts there; a version that cannot be removed is no reason to fail.
        if let (false, Some(name)) = (kept, current.file_name())
            && std::fs::remove_file(dir.join(name)).is_ok()
        {
            let _ = std::fs::remove_dir(&dir);
        }
    }
}

/// The target as seen from the link's folder, so that a root folder can be moved as a whole.
fn relative(to: &Path, link: &Path) -> PathBuf {
    let dir = link.parent().unwrap_or(Path::new("/"));
    to.strip_prefix(dir).unwrap_or(to).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_makes_stays() {
        let dir = tempfile::tempdir().unwrap();
        // Pid 1 lives; no process has the largest number.
        let [dead, alive] = [u32::MAX, 1].map(|pid| dir.path().join(format!("{UNFINISHED}{pid}-abc")));
        for left in [&dead, &alive] {
            std::fs::create_dir(left).unwrap();
            std::fs::write(left.join("binary"), "half").unwrap();
        }
        let place = workplace(dir.path()).unwrap();
        assert!(!dead.exists() && alive.exists() && place.path().exists());
    }

    #[tokio::test]
    async fn the_link_moves_on_and_one_way_back_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("0711");
        let from = dir.path().join("built");
        let version = |number: u32| dir.path().join(format!("versions/{number}/0711"));
        for number in 1..=3 {
            let content = format!("version {number}");
            std::fs::write(&from, &content).unwrap();
            let (digest, size_bytes) = (Digest::of(content.as_bytes()), content.len() as u64);
            let to = version(number);
            apply(&from, &to, &link, digest, size_bytes, &|_| ()).await.unwrap();
            let probed = probe(&to, &link, digest, size_bytes, Depth::Whole).await.unwrap();
            assert!(matches!(probed, Probe::Holds(_)), "{probed:?}");
            assert_eq!(std::fs::read_to_string(&link).unwrap(), content);
        }
        assert!(!version(1).exists() && version(2).exists() && version(3).exists());
        std::fs::remove_file(&from).unwrap();
        // Going back needs no copy, and keeps the way forward.
        apply(&from, &version(2), &link, Digest::of(b"version 2"), 9, &|_| ()).await.unwrap();
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "version 2");
        assert!(version(3).exists());
    }
}
