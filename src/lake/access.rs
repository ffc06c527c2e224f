//! The lake, wherever it is open: here when this process gets the lock, else in the role that has it.

use base::{CustomerLayout, Secret, file::LockError};

use futures::future::BoxFuture;

use crate::{
    CataloguePart, Checked, ChunkRow, Client, Commit, CommitId, DocumentRow, EmbedSpec, Error, Feedback, GraphPath,
    Hit, Interaction, Lake, Neighbors, NeighborsRequest, PathRequest, Pin, SearchRequest, Snapshot, SqlAnswer,
    SqlRequest, SqlTable, Stats, Vacuumed, VersionRow,
};

/// A way to a customer's lake. The methods are those of [`Lake`].
///
/// Their futures are boxed on purpose: the body of an async function is compiled in whichever crate awaits it, and with it the
/// bodies of Lance and Delta below. Behind `dyn` they are compiled once, in this room, and not again in each of the five
/// that use it.
#[derive(Clone)]
pub enum Access {
    Local(Lake),
    Remote(Client),
}

impl Access {
    /// Opens the lake here when its lock can be had, else turns to the role at `remote` (its URL and the roles' token).
    pub fn open<'a>(
        layout: &'a CustomerLayout,
        spec: EmbedSpec,
        remote: Option<(&'a str, Secret)>,
    ) -> BoxFuture<'a, Result<Self, Error>> {
        Box::pin(async move {
            match (Lake::open(layout, spec).await, remote) {
                (Ok(lake), _) => Ok(Self::Local(lake)),
                (Err(Error::Lock(LockError::Held { .. })), Some((url, token))) => {
                    Client::new(url, token, spec).map(Self::Remote)
                }
                (Err(error), _) => Err(error),
            }
        })
    }

    /// See [`Lake::spec`].
    pub fn spec(&self) -> EmbedSpec {
        match self {
            Self::Local(lake) => lake.spec(),
            Self::Remote(client) => client.spec(),
        }
    }

    /// See [`Lake::commit`].
    pub fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<CommitId, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.commit(commit).await,
                Self::Remote(client) => client.commit(commit).await,
            }
        })
    }

    /// See [`Lake::put_aside`].
    pub fn put_aside(&self, part: CataloguePart) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.put_aside(part).await,
                Self::Remote(client) => client.put_aside(&part).await,
            }
        })
    }

    /// See [`Lake::refresh`].
    pub fn refresh(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.refresh().await,
                Self::Remote(client) => client.refresh().await,
            }
        })
    }

    /// See [`Lake::pin`].
    pub fn pin(&self) -> BoxFuture<'_, Result<Pin, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.pin().await,
                Self::Remote(client) => client.pin().await,
            }
        })
    }

    /// See [`Lake::unpin`].
    pub fn unpin(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.unpin().await,
                Self::Remote(client) => client.unpin().await,
            }
        })
    }

    /// See [`Lake::search`].
    pub fn search(&self, request: SearchRequest) -> BoxFuture<'_, Result<Vec<Hit>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.search(request).await,
                Self::Remote(client) => client.search(request).await,
            }
        })
    }

    /// See [`Lake::documents`].
    pub fn documents(&self) -> BoxFuture<'_, Result<Vec<DocumentRow>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => Ok(lake.documents()),
                Self::Remote(client) => client.documents().await,
            }
        })
    }

    /// See [`Lake::document`].
    pub fn document<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<DocumentRow>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => Ok(lake.document(id)),
                Self::Remote(client) => client.document(id).await,
            }
        })
    }

    /// See [`Lake::chunks_of`].
    pub fn chunks_of<'a>(&'a self, document_id: &'a str) -> BoxFuture<'a, Result<Vec<ChunkRow>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.chunks_of(document_id).await,
                Self::Remote(client) => client.chunks_of(document_id).await,
            }
        })
    }

    /// See [`Lake::chunk`].
    pub fn chunk<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<ChunkRow>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.chunk(id).await,
                Self::Remote(client) => client.chunk(id).await,
            }
        })
    }

    /// See [`Lake::all_chunks`].
    pub fn all_chunks<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<ChunkRow>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.all_chunks(after, limit).await,
                Self::Remote(client) => client.all_chunks(after, limit).await,
            }
        })
    }

    /// See [`Lake::stats`].
    pub fn stats(&self) -> BoxFuture<'_, Result<Stats, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.stats().await,
                Self::Remote(client) => client.stats().await,
            }
        })
    }

    /// See [`Lake::record`].
    pub fn record(&self, interaction: Interaction) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.record(interaction).await,
                Self::Remote(client) => client.record(&interaction).await,
            }
        })
    }

    /// See [`Lake::interactions`].
    pub fn interactions(&self, since_ms: i64) -> BoxFuture<'_, Result<Vec<Interaction>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.interactions(since_ms).await,
                Self::Remote(client) => client.interactions(since_ms).await,
            }
        })
    }

    /// See [`Lake::feedback`].
    pub fn feedback(&self, feedback: Feedback) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.feedback(feedback).await,
                Self::Remote(client) => client.feedback(&feedback).await,
            }
        })
    }

    /// See [`Lake::feedback_since`].
    pub fn feedback_since(&self, since_ms: i64) -> BoxFuture<'_, Result<Vec<Feedback>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.feedback_since(since_ms).await,
                Self::Remote(client) => client.feedback_since(since_ms).await,
            }
        })
    }

    /// See [`Lake::put_version`].
    pub fn put_version(&self, row: VersionRow) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.put_version(row).await,
                Self::Remote(client) => client.put_version(&row).await,
            }
        })
    }

    /// See [`Lake::neighbors`].
    pub fn neighbors(&self, request: NeighborsRequest) -> BoxFuture<'_, Result<Neighbors, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.neighbors(request).await,
                Self::Remote(client) => client.neighbors(request).await,
            }
        })
    }

    /// See [`Lake::path`].
    pub fn path(&self, request: PathRequest) -> BoxFuture<'_, Result<GraphPath, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.path(request).await,
                Self::Remote(client) => client.path(request).await,
            }
        })
    }

    /// See [`Lake::sql`].
    pub fn sql(&self, request: SqlRequest) -> BoxFuture<'_, Result<SqlAnswer, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.sql(request).await,
                Self::Remote(client) => client.sql(request).await,
            }
        })
    }

    /// See [`Lake::sql_tables`].
    pub fn sql_tables(&self) -> BoxFuture<'_, Result<Vec<SqlTable>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.sql_tables().await,
                Self::Remote(client) => client.sql_tables().await,
            }
        })
    }

    /// See [`Lake::check`].
    pub fn check(&self) -> BoxFuture<'_, Result<Checked, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.check().await,
                Self::Remote(client) => client.check().await,
            }
        })
    }

    /// See [`Lake::snapshots`].
    pub fn snapshots(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Snapshot>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.snapshots(limit).await,
                Self::Remote(client) => client.snapshots(limit).await,
            }
        })
    }

    /// See [`Lake::vacuum`].
    pub fn vacuum(&self, keep: usize) -> BoxFuture<'_, Result<Vacuumed, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.vacuum(keep).await,
                Self::Remote(client) => client.vacuum(keep).await,
            }
        })
    }

    /// See [`Lake::versions`].
    pub fn versions(&self) -> BoxFuture<'_, Result<Vec<VersionRow>, Error>> {
        Box::pin(async move {
            match self {
                Self::Local(lake) => lake.versions().await,
                Self::Remote(client) => client.versions().await,
            }
        })
    }
}
