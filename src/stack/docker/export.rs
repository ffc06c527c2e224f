//! Takes an image out of the engine, for a bundle that is made on this machine.

use std::path::Path;

use bundle::release::EngineImage;
use futures::StreamExt;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::engine::Engine;
use crate::Error;

const BUFFER_BYTES: usize = 1 << 20;

impl Engine {
    /// Writes an image to `path`, as `docker save` does, and returns how many bytes that are. What is there is replaced. `progress`
    /// takes the bytes that are written.
    ///
    /// # Errors
    /// [`Error::NoImage`] when the engine does not have it, [`Error::Engine`], [`Error::Export`].
    pub async fn export(
        &self,
        image: &EngineImage,
        path: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<u64, Error> {
        if self.layers(image.name()).await?.is_none() {
            return Err(Error::NoImage { image: image.to_string() });
        }
        let failed = |source| Error::Export { image: image.to_string(), path: path.to_owned(), source };
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path).await.map_err(failed)?);
        let mut parts = Box::pin(self.client().export_image(image.name()));
        let mut written_bytes = 0;
        while let Some(part) = parts.next().await {
            let part = part.map_err(Error::engine("export an image"))?;
            file.write_all(&part).await.map_err(failed)?;
            written_bytes += part.len() as u64;
            progress(written_bytes);
        }
        file.flush().await.map_err(failed)?;
        Ok(written_bytes)
    }
}
