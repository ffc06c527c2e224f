//! Bills of materials as CycloneDX 1.5: of the binary, every crate it was locked to; of other images, the packages they have.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::ReleaseError as Error;

const LOCK: &str = include_str!("../../../Cargo.lock");

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// Returns the document for the image `name:tag`. The crates are those of `Cargo.lock`, also the ones other systems would use.
///
/// # Errors
/// None in practice: the file is compiled in.
pub fn of_binary(name: &str, tag: &str) -> Result<Vec<u8>, Error> {
    let lock: Lock = toml::from_str(LOCK).map_err(|error| Error::Release { reason: error.to_string() })?;
    let components: Vec<Value> = lock
        .package
        .iter()
        .filter(|package| package.source.is_some())
        .map(|package| {
            let hashes: Vec<Value> =
                package.checksum.iter().map(|hex| json!({"alg": "SHA-256", "content": hex})).collect();
            json!({
                "type": "library",
                "name": package.name,
                "version": package.version,
                "purl": format!("pkg:cargo/{}@{}", package.name, package.version),
                "hashes": hashes,
            })
        })
        .collect();
    document(name, tag, &components)
}

/// Returns the document for an image of others: the packages its databases name.
pub(crate) fn of_packages(
    name: &str,
    tag: &str,
    packages: &BTreeSet<(String, String, &'static str)>,
) -> Result<Vec<u8>, Error> {
    let component = |(package, version, kind): &(String, String, &'static str)| {
        let purl = format!("pkg:{kind}/{package}@{version}");
        json!({"type": "library", "name": package, "version": version, "purl": purl})
    };
    document(name, tag, &packages.iter().map(component).collect::<Vec<_>>())
}

fn document(name: &str, tag: &str, components: &[Value]) -> Result<Vec<u8>, Error> {
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": tag}},
        "components": components,
    });
    serde_json::to_vec_pretty(&document).map_err(|error| Error::Release { reason: error.to_string() })
}
