//! A registry, asked for manifests and blobs as the OCI distribution specification (1.1) says: pulling, and nothing else.
//!
//! Log-in is what registries share: a `401` names a scheme, `Basic` or a token that is fetched with (RFC 6750, "Token
//! Authentication" of the distribution project). A password goes to the registry itself or to the place it names for tokens, over
//! TLS but on this machine.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderValue, RANGE, WWW_AUTHENTICATE},
    redirect::Policy,
};
use serde::Deserialize;

use super::{
    logins::Login,
    reference::{RegistryImage, is_local},
};
use crate::web::chain;

const MAX_TOKEN_BYTES: usize = 1 << 20;
const MAX_REDIRECTS: usize = 5;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Why a registry gave nothing.
#[derive(Debug)]
pub(crate) enum Denial {
    /// Its answer will not change by asking again.
    Refused(String),
    /// The connection failed, or it is busy.
    Broken(String),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Blob,
}

/// The registry of one image.
pub(crate) struct Registry<'a> {
    client: Client,
    image: &'a RegistryImage,
    login: Option<&'a Login>,
    authorization: Option<HeaderValue>,
}

impl<'a> Registry<'a> {
    pub fn new(image: &'a RegistryImage, login: Option<&'a Login>) -> Result<Self, Denial> {
        let may_be_plain = image.is_local();
        // A registry may send elsewhere for its blobs; never from TLS to none.
        let policy = Policy::custom(move |attempt| {
            if attempt.previous().len() > MAX_REDIRECTS {
                return attempt.error("it is sent from address to address");
            }
            match is_safe(attempt.url(), may_be_plain) {
                true => attempt.follow(),
                false => attempt.error("it is sent to an address without TLS"),
            }
        });
        let mut builder = Client::builder()
            .user_agent(concat!("0711/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(15))
            .read_timeout(Duration::from_secs(60))
            .redirect(policy)
            // Digests are of the bytes as they are.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        if may_be_plain {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| Denial::Refused(chain(&error)))?;
        Ok(Self { client, image, login, authorization: None })
    }

    /// Asks for a manifest or a blob, from an offset on. The answer is 200 with the whole, 206 where the registry goes on at the offset,
    /// or 416 where it cannot.
    pub async fn ask(&mut self, kind: Kind, digest: &base::Digest, offset: u64) -> Result<Response, Denial> {
        let folder = if kind == Kind::Manifest { "manifests" } else { "blobs" };
        let address = format!("{}{folder}/{digest}", self.image.address());
        let mut was_asked = false;
        loop {
            let mut request = self.client.get(&address);
            if kind == Kind::Manifest {
                request = request.header(ACCEPT, MANIFESTS);
            }
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let response = send(request).await?;
            let status = response.status();
            return match status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
                // Tokens last for minutes: also one that was good may be asked for anew.
                StatusCode::UNAUTHORIZED if !was_asked => {
                    was_asked = true;
                    self.authorize(&response).await?;
                    continue;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    Err(Denial::Refused(format!("the registry does not let us in ({status})")))
                }
                StatusCode::NOT_FOUND => Err(Denial::Refused(format!("the registry does not have {digest}"))),
                status => Err(denial(status)),
            };
        }
    }

    /// Finds out what the registry wants to be shown.
    async fn authorize(&mut self, response: &Response) -> Result<(), Denial> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<_> =
            headers.iter().filter_map(|value| value.to_str().ok()).filter_map(Challenge::parse).collect();
        let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
        let value = if let Some(challenge) = of("bearer") {
            format!("Bearer {}", self.token(challenge).await?)
        } else if let (Some(_), Some(login)) = (of("basic"), self.login) {
            format!("Basic {}", STANDARD.encode(format!("{}:{}", login.user, login.password.expose())))
        } else {
            return Err(Denial::Refused("the registry wants a log-in".to_owned()));
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| Denial::Refused("its token is none".to_owned()))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    async fn token(&self, challenge: &Challenge) -> Result<String, Denial> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let refused = |reason: &str| Denial::Refused(reason.to_owned());
        let realm = challenge.values.get("realm").and_then(|realm| Url::parse(realm).ok());
        let realm = realm.filter(|realm| is_safe(realm, self.image.is_local()));
        let mut address = realm.ok_or_else(|| refused("the registry names no safe place to get a token from"))?;
        if let Some(service) = challenge.values.get("service") {
            address.query_pairs_mut().append_pair("service", service);
        }
        let scope = format!("repository:{}:pull", self.image.repository());
        address.query_pairs_mut().append_pair("scope", &scope);
        let mut request = self.client.get(address);
        if let Some(login) = self.login {
            request = request.basic_auth(&login.user, Some(login.password.expose()));
        }
        let mut response = send(request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(refused(match self.login {
                    Some(_) => "the registry does not take the log-in",
                    None => "the registry wants a log-in",
                }));
            }
            status => return Err(denial(status)),
        }
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| Denial::Broken(chain(&error)))? {
            bytes.extend_from_slice(&part);
            if bytes.len() > MAX_TOKEN_BYTES {
                return Err(refused("its token has no end"));
            }
        }
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| refused("its answer holds no token"))?;
        answer.token.or(answer.access_token).ok_or_else(|| refused("its answer holds no token"))
    }
}

