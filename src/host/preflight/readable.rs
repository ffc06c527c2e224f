//! Whether the containers' user may read the data folders.
//!
//! Computing it from modes would miss access lists, network shares and security modules, so it is tried: a thread of its own takes
//! on that user's rights (on Linux they are per thread) and opens a sample. It begins at the opened folder, as a container does,
//! into which the folder alone is mounted: what lies above it does not matter.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::check::Check;
use super::wanted::Readers;

const ID: &str = "data.readable";
/// Folders of one data folder that are looked at, those nearest to its top first.
const FOLDERS_MAX: usize = 100;
/// Files that are opened in each of them.
const FILES_MAX: usize = 3;
/// Entries of one folder that are looked at.
const ENTRIES_MAX: usize = 1000;

/// What the user met in one data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    folders: Count,
    files: Count,
    /// The first thing that may not be read, below the data folder; empty for the folder itself.
    first_denied: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    seen: usize,
    denied: usize,
}

/// Every data folder with what was met in it, or why it could not be tried.
pub(super) type Samples = Vec<(PathBuf, Result<Sample, String>)>;

/// Tries to read, with the rights of the readers; on a thread that ends afterwards, because it keeps those rights.
pub(super) fn look(readers: &Readers) -> Samples {
    let folders = readers.folders.iter();
    let opened: Vec<_> = folders.map(|path| (path, open(CWD, path, OFlags::PATH | OFlags::DIRECTORY))).collect();
    let become_reader = become_reader(readers);
    let sample = |(path, opened): (&PathBuf, rustix::io::Result<OwnedFd>)| {
        let found = match (&become_reader, opened) {
            (Err(error), _) => Err(format!("its rights cannot be taken on: {error}")),
            (Ok(()), Err(error)) => Err(error.to_string()),
            (Ok(()), Ok(top)) => Ok(sample(&top)),
        };
        (path.clone(), found)
    };
    opened.into_iter().map(sample).collect()
}

/// Leaves this thread with the readers' rights for ever. Nothing to do where it has them.
fn become_reader(readers: &Readers) -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(readers.user), Gid::from_raw(readers.group));
    if (rustix::process::geteuid(), rustix::process::getegid()) == (user, group) {
        return Ok(());
    }
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)
}

fn open(at: impl AsFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(at, path, flags | OFlags::CLOEXEC, Mode::empty())
}

fn sample(top: &OwnedFd) -> Sample {
    let mut sample = Sample::default();
    let mut waiting = VecDeque::from([PathBuf::new()]);
    while let Some(path) = waiting.pop_front() {
        if sample.folders.seen == FOLDERS_MAX {
            break;
        }
        let here = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        // The folder itself may be reached through a link; below it links are not followed, as they are not when it is read.
        let folder = open(top, here, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW);
        sample.folders.seen += 1;
        match folder.and_then(Dir::new) {
            Ok(entries) => list(top, &path, entries, &mut sample, &mut waiting),
            Err(error) => sample.folders.count(error, &path, &mut sample.first_denied),
        }
    }
    sample
}

fn list(top: &OwnedFd, path: &Path, entries: Dir, sample: &mut Sample, waiting: &mut VecDeque<PathBuf>) {
    let mut files = 0;
    for entry in entries.flatten().take(ENTRIES_MAX) {
        let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
        if name == "." || name == ".." {
            continue;
        }
        let below = path.join(name);
        // Some file systems do not list what an entry is.
        let kind = match entry.file_type() {
            FileType::Unknown => statat(top, &below, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode)),
            known => known,
        };
        match kind {
            FileType::Directory if waiting.len() < FOLDERS_MAX => waiting.push_back(below),
            FileType::RegularFile if files < FILES_MAX => {
                files += 1;
                sample.files.seen += 1;
                let opened = open(top, &below, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK);
                if let Err(error) = opened {
                    sample.files.count(error, &below, &mut sample.first_denied);
                }
            }
            _ => {}
        }
    }
}

impl Count {
    /// Takes note of a refusal; what went meanwhile, or fails otherwise, is no question of rights.
    fn count(&mut self, error: Errno, path: &Path, first: &mut Option<PathBuf>) {
        if matches!(error, Errno::ACCESS | Errno::PERM) {
            self.denied += 1;
            first.get_or_insert_with(|| path.to_owned());
        }
    }
}

impl Sample {
    fn is_readable(&self) -> bool {
        self.folders.denied == 0 && self.files.denied == 0
    }

    /// Nothing at all can be read, though there is something.
    fn is_closed(&self) -> bool {
        self.folders.denied == self.folders.seen || (self.files.seen > 0 && self.files.denied == self.files.seen)
    }
}

/// The check, when nobody asked, or there are no folders yet.
pub(super) fn not_asked() -> Check {
    Check::not_asked(ID, "--docker")
}

