//! What is not as it was installed: seen by looking at files as little as possible.
//!
//! A large file is digested only when its size, time or place differs from what was last seen to be right. What the agent finds when
//! it begins is taken for right if the size fits; `0711 doctor` digests everything.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base::config::{Permissions, ServiceConfig};
use base::{CustomerLayout, Digest, file};
use install::control::Drift;
use plan::{Plan, Step};
use serde::Deserialize;

/// A file with the content the plan names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// In one word, for [`Drift::what`].
    pub(crate) what: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    /// Where the plan says it.
    pub(crate) size_bytes: Option<u64>,
    pub(crate) remedy: &'static str,
}

/// What was seen of files, and whether that was right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    seen: BTreeMap<PathBuf, (Stamp, bool)>,
    /// Also what is seen for the first time is read, however large it is.
    doubts: bool,
}

/// What tells without reading that a file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size_bytes: u64,
    modified: (i64, i64),
    inode: u64,
}

/// Smaller files are digested when they are first seen.
const SMALL_BYTES: u64 = 1 << 20;
const AGAIN: &str = "run `0711 install` again: it puts back what is missing";
const REGISTRY_BYTES_MAX: u64 = 1 << 20;

/// Returns the files a plan puts in place, byte by byte.
pub(crate) fn expected(plan: &Plan) -> Vec<Expected> {
    let put_back = |what, path: PathBuf, digest: Digest, size_bytes: u64| Expected {
        what,
        path,
        digest,
        size_bytes: Some(size_bytes),
        remedy: AGAIN,
    };
    let of = |step: &Step| match step {
        Step::License { digest, to, .. } => vec![Expected {
            what: "license",
            path: to.clone(),
            digest: *digest,
            size_bytes: None,
            remedy: "run `0711 install --license FILE` to install another license, or put the former one back",
        }],
        Step::Model { model, size_bytes, files, .. } if files.is_empty() => {
            vec![put_back("model", model.path.clone(), model.digest, *size_bytes)]
        }
        Step::Model { model, files, .. } => files
            .iter()
            .map(|file| put_back("model", model.path.join(&file.path), file.digest, file.size_bytes))
            .collect(),
        Step::Binary { digest, size_bytes, to, .. } => vec![put_back("binary", to.clone(), *digest, *size_bytes)],
        _ => Vec::new(),
    };
    plan.steps().iter().flat_map(of).collect()
}

/// Compares the files with the plan.
pub(crate) fn files(customer: &CustomerLayout, plan: &Plan, memory: &mut Memory) -> Vec<Drift> {
    let mut all: Vec<_> = expected(plan).iter().filter_map(|expected| memory.check(expected)).collect();
    let config = plan.steps().iter().find_map(|step| match step {
        Step::Config { config, .. } => Some(config.as_ref()),
        _ => None,
    });
    if let Some(config) = config {
        all.extend(configuration(customer, config));
        all.extend(config.folders.iter().filter_map(|folder| data_folder(folder)));
    }
    for step in plan.steps() {
        if let Step::Binary { to, link, .. } = step {
            all.extend(binary_link(link, to));
        }
    }
    all.extend(adapter(customer, config.map(|config| config.permissions).unwrap_or_default()));
    all
}

fn drift(what: &str, cause: String, remedy: &str) -> Drift {
    Drift { what: what.to_owned(), role: None, cause, remedy: remedy.to_owned() }
}

impl Memory {
    /// Begins with a doubt about every file.
    pub(crate) fn doubtful() -> Self {
        Self { doubts: true, ..Self::default() }
    }

    /// Returns how a file differs from what is expected.
    pub(crate) fn check(&mut self, expected: &Expected) -> Option<Drift> {
        let path = expected.path.display();
        let differs = |cause: String| Some(drift(expected.what, cause, expected.remedy));
        let metadata = match std::fs::metadata(&expected.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return differs(format!("`{path}` is gone")),
            Err(error) => return differs(format!("`{path}` cannot be looked at: {error}")),
        };
        let stamp = Stamp {
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        };
        if let Some(size_bytes) = expected.size_bytes.filter(|size_bytes| *size_bytes != stamp.size_bytes) {
            return differs(format!("`{path}` has {} bytes instead of {size_bytes}", stamp.size_bytes));
        }
        let is_right = match self.seen.get(&expected.path) {
            Some((known, is_right)) if *known == stamp => *is_right,
            None if stamp.size_bytes > SMALL_BYTES && !self.doubts => true,
            _ => match Digest::of_file(&expected.path) {
                Ok(digest) => digest == expected.digest,
                Err(error) => return differs(format!("`{path}` cannot be read: {error}")),
            },
        };
        self.seen.insert(expected.path.clone(), (stamp, is_right));
        if is_right { None } else { differs(format!("`{path}` is another file than was installed")) }
    }
}

fn configuration(customer: &CustomerLayout, config: &ServiceConfig) -> Option<Drift> {
    const REMEDY: &str = "run `0711 install` again with the answers you want: it writes the configuration anew";
    let path = customer.config();
    match stack::service_config(customer) {
        Ok(found) if found == *config => None,
        Ok(_) => Some(drift("config", format!("`{}` was changed by hand", path.display()), REMEDY)),
        Err(error) => Some(drift("config", crate::supervisor::chain(&error), REMEDY)),
    }
}

fn data_folder(folder: &Path) -> Option<Drift> {
    let error = std::fs::read_dir(folder).err()?;
    let cause = format!("the folder `{}` cannot be read: {error}", folder.display());
    Some(drift("folder", cause, "mount it again, or give it back its rights; documents read from it stay searchable"))
}

