//! The proxy the environment names: can it be reached. Tried only when somebody wanted the network tried.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::check::Check;
use super::dns::Names;

/// A proxy, without the password its address may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Proxy {
    /// Reads `[scheme://][user[:password]@]host[:port][/]`.
    pub(super) fn parse(address: &str) -> Option<Self> {
        let (scheme, rest) = address.trim().split_once("://").unwrap_or(("http", address.trim()));
        let authority = rest.split(['/', '?', '#']).next()?;
        let place = authority.rsplit('@').next()?;
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let usual = match scheme {
            "https" => 443,
            scheme if scheme.starts_with("socks") => 1080,
            _ => 80,
        };
        let port = port.filter(|port| !port.is_empty()).map_or(Some(usual), |port| port.parse().ok())?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

/// How the attempt ended.
#[derive(Debug)]
pub(super) enum Attempt {
    /// None is named.
    Unset,
    /// What is named is no address.
    Unreadable,
    /// Its name has no address.
    Nameless(Proxy),
    /// A connection was made, or not.
    Tried(Proxy, io::Result<()>),
}

/// Connects to the proxy and hangs up.
pub(super) fn look(address: Option<&str>, names: Option<&Names>, deadline: Instant) -> Attempt {
    let Some(address) = address.filter(|address| !address.trim().is_empty()) else { return Attempt::Unset };
    let Some(proxy) = Proxy::parse(address) else { return Attempt::Unreadable };
    let unknown = Names::default();
    let Ok(host) = names.unwrap_or(&unknown).resolve(&proxy.host, deadline) else { return Attempt::Nameless(proxy) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Attempt::Tried(proxy, Err(io::ErrorKind::TimedOut.into()));
    }
    let tried = TcpStream::connect_timeout(&SocketAddr::new(host, proxy.port), left).map(drop);
    Attempt::Tried(proxy, tried)
}

/// `proxy`; `None` when the attempt did not end in time.
pub(super) fn proxy(attempt: Option<&Attempt>) -> Check {
    let id = "proxy";
    let remedy = "correct `HTTPS_PROXY`, or unset it";
    match attempt {
        None => Check::unknown(id, "it does not answer in time", remedy),
        Some(Attempt::Unset) => Check::ok(id, "none is set: connections go straight"),
        Some(Attempt::Unreadable) => Check::warning(id, "what the environment names is no address", remedy),
        Some(Attempt::Nameless(proxy)) => Check::warning(id, format!("`{}` has no address", proxy.host), remedy),
        Some(Attempt::Tried(Proxy { host, port }, Ok(()))) => Check::ok(id, format!("`{host}` port {port} answers")),
        Some(Attempt::Tried(Proxy { host, port }, Err(error))) => {
            Check::warning(id, format!("`{host}` port {port}: {error}"), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::super::Verdict::{Ok as Good, Unknown, Warning};
    use super::*;

    #[test]
    fn addresses_are_read_without_their_secrets() {
        for (address, host, port) in [
            ("http://proxy.example:3128", "proxy.example", 3128),
            ("proxy.example:3128", "proxy.example", 3128),
            ("http://anna:p@ss:word@proxy.example", "proxy.example", 80),
            ("https://proxy.example/", "proxy.example", 443),
            ("socks5h://10.0.0.9", "10.0.0.9", 1080),
            ("http://[fd00::1]:8080/x", "fd00::1", 8080),
        ] {
            assert_eq!(Proxy::parse(address), Some(Proxy { host: host.into(), port }), "{address}");
        }
        for address in ["http://", "http://proxy.example:many", "http://[fd00::1"] {
            assert_eq!(Proxy::parse(address), None, "{address}");
        }
    }

    #[test]
    fn the_proxy_is_called_and_its_password_never_shown() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let call = |address: &str| look(Some(address), None, Instant::now() + Duration::from_secs(5));
        let reached = proxy(Some(&call(&format!("http://anna:secret@127.0.0.1:{port}"))));
        assert_eq!(reached.verdict, Good, "{}", reached.seen);
        drop(listener);
        let refused = proxy(Some(&call(&format!("http://anna:secret@127.0.0.1:{port}"))));
        assert_eq!(refused.verdict, Warning, "{}", refused.seen);
        assert!(!format!("{reached:?}{refused:?}").contains("secret"));
    }

    #[test]
    fn none_is_fine_and_a_broken_one_is_not() {
        let soon = || Instant::now() + Duration::from_secs(5);
        assert_eq!(proxy(Some(&look(None, None, soon()))).verdict, Good);
        assert_eq!(proxy(Some(&look(Some(" "), None, soon()))).verdict, Good);
        assert_eq!(proxy(Some(&look(Some("http://"), None, soon()))).verdict, Warning);
        assert_eq!(proxy(Some(&look(Some("proxy.example"), None, soon()))).verdict, Warning);
        assert_eq!(proxy(None).verdict, Unknown);
    }
}
