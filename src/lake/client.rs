//! The lake of another process, over its HTTP API: the same methods as [`Lake`](crate::Lake).

use std::time::Duration;

use base::Secret;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    CataloguePart, Checked, ChunkRow, Commit, CommitId, DocumentRow, EmbedSpec, Error, Feedback, GraphPath, Hit,
    Interaction, Neighbors, NeighborsRequest, PathRequest, Pin, SearchRequest, Snapshot, SqlAnswer, SqlRequest,
    SqlTable, Stats, Vacuumed, VersionRow,
    format::{CommitWire, Refusal, Reply, SearchWire, WIRE, WIRE_LIMITED},
};

/// A lake that another process serves.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Secret,
    spec: EmbedSpec,
}

impl Client {
    /// Makes a client of the role at `url` (`http://127.0.0.1:PORT`). Nothing is sent yet.
    pub fn new(url: &str, token: Secret, spec: EmbedSpec) -> Result<Self, Error> {
        let url = url.trim_end_matches('/').to_owned();
        // A commit may wait for a compaction; an answer that takes longer than this never comes.
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(300))
            .build()
            .map_err(|source| unreachable(&url, source))?;
        Ok(Self { http, url, token, spec })
    }

    /// Returns the model the client was made for.
    pub fn spec(&self) -> EmbedSpec {
        self.spec
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/v1/{path}", self.url)).bearer_auth(self.token.expose())
    }

    fn query(&self, path: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
        let mut encoded = url::form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(parameters);
        self.request(Method::GET, &format!("{path}?{}", encoded.finish()))
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        self.send_optional(request).await?.ok_or_else(|| Error::Answered {
            url: self.url.clone(),
            status: 404,
            message: "there is no such thing".to_owned(),
        })
    }

    /// Sends; `None` when the role says it has no such row.
    async fn send_optional<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Option<T>, Error> {
        let failed = |source| unreachable(&self.url, source);
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(failed)?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answered = |message: String| Error::Answered { url: self.url.clone(), status: status.as_u16(), message };
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            let refusal: Refusal = serde_json::from_slice(&bytes).map_err(|error| answered(error.to_string()))?;
            return Err(Error::Refused(refusal.error));
        }
        if !status.is_success() {
            let refusal = serde_json::from_slice(&bytes).map(|refusal: Refusal| refusal.error);
            return Err(answered(refusal.unwrap_or_else(|_| "no reason given".to_owned())));
        }
        let reply: Reply<T> = serde_json::from_slice(&bytes).map_err(|error| answered(error.to_string()))?;
        if reply.format != WIRE {
            return Err(Error::OtherFormat { url: self.url.clone(), found: reply.format, wanted: WIRE });
        }
        Ok(Some(reply.value))
    }

    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.send(self.request(Method::GET, path)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// See [`Lake::commit`](crate::Lake::commit).
    pub async fn commit(&self, commit: Commit) -> Result<CommitId, Error> {
        let wire = CommitWire { format: WIRE, model: self.spec.model, commit };
        self.post("commit", &wire).await
    }

    /// See [`Lake::put_aside`](crate::Lake::put_aside).
    pub async fn put_aside(&self, part: &CataloguePart) -> Result<(), Error> {
        self.post("catalogue", part).await
    }

    /// See [`Lake::refresh`](crate::Lake::refresh).
    pub async fn refresh(&self) -> Result<(), Error> {
        self.post("refresh", &()).await
    }

    /// See [`Lake::pin`](crate::Lake::pin).
    pub async fn pin(&self) -> Result<Pin, Error> {
        self.post("pin", &()).await
    }

    /// See [`Lake::unpin`](crate::Lake::unpin).
    pub async fn unpin(&self) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, "pin")).await
    }

    /// See [`Lake::search`](crate::Lake::search).
    pub async fn search(&self, request: SearchRequest) -> Result<Vec<Hit>, Error> {
        let is_plain = request.rights.is_all() && request.at.is_none();
        let format = if is_plain { WIRE } else { WIRE_LIMITED };
        let wire = SearchWire { format, model: self.spec.model, request };
        self.post("search", &wire).await
    }

    /// See [`Lake::documents`](crate::Lake::documents).
    pub async fn documents(&self) -> Result<Vec<DocumentRow>, Error> {
        self.list("documents").await
    }

    /// See [`Lake::document`](crate::Lake::document).
    pub async fn document(&self, id: &str) -> Result<Option<DocumentRow>, Error> {
        let request = self.query("document", &[("id", id)]);
        self.send_optional(request).await
    }

    /// See [`Lake::chunks_of`](crate::Lake::chunks_of).
    pub async fn chunks_of(&self, document_id: &str) -> Result<Vec<ChunkRow>, Error> {
        let request = self.query("chunks", &[("document", document_id)]);
        self.send(request).await
    }

    /// See [`Lake::chunk`](crate::Lake::chunk).
    pub async fn chunk(&self, id: &str) -> Result<Option<ChunkRow>, Error> {
        let request = self.query("chunk", &[("id", id)]);
        self.send_optional(request).await
    }

    /// See [`Lake::all_chunks`](crate::Lake::all_chunks).
    pub async fn all_chunks(&self, after: Option<&str>, limit: usize) -> Result<Vec<ChunkRow>, Error> {
        let limit = limit.to_string();
        let mut parameters = vec![("limit", limit.as_str())];
        parameters.extend(after.map(|after| ("after", after)));
        self.send(self.query("chunks", &parameters)).await
    }

    /// See [`Lake::stats`](crate::Lake::stats).
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.list("stats").await
    }

    /// See [`Lake::record`](crate::Lake::record).
    pub async fn record(&self, interaction: &Interaction) -> Result<(), Error> {
        self.post("interactions", interaction).await
    }

    /// See [`Lake::interactions`](crate::Lake::interactions).
    pub async fn interactions(&self, since_ms: i64) -> Result<Vec<Interaction>, Error> {
        self.send(self.query("interactions", &[("since_ms", &since_ms.to_string())])).await
    }

    /// See [`Lake::feedback`](crate::Lake::feedback).
    pub async fn feedback(&self, feedback: &Feedback) -> Result<(), Error> {
        self.post("feedback", feedback).await
    }

    /// See [`Lake::feedback_since`](crate::Lake::feedback_since).
    pub async fn feedback_since(&self, since_ms: i64) -> Result<Vec<Feedback>, Error> {
        self.send(self.query("feedback", &[("since_ms", &since_ms.to_string())])).await
    }

    /// See [`Lake::put_version`](crate::Lake::put_version).
    pub async fn put_version(&self, row: &VersionRow) -> Result<(), Error> {
        self.post("versions", row).await
    }

    /// See [`Lake::neighbors`](crate::Lake::neighbors).
    pub async fn neighbors(&self, request: NeighborsRequest) -> Result<Neighbors, Error> {
        self.post("graph/neighbors", &request).await
    }

    /// See [`Lake::path`](crate::Lake::path).
    pub async fn path(&self, request: PathRequest) -> Result<GraphPath, Error> {
        self.post("graph/path", &request).await
    }

    /// See [`Lake::sql`](crate::Lake::sql).
    pub async fn sql(&self, request: SqlRequest) -> Result<SqlAnswer, Error> {
        // The question has a limit of its own, and says so better than a connection that ends.
        let timeout = Duration::from_secs(request.max_seconds.saturating_add(60));
        self.send(self.request(Method::POST, "sql").json(&request).timeout(timeout)).await
    }

    /// See [`Lake::sql_tables`](crate::Lake::sql_tables).
    pub async fn sql_tables(&self) -> Result<Vec<SqlTable>, Error> {
        self.list("sql").await
    }

    /// See [`Lake::check`](crate::Lake::check).
    pub async fn check(&self) -> Result<Checked, Error> {
        self.list("check").await
    }

    /// See [`Lake::snapshots`](crate::Lake::snapshots).
    pub async fn snapshots(&self, limit: usize) -> Result<Vec<Snapshot>, Error> {
        self.send(self.query("snapshots", &[("limit", &limit.to_string())])).await
    }

    /// See [`Lake::vacuum`](crate::Lake::vacuum).
    pub async fn vacuum(&self, keep: usize) -> Result<Vacuumed, Error> {
        self.post("vacuum", &serde_json::json!({ "keep": keep })).await
    }

    /// See [`Lake::versions`](crate::Lake::versions).
    pub async fn versions(&self) -> Result<Vec<VersionRow>, Error> {
        self.list("versions").await
    }
}

fn unreachable(url: &str, source: reqwest::Error) -> Error {
    Error::Unreachable { url: url.to_owned(), source: Box::new(source) }
}
