//! Items get their vectors, many passages at a time.

use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    item::Item,
    meter::{Meter, Stage},
};

/// Passages per call of the model: enough to keep its threads busy, few enough to stop soon when asked to.
const BATCH: usize = 64;

/// Embeds what comes until the queue ends or the run is cancelled. An item without passages, or with known vectors, passes through.
pub(crate) async fn embed(
    embedding: &engine::Embedding,
    mut inbox: Receiver<Item>,
    outbox: Sender<Item>,
    meter: &Meter<'_>,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    while let Some(first) = inbox.recv().await {
        let mut items = vec![first];
        // Small files share a call; nothing waits for files that are not there yet.
        while waiting(&items) < BATCH {
            match inbox.try_recv() {
                Ok(item) => items.push(item),
                Err(_) => break,
            }
        }
        if !vectors(embedding, &mut items, meter, cancel).await? {
            return Ok(());
        }
        for item in items {
            if outbox.send(item).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn waiting(items: &[Item]) -> usize {
    let chunks = items.iter().flat_map(|item| &item.body.chunks);
    chunks.filter(|chunk| chunk.vector.is_empty()).count()
}

/// Fills in the vectors that are missing. Returns `false` when the run was cancelled before the end.
async fn vectors(
    embedding: &engine::Embedding,
    items: &mut [Item],
    meter: &Meter<'_>,
    cancel: &CancellationToken,
) -> Result<bool, Error> {
    let mut places = Vec::new();
    for (item, of) in items.iter().enumerate() {
        let missing = of.body.chunks.iter().enumerate();
        let missing = missing.filter(|(_, chunk)| chunk.vector.is_empty());
        places.extend(missing.map(|(chunk, _)| (item, chunk)));
    }
    for batch in places.chunks(BATCH) {
        if cancel.is_cancelled() {
            return Ok(false);
        }
        let text = |(item, chunk): &(usize, usize)| {
            let item = &items[*item];
            item.embedded_text(&item.body.chunks[*chunk])
        };
        let texts: Vec<String> = batch.iter().map(text).collect();
        let timer = meter.start(Stage::Embed);
        let vectors = embedding.embed_passages(texts).await;
        timer.stop();
        let vectors = vectors.map_err(|source| Error::Embed { source })?;
        if vectors.len() != batch.len() {
            return Err(Error::Broken { reason: format!("{} passages gave {} vectors", batch.len(), vectors.len()) });
        }
        for ((item, chunk), vector) in batch.iter().zip(vectors) {
            items[*item].body.chunks[*chunk].vector = vector;
        }
        meter.chunks(batch.len() as u64);
    }
    Ok(true)
}
