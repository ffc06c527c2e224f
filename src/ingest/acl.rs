//! The ACL file of a folder, `.0711-acl`: who may read what is in it and below it, whatever modes say.
//!
//! ```yaml
//! format: 1
//! rules:
//!   - files: "Gehälter/**"
//!     readers: [hr]
//!   - files: "*.pdf"
//!     readers: [sales, "user:anna"]
//! ```
//!
//! The first rule that fits counts; what no rule fits stays as its mode says. In `files`, `*` and `?` keep to one name and `**` goes over
//! folders; without a `/` it is a name in any folder, and with one at its end all that is in a folder. Readers are groups by name or number,
//! `user:NAME`, and `*` for everybody; none are administrators only. The nearest file above a document counts alone.
//!
//! It must belong to root, to the folder's owner or to the user 0711 runs as, and others must not be able to write it. One that cannot be
//! used closes its folder to all but administrators.

use std::{
    fs::{Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::OFlags;
use serde::Deserialize;

use crate::{name, walk::describe};

/// The name of the file.
pub(crate) const FILE: &str = ".0711-acl";
const FORMAT: u32 = 1;
const MAX_BYTES: u64 = 64 << 10;
const MAX_NAME: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    files: String,
    readers: Vec<String>,
}

/// The rules of one folder.
#[derive(Clone, Debug)]
pub(crate) struct Acl {
    folder: PathBuf,
    /// Absent when nobody may read.
    rules: Option<Arc<[Rule]>>,
}

impl Acl {
    /// Returns where the file of a folder is.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Nobody but administrators.
    pub fn closed() -> Self {
        Self { folder: PathBuf::new(), rules: None }
    }

    /// Reads the file of a folder, `None` where it has none.
    ///
    /// # Errors
    /// Why it cannot be used, for people.
    pub fn read(folder: &Path, of_folder: &Metadata) -> Result<Option<Self>, String> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(Self::path(folder));
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(describe(&error)),
        };
        let metadata = file.metadata().map_err(|error| describe(&error))?;
        let owners = [0, of_folder.uid(), rustix::process::geteuid().as_raw()];
        if !metadata.is_file() {
            return Err("it is no file".to_owned());
        }
        if !owners.contains(&metadata.uid()) || metadata.mode() & 0o002 != 0 {
            return Err(
                "it belongs to somebody else than root and the folder's owner, or anybody may write it".to_owned()
            );
        }
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| describe(&error))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(format!("it has more than {MAX_BYTES} bytes"));
        }
        let rules = parse(&text)?;
        Ok(Some(Self { folder: folder.to_owned(), rules: Some(rules.into()) }))
    }

    /// Returns who may read a file in the folder or below it, sorted; `None` where no rule fits.
    pub fn readers(&self, path: &Path) -> Option<Vec<String>> {
        let Some(rules) = &self.rules else { return Some(Vec::new()) };
        let below = name::below(&self.folder, path)?;
        let file_name = below.rsplit('/').next().unwrap_or(&below);
        let rule = rules.iter().find(|rule| match rule.files.contains('/') {
            true => fits(rule.files.as_bytes(), below.as_bytes()),
            false => fits(rule.files.as_bytes(), file_name.as_bytes()),
        })?;
        let mut readers = rule.readers.clone();
        readers.sort();
        readers.dedup();
        Some(readers)
    }
}

fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let written: Written = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    if written.format != FORMAT {
        return Err(format!("its format is {}, not {FORMAT}", written.format));
    }
    let mut rules = written.rules;
    for rule in &mut rules {
        let names = rule.readers.iter().chain([&rule.files]);
        if let Some(bad) = names.into_iter().find(|name| !is_name(name)) {
            return Err(format!("`{}` is no name", name::shown(bad)));
        }
        if rule.files.ends_with('/') {
            rule.files.push_str("**");
        }
    }
    Ok(rules)
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control)
}

