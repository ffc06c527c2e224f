//! Calls to a role: the token, errors in the wire's shape, nothing through a proxy.

use std::time::Duration;

use base::Secret;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, wire::ErrorBody};

/// Roles are on this machine: whoever does not accept at once is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest silence within an answer. A queue of long answers may stand before ours.
const READ_TIMEOUT: Duration = Duration::from_secs(600);

/// An error's body is a few lines.
const MAX_ERROR_CHARS: usize = 500;

/// A role's address and token.
#[derive(Clone, Debug)]
pub(super) struct Service {
    base_url: String,
    token: Secret,
    client: Client,
}

impl Service {
    pub fn new(base_url: impl Into<String>, token: Secret) -> Self {
        // reqwest panics without a provider, also where no TLS is spoken; the program's own choice, made first, stands.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let built = Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
        // The builder fails only over settings of TLS or addresses, and none is set here.
        let client = built.expect("a client without TLS settings can be built");
        Self { base_url: base_url.into().trim_end_matches('/').to_owned(), token, client }
    }

    /// Returns the address of a path of the role.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    /// Sends a GET and reads the JSON answer.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, Error> {
        let response = self.send(path, self.request(Method::GET, path)).await?;
        self.read(path, response).await
    }

    /// Sends a POST and reads the JSON answer.
    pub async fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A, Error> {
        let response = self.start(path, body).await?;
        self.read(path, response).await
    }

    /// Sends a POST and returns the answer unread; a refusal is an error already.
    pub async fn start(&self, path: &str, body: &impl Serialize) -> Result<Response, Error> {
        self.send(path, self.request(Method::POST, path).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).bearer_auth(self.token.expose())
    }

    async fn send(&self, path: &str, request: RequestBuilder) -> Result<Response, Error> {
        let url = self.url(path);
        let response =
            request.send().await.map_err(|source| Error::Reach { url: url.clone(), source: source.without_url() })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        let message = serde_json::from_str::<ErrorBody>(&body).map_or(body, |refusal| refusal.error.message);
        let message = message.chars().take(MAX_ERROR_CHARS).collect();
        Err(Error::Refused { url, status: status.as_u16(), message })
    }

    async fn read<A: DeserializeOwned>(&self, path: &str, response: Response) -> Result<A, Error> {
        let url = self.url(path);
        let bytes =
            response.bytes().await.map_err(|source| Error::Reach { url: url.clone(), source: source.without_url() })?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Protocol { url, reason: error.to_string() })
    }
}
