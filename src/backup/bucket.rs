//! A repository in a bucket: any endpoint that speaks S3.
//!
//! `object_store` signs and retries; the connection is ours, because a static program must ask name servers itself
//! (`hickory-dns`) and never load the system's resolver.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use base::{Secret, file};
use http_body_util::BodyExt;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    },
    path::Path,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::{Error, store::Listed};

const CA_BYTES_MAX: u64 = 1 << 20;
const SCHEME: &str = "s3://";
/// What most servers other than Amazon's call their only region.
const REGION: &str = "us-east-1";

/// The time runs from the first byte that is sent: a pack must get through a line of one megabit per second.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// How a bucket is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// `https://HOST[:PORT]`; without it Amazon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A file of two lines, the access key and its secret, that only its owner may read.
    pub credentials: PathBuf,
    /// A certificate to trust besides the public ones, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// A bucket that holds, or will hold, a repository.
pub struct Bucket {
    client: AmazonS3,
    prefix: Path,
    place: String,
    runtime: Handle,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.place)
    }
}

impl Bucket {
    /// Whether a place is a bucket's.
    pub fn is_meant(place: &str) -> bool {
        place.starts_with(SCHEME)
    }

    /// Makes a client of `s3://BUCKET/PREFIX`; nothing is sent yet. What it does later waits on `runtime`, so that it must be
    /// called from threads that may wait.
    pub(crate) fn open(place: &str, access: &Access, runtime: Handle) -> Result<Self, Error> {
        let unfit = |reason: String| Error::Place { place: place.to_owned(), reason };
        let rest = place.strip_prefix(SCHEME).unwrap_or(place).trim_end_matches('/');
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(unfit("it names no bucket".to_owned()));
        }
        let (key, secret) = credentials(access)?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(access.region.as_deref().unwrap_or(REGION))
            .with_access_key_id(key)
            .with_secret_access_key(secret.expose())
            // Names of buckets in front of the host need name servers that know them.
            .with_virtual_hosted_style_request(access.endpoint.is_none())
            .with_allow_http(true)
            .with_retry(RetryConfig { max_retries: 5, retry_timeout: 2 * ANSWER_WITHIN, ..RetryConfig::default() })
            .with_http_connector(Connector { ca: ca(access)? });
        if let Some(endpoint) = &access.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let client = builder.build().map_err(|error| unfit(error.to_string()))?;
        let prefix = Path::parse(prefix).map_err(|error| unfit(error.to_string()))?;
        Ok(Self { client, prefix, place: format!("{SCHEME}{rest}"), runtime })
    }

    pub(crate) fn place(&self) -> String {
        self.place.clone()
    }

    fn at(&self, name: &str) -> Path {
        let parts = self.prefix.parts().map(|part| part.as_ref().to_owned());
        Path::from_iter(parts.chain(name.split('/').filter(|part| !part.is_empty()).map(str::to_owned)))
    }

    fn failed(act: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> Error {
        let name = name.to_owned();
        move |error| match error {
            object_store::Error::NotFound { .. } => Error::Missing { what: name },
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Error::Target { act, name, source: io::Error::new(io::ErrorKind::PermissionDenied, error) }
            }
            error => Error::Target { act, name, source: io::Error::other(error) },
        }
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let payload = PutPayload::from(bytes.to_vec());
        let put = self.runtime.block_on(self.client.put(&self.at(name), payload));
        put.map(drop).map_err(Self::failed("write", name))
    }

    pub(crate) fn get(&self, name: &str, most: u64) -> Result<Vec<u8>, Error> {
        let too_long = |length: u64| Error::Target {
            act: "read",
            name: name.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, format!("it has {length} bytes")),
        };
        let got = self.runtime.block_on(async {
            let found = self.client.get(&self.at(name)).await?;
            if found.meta.size > most {
                return Ok(Err(found.meta.size));
            }
            found.bytes().await.map(Ok)
        });
        match got.map_err(Self::failed("read", name))? {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(length) => Err(too_long(length)),
        }
    }

    pub(crate) fn range(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let options =
            GetOptions { range: Some(GetRange::Bounded(offset..offset + length as u64)), ..GetOptions::default() };
        let got = self.runtime.block_on(async { self.client.get_opts(&self.at(name), options).await?.bytes().await });
        let bytes = got.map_err(Self::failed("read", name))?;
        if bytes.len() != length {
            return Err(Error::damaged(name, "it is cut off"));
        }
        Ok(bytes.to_vec())
    }

    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        use futures::TryStreamExt;
        let root = format!("{}/", self.prefix);
        let below = self.at(prefix);
        let listed = self.runtime.block_on(self.client.list(Some(&below)).try_collect::<Vec<_>>());
        let listed = listed.map_err(Self::failed("list", prefix))?;
        let name = |path: &Path| {
            let path = path.as_ref();
            path.strip_prefix(&root).unwrap_or(path).to_owned()
        };
        let piece = |found: object_store::ObjectMeta| Listed {
            name: name(&found.location),
            size_bytes: found.size,
            modified_ms: found.last_modified.timestamp_millis(),
        };
        Ok(listed.into_iter().map(piece).collect())
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        match self.runtime.block_on(self.client.delete(&self.at(name))) {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            done => done.map_err(Self::failed("remove", name)),
        }
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let copied = self.runtime.block_on(self.client.copy(&self.at(from), &self.at(to)));
        copied.map_err(Self::failed("move", from))?;
        self.remove(from)
    }
}

