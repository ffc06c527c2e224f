use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
};

use base::{Timestamp, file};

use crate::{Entitlement, Error, TrustRoots, authenticate, embedded, format::is_license_id, verify};

/// Where a license was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    /// It came with the program.
    Embedded(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Embedded(id) => write!(f, "{id}, which comes with 0711"),
        }
    }
}

/// The bytes of a license nobody has checked yet. `install` keeps exactly these.
#[derive(Clone, Debug)]
pub struct Found {
    bytes: Cow<'static, [u8]>,
    origin: Origin,
    asked: Option<String>,
}

impl Found {
    /// Returns the envelope's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns where it was found.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Checks it with [`verify`], and that it is the license that was asked for.
    pub fn verify(&self, roots: &TrustRoots, now: Timestamp) -> Result<Entitlement, Error> {
        self.expect_asked(verify(&self.bytes, roots, now)?)
    }

    /// Checks it with [`authenticate`], and that it is the license that was asked for.
    pub fn authenticate(&self, roots: &TrustRoots) -> Result<Entitlement, Error> {
        self.expect_asked(authenticate(&self.bytes, roots)?)
    }

    fn expect_asked(&self, entitlement: Entitlement) -> Result<Entitlement, Error> {
        match &self.asked {
            Some(asked) if asked != entitlement.license_id() => {
                Err(Error::OtherLicense { asked: asked.clone(), found: entitlement.license_id().to_owned() })
            }
            _ => Ok(entitlement),
        }
    }
}

/// Finds the license of `--license`: an id (`[A-Z0-9-]{1,64}`) is looked up as `<ID>.license` in `dirs` in their order,
/// then among those that come with the program; anything else is the path of a file.
///
/// A file that is called like an id is named with a path (`./DEMO`).
pub fn find(id_or_path: &str, dirs: &[PathBuf]) -> Result<Found, Error> {
    if !is_license_id(id_or_path) {
        let path = Path::new(id_or_path);
        return Ok(Found {
            bytes: crate::verify::read(path)?.into(),
            origin: Origin::File(path.to_owned()),
            asked: None,
        });
    }
    let asked = Some(id_or_path.to_owned());
    for dir in dirs {
        let path = dir.join(format!("{id_or_path}.license"));
        match crate::verify::read(&path) {
            Ok(bytes) => {
                return Ok(Found { bytes: bytes.into(), origin: Origin::File(path), asked });
            }
            Err(Error::Read(file::ReadError::Io { source, .. })) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    match embedded::by_id(id_or_path) {
        Some(bytes) => Ok(Found { bytes: bytes.into(), origin: Origin::Embedded(id_or_path.to_owned()), asked }),
        None => Err(Error::NotFound { id: id_or_path.to_owned(), searched: dirs.to_vec() }),
    }
}
