//! A model that is a folder: file after file, each checked and then named, and at the end the folder gets its name.
//!
//! It grows as `<digest>.part`. Ninety gigabytes take their time, and what an interrupted run put there is not put again.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base::config::ModelRef;
use base::job::Progress;
use base::{Digest, file};
use plan::ModelFile;
use plan::journal::Evidence;
use walkdir::WalkDir;

use super::binary::{copy_checked, place, workplace};
use super::model::is_file_of;
use crate::act::{Depth, Probe, Report};
use crate::error::Cause;
use crate::{Error, ModelSource};

/// Nobody changes a weight: vLLM and the roles read them through read-only mounts.
const FILE_MODE: u32 = 0o444;
const FOLDER_MODE: u32 = 0o755;

pub(super) async fn probe(model: &ModelRef, files: &[ModelFile], depth: Depth) -> Result<Probe, Error> {
    let holds = has_no_others(&model.path, files) && missing(&model.path, files, depth).await?.is_empty();
    Ok(if holds { Probe::Holds(Evidence::default()) } else { Probe::Missing })
}

pub(super) async fn apply(
    source: &dyn ModelSource,
    model: &ModelRef,
    files: &[ModelFile],
    report: Report<'_>,
) -> Result<Evidence, Error> {
    let total: u64 = files.iter().map(|file| file.size_bytes).sum();
    let part = model.path.with_extension("part");
    begin(&model.path, &part)?;
    remove_others(&part, files)?;
    // Only whole files get their names, but what lay in a finished folder may have been changed since.
    let missing = missing(&part, files, Depth::Whole).await?;
    let mut done = total - missing.iter().map(|file| file.size_bytes).sum::<u64>();
    for wanted in missing {
        let name = format!("{}/{}", model.name, wanted.path);
        let so_far = done;
        let progress = |bytes: u64, _: u64| {
            let (done, note) = (so_far + bytes, name.clone());
            report(Progress { done, total, unit: "bytes".to_owned(), note, eta_seconds: None });
        };
        let to = part.join(&wanted.path);
        let reference = ModelRef { name: name.clone(), digest: wanted.digest, path: to.clone() };
        let obtained = source.obtain(&reference, &progress).await;
        let from = obtained.map_err(|source: Cause| Error::Model { name: name.clone(), source })?;
        let (part, digest, what) = (part.clone(), wanted.digest, name.clone());
        let work = tokio::task::spawn_blocking(move || put(&part, &from, &to, digest, &what));
        work.await.map_err(|error| Error::Model { name: name.clone(), source: error.into() })??;
        done += wanted.size_bytes;
        progress(wanted.size_bytes, total);
    }
    finish(&part, &model.path)?;
    Ok(Evidence::default().with("bytes", total).with("files", files.len()))
}

/// Makes the folder that grows; one that was finished and does not hold becomes it again.
fn begin(folder: &Path, part: &Path) -> Result<(), Error> {
    if folder.is_dir() && !part.exists() {
        std::fs::rename(folder, part).map_err(Error::file("rename", folder))?;
    }
    std::fs::create_dir_all(part).map_err(Error::file("make folder", part))
}

/// Gives the folder its name. Another customer's install may have been faster: the same bytes are there then.
fn finish(part: &Path, folder: &Path) -> Result<(), Error> {
    for entry in WalkDir::new(part).follow_links(false).into_iter().flatten().filter(|entry| entry.file_type().is_dir())
    {
        let mode = std::fs::Permissions::from_mode(FOLDER_MODE);
        std::fs::set_permissions(entry.path(), mode).map_err(Error::file("open for reading", entry.path()))?;
        file::sync_dir(entry.path()).map_err(Error::file("sync", entry.path()))?;
    }
    match std::fs::rename(part, folder) {
        Ok(()) => {}
        Err(_) if folder.is_dir() => return Ok(()),
        Err(source) => return Err(Error::File { act: "rename", path: part.to_owned(), source }),
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    file::sync_dir(above).map_err(Error::file("sync", above))
}

async fn missing<'a>(dir: &Path, files: &'a [ModelFile], depth: Depth) -> Result<Vec<&'a ModelFile>, Error> {
    let mut missing = Vec::new();
    for file in files {
        if !is_file_of(&dir.join(&file.path), file.size_bytes, file.digest, depth).await? {
            missing.push(file);
        }
    }
    Ok(missing)
}

/// Everything in the folder that is no folder, as paths below it.
fn found(dir: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(dir).follow_links(false).into_iter().flatten();
    let files = entries.filter(|entry| !entry.file_type().is_dir());
    files.filter_map(|entry| entry.path().strip_prefix(dir).ok().map(Path::to_owned)).collect()
}

/// What a model's folder holds beyond its list would be loaded with it, and nobody has checked it.
fn has_no_others(dir: &Path, files: &[ModelFile]) -> bool {
    let known: BTreeSet<_> = files.iter().map(|file| Path::new(&file.path)).collect();
    found(dir).iter().all(|path| known.contains(path.as_path()))
}

fn remove_others(part: &Path, files: &[ModelFile]) -> Result<(), Error> {
    let known: BTreeSet<_> = files.iter().map(|file| Path::new(&file.path)).collect();
    for path in found(part).into_iter().filter(|path| !known.contains(path.as_path())) {
        let path = part.join(path);
        std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
    }
    Ok(())
}

