//! The secrets of an installation, and the search for them in what is about to leave.
//!
//! Two ideas carry the search. What is searched is also *decoded* (percent, backslash, entity, quoted-printable, lists of numbers,
//! base64, gzip, zstd, deflate), over and over, so that a secret comes to the surface however often it was wrapped. And it is searched
//! with everything but letters and digits left out and in one case, so that quotes, line breaks, separators, NUL bytes and padding
//! make no difference. A stretch of [`patterns::WINDOW`] characters is enough: half a secret is one, too.

mod decode;
mod patterns;
mod values;

#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base::{CustomerLayout, Layout, file};

use self::patterns::Patterns;
use self::values::{Value, values};
use crate::{Error, Found};

const SECRET_BYTES_MAX: u64 = 1 << 20;
const DEPTH_MAX: usize = 5;
/// Wrapped more often than this, it was hidden on purpose.
const NESTED_MAX: usize = 3;
/// What may come out of the wrappings of one file: beyond it somebody packs a bomb.
const INSIDE_BYTES_MAX: usize = 128 << 20;

/// What to look for.
pub(crate) struct Secrets {
    names: Vec<String>,
    too_short: Vec<String>,
    patterns: Patterns,
}

impl Secrets {
    /// Finds the secrets of an installation: every file of the secrets folder, and whatever is called like one in the configuration's
    /// folders.
    ///
    /// # Errors
    /// [`Error::SecretUnreadable`], [`Error::SecretsUnlisted`]: without knowing them all there is no search.
    pub(crate) fn of(layout: &Layout, customer: &CustomerLayout) -> Result<Self, Error> {
        let mut files = Vec::new();
        walk(&customer.secrets(), &|_| true, 0, &mut files)?;
        walk(&customer.deployment(), &is_called_secret, 0, &mut files)?;
        walk(&layout.etc(), &is_called_secret, 0, &mut files)?;
        walk(customer.etc(), &is_called_secret, 0, &mut files)?;
        files.sort();
        files.dedup();
        let mut named = Vec::new();
        for path in files {
            let bytes = match file::read_bounded(&path, SECRET_BYTES_MAX) {
                Ok(bytes) => zeroize::Zeroizing::new(bytes),
                // The first password is removed when it is shown.
                Err(file::ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Error::SecretUnreadable { path, source }),
            };
            named.push((name(layout, customer, &path), values(&bytes)));
        }
        Self::new(named)
    }

    pub(crate) fn new(named: Vec<(String, Vec<Value>)>) -> Result<Self, Error> {
        let patterns = Patterns::new(&named).map_err(Error::Search)?;
        let searched = |index: &usize| patterns.has(*index);
        let (searched, too_short): (Vec<_>, Vec<_>) = (0..named.len()).partition(searched);
        let names_of = |all: Vec<usize>| all.into_iter().map(|index| named[index].0.clone()).collect();
        let too_short = names_of(too_short);
        // An empty file holds no secret.
        drop(searched);
        Ok(Self { names: named.into_iter().map(|(name, _)| name).collect(), too_short, patterns })
    }

    /// Returns the names of what is looked for.
    pub(crate) fn searched(&self) -> Vec<String> {
        self.names.iter().filter(|name| !self.too_short.contains(name)).cloned().collect()
    }

    /// Returns the names of what is too short to be told from other text.
    pub(crate) fn too_short(&self) -> Vec<String> {
        self.too_short.clone()
    }

    /// Looks for the secrets in `bytes`, as they stand and in every form they are known to be written in.
    pub(crate) fn find(&self, file: &str, bytes: &[u8]) -> Search {
        let mut room = INSIDE_BYTES_MAX.max(8 * bytes.len());
        match self.look(bytes, NESTED_MAX, &mut room) {
            Ok(None) => Search::Clean,
            Ok(Some((secret, form))) => {
                Search::Found(Found { file: file.to_owned(), secret: self.names[secret].clone(), form })
            }
            Err(TooMuch) => Search::TooMuch,
        }
    }

    fn look(&self, bytes: &[u8], nested: usize, room: &mut usize) -> Result<Option<(usize, String)>, TooMuch> {
        for (view, content) in decode::views(bytes) {
            if let Some((secret, form)) = self.patterns.find(&content) {
                let words: Vec<_> = [form, view].into_iter().filter(|word| !word.is_empty()).collect();
                return Ok(Some((secret, words.join(", "))));
            }
        }
        if nested == 0 {
            return Ok(None);
        }
        for (what, content) in decode::nested(bytes, room)? {
            if let Some((secret, form)) = self.look(&content, nested - 1, room)? {
                return Ok(Some((secret, format!("{form}, in {what}"))));
            }
        }
        Ok(None)
    }
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    Clean,
    Found(Found),
    /// More is packed in it than can be searched: nobody can say what is there.
    TooMuch,
}

/// More came out of wrappings than there is room for.
#[derive(Debug)]
pub(crate) struct TooMuch;

fn walk(dir: &Path, takes: &dyn Fn(&str) -> bool, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let unlisted = |source| Error::SecretsUnlisted { path: dir.to_owned(), source };
    let is_absent = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(unlisted(error)),
    };
    for entry in entries {
        let entry = entry.map_err(unlisted)?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_taken = takes(&name.to_string_lossy());
        // A link to a secret is one: its target is what counts.
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() && depth == DEPTH_MAX => {
                return Err(unlisted(io::Error::other("its folders are too deep")));
            }
            // In a folder of keys a key may be called anything.
            Ok(found) if found.is_dir() && is_taken => walk(&path, &|_| true, depth + 1, files)?,
            Ok(found) if found.is_dir() => walk(&path, takes, depth + 1, files)?,
            Ok(found) if found.is_file() && is_taken => files.push(path),
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(unlisted(error)),
        }
    }
    Ok(())
}

fn is_called_secret(name: &str) -> bool {
    const WORDS: [&str; 9] =
        ["key", "secret", "token", "passw", "passphrase", "credential", ".pem", ".env", "htpasswd"];
    let name = name.to_lowercase();
    !name.ends_with(".pub") && WORDS.iter().any(|word| name.contains(word))
}

fn name(layout: &Layout, customer: &CustomerLayout, path: &Path) -> String {
    let below = |dir: PathBuf, called: &str| Some(format!("{called}{}", path.strip_prefix(dir).ok()?.display()));
    below(customer.secrets(), "")
        .or_else(|| below(customer.deployment(), "deployment/"))
        .or_else(|| below(layout.etc(), "etc/"))
        .unwrap_or_else(|| path.display().to_string())
}
