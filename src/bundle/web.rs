//! How the web is reached: which proxy, which authorities, how fast, with how much patience. The environment is never asked.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{Certificate, Client, Proxy as ClientProxy, StatusCode, redirect};
use tokio::time::{Instant, sleep, timeout};
use url::{Host, Url};

use crate::tuf::{FileError, Files, Tree};

const MAX_REDIRECTS: usize = 5;

/// A proxy's address, with a name and a password in it where it wants them. It shows neither.
#[derive(Clone)]
pub struct ProxyAddress(Url);

impl ProxyAddress {
    /// Reads `http://[NAME:PASSWORD@]HOST:PORT`.
    ///
    /// # Errors
    /// The reason, without the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        match matches!(url.scheme(), "http" | "https") && url.has_host() {
            true => Ok(Self(url)),
            false => Err("it is no address like `http://proxy:3128`".to_owned()),
        }
    }

    /// Whether a password stands in it.
    pub fn has_password(&self) -> bool {
        self.0.password().is_some()
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.host_str().unwrap_or(""), self.0.port_or_known_default().unwrap_or(0))
    }
}

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For a metadata file as a whole.
    pub small_file: Duration,
    /// In each such time a download must bring `least_bytes`, or it is begun again: a server that drips holds nobody for ever.
    pub window: Duration,
    pub least_bytes: u64,
    /// Attempts in a row that bring less than `least_bytes`.
    pub attempts: u32,
    /// After the first of them; then twice as long each time, up to half a minute.
    pub first_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            small_file: Duration::from_secs(60),
            window: Duration::from_secs(60),
            least_bytes: 64 << 10,
            attempts: 4,
            first_pause: Duration::from_millis(200),
        }
    }
}

impl Patience {
    /// Returns the pause after so many attempts in vain.
    pub(crate) fn pause(&self, attempts: u32) -> Duration {
        (self.first_pause * 2_u32.saturating_pow(attempts.min(16))).min(Duration::from_secs(30))
    }
}

/// How a web channel is reached.
#[derive(Clone, Debug, Default)]
pub struct WebOptions {
    pub proxy: Option<ProxyAddress>,
    /// Certificates in PEM of authorities that are trusted beside the machine's own.
    pub authorities: Vec<Vec<u8>>,
    /// Bytes per second, all downloads together.
    pub limit_rate: Option<u64>,
    pub patience: Patience,
}

/// A repository on a web server.
#[derive(Clone, Debug)]
pub struct Web {
    pub(crate) client: Client,
    pub(crate) patience: Patience,
    pub(crate) pace: Arc<Pace>,
    metadata: Url,
    targets: Url,
}

/// Returns the client every download uses. Redirections stay on the server: no address is asked that nobody configured.
pub(crate) fn client(options: &WebOptions) -> Result<Client, String> {
    let same_server = redirect::Policy::custom(|attempt| {
        let stays = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        match stays && attempt.previous().len() <= MAX_REDIRECTS {
            true => attempt.follow(),
            false => attempt.error("the server sends on to another one"),
        }
    });
    let mut builder = Client::builder()
        .user_agent(concat!("0711/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.patience.connect)
        .read_timeout(options.patience.idle)
        .redirect(same_server)
        .no_proxy();
    if let Some(ProxyAddress(url)) = &options.proxy {
        builder = builder.proxy(ClientProxy::all(url.clone()).map_err(|error| chain(&error))?);
    }
    for pem in &options.authorities {
        let certificates = Certificate::from_pem_bundle(pem).map_err(|error| chain(&error))?;
        if certificates.is_empty() {
            return Err("the file of the authority holds no certificate in PEM".to_owned());
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| chain(&error))
}

/// Whether an address is encrypted, or stays on this machine.
pub(crate) fn is_private(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

impl Web {
    /// A repository whose two trees have addresses of their own.
    ///
    /// # Errors
    /// The reason why an address or an option cannot be used.
    pub fn new(metadata: &str, targets: &str, options: &WebOptions) -> Result<Self, String> {
        let folder = |text: &str| {
            let url = Url::parse(&format!("{}/", text.trim_end_matches('/'))).map_err(|error| error.to_string())?;
            match is_private(&url) && url.query().is_none() && url.fragment().is_none() {
                true => Ok(url),
                false => Err("only https addresses are used, or http on this machine itself".to_owned()),
            }
        };
        Ok(Self {
            client: client(options)?,
            patience: options.patience,
            pace: Arc::new(Pace::new(options.limit_rate)),
            metadata: folder(metadata)?,
            targets: folder(targets)?,
        })
    }

    async fn read_small(&self, address: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
        let broken = |error: reqwest::Error| FileError::Unavailable(chain(&error));
        let mut response = self.client.get(address).send().await.map_err(broken)?;
        match response.status() {
            StatusCode::OK => {}
            // Stores of objects answer 403 for what they do not have.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => return Ok(None),
            status => return Err(FileError::Unavailable(format!("the server answers {status}"))),
        }
        let too_large = || FileError::Refused(format!("it has more than {max_bytes} bytes"));
        if response.content_length().is_some_and(|length| length > max_bytes) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if (bytes.len() + piece.len()) as u64 > max_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }
}

impl Files for Web {
    async fn read(&self, tree: Tree, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
        let base = match tree {
            Tree::Metadata => &self.metadata,
            Tree::Targets => &self.targets,
        };
        let address = format!("{base}{name}");
        let mut attempts = 0;
        loop {
            let read = match timeout(self.patience.small_file, self.read_small(&address, max_bytes)).await {
                Ok(read) => read,
                Err(_) => Err(FileError::Unavailable(format!("it took more than {:?}", self.patience.small_file))),
            };
            attempts += 1;
            match read {
                Err(FileError::Unavailable(_)) if attempts < self.patience.attempts => {
                    sleep(self.patience.pause(attempts - 1)).await;
                }
                read => return read,
            }
        }
    }
}

/// A rate all downloads share.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: Option<u64>,
    free_at: tokio::sync::Mutex<Instant>,
}

impl Pace {
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.filter(|rate| *rate > 0),
            free_at: tokio::sync::Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many more bytes may have come.
    pub async fn spend(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let until = {
            let mut free_at = self.free_at.lock().await;
            *free_at = (*free_at).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *free_at
        };
        tokio::time::sleep_until(until).await;
    }

    /// Returns what a download may be asked to bring in a window: no more than half of what it is let.
    pub fn at_most(&self, least_bytes: u64, window: Duration) -> u64 {
        let limit = self.bytes_per_second.map(|rate| (rate as f64 * window.as_secs_f64() / 2.0) as u64);
        // Several downloads share the rate: the least that tells a slow one from a stopped one.
        limit.map_or(least_bytes, |limit| least_bytes.min(limit / 16))
    }
}

/// Returns an error with its causes: reqwest's own text alone does not name them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