fn binary_link(link: &Path, to: &Path) -> Option<Drift> {
    let is_right = link.canonicalize().ok().is_some_and(|found| to.canonicalize().is_ok_and(|to| found == to));
    let cause = || format!("`{}` does not lead to `{}`", link.display(), to.display());
    (!is_right).then(|| drift("binary", cause(), AGAIN))
}

/// The part of the trainer's `registry.json` that says where the promoted adapter is.
#[derive(Deserialize)]
struct Registry {
    promoted: Option<String>,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    dir: String,
    #[serde(default)]
    is_public: bool,
}

fn adapter(customer: &CustomerLayout, permissions: Permissions) -> Option<Drift> {
    let loras = customer.loras();
    let bytes = file::read_bounded(&loras.join("registry.json"), REGISTRY_BYTES_MAX).ok()?;
    let registry: Registry = serde_json::from_slice(&bytes).ok()?;
    let name = registry.promoted?;
    let version = registry.versions.into_iter().find(|version| version.name == name);
    if !permissions.is_off() && version.as_ref().is_some_and(|version| !version.is_public) {
        let cause = format!(
            "the adapter `{name}` learnt from what not everybody may read: with permissions on the base model answers"
        );
        return Some(drift("adapter", cause, "run `0711 train`"));
    }
    let dir = version.map(|version| loras.join(version.dir));
    let is_there = dir.as_ref().is_some_and(|dir| dir.join("adapter_config.json").is_file());
    let place = dir.map_or_else(|| "the registry".to_owned(), |dir| format!("`{}`", dir.display()));
    let cause = || format!("the adapter `{name}`, which should answer, is not in {place}");
    (!is_there).then(|| drift("adapter", cause(), "put its folder back from a backup, or run `0711 versions rollback`"))
}

#[cfg(test)]
mod tests {
    use base::{Layout, Slug};

    use super::*;

    fn expects(path: &Path, content: &[u8], size_bytes: Option<u64>) -> Expected {
        Expected { what: "model", path: path.to_owned(), digest: Digest::of(content), size_bytes, remedy: AGAIN }
    }

    fn cause(memory: &mut Memory, expected: &Expected) -> Option<String> {
        memory.check(expected).map(|drift| drift.cause)
    }

    #[test]
    fn a_file_that_is_gone_cut_or_another_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        std::fs::write(&path, b"weights").unwrap();
        let (mut memory, right) = (Memory::default(), expects(&path, b"weights", Some(7)));
        assert_eq!(cause(&mut memory, &right), None);
        std::fs::write(&path, b"weighty").unwrap();
        assert!(cause(&mut memory, &right).unwrap().contains("another file"));
        assert!(cause(&mut memory, &right).unwrap().contains("another file"), "also when nothing changed since");
        std::fs::write(&path, b"weigh").unwrap();
        assert!(cause(&mut memory, &right).unwrap().contains("5 bytes instead of 7"));
        std::fs::write(&path, b"weights").unwrap();
        assert_eq!(cause(&mut memory, &right), None, "mended");
        std::fs::remove_file(&path).unwrap();
        assert!(cause(&mut memory, &right).unwrap().contains("is gone"));
    }

    #[test]
    fn a_large_file_is_read_only_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        let big = vec![7; 2 << 20];
        std::fs::write(&path, &big).unwrap();
        // A digest that cannot fit: whoever reads the file finds out.
        let (mut memory, other) = (Memory::default(), expects(&path, b"other", Some(2 << 20)));
        assert_eq!(cause(&mut memory, &other), None, "the size fits, and it was not read");
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(&path, &big).unwrap();
        assert!(cause(&mut memory, &other).unwrap().contains("another file"));
        assert!(cause(&mut Memory::doubtful(), &other).unwrap().contains("another file"), "read at once");
    }

    #[test]
    fn a_promoted_adapter_that_is_gone_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let customer = Layout::rooted(dir.path()).customer(&Slug::parse("eaton").unwrap());
        let adapter = |customer| adapter(customer, Permissions::Off);
        assert_eq!(adapter(&customer), None, "nothing was trained");
        let version = customer.loras().join("v1_20260101");
        std::fs::create_dir_all(&version).unwrap();
        let registry = r#"{"format":1,"promoted":"v1","versions":[{"name":"v1","dir":"v1_20260101"}],"history":[]}"#;
        std::fs::write(customer.loras().join("registry.json"), registry).unwrap();
        assert!(adapter(&customer).unwrap().cause.contains("`v1`"));
        std::fs::write(version.join("adapter_config.json"), "{}").unwrap();
        assert_eq!(adapter(&customer), None);
        let told = super::adapter(&customer, Permissions::On).unwrap();
        assert!(told.cause.contains("the base model answers") && told.remedy.contains("0711 train"), "{told:?}");
        let public = registry.replace(r#""name":"v1""#, r#""name":"v1","is_public":true"#);
        std::fs::write(customer.loras().join("registry.json"), public).unwrap();
        assert_eq!(super::adapter(&customer, Permissions::On), None);
    }

    #[test]
    fn a_link_that_leads_elsewhere_and_a_folder_that_is_gone_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let (to, other, link) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("0711"));
        std::fs::write(&to, "").unwrap();
        std::fs::write(&other, "").unwrap();
        assert!(binary_link(&link, &to).is_some());
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(binary_link(&link, &to).is_some());
        assert_eq!(binary_link(&link, &other), None);
        assert!(data_folder(&dir.path().join("gone")).unwrap().cause.contains("gone"));
        assert_eq!(data_folder(dir.path()), None);
    }
}
