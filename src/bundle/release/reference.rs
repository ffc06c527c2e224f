//! The names of images elsewhere: in a registry, by digest, and on an engine, by tag.

use std::fmt;

use base::Digest;
use serde::Deserialize;
use url::{Host, Url};

/// The Docker Hub is called otherwise than it is reached.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

/// An image in a registry: `host[:port]/name[:tag]@sha256:…`.
///
/// Refused without a digest: what a tag stands for changes, and two builds would differ.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RegistryImage {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Digest,
}

/// An image on an engine: `name:tag`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct EngineImage(String);

impl RegistryImage {
    /// Returns the digest of its manifest, or of the index that names one for each platform.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the tag it is named with beside the digest. Nobody asks the registry for it.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the registry as it is written: `host[:port]`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the name within the registry.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    /// Whether the registry runs on this machine: there alone it may do without TLS.
    pub(crate) fn is_local(&self) -> bool {
        Url::parse(&format!("http://{}/", self.host)).is_ok_and(|url| is_local(&url))
    }

    /// Returns where the registry's interface begins (`/v2/NAME/` of the OCI distribution specification).
    pub(crate) fn address(&self) -> String {
        let scheme = if self.is_local() { "http" } else { "https" };
        let host = if self.host == HUB { HUB_HOST } else { &self.host };
        format!("{scheme}://{host}/v2/{}/", self.repository)
    }
}

impl EngineImage {
    /// Returns `name:tag`.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Returns the tag.
    pub fn tag(&self) -> &str {
        self.0.rsplit_once(':').map_or("", |(_, tag)| tag)
    }
}

impl TryFrom<String> for RegistryImage {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some((name, digest)) = text.split_once('@') else {
            return Err(format!(
                "`{text}` has no digest, and what a tag stands for changes: write `{text}@sha256:…`; `docker buildx imagetools inspect \
                 {text}` prints it"
            ));
        };
        let parsed = digest.starts_with("sha256:").then(|| digest.parse::<Digest>().ok()).flatten();
        let digest = parsed.ok_or_else(|| format!("`{digest}` is no digest: `sha256:` and 64 hexadecimal digits"))?;
        let (host, path) = name.split_once('/').filter(|(host, _)| is_host(host)).ok_or_else(|| {
            format!("`{name}` names no registry: write `{HUB}/library/{name}` for an image of the Docker Hub")
        })?;
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !repository.split('/').all(is_part) || !tag.is_none_or(is_tag) || name.len() > 255 {
            return Err(format!("`{path}` is no name of an image"));
        }
        let is_short = host == HUB && !repository.contains('/');
        let repository = if is_short { format!("library/{repository}") } else { repository.to_owned() };
        Ok(Self { host: host.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

impl TryFrom<String> for EngineImage {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, tag) = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((&text, "latest"));
        if tag == "latest" {
            return Err(format!("`{text}` has no tag that says which version it is: write `{name}:VERSION`"));
        }
        let path = name.split_once('/').filter(|(host, _)| is_host(host)).map_or(name, |(_, path)| path);
        if !path.split('/').all(is_part) || !is_tag(tag) || text.len() > 255 {
            return Err(format!("`{text}` is no name of an image"));
        }
        Ok(Self(text))
    }
}

impl fmt::Display for RegistryImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        write!(f, "@{}", self.digest)
    }
}

impl fmt::Display for EngineImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether an address stays on this machine.
pub(crate) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether the first part of a name is a registry, as engines tell it: by a dot, a port, or `localhost`.
fn is_host(text: &str) -> bool {
    let is_plain =
        text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | ':' | '[' | ']'));
    let is_named = text.contains(['.', ':']) || text == "localhost";
    is_plain && is_named && Url::parse(&format!("https://{text}/")).is_ok_and(|url| url.has_host())
}

/// One part of a name (OCI distribution specification 1.1, "Pulling manifests"): lower case, separators inside only.
fn is_part(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && text.chars().all(|c| is_word(c) || matches!(c, '.' | '_' | '-'))
        && !text.contains("..")
}

fn is_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(is_word) && text.len() <= 128 && text.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn an_image_in_a_registry_is_named_by_digest() {
        let check = |text: &str, address: &str, tag: Option<&str>| {
            let image = RegistryImage::try_from(format!("{text}@sha256:{HEX}")).unwrap();
            assert_eq!((image.address().as_str(), image.tag()), (address, tag), "{text}");
            assert_eq!(image.digest(), Digest::of(b""));
        };
        check("quay.io/minio/minio", "https://quay.io/v2/minio/minio/", None);
        check("quay.io/minio/minio:1.2", "https://quay.io/v2/minio/minio/", Some("1.2"));
        check("docker.io/busybox:1.36", "https://registry-1.docker.io/v2/library/busybox/", Some("1.36"));
        check("registry.firm.example:8443/a/b__c", "https://registry.firm.example:8443/v2/a/b__c/", None);
        check("localhost/a", "http://localhost/v2/a/", None);
        check("127.8.8.8:5000/a", "http://127.8.8.8:5000/v2/a/", None);
        check("[::1]:5000/a", "http://[::1]:5000/v2/a/", None);
        check("10.0.0.1:5000/a", "https://10.0.0.1:5000/v2/a/", None);
        check("127.0.0.1.firm.example/a", "https://127.0.0.1.firm.example/v2/a/", None);
    }

    #[test]
    fn what_is_no_such_name_is_refused_and_says_why() {
        let check = |text: &str, reason: &str| {
            let refused = RegistryImage::try_from(text.replace("HEX", &format!("sha256:{HEX}"))).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        };
        check("quay.io/minio/minio:1.2", "`docker buildx imagetools inspect quay.io/minio/minio:1.2` prints it");
        check("quay.io/minio/minio:latest", "has no digest");
        check("quay.io/minio/minio@sha256:12", "is no digest");
        check(&format!("quay.io/minio/minio@{HEX}"), "is no digest");
        check("busybox@HEX", "write `docker.io/library/busybox`");
        check("minio/minio@HEX", "names no registry");
        for name in ["../../v2", "a/../b", "a//b", "A", "a%2e", "a?x", "a#x", "a:", "a:-x", "a:b/c", "-a", ""] {
            check(&format!("quay.io/{name}@HEX"), "is no name of an image");
        }
        for host in ["user:pass@quay.io", "quay.io?x", "quay.io:port", "quay.io\\x"] {
            assert!(RegistryImage::try_from(format!("{host}/a@sha256:{HEX}")).is_err(), "{host}");
        }
    }

    #[test]
    fn an_image_on_an_engine_has_a_tag_that_says_something() {
        let check = |text: &str, tag: Option<&str>| {
            let parsed = EngineImage::try_from(text.to_owned());
            assert_eq!(parsed.as_ref().ok().map(EngineImage::tag), tag, "{text}: {parsed:?}");
        };
        check("minio:1.2", Some("1.2"));
        check("localhost:5000/a/minio:1.2", Some("1.2"));
        check("minio", None);
        check("minio:latest", None);
        check("localhost:5000/minio", None);
        check("../../containers/x:1", None);
        check("minio:1/get?x", None);
    }
}