/// Judges what was met; nothing when the folders did not answer in time.
pub(super) fn readable(readers: &Readers, samples: Option<&Samples>) -> Check {
    let Readers { user, group, .. } = readers;
    let Some(samples) = samples else {
        let remedy = "look at the mounts of the data folders (`findmnt`, `dmesg`)";
        return Check::unknown(ID, "a data folder does not answer: its file system hangs", remedy);
    };
    let name = |path: &Path| format!("`{}`", path.display());
    let (mut denied, mut untried, mut is_closed) = (Vec::new(), Vec::new(), false);
    let (mut folders, mut files) = (0, 0);
    for (path, sample) in samples {
        match sample {
            Err(why) => untried.push(format!("{}: {why}", name(path))),
            Ok(sample) if sample.is_readable() => {
                (folders, files) = (folders + sample.folders.seen, files + sample.files.seen)
            }
            Ok(sample) => {
                is_closed |= sample.is_closed();
                denied.push((path, said(path, sample, *user)));
            }
        }
    }
    if let Some((first, _)) = denied.first() {
        let seen = denied.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ");
        let remedy = format!(
            "for each such folder run `setfacl -R -m u:{user}:rX,d:u:{user}:rX {0}`, or give it to a group the containers have: \
             `chgrp -R {group} {0} && chmod -R g+rX {0}`",
            quoted(first)
        );
        return if is_closed { Check::failed(ID, seen, remedy) } else { Check::warning(ID, seen, remedy) };
    }
    if !untried.is_empty() {
        let remedy = format!("try it yourself: `setpriv --reuid {user} --regid {group} --clear-groups ls DIR`");
        return Check::unknown(ID, untried.join("; "), remedy);
    }
    Check::ok(ID, format!("user {user} may read all of {folders} folders and {files} files that were sampled"))
}

fn said(path: &Path, sample: &Sample, user: u32) -> String {
    let (folders, files) = (sample.folders, sample.files);
    let path_text = path.display();
    if folders.denied == folders.seen {
        return format!("`{path_text}`: no permission for user {user}");
    }
    let of = |count: Count, what: &str| {
        (count.denied > 0).then(|| format!("{} of {} sampled {what}", count.denied, count.seen))
    };
    let parts: Vec<_> = [of(folders, "folders"), of(files, "files")].into_iter().flatten().collect();
    let first = sample.first_denied.as_deref().unwrap_or(Path::new("")).display();
    format!("`{path_text}`: no permission for user {user} on {}, the first `{first}`", parts.join(" and "))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::check::Verdict;
    use super::*;

    fn readers(folders: &[&Path]) -> Readers {
        Readers { user: 7110, group: 7110, folders: folders.iter().map(|path| (*path).to_owned()).collect() }
    }

    /// On a thread of its own, as a preflight does it: it keeps the rights.
    fn tried(readers: &Readers) -> Check {
        let to_look = readers.clone();
        let samples = std::thread::spawn(move || look(&to_look)).join().unwrap();
        readable(readers, Some(&samples))
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_the_user_may_not_read_is_counted_and_the_way_to_the_folder_is_not() {
        let own = rustix::process::geteuid();
        if !own.is_root() {
            println!("skipped: only root can take on the rights of another user");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("Daten Blätter");
        for folder in ["open", "closed", "listed"] {
            std::fs::create_dir_all(data.join(folder)).unwrap();
            std::fs::write(data.join(folder).join("a.pdf"), "x").unwrap();
        }
        std::fs::write(data.join("private.txt"), "x").unwrap();
        std::os::unix::fs::symlink("/root", data.join("link")).unwrap();
        for (path, bits) in
            [("", 0o755), ("open", 0o755), ("open/a.pdf", 0o644), ("closed", 0o700), ("private.txt", 0o600)]
        {
            mode(&data.join(path), bits);
        }
        // Its names can be listed, and nothing in it opened.
        mode(&data.join("listed"), 0o744);
        mode(dir.path(), 0o700);
        let some = tried(&readers(&[&data]));
        assert_eq!(some.verdict, Verdict::Warning, "{some:?}");
        assert!(some.seen.contains("1 of 4 sampled folders and 2 of 3 sampled files"), "{}", some.seen);
        let remedy = some.remedy.unwrap();
        assert!(remedy.contains("setfacl -R -m u:7110:rX,d:u:7110:rX '/"), "{remedy}");

        mode(&data, 0o700);
        let none = tried(&readers(&[&data]));
        assert_eq!(none.verdict, Verdict::Failed, "{none:?}");
        assert!(none.seen.ends_with("no permission for user 7110"), "{}", none.seen);

        mode(&data, 0o755);
        for path in ["closed", "listed"] {
            mode(&data.join(path), 0o755);
        }
        mode(&data.join("private.txt"), 0o644);
        let all = tried(&readers(&[&data]));
        assert_eq!(all.verdict, Verdict::Ok, "{all:?}");
        assert_eq!(rustix::process::geteuid(), own, "only the other thread has other rights");
    }

    #[test]
    fn what_cannot_be_tried_is_unknown() {
        let readers = readers(&[Path::new("/no-such-folder-0711")]);
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let as_myself = Readers { user, group, ..readers.clone() };
        assert_eq!(tried(&as_myself).verdict, Verdict::Unknown);
        assert_eq!(readable(&readers, None).verdict, Verdict::Unknown);
    }
}
