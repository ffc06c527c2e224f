//! A model's file from a web address.

use crate::{
    Model,
    fetch::{Event, Miss, Watch},
    resume::Download,
    store::Place,
    web::{Pace, Patience, chain},
};

pub(crate) async fn bring(model: &Model, address: &str, place: &Place, watch: Watch<'_>) -> Result<(), Miss> {
    let patience = Patience::default();
    let client = reqwest::Client::builder()
        .user_agent(concat!("0711/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(patience.connect)
        .read_timeout(patience.idle)
        .build()
        .map_err(|error| Miss::Source(chain(&error)))?;
    let total_bytes = model.size_bytes();
    let progress = |done_bytes| watch(Event::Progress { done_bytes, total_bytes });
    let download = Download {
        client: &client,
        address,
        size_bytes: total_bytes,
        place,
        pace: &Pace::new(None),
        patience: &patience,
        progress: &progress,
    };
    download.run().await
}