/// Reads access key and secret.
fn credentials(access: &Access) -> Result<(String, Secret), Error> {
    let path = &access.credentials;
    // It checks who may read the file; the first line is the access key.
    let key = Secret::read(path).map_err(|source| Error::KeyFile { source })?;
    let text = file::read_bounded(path, 4096)
        .map_err(|error| Error::Malformed { path: path.clone(), reason: error.to_string() })?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let secret = text.lines().map(str::trim).filter(|line| !line.is_empty()).nth(1).map(Secret::new);
    let secret = secret.ok_or_else(|| Error::Malformed {
        path: path.clone(),
        reason: "it needs two lines: the access key and its secret".to_owned(),
    })?;
    Ok((key.expose().to_owned(), secret))
}

fn ca(access: &Access) -> Result<Vec<reqwest::Certificate>, Error> {
    let Some(path) = &access.ca else { return Ok(Vec::new()) };
    let malformed = |reason: String| Error::Malformed { path: path.clone(), reason };
    let pem = file::read_bounded(path, CA_BYTES_MAX).map_err(|error| malformed(error.to_string()))?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| malformed(error.to_string()))
}

/// Makes the connections.
#[derive(Debug)]
struct Connector {
    ca: Vec<reqwest::Certificate>,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("0711/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(15))
            .read_timeout(ANSWER_WITHIN);
        for certificate in &self.ca {
            builder = builder.add_root_certificate(certificate.clone());
        }
        let client = builder.build();
        let failed = |error: reqwest::Error| object_store::Error::Generic { store: "S3", source: error.into() };
        Ok(HttpClient::new(Connection(Arc::new(client.map_err(failed)?))))
    }
}

/// A client that `object_store` sends its requests through.
#[derive(Debug)]
struct Connection(Arc<reqwest::Client>);

#[async_trait::async_trait]
impl HttpService for Connection {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        // A piece's bytes stand together: nothing is copied here, and the request can be sent again.
        let body = body.collect().await?.to_bytes();
        let out = self.0.request(parts.method, url).headers(parts.headers).body(body);
        let answer = out.send().await.map_err(failed)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.map_err(failed)?;
        let mut response = HttpResponse::new(HttpResponseBody::from(bytes));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}

/// Says what kind of failure it is: by that `object_store` decides whether to try again.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_body() || error.is_request() {
        HttpErrorKind::Interrupted
    } else {
        HttpErrorKind::Unknown
    };
    HttpError::new(kind, error.without_url())
}
