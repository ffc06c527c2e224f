//! Brings an image of a proven release into the engine: only the layers it lacks, a few at a time.
//!
//! The engine's own store finds a layer by the chain of digests below it before it opens the file, so a layer that is there
//! may be missing from the archive. It unpacks a whole archive to a temporary folder first: therefore the missing layers go in
//! small batches, each as an image of its own that keeps them until the last one is there. So the disk never holds much
//! twice, and an interrupted loading goes on after the last whole batch. Those images have a label and are removed in the end.
//!
//! Leaving layers out is not documented. What came of it is checked, and the whole image is sent when it did not work; an
//! engine that keeps images in containerd gets the whole image at once.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::Digest;
use bollard::errors::Error as ClientError;
use bollard::query_parameters::ImportImageOptionsBuilder;
use bundle::release::{ImageContent, LayerContent};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::engine::{Engine, LOADING_LABEL};
use crate::Error;

/// Layers are sent together up to this size: what the engine holds twice for a moment.
const BATCH_BYTES: u64 = 256 << 20;
const LOAD_PATIENCE: Duration = Duration::from_secs(24 * 3600);
const PIECE_BYTES: usize = 256 << 10;
/// Pieces on their way: a megabyte.
const PIECES: usize = 4;

/// What loading an image did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Layers that were sent.
    pub layers_sent: usize,
    /// Bytes that were sent, as they lie in the bundle.
    pub sent_bytes: u64,
}

