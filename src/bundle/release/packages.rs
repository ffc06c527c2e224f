//! The packages an image was put together from, as its own databases name them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

/// Packages of one distribution's database; larger ones are not read.
const MAX_DATABASE_BYTES: u64 = 64 << 20;

/// Name, version, and the kind of package (`deb`, `apk`).
pub(crate) type Package = (String, String, &'static str);

/// The databases of dpkg and apk that an image's layers hold.
#[derive(Default)]
pub(crate) struct Databases(BTreeMap<String, (&'static str, String)>);

impl Databases {
    /// Reads those of a layer, a tar; a higher layer's replaces a lower one's.
    pub fn read(&mut self, layer: impl Read) -> io::Result<()> {
        for entry in tar::Archive::new(layer).entries()? {
            let entry = entry?;
            let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            let kind = match name.as_str() {
                "var/lib/dpkg/status" => "deb",
                "lib/apk/db/installed" | "usr/lib/apk/db/installed" => "apk",
                name if name.starts_with("var/lib/dpkg/status.d/") && !name.ends_with(".md5sums") => "deb",
                _ => continue,
            };
            if entry.header().entry_type().is_file() {
                let mut bytes = Vec::new();
                entry.take(MAX_DATABASE_BYTES).read_to_end(&mut bytes)?;
                self.0.insert(name, (kind, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        Ok(())
    }

    /// Returns every package they name.
    pub fn packages(&self) -> BTreeSet<Package> {
        self.0.values().flat_map(|(kind, text)| packages(kind, text)).collect()
    }
}

/// Reads name and version of each package: dpkg's `Package:` and `Version:`, apk's `P:` and `V:`.
fn packages(kind: &'static str, text: &str) -> Vec<Package> {
    let keys = if kind == "deb" { ["Package: ", "Version: "] } else { ["P:", "V:"] };
    let field = |part: &str, key: &str| {
        part.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
    };
    text.split("\n\n").filter_map(|part| Some((field(part, keys[0])?, field(part, keys[1])?, kind))).collect()
}
