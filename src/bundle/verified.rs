use std::path::{Path, PathBuf};

use base::{Digest, config::ModelRef};
use serde::Serialize;

use crate::{
    Catalogue, Error, Event, FetchOptions, Model, ModelRole, State,
    fetch::{self, blocking},
    store::{self, Place, Trust},
};

/// A bundle that is what its maker made. The native release is the binary itself: whoever trusts it trusts its catalogue.
#[derive(Clone, Debug)]
pub struct VerifiedBundle {
    catalogue: Catalogue,
}

/// A model's file whose bytes were hashed and are the catalogue's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedModel {
    name: String,
    digest: Digest,
    path: PathBuf,
    size_bytes: u64,
}

impl VerifiedModel {
    /// Returns the model's name in the catalogue.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the digest of its file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns where its file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of its file.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns it as service configurations name it.
    pub fn to_ref(&self) -> ModelRef {
        ModelRef { name: self.name.clone(), digest: self.digest, path: self.path.clone() }
    }
}

/// A line of `0711 models list` and `verify`.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    pub name: String,
    pub role: ModelRole,
    pub size_bytes: u64,
    pub licence: String,
    pub digest: Digest,
    pub path: PathBuf,
    #[serde(flatten)]
    pub state: State,
}

impl VerifiedBundle {
    /// Returns the bundle that is this program.
    pub fn embedded() -> Result<Self, Error> {
        Ok(Self { catalogue: Catalogue::embedded()? })
    }

    /// Returns the catalogue of its models.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Opens the file of a model, wherever it lies. The bytes are hashed, unless they were before and the file has not
    /// changed since (see the room's `store`). Blocks; a large model takes seconds.
    pub fn model(&self, name: &str, path: &Path) -> Result<VerifiedModel, Error> {
        let model = self.catalogue.model(name)?;
        match store::check(model, path, Trust::Stamp)? {
            State::Present => Ok(proven(model, path.to_owned())),
            State::Missing => Err(Error::Missing { name: name.to_owned(), path: path.to_owned() }),
            State::Damaged { reason } => Err(Error::Damaged { name: name.to_owned(), path: path.to_owned(), reason }),
        }
    }

    /// Brings the file of a model into the models folder `models`, if it is not there already, and proves it.
    ///
    /// Sources are tried in the catalogue's order. Two processes that fetch the same model take turns. The future may be
    /// dropped at any moment; the next call goes on with what arrived.
    pub async fn fetch(
        &self,
        name: &str,
        models: &Path,
        options: &FetchOptions,
        watch: &(dyn Fn(Event) + Send + Sync),
    ) -> Result<VerifiedModel, Error> {
        let model = self.catalogue.model(name)?;
        let path = fetch::fetch(model, models, options, watch).await?;
        Ok(proven(model, path))
    }

    /// Says of every model whether its file is in the models folder, going by stamps where there are any.
    pub async fn list(&self, models: &Path) -> Result<Vec<Listed>, Error> {
        self.listed(models, Trust::Stamp).await
    }

    /// Like [`Self::list`], but hashes every file.
    pub async fn verify(&self, models: &Path) -> Result<Vec<Listed>, Error> {
        self.listed(models, Trust::BytesOnly).await
    }

    async fn listed(&self, models: &Path, trust: Trust) -> Result<Vec<Listed>, Error> {
        let (entries, models) = (self.catalogue.models().to_vec(), models.to_owned());
        blocking(move || {
            let line = |model: &Model| {
                let path = Place::of(&models, &model.digest()).file;
                Ok(Listed {
                    name: model.name().to_owned(),
                    role: model.role(),
                    size_bytes: model.size_bytes(),
                    licence: model.licence().to_owned(),
                    digest: model.digest(),
                    state: store::check(model, &path, trust)?,
                    path,
                })
            };
            entries.iter().map(line).collect()
        })
        .await
    }

    /// For tests: a bundle with another catalogue.
    #[cfg(test)]
    pub(crate) fn of(catalogue: Catalogue) -> Self {
        Self { catalogue }
    }
}

fn proven(model: &Model, path: PathBuf) -> VerifiedModel {
    VerifiedModel { name: model.name().to_owned(), digest: model.digest(), path, size_bytes: model.size_bytes() }
}