impl Engine {
    /// Returns whether the engine has exactly this image.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn has(&self, image: &ImageContent) -> Result<bool, Error> {
        let wanted: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
        Ok(self.layers(&self.id(image).to_string()).await?.is_some_and(|found| found == wanted))
    }

    /// Returns the id this engine gives an image.
    pub fn id(&self, image: &ImageContent) -> Digest {
        if self.has_containerd_store() { image.manifest } else { image.config }
    }

    /// Brings an image into the engine. `progress` takes the bytes of the bundle that are done, and all of them.
    ///
    /// # Errors
    /// [`Error::Engine`], [`Error::Blob`], [`Error::NotLoaded`].
    pub async fn load(
        &self,
        image: &ImageContent,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Loaded, Error> {
        if self.has(image).await? {
            // What an interrupted run left of it.
            self.remove_leftovers().await?;
            return Ok(Loaded::default());
        }
        let total: u64 = image.layers.iter().map(|layer| layer.size_bytes).sum();
        let thin =
            if self.has_containerd_store() { None } else { Some(self.load_missing(image, total, progress).await) };
        let loaded = match thin {
            Some(Ok(loaded)) if self.has(image).await? => loaded,
            // An engine that does not answer will not answer the second time either.
            Some(Err(error @ (Error::Engine { .. } | Error::Blob { .. }))) => return Err(error),
            outcome => {
                if let Some(Err(error)) = outcome {
                    tracing::warn!(image = image.reference, %error, "the engine wants the whole image");
                }
                self.send(image, &image.layers, 0, true, &Meter { before: 0, total, report: progress }).await?
            }
        };
        self.remove_leftovers().await?;
        if self.has(image).await? { Ok(loaded) } else { Err(Error::NotLoaded { image: image.reference.clone() }) }
    }

    async fn load_missing(
        &self,
        image: &ImageContent,
        total: u64,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Loaded, Error> {
        let mut have = 0;
        for known in self.all_layers().await? {
            let common = known.iter().zip(&image.layers).take_while(|(known, layer)| **known == layer.diff_id).count();
            have = have.max(common);
        }
        let mut loaded = Loaded::default();
        loop {
            let end = batch_end(&image.layers, have);
            let before = image.layers[..have].iter().map(|layer| layer.size_bytes).sum();
            let meter = Meter { before, total, report: progress };
            let sent = self.send(image, &image.layers[..end], have, end == image.layers.len(), &meter).await?;
            loaded.layers_sent += sent.layers_sent;
            loaded.sent_bytes += sent.sent_bytes;
            have = end;
            if end == image.layers.len() {
                return Ok(loaded);
            }
        }
    }

    /// Sends the image, or the lower part of it that ends with `layers`, without the files of the first `have`.
    async fn send(
        &self,
        image: &ImageContent,
        layers: &[LayerContent],
        have: usize,
        is_whole: bool,
        meter: &Meter<'_>,
    ) -> Result<Loaded, Error> {
        let small = documents(image, layers, is_whole);
        let missing = layers[have..].to_vec();
        let packed = self.reads_zstd();
        let done = Arc::new(AtomicU64::new(0));
        let (send, receive) = mpsc::channel(PIECES);
        let count = Arc::clone(&done);
        let loaded =
            Loaded { layers_sent: missing.len(), sent_bytes: missing.iter().map(|layer| layer.size_bytes).sum() };
        let writer = tokio::task::spawn_blocking(move || {
            let written = write_archive(&small, &missing, packed, Pieces::new(send.clone()), &count);
            if written.is_err() {
                // The engine must not take the part it got for the whole; it may have gone itself.
                let _ = send.blocking_send(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            written
        });
        let body = bollard::body_try_stream(ReceiverStream::new(receive));
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        // The engine answers when it is done: hours, for a large image on a slow disk.
        let client = self.client().clone().with_timeout(LOAD_PATIENCE);
        let mut answers = Box::pin(client.import_image(options, body, None));
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        let mut outcome = Ok(());
        loop {
            tokio::select! {
                // Cancel-safe: the stream keeps what it has read.
                answer = answers.next() => match answer {
                    None => break,
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        let image = image.reference.clone();
                        outcome = Err(match error {
                            // The engine answers 200 and tells a failure in the stream.
                            ClientError::DockerStreamError { error } => Error::Load { image, reason: error },
                            ClientError::DockerResponseServerError { message, .. } => Error::Load { image, reason: message },
                            error => Error::engine("load an image")(error),
                        });
                        break;
                    }
                },
                _ = tick.tick() => (meter.report)(meter.before + done.load(Ordering::Relaxed), meter.total),
            }
        }
        drop(answers);
        let written = writer.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match (outcome, written) {
            (Ok(()), Ok(())) => Ok(loaded),
            // A reader that went away is the engine's failure, and told above.
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => Err(error),
            (_, Err(source)) => Err(Error::Blob { image: image.reference.clone(), source }),
        }
    }
}

/// Turns the bytes of one batch into those of the image.
struct Meter<'a> {
    before: u64,
    total: u64,
    report: &'a (dyn Fn(u64, u64) + Send + Sync),
}

/// Returns where the batch that begins at `start` ends: at least one layer, unless none is left.
fn batch_end(layers: &[LayerContent], start: usize) -> usize {
    let mut bytes = 0;
    let fits = |layer: &&LayerContent| {
        let is_first = bytes == 0;
        bytes += layer.unpacked_bytes;
        is_first || bytes <= BATCH_BYTES
    };
    start + layers[start..].iter().take_while(fits).count()
}

/// A small file of the archive.
struct Document {
    name: String,
    bytes: Vec<u8>,
}

fn layer_name(layer: &LayerContent) -> String {
    format!("blobs/sha256/{}", layer.digest.hex())
}

/// Returns everything but the layers: `manifest.json` for the engine's own store, and the OCI layout for containerd's when the
/// image is whole.
fn documents(image: &ImageContent, layers: &[LayerContent], is_whole: bool) -> Vec<Document> {
    let config = if is_whole { image.config_bytes.clone() } else { part_config(image, layers) };
    let name = format!("blobs/sha256/{}", Digest::of(&config).hex());
    let listed = json!([{
        "Config": name,
        "RepoTags": if is_whole { json!([image.reference]) } else { Value::Null },
        "Layers": layers.iter().map(layer_name).collect::<Vec<_>>(),
    }]);
    let mut all = vec![
        Document { name, bytes: config },
        Document { name: "manifest.json".to_owned(), bytes: listed.to_string().into_bytes() },
    ];
    if is_whole {
        let annotations = json!({
            "io.containerd.image.name": format!("docker.io/{}", image.reference),
            "org.opencontainers.image.ref.name": image.reference.rsplit(':').next(),
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": image.manifest,
                "size": image.manifest_bytes.len(),
                "annotations": annotations,
            }],
        });
        all.extend([
            Document { name: format!("blobs/sha256/{}", image.manifest.hex()), bytes: image.manifest_bytes.clone() },
            Document { name: "index.json".to_owned(), bytes: index.to_string().into_bytes() },
            Document { name: "oci-layout".to_owned(), bytes: br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec() },
        ]);
    }
    all
}

