//! One request to a role or to the agent: bounded in time and size, without a proxy, without TLS, without redirects.
//!
//! Roles listen on loopback and the agent on a unix socket. A general client would bring proxies from the environment and
//! a connection pool, neither of which may be here.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base::{Exit, Explain, Remedy, Secret};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A role.
    Tcp(SocketAddr),
    /// The agent.
    Unix(PathBuf),
}

impl Endpoint {
    /// Returns the endpoint of a port on 127.0.0.1.
    pub fn loopback(port: u16) -> Self {
        Self::Tcp(([127, 0, 0, 1], port).into())
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(path) => path.display().fmt(out),
        }
    }
}

/// What to ask.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'a str,
    /// With its query.
    pub path: &'a str,
    /// Shown as a bearer token.
    pub token: Option<&'a Secret>,
    /// Sent as JSON.
    pub body: Option<serde_json::Value>,
    /// For everything together: connecting, waiting, reading.
    pub deadline: Duration,
}

impl<'a> Ask<'a> {
    /// Returns a request without token or body and ten seconds of patience.
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path, token: None, body: None, deadline: Duration::from_secs(10) }
    }
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// At most 4 MB.
    pub body: Bytes,
}

impl Reply {
    /// Returns the message of an error answer, shortened and without control characters; the body itself where it has no such shape.
    pub fn message(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let message = message_in(&self.body).unwrap_or_else(|| text.trim().to_owned());
        message.chars().filter(|character| !character.is_control()).take(MESSAGE_CHARACTERS_MAX).collect()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// Says why.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{endpoint} did not answer within {} ms", deadline.as_millis())]
    TimedOut {
        /// Who.
        endpoint: Endpoint,
        /// The patience there was.
        deadline: Duration,
    },
    /// The connection broke, or what came was no HTTP or too long.
    #[error("the conversation with {endpoint} broke off")]
    Broken {
        /// With whom.
        endpoint: Endpoint,
        /// Says why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered with an error.
    #[error("{endpoint} answered {status}: {message}")]
    Status {
        /// Who.
        endpoint: Endpoint,
        /// HTTP status.
        status: u16,
        /// What it said, shortened.
        message: String,
    },
}

impl Explain for CallError {
    fn remedy(&self) -> Option<Remedy> {
        Some(Remedy::new("see what `0711 status` says, and `0711 logs`"))
    }

    fn exit(&self) -> Exit {
        Exit::Unavailable
    }
}

const REPLY_BYTES_MAX: usize = 4 << 20;
const MESSAGE_CHARACTERS_MAX: usize = 300;

/// Asks once.
///
/// # Errors
/// Everything but [`CallError::Status`]: any status is a [`Reply`].
pub async fn call(endpoint: &Endpoint, ask: Ask<'_>) -> Result<Reply, CallError> {
    let deadline = ask.deadline;
    let work = async {
        let connect = |source| CallError::Connect { endpoint: endpoint.clone(), source };
        match endpoint {
            Endpoint::Tcp(address) => {
                let stream = tokio::net::TcpStream::connect(address).await.map_err(connect)?;
                exchange(endpoint, stream, ask).await
            }
            Endpoint::Unix(path) => exchange(endpoint, crate::connect(path).await.map_err(connect)?, ask).await,
        }
    };
    match tokio::time::timeout(deadline, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(CallError::TimedOut { endpoint: endpoint.clone(), deadline }),
    }
}

/// Asks once and reads the answer as JSON.
///
/// # Errors
/// Also [`CallError::Status`] for a status outside 200–299, and [`CallError::Broken`] for another shape.
pub async fn call_json<T: DeserializeOwned>(endpoint: &Endpoint, ask: Ask<'_>) -> Result<T, CallError> {
    let reply = call(endpoint, ask).await?;
    if !(200..300).contains(&reply.status) {
        return Err(CallError::Status { endpoint: endpoint.clone(), status: reply.status, message: reply.message() });
    }
    serde_json::from_slice(&reply.body)
        .map_err(|source| CallError::Broken { endpoint: endpoint.clone(), source: source.into() })
}

/// The console admits only the names and the port it is called under.
fn host(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(address) => address.to_string(),
        Endpoint::Unix(_) => "localhost".to_owned(),
    }
}

/// Both `{"error":"…"}` and the OpenAI form `{"error":{"message":"…"}}`.
fn message_in(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = value.get("error")?;
    error.as_str().or_else(|| error.get("message")?.as_str()).map(str::to_owned)
}

async fn exchange<S>(endpoint: &Endpoint, stream: S, ask: Ask<'_>) -> Result<Reply, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken =
        |source: Box<dyn std::error::Error + Send + Sync>| CallError::Broken { endpoint: endpoint.clone(), source };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
    // Ends by itself when the sender is dropped; what it meets reaches us through the response.
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header("host", host(endpoint))
        .header("accept", "application/json");
    if let Some(token) = ask.token {
        request = request.header("authorization", format!("Bearer {}", token.expose()));
    }
    let body = match &ask.body {
        Some(value) => {
            request = request.header("content-type", "application/json");
            Bytes::from(value.to_string())
        }
        None => Bytes::new(),
    };
    let request = request.body(Full::new(body)).map_err(|error| broken(error.into()))?;
    let response = sender.send_request(request).await.map_err(|error| broken(error.into()))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), REPLY_BYTES_MAX).collect().await.map_err(broken)?;
    Ok(Reply { status, body: body.to_bytes() })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Answers one connection with `answer` and returns what was asked.
    async fn served(answer: &'static str, path: &str) -> (Result<serde_json::Value, CallError>, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::loopback(listener.local_addr().unwrap().port());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        };
        let token = Secret::new("abc");
        let ask = Ask {
            token: Some(&token),
            body: Some(serde_json::json!({"k": 1})),
            deadline: Duration::from_secs(5),
            ..Ask::new("POST", path)
        };
        tokio::join!(call_json(&endpoint, ask), server)
    }

    #[tokio::test]
    async fn sends_token_and_body_and_reads_json() {
        let (reply, asked) = served("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"a\": 1}", "/v1/jobs").await;
        assert_eq!(reply.unwrap(), serde_json::json!({"a": 1}));
        assert!(asked.starts_with("POST /v1/jobs HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("authorization: Bearer abc\r\n") && asked.ends_with("{\"k\":1}"), "{asked}");
    }

    #[tokio::test]
    async fn an_error_status_has_its_message() {
        for body in ["{\"error\":\"no such thing\"}", "{\"error\":{\"message\":\"no such thing\"}}", "no such thing"] {
            let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let error = served(answer.leak(), "/").await.0.unwrap_err();
            assert!(
                matches!(&error, CallError::Status { status: 404, message, .. } if message == "no such thing"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn silence_ends_at_the_deadline() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::loopback(listener.local_addr().unwrap().port());
        let ask = Ask { deadline: Duration::from_millis(50), ..Ask::new("GET", "/health") };
        assert!(matches!(call(&endpoint, ask).await, Err(CallError::TimedOut { .. })));
    }
}
