//! What is brought from elsewhere for a build: a folder `.pulled` in the bundle's, until the build ends.
//!
//! Blobs of registries lie in it by their digest, whole or as `<hex>.part`; a build that was interrupted goes on with both. What an
//! engine gave is an archive, made anew each time.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use base::{Digest, DigestWriter, file};
use reqwest::{Response, StatusCode};

use super::{
    EngineImage, Logins, RegistryImage, ReleaseError as Error,
    blobs::Blobs,
    build,
    foreign::{self, Foreign, Taken},
    oci::{Descriptor, Document, MAX_DOCUMENT_BYTES, PulledManifest},
    registry::{Denial, Kind, Registry},
};
use crate::{fetch::blocking, resume::starts_at, web::chain};

/// Connections that may break in a row without a byte gained.
const MAX_IDLE_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The folder.
#[derive(Clone, Debug)]
pub struct Pulls {
    dir: PathBuf,
    blobs: Blobs,
}

/// What pulling an image did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Of the image.
    pub layers: usize,
    /// The image's bytes, as the registry has them.
    pub size_bytes: u64,
}

/// A manifest's or blob's bytes as they must be.
struct Wanted {
    kind: Kind,
    digest: Digest,
    /// How many they are; `None` for the first document, of which only the digest is known.
    size_bytes: Option<u64>,
}

impl Wanted {
    fn of(kind: Kind, descriptor: &Descriptor) -> Self {
        Self { kind, digest: descriptor.digest, size_bytes: Some(descriptor.size) }
    }

    fn most_bytes(&self) -> u64 {
        self.size_bytes.unwrap_or(MAX_DOCUMENT_BYTES)
    }
}

impl Pulls {
    /// The folder's name.
    pub(crate) const NAME: &str = ".pulled";

    /// Makes the folder for the bundle in `out`.
    ///
    /// # Errors
    /// [`Error::Exists`] when something else is in `out`, [`Error::Write`].
    pub fn open(out: &Path) -> Result<Self, Error> {
        build::check_folder(out)?;
        let pulls = Self::of(out);
        fs::create_dir_all(pulls.blobs.dir())
            .map_err(|source| Error::Write { path: pulls.blobs.dir().to_owned(), source })?;
        Ok(pulls)
    }

    /// The folder, which need not exist.
    pub(crate) fn of(out: &Path) -> Self {
        let dir = out.join(Self::NAME);
        Self { blobs: Blobs::of(&dir), dir }
    }