/// The configuration of the lower part of an image: it only has to keep the layers.
fn part_config(image: &ImageContent, layers: &[LayerContent]) -> Vec<u8> {
    let whole: Value = serde_json::from_slice(&image.config_bytes).unwrap_or_default();
    json!({
        "architecture": whole.get("architecture"),
        "os": whole.get("os"),
        "config": { "Labels": { LOADING_LABEL: image.reference } },
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>() },
    })
    .to_string()
    .into_bytes()
}

/// Writes the archive; `done` counts the bundle's bytes.
fn write_archive(
    small: &[Document],
    layers: &[LayerContent],
    packed: bool,
    to: Pieces,
    done: &AtomicU64,
) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    let header = |size: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(size);
        header
    };
    for document in small {
        archive.append_data(&mut header(document.bytes.len() as u64), &document.name, document.bytes.as_slice())?;
    }
    for layer in layers {
        let counted = Counted { inner: base::file::open_regular(&layer.path).map_err(io::Error::other)?, done };
        let name = layer_name(layer);
        if packed {
            archive.append_data(&mut header(layer.size_bytes), name, Exactly::new(counted, layer.size_bytes))?;
        } else {
            let unpacked = zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 17, counted))?;
            archive.append_data(
                &mut header(layer.unpacked_bytes),
                name,
                Exactly::new(unpacked, layer.unpacked_bytes),
            )?;
        }
    }
    archive.into_inner()?.finish()
}

/// Counts what was read of a file.
struct Counted<'a> {
    inner: File,
    done: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Fails where a reader has fewer bytes than promised: a tar with a short entry would make the next one part of it.
struct Exactly<R> {
    inner: io::Take<R>,
}

impl<R: Read> Exactly<R> {
    fn new(inner: R, bytes: u64) -> Self {
        Self { inner: inner.take(bytes) }
    }
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer)? {
            0 if self.inner.limit() > 0 && !buffer.is_empty() => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than the release says"))
            }
            count => Ok(count),
        }
    }
}

/// Hands what is written to the connection, piece by piece.
struct Pieces {
    send: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Pieces {
    fn new(send: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { send, piece: Vec::with_capacity(PIECE_BYTES) }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.send.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn finish(mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.hand_over() }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE_BYTES {
            self.hand_over()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(unpacked_bytes: u64) -> LayerContent {
        let digest = Digest::of(&unpacked_bytes.to_le_bytes());
        LayerContent { digest, path: "/x".into(), size_bytes: unpacked_bytes, diff_id: digest, unpacked_bytes }
    }

    #[test]
    fn batches_are_small_and_never_empty() {
        let layers: Vec<_> = [10, 300, 100, 100, 100].map(|mib| layer(mib << 20)).into();
        let mut ends = Vec::new();
        let mut start = 0;
        while start < layers.len() {
            start = batch_end(&layers, start);
            ends.push(start);
        }
        assert_eq!(ends, [1, 2, 4, 5]);
    }

    #[test]
    fn a_file_that_is_too_short_ends_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layer");
        std::fs::write(&path, [0; 10]).unwrap();
        let short = LayerContent { path, ..layer(20) };
        let (send, mut receive) = mpsc::channel(100);
        let reader = std::thread::spawn(move || while receive.blocking_recv().is_some() {});
        let written = write_archive(&[], &[short], true, Pieces::new(send), &AtomicU64::new(0));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        reader.join().unwrap();
    }
}