/// Whether a text is what a pattern says. `**/` is also no folder at all.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on when what follows the last `*`, and the last `**`, does not fit: both may take one more.
    let (mut at, mut from) = (0, 0);
    let mut name: Option<(usize, usize)> = None;
    let mut way: Option<(usize, usize)> = None;
    loop {
        let rest = &pattern[at..];
        if rest.starts_with(b"**") {
            at += if rest.starts_with(b"**/") { 3 } else { 2 };
            (way, name) = (Some((at, from)), None);
            continue;
        }
        match (rest.first(), text.get(from)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                at += 1;
                name = Some((at, from));
                continue;
            }
            (Some(b'?'), Some(c)) if *c != b'/' => (at, from) = (at + 1, from + 1),
            (Some(p), Some(c)) if p == c && *p != b'?' => (at, from) = (at + 1, from + 1),
            _ => {
                if let Some((after, begun)) = name.filter(|(_, begun)| text.get(*begun).is_some_and(|c| *c != b'/')) {
                    name = Some((after, begun + 1));
                    (at, from) = (after, begun + 1);
                } else if let Some((after, begun)) = way.filter(|(_, begun)| *begun < text.len()) {
                    // `**/` goes on behind a folder, `**` anywhere.
                    let step = match pattern[after - 1] {
                        b'/' => text[begun..].iter().position(|c| *c == b'/').map(|slash| slash + 1),
                        _ => Some(1),
                    };
                    let Some(step) = step else { return false };
                    (way, name) = (Some((after, begun + step)), None);
                    (at, from) = (after, begun + step);
                } else {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn patterns_fit_names_and_ways() {
        let check = |pattern: &str, text: &str, expect: bool| {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expect, "{pattern} on {text}");
        };
        for (pattern, text) in [
            ("*.pdf", "a.pdf"),
            ("a*c*e", "abcde"),
            ("hr/**", "hr/a/b.pdf"),
            ("hr/*", "hr/a.pdf"),
            ("**/x/*.pdf", "x/a.pdf"),
            ("**/x/*.pdf", "a/b/x/x/a.pdf"),
            ("**", "a/b"),
            ("a/**/b", "a/b"),
            ("a/**/b", "a/x/y/b"),
            ("?.pdf", "a.pdf"),
            ("a**d", "ab/cd"),
            ("*", ""),
        ] {
            check(pattern, text, true);
        }
        for (pattern, text) in [
            ("*.pdf", "a.pdf.txt"),
            ("hr/*", "hr/a/b.pdf"),
            ("hr/**", "hrx/a"),
            ("**/x", "ax"),
            ("?", "/"),
            ("a", ""),
            ("a/**/b", "a/xb"),
        ] {
            check(pattern, text, false);
        }
        // Time stays polynomial.
        check(&"*a".repeat(40), &"a".repeat(300).replace("aaaaaaaaaa", "aaaaaaaaab"), false);
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(dir.path().join(FILE), text).unwrap();
        let read = || Acl::read(dir.path(), &fs::metadata(dir.path()).unwrap());
        assert!(read().unwrap().is_none());
        write(
            "format: 1\nrules:\n- {files: 'hr/', readers: [hr]}\n- {files: '*.pdf', readers: [sales, 'user:anna', sales]}\n- {files: secret.txt, readers: []}\n",
        );
        let acl = read().unwrap().unwrap();
        let readers = |way: &str| acl.readers(&dir.path().join(way));
        assert_eq!(readers("hr/a/b.pdf").unwrap(), ["hr"]);
        assert_eq!(readers("x/y.pdf").unwrap(), ["sales", "user:anna"]);
        assert_eq!(readers("x/secret.txt").unwrap(), [""; 0]);
        assert_eq!(readers("x/y.txt"), None);
        for bad in [
            "",
            "rules: []",
            "format: 2\nrules: []",
            "format: 1\nrules: [{files: '', readers: []}]",
            "format: 1\nrules: []\nmore: 1",
        ] {
            write(bad);
            assert!(read().is_err(), "{bad}");
        }
        write("format: 1\nrules: []");
        assert!(read().is_ok());
        fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(read().is_err(), "anybody may write it");
        assert_eq!(Acl::closed().readers(dir.path()).unwrap(), [""; 0]);
    }
}