    /// Removes it.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Write { path: self.dir.clone(), source })
            }
            _ => Ok(()),
        }
    }

    /// Returns where the archive of an engine's image belongs.
    pub fn archive(&self, image: &EngineImage) -> PathBuf {
        // Neither sign can stand in a name but here, so no two images share a file.
        self.dir.join(image.name().replace('/', "%2f").replace(':', "%3a") + ".tar")
    }

    /// Brings an image out of its registry, or what is still missing of it. `watch` takes the bytes that are here, and all of them.
    /// Dropping the future leaves what the next call goes on with.
    ///
    /// # Errors
    /// [`Error::Pull`] when the registry does not give it, [`Error::Pulled`] when it gives something else, [`Error::Source`] for what
    /// is no image for the platform, [`Error::Write`].
    pub async fn pull(
        &self,
        image: &RegistryImage,
        logins: &Logins,
        watch: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Pulled, Error> {
        let login = logins.of(image.host());
        let mut registry = Registry::new(image, login).map_err(|denial| denied(image, denial))?;
        let first = Wanted { kind: Kind::Manifest, digest: image.digest(), size_bytes: None };
        self.bring(&mut registry, image, &first, &|_| ()).await?;
        let manifest = match self.document(image, &first.digest)? {
            Document::Image(manifest) => manifest,
            Document::Index(chosen) => {
                self.bring(&mut registry, image, &Wanted::of(Kind::Manifest, &chosen), &|_| ()).await?;
                self.manifest(image)?
            }
        };
        check_size(image, &manifest.config)?;
        // A layer may stand in an image twice.
        let blobs: BTreeMap<Digest, &Descriptor> =
            manifest.layers.iter().chain([&manifest.config]).map(|blob| (blob.digest, blob)).collect();
        let total = blobs.values().map(|blob| blob.size).sum();
        let mut done = 0;
        for blob in blobs.values() {
            self.bring(&mut registry, image, &Wanted::of(Kind::Blob, blob), &|bytes| watch(done + bytes, total))
                .await?;
            done += blob.size;
            watch(done, total);
        }
        Ok(Pulled { layers: manifest.layers.len(), size_bytes: total })
    }

    /// Takes an image that was pulled into the bundle.
    pub(crate) fn take(&self, blobs: &Blobs, image: &RegistryImage) -> Result<Taken, Error> {
        let manifest = self.manifest(image)?;
        let name = PathBuf::from(image.to_string());
        let foreign = Foreign {
            path: &name,
            tag: image.tag().map(str::to_owned),
            config: self.blobs.read(&manifest.config.digest, MAX_DOCUMENT_BYTES)?,
            layers: manifest.layers.iter().map(|layer| layer.digest.to_string()).collect(),
        };
        foreign::take(blobs, foreign, |index| {
            let path = self.blobs.path(&manifest.layers[index].digest);
            File::open(&path).map_err(|error| Error::Read { path, reason: error.to_string() })
        })
    }

    /// Reads the manifest of the image itself, past an index.
    fn manifest(&self, image: &RegistryImage) -> Result<PulledManifest, Error> {
        let chosen = match self.document(image, &image.digest())? {
            Document::Image(manifest) => return Ok(manifest),
            Document::Index(chosen) => chosen,
        };
        match self.document(image, &chosen.digest)? {
            Document::Image(manifest) => Ok(manifest),
            Document::Index(_) => Err(unfit(image, "its index names another index".to_owned())),
        }
    }

    fn document(&self, image: &RegistryImage, digest: &Digest) -> Result<Document, Error> {
        let bytes = self.blobs.read(digest, MAX_DOCUMENT_BYTES)?;
        let document = Document::parse(&bytes).map_err(|reason| unfit(image, reason))?;
        if let Document::Index(chosen) = &document {
            check_size(image, chosen)?;
        }
        Ok(document)
    }

    /// Returns when the bytes are here and were proven.
    async fn bring(
        &self,
        registry: &mut Registry<'_>,
        image: &RegistryImage,
        wanted: &Wanted,
        watch: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Error> {
        let path = self.blobs.path(&wanted.digest);
        let (kept, digest) = (path.clone(), wanted.digest);
        if blocking(move || Ok::<_, Error>(Digest::of_file(&kept).is_ok_and(|found| found == digest))).await? {
            return Ok(());
        }
        let part_path = path.with_extension("part");
        let (opened, most) = (part_path.clone(), wanted.most_bytes());
        let mut part = blocking(move || Part::resume(opened, most)).await?;
        if wanted.size_bytes.is_none() {
            // Of what is there, nobody can tell whether it is whole.
            part.restart()?;
        }
        let (mut idle_attempts, mut furthest_bytes) = (0, part.written_bytes);
        loop {
            let broken = match attempt(registry, wanted, &mut part, watch).await? {
                Ok(()) => break,
                Err(Denial::Refused(reason)) => {
                    part.discard()?;
                    return Err(Error::Pull { image: image.to_string(), reason });
                }
                Err(Denial::Broken(reason)) => reason,
            };
            idle_attempts = if part.written_bytes > furthest_bytes { 0 } else { idle_attempts + 1 };
            furthest_bytes = furthest_bytes.max(part.written_bytes);
            if idle_attempts >= MAX_IDLE_ATTEMPTS {
                return Err(Error::Pull { image: image.to_string(), reason: broken });
            }
            tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(idle_attempts)).await;
        }
        let other = |reason| Error::Pulled { image: image.to_string(), digest: wanted.digest, reason };
        match part.finish(&path, wanted)? {
            None => Ok(()),
            Some(reason) => Err(other(reason)),
        }
    }
}

