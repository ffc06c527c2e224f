use std::{collections::BTreeMap, io, path::Path};

use base::{Digest, Rights, Secret, file};
use serde::{Deserialize, Serialize};

use crate::{Error, PasswordHash, generate_password};

/// Version of the file this program writes and reads.
const FORMAT: u32 = 1;
const MAX_BYTES: u64 = 4 << 20;
/// The longest name of a person, a program or a group.
const MAX_NAME: usize = 64;

/// Who may ask beside the administrator, and what groups they are in: one small file, read anew for every question.
///
/// A password is kept as argon2id and a token as its sha256; both are shown once, when they are made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    format: u32,
    #[serde(default)]
    people: BTreeMap<String, Person>,
    #[serde(default)]
    programs: BTreeMap<String, Program>,
}

/// Somebody who logs in at the console.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    groups: Vec<String>,
    password: String,
}

/// A program that shows a token at the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    groups: Vec<String>,
    token: Digest,
}

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    Person,
    Program,
}

impl Default for People {
    fn default() -> Self {
        Self { format: FORMAT, people: BTreeMap::new(), programs: BTreeMap::new() }
    }
}

impl People {
    /// Reads the file; nobody is in it where there is none.
    ///
    /// # Errors
    /// [`Error::People`] when it cannot be read or understood.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::People { path: path.to_owned(), reason };
        let bytes = match file::read_bounded(path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(file::ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let people: Self = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        match people.format {
            FORMAT => Ok(people),
            other => Err(failed(format!("its format is {other}, not {FORMAT}"))),
        }
    }

    /// Replaces the file, mode 0600. It belongs to who its folder belongs to: a console in a container reads it as another user.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Write { path: path.to_owned(), source };
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        file::write_atomic(path, &bytes, 0o600).map_err(failed)?;
        let Some(folder) = path.parent() else { return Ok(()) };
        let (own, of_folder) = (std::fs::metadata(path).map_err(failed)?, std::fs::metadata(folder).map_err(failed)?);
        let (user, group) = {
            use std::os::unix::fs::MetadataExt;
            if (own.uid(), own.gid()) == (of_folder.uid(), of_folder.gid()) {
                return Ok(());
            }
            (of_folder.uid(), of_folder.gid())
        };
        std::os::unix::fs::lchown(path, Some(user), Some(group)).map_err(failed)
    }

    /// Adds a person, or changes the groups of one. Returns the password of a new one.
    ///
    /// # Errors
    /// [`Error::Name`] for a name or group that is none, and what making a password can fail with.
    pub fn put_person(&mut self, name: &str, groups: &[String]) -> Result<Option<Secret>, Error> {
        let groups = checked(name, groups)?;
        if let Some(person) = self.people.get_mut(name) {
            person.groups = groups;
            return Ok(None);
        }
        let password = generate_password()?;
        let hash = PasswordHash::of(&password)?.text().to_owned();
        self.people.insert(name.to_owned(), Person { groups, password: hash });
        Ok(Some(password))
    }

    /// Adds a program, or changes the groups of one. Returns the token of a new one.
    ///
    /// # Errors
    /// As [`Self::put_person`].
    pub fn put_program(&mut self, name: &str, groups: &[String]) -> Result<Option<Secret>, Error> {
        let groups = checked(name, groups)?;
        if let Some(program) = self.programs.get_mut(name) {
            program.groups = groups;
            return Ok(None);
        }
        let token = Secret::generate().map_err(Error::Random)?;
        let digest = Digest::of(token.expose().as_bytes());
        self.programs.insert(name.to_owned(), Program { groups, token: digest });
        Ok(Some(token))
    }