/// Puts one file in place. A hard link costs no disk, and is taken only of a file nobody else owns: the owner could change it afterwards.
fn put(part: &Path, from: &Path, to: &Path, digest: Digest, name: &str) -> Result<(), Error> {
    let dir = to.parent().unwrap_or(part);
    std::fs::create_dir_all(dir).map_err(Error::file("make folder", dir))?;
    let temporary = workplace(part.parent().unwrap_or(part))?;
    let fresh = temporary.path().join("file");
    let is_own = std::fs::metadata(from).is_ok_and(|found| own_user().is_ok_and(|own| own == found.uid()));
    let found = if is_own && std::fs::hard_link(from, &fresh).is_ok() {
        Digest::of_file(&fresh).map_err(Error::file("read", from))?
    } else {
        copy_checked(from, &fresh, FILE_MODE, &|_| ())?
    };
    if found != digest {
        return Err(Error::DigestMismatch { what: format!("model file {name}"), expected: digest, found });
    }
    let mode = std::fs::Permissions::from_mode(FILE_MODE);
    std::fs::set_permissions(&fresh, mode).map_err(Error::file("open for reading", &fresh))?;
    place(&fresh, to)
}

fn own_user() -> std::io::Result<u32> {
    std::fs::metadata("/proc/self").map(|own| own.uid())
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Mutex;

    use super::*;

    /// A bundle's blobs, by digest, and what was asked for.
    struct Blobs {
        dir: tempfile::TempDir,
        asked: Mutex<Vec<String>>,
    }

    impl ModelSource for Blobs {
        fn obtain<'a>(
            &'a self,
            model: &'a ModelRef,
            _progress: &'a (dyn Fn(u64, u64) + Send + Sync),
        ) -> Pin<Box<dyn Future<Output = Result<PathBuf, Cause>> + Send + 'a>> {
            self.asked.lock().unwrap().push(model.name.clone());
            Box::pin(async move { Ok(self.dir.path().join(model.digest.hex())) })
        }
    }

    const FILES: [(&str, &str); 3] =
        [("1_Pooling/config.json", "{}"), ("config.json", "{\"a\": 1}"), ("model.safetensors", "weights")];

    struct Case {
        root: tempfile::TempDir,
        source: Blobs,
        model: ModelRef,
        files: Vec<ModelFile>,
    }

    fn case() -> Case {
        let source = Blobs { dir: tempfile::tempdir().unwrap(), asked: Mutex::default() };
        let files = FILES.map(|(path, text)| {
            let digest = Digest::of(text.as_bytes());
            std::fs::write(source.dir.path().join(digest.hex()), text).unwrap();
            ModelFile { path: path.into(), digest, size_bytes: text.len() as u64 }
        });
        let root = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"list");
        let path = root.path().join("folders").join(digest.hex());
        Case { model: ModelRef { name: "e5".into(), digest, path }, root, source, files: files.to_vec() }
    }

    impl Case {
        async fn apply(&self) -> Result<Evidence, Error> {
            apply(&self.source, &self.model, &self.files, &|_| ()).await
        }

        async fn holds(&self, depth: Depth) -> bool {
            matches!(probe(&self.model, &self.files, depth).await.unwrap(), Probe::Holds(_))
        }

        fn asked(&self) -> usize {
            std::mem::take(&mut *self.source.asked.lock().unwrap()).len()
        }
    }

    #[tokio::test]
    async fn a_folder_appears_whole_and_read_only() {
        let case = case();
        assert!(!case.holds(Depth::Glance).await);
        case.apply().await.unwrap();
        assert!(case.holds(Depth::Whole).await);
        for (path, text) in FILES {
            let path = case.model.path.join(path);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o444);
        }
        assert_eq!(std::fs::read_dir(case.root.path().join("folders")).unwrap().count(), 1, "something is left over");
    }

    #[tokio::test]
    async fn an_interrupted_run_goes_on_and_a_wrong_file_is_never_named() {
        let case = case();
        let last = case.source.dir.path().join(case.files[2].digest.hex());
        std::fs::write(&last, "Weights").unwrap();
        let error = case.apply().await.unwrap_err();
        assert!(matches!(&error, Error::DigestMismatch { what, .. } if what.ends_with("model.safetensors")), "{error}");
        assert!(!case.model.path.exists());
        assert_eq!(case.asked(), 3);
        std::fs::write(&last, "weights").unwrap();
        case.apply().await.unwrap();
        assert_eq!(case.asked(), 1, "what was put is not put again");
        assert!(case.holds(Depth::Whole).await);
    }

    #[tokio::test]
    async fn a_changed_folder_is_mended() {
        let case = case();
        case.apply().await.unwrap();
        case.asked();
        let changed = case.model.path.join("config.json");
        std::fs::remove_file(&changed).unwrap();
        std::fs::write(&changed, "{\"a\": 2}").unwrap();
        std::fs::write(case.model.path.join("modeling.py"), "import os").unwrap();
        assert!(!case.holds(Depth::Glance).await, "a file nobody listed is noticed at a glance");
        case.apply().await.unwrap();
        assert_eq!(case.asked(), 1);
        assert!(case.holds(Depth::Whole).await && !case.model.path.join("modeling.py").exists());
    }
}
