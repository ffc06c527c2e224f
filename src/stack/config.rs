use base::config::{FORMAT, ServiceConfig};
use base::{CustomerLayout, file};
use serde::Deserialize;

use crate::Error;

const CONFIG_BYTES_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// Reads the configuration `install` wrote for a customer.
///
/// # Errors
/// [`Error::Config`] when it is absent or damaged, [`Error::ConfigFormat`] when another version wrote it.
pub fn service_config(layout: &CustomerLayout) -> Result<ServiceConfig, Error> {
    let path = layout.config();
    let bytes = file::read_bounded(&path, CONFIG_BYTES_MAX)
        .map_err(|source| Error::Config { path: path.clone(), source: source.into() })?;
    // The format first: fields that a newer program added would be reported as mistakes.
    match serde_yaml::from_slice(&bytes) {
        Ok(Head { format: found }) if found != FORMAT => Err(Error::ConfigFormat { path, found, known: FORMAT }),
        _ => serde_yaml::from_slice(&bytes).map_err(|source| Error::Config { path, source: source.into() }),
    }
}