    /// Removes a person and a program of this name. Returns whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let person = self.people.remove(name).is_some();
        self.programs.remove(name).is_some() || person
    }

    /// Returns everybody, with their groups.
    pub fn list(&self) -> Vec<(&str, Asker, &[String])> {
        let people = self.people.iter().map(|(name, of)| (name.as_str(), Asker::Person, of.groups.as_slice()));
        let programs = self.programs.iter().map(|(name, of)| (name.as_str(), Asker::Program, of.groups.as_slice()));
        people.chain(programs).collect()
    }

    /// Returns whether this is the person's password. As slow for a name nobody has, so that names cannot be tried.
    pub fn is_password_of(&self, name: &str, password: &str) -> bool {
        let stored = self.people.get(name).map_or(NOBODYS, |person| &person.password);
        let matches = PasswordHash::parse(&Secret::new(stored)).is_ok_and(|hash| hash.matches(password));
        matches && self.people.contains_key(name)
    }

    /// Returns the [`PasswordHash::digest`] of a person; `None` for a name nobody has.
    pub fn password_digest(&self, name: &str) -> Option<Digest> {
        self.people.get(name).map(|person| Digest::of(person.password.as_bytes()))
    }

    /// Returns what a person may read; `None` for a name nobody has.
    pub fn rights_of_person(&self, name: &str) -> Option<Rights> {
        self.people.get(name).map(|person| Rights::of(&person.groups, Some(name)))
    }

    /// Returns what the program with this token may read, `None` when nobody has it. Tokens are 256 random bits: what is compared is their digest.
    pub fn rights_of_token(&self, token: &str) -> Option<Rights> {
        let digest = Digest::of(token.as_bytes());
        self.programs.values().find(|program| program.token == digest).map(|program| Rights::of(&program.groups, None))
    }
}

/// A hash of our own settings that no password has.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LW5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The administrator's name at the console, which nobody else gets.
pub const ADMINISTRATOR: &str = "admin";

fn checked(name: &str, groups: &[String]) -> Result<Vec<String>, Error> {
    let is_word = |text: &str| {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ' ' | '\\');
        !text.trim().is_empty() && text.len() <= MAX_NAME && text.trim() == text && text.chars().all(fits)
    };
    if !is_word(name) || name == ADMINISTRATOR {
        return Err(Error::Name(name.to_owned()));
    }
    if let Some(group) = groups.iter().find(|group| !is_word(group)) {
        return Err(Error::Name(group.clone()));
    }
    let mut groups = groups.to_vec();
    groups.sort();
    groups.dedup();
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_are_kept_and_show_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("people.json");
        let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut people = People::read(&path).unwrap();
        let password = people.put_person("anna", &groups(&["sales", "hr", "sales"])).unwrap().unwrap();
        let token = people.put_program("shop", &groups(&["sales"])).unwrap().unwrap();
        people.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(password.expose()) && !text.contains(token.expose()));

        let mut people = People::read(&path).unwrap();
        assert!(people.is_password_of("anna", password.expose()));
        assert!(!people.is_password_of("anna", "wrong") && !people.is_password_of("bob", password.expose()));
        assert_eq!(people.rights_of_person("anna"), Some(Rights::Of(groups(&["hr", "sales", "user:anna"]))));
        assert_eq!(people.rights_of_token(token.expose()), Some(Rights::Of(groups(&["sales"]))));
        assert_eq!((people.rights_of_person("shop"), people.rights_of_token(password.expose())), (None, None));

        let digest = people.password_digest("anna").unwrap();
        assert!(people.put_person("anna", &groups(&["hr"])).unwrap().is_none(), "the password stays");
        assert!(people.is_password_of("anna", password.expose()));
        assert_eq!(people.password_digest("anna"), Some(digest));
        assert!(people.remove("anna") && !people.remove("anna"));
        assert_eq!(people.password_digest("anna"), None);
        assert!(!people.is_password_of("anna", password.expose()));
        for bad in ["admin", "", " a", "user:x", "*"] {
            assert!(people.put_person(bad, &[]).is_err(), "{bad}");
            assert!(bad == "admin" || people.put_person("carl", &groups(&[bad])).is_err(), "{bad}");
        }
        std::fs::write(&path, "{\"format\": 2}").unwrap();
        assert!(People::read(&path).is_err());
    }

    #[test]
    fn a_name_nobody_has_costs_a_hash_too() {
        assert!(PasswordHash::parse(&Secret::new(NOBODYS)).is_ok());
    }
}
