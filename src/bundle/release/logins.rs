//! Log-ins of registries, from the file that `docker login` writes.

use std::{collections::BTreeMap, fs, path::Path};

use base::{Secret, file};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::ReleaseError as Error;

const MAX_BYTES: u64 = 1 << 20;
/// Under this name the file knows the Docker Hub.
const HUB_KEY: &str = "index.docker.io";

/// Names and passwords, by registry. Without any, registries are asked anonymously.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    by_host: BTreeMap<String, Login>,
    /// Registries whose password another program keeps; `None` names those without an own one.
    helpers: Vec<Option<String>>,
}

/// Who asks a registry.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub user: String,
    pub password: Secret,
}

/// `config.json` of the Docker client, as far as it is used.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
}

impl Logins {
    /// Reads the file; one that is not there has no log-ins.
    ///
    /// # Errors
    /// [`Error::Read`] when it cannot be understood. What it says is in no error: it holds passwords.
    pub fn read(path: &Path) -> Result<Self, Error> {
        if fs::symlink_metadata(path).is_err() {
            return Ok(Self::default());
        }
        let refused = |reason: String| Error::Read { path: path.to_owned(), reason };
        let bytes = file::read_bounded(path, MAX_BYTES).map_err(|error| refused(error.to_string()))?;
        let file: ConfigFile = serde_json::from_slice(&bytes)
            .map_err(|_| refused("it is no configuration of the Docker client".into()))?;
        let mut logins = Self::default();
        for (name, entry) in file.auths {
            // An entry without a password is what a helper program leaves.
            if entry.auth.is_empty() {
                continue;
            }
            let decoded = STANDARD.decode(&entry.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (user, password) = pair.ok_or_else(|| refused(format!("its log-in for `{name}` is none")))?;
            let password = Secret::new(password.trim_end_matches('\0'));
            logins.by_host.insert(host_of(&name), Login { user: user.to_owned(), password });
        }
        logins.helpers.extend(file.cred_helpers.keys().map(|name| Some(host_of(name))));
        logins.helpers.extend(file.creds_store.map(|_| None));
        Ok(logins)
    }

    /// Returns the log-in for a registry.
    pub(crate) fn of(&self, host: &str) -> Option<&Login> {
        self.by_host.get(&host_of(host))
    }

    /// Says as whom a registry is asked.
    pub fn describe(&self, host: &str) -> String {
        let host = host_of(host);
        match self.by_host.get(&host) {
            Some(login) => format!("as {}", login.user),
            None if self.helpers.iter().any(|helper| helper.as_ref().is_none_or(|named| *named == host)) => {
                "anonymously: a helper program keeps the log-in, and none is run here".to_owned()
            }
            None => "anonymously".to_owned(),
        }
    }
}

/// The host of an entry, which may be written as an address (`https://index.docker.io/v1/`).
fn host_of(name: &str) -> String {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    match name.split('/').next().unwrap_or(name) {
        "docker.io" | "registry-1.docker.io" => HUB_KEY.to_owned(),
        host => host.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_ins_are_found_as_docker_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let read = |text: String| {
            fs::write(&path, text).unwrap();
            Logins::read(&path)
        };
        let auth = STANDARD.encode("ada:s3cret:with colon");
        let logins = read(format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}}, "firm.example:8443": {{"auth": "{auth}"}},
            "kept.example": {{}}}}, "credHelpers": {{"helped.example": "x"}}, "HttpHeaders": {{}}}}"#
        ));
        let logins = logins.unwrap();
        for host in ["docker.io", "firm.example:8443"] {
            let login = logins.of(host).unwrap();
            assert_eq!((login.user.as_str(), login.password.expose()), ("ada", "s3cret:with colon"));
            assert_eq!(logins.describe(host), "as ada");
        }
        for host in ["firm.example", "kept.example", "helped.example"] {
            assert!(logins.of(host).is_none(), "{host}");
        }
        assert_eq!(logins.describe("kept.example"), "anonymously");
        assert!(logins.describe("helped.example").contains("helper program"));
        assert!(read(r#"{"credsStore": "x"}"#.into()).unwrap().describe("any.example").contains("helper program"));
        assert!(!format!("{logins:?}").contains("s3cret"));
        let refused = read(format!(r#"{{"auths": {{"a.example": {{"auth": "{}"}}}}}}"#, STANDARD.encode("s3cret")));
        assert!(!refused.unwrap_err().to_string().contains("s3cret"));
        assert!(Logins::read(&dir.path().join("none")).unwrap().of("docker.io").is_none());
    }
}