async fn send(request: RequestBuilder) -> Result<Response, Denial> {
    request.send().await.map_err(|error| match error.is_redirect() || error.is_builder() {
        true => Denial::Refused(chain(&error)),
        false => Denial::Broken(chain(&error)),
    })
}

fn denial(status: StatusCode) -> Denial {
    let text = format!("the registry answers {status}");
    match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        true => Denial::Broken(text),
        false => Denial::Refused(text),
    }
}

fn is_safe(address: &Url, may_be_plain: bool) -> bool {
    match address.scheme() {
        "https" => true,
        "http" => may_be_plain && is_local(address),
        _ => false,
    }
}

/// A `WWW-Authenticate` header (RFC 9110, 11.6.1) with one scheme: `Bearer realm="…",service="…"`.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    values: BTreeMap<String, String>,
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let mut values = BTreeMap::new();
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
            let value = match after.strip_prefix('"') {
                // A comma may stand within quotes: `scope="repository:a:pull,push"`.
                Some(quoted) => {
                    let (value, after) = quoted.split_once('"')?;
                    rest = after;
                    value
                }
                None => {
                    let (value, after) = after.split_once(',').unwrap_or((after, ""));
                    rest = after;
                    value.trim()
                }
            };
            values.insert(name, value.to_owned());
        }
        (!scheme.is_empty()).then(|| Self { scheme: scheme.to_owned(), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let check = |text: &str, scheme: &str, values: &[(&str, &str)]| {
            let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(Challenge::parse(text), Some(Challenge { scheme: scheme.to_owned(), values }), "{text}");
        };
        let realm = ("realm", "https://auth.example/token");
        check(
            r#"Bearer realm="https://auth.example/token",service="registry.example", Scope="repository:a/b:pull,push""#,
            "Bearer",
            &[realm, ("service", "registry.example"), ("scope", "repository:a/b:pull,push")],
        );
        check("Bearer realm=https://auth.example/token , error=x", "Bearer", &[realm, ("error", "x")]);
        check("Basic realm=\"\"", "Basic", &[("realm", "")]);
        check("Negotiate", "Negotiate", &[]);
        assert_eq!(Challenge::parse("Bearer realm=\"open"), None);
        assert_eq!(Challenge::parse(" "), None);
    }

    #[test]
    fn an_address_without_tls_is_safe_on_this_machine_alone() {
        let check = |address: &str, is_registry_local, expect| {
            assert_eq!(is_safe(&Url::parse(address).unwrap(), is_registry_local), expect, "{address}");
        };
        check("https://auth.example/", false, true);
        check("http://auth.example/", false, false);
        check("http://auth.example/", true, false);
        check("http://127.0.0.1:1/", true, true);
        check("http://127.0.0.1:1/", false, false);
        check("file:///etc/passwd", true, false);
    }
}