/// Asks once, from where the part ends. The outer error is this machine's.
async fn attempt(
    registry: &mut Registry<'_>,
    wanted: &Wanted,
    part: &mut Part,
    watch: &(dyn Fn(u64) + Send + Sync),
) -> Result<Result<(), Denial>, Error> {
    if wanted.size_bytes == Some(part.written_bytes) {
        return Ok(Ok(()));
    }
    let mut response: Response = match registry.ask(wanted.kind, &wanted.digest, part.written_bytes).await {
        Ok(response) => response,
        Err(denial) => return Ok(Err(denial)),
    };
    if response.status() == StatusCode::OK {
        part.restart()?;
    } else if response.status() != StatusCode::PARTIAL_CONTENT || !starts_at(&response, part.written_bytes) {
        part.restart()?;
        return Ok(Err(Denial::Broken("the registry could not go on where the last attempt stopped".to_owned())));
    }
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => {
                part.append(&bytes)?;
                // One byte too many is kept for `finish` to see; the rest of an endless answer is not waited for.
                if part.written_bytes > wanted.most_bytes() {
                    return Ok(Ok(()));
                }
                watch(part.written_bytes);
            }
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(Denial::Broken(chain(&error)))),
        }
    }
}

/// A blob that is being pulled, digested as it is written.
struct Part {
    path: PathBuf,
    file: File,
    digested: DigestWriter<io::Sink>,
    written_bytes: u64,
}

impl Part {
    /// Opens the part to go on behind what is there, which is digested first. One that is too long starts anew.
    fn resume(path: PathBuf, most_bytes: u64) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: path.clone(), source };
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        let mut digested = DigestWriter::new(io::sink());
        let written_bytes =
            File::open(&path).and_then(|mut there| io::copy(&mut there, &mut digested)).map_err(failed)?;
        let mut part = Self { path, file, digested, written_bytes };
        if written_bytes > most_bytes {
            part.restart()?;
        }
        Ok(part)
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(|source| self.failed(source))?;
        self.digested = DigestWriter::new(io::sink());
        self.written_bytes = 0;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes).and_then(|()| self.digested.write_all(bytes));
        written.map_err(|source| self.failed(source))?;
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Gives the part its name, or throws it away and says why.
    fn finish(self, path: &Path, wanted: &Wanted) -> Result<Option<String>, Error> {
        let (_, digest, size_bytes) = self.digested.finish();
        let reason = match wanted.size_bytes {
            _ if size_bytes > wanted.most_bytes() => Some(format!("it has more than {} bytes", wanted.most_bytes())),
            Some(expected) if size_bytes < expected => Some(format!("it has {size_bytes} bytes, not {expected}")),
            _ if digest != wanted.digest => Some(format!("its digest is {digest}")),
            _ => None,
        };
        let done = match reason {
            Some(_) => fs::remove_file(&self.path),
            None => self.file.sync_all().and_then(|()| fs::rename(&self.path, path)),
        };
        done.and_then(|()| path.parent().map_or(Ok(()), file::sync_dir))
            .map_err(|source| Error::Write { path: self.path.clone(), source })?;
        Ok(reason)
    }

    /// Throws away what has no bytes yet, so that a name that was mistyped leaves nothing.
    fn discard(self) -> Result<(), Error> {
        if self.written_bytes == 0 {
            fs::remove_file(&self.path).map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }
}

fn denied(image: &RegistryImage, denial: Denial) -> Error {
    let (Denial::Refused(reason) | Denial::Broken(reason)) = denial;
    Error::Pull { image: image.to_string(), reason }
}

fn unfit(image: &RegistryImage, reason: String) -> Error {
    Error::Source { path: PathBuf::from(image.to_string()), reason }
}

/// Refuses a document that would not be read.
fn check_size(image: &RegistryImage, document: &Descriptor) -> Result<(), Error> {
    match document.size <= MAX_DOCUMENT_BYTES {
        true => Ok(()),
        false => Err(unfit(image, format!("{} is said to have {} bytes", document.digest, document.size))),
    }
}
