//! Looking after the tables, for whoever runs the machine.

use std::path::Path;

use base::CustomerLayout;
use futures::future::BoxFuture;

use crate::{
    CommitId, Error, Lake, export,
    format::{Checked, Exported, Snapshot, Vacuumed},
};

impl Lake {
    /// Checks that everything the newest commit names is there and agrees. Nothing is written meanwhile.
    pub async fn check(&self) -> Result<Checked, Error> {
        let mut checked = self.store().await?.check().await?;
        let this = self.clone();
        checked.nearest = tokio::task::spawn_blocking(move || this.index().recall()).await?;
        Ok(checked)
    }

    /// Returns the newest commits, newest first, and whether each can still be asked.
    pub async fn snapshots(&self, limit: usize) -> Result<Vec<Snapshot>, Error> {
        Ok(self.store().await?.snapshots(limit).await)
    }

    /// Removes the files only commits before the newest `keep` need.
    pub async fn vacuum(&self, keep: usize) -> Result<Vacuumed, Error> {
        let this = self.clone();
        // A caller that goes away must not leave it half done.
        tokio::spawn(async move { this.store().await?.vacuum(keep).await }).await?
    }

    /// Writes a commit's tables into an empty folder: plain Delta, and CSV beside it. It needs no lock, and changes nothing here.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such commit, when it is not whole any more, and when the folder holds something.
    pub fn export<'a>(
        layout: &'a CustomerLayout,
        dir: &'a Path,
        at: Option<CommitId>,
    ) -> BoxFuture<'a, Result<Exported, Error>> {
        Box::pin(export::export(layout, dir, at))
    }
}
