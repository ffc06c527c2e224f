use base::config::{FORMAT, ServiceConfig};
use base::{CustomerLayout, file};

use crate::Error;

const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Reads the configuration `install` wrote for a customer.
///
/// # Errors
/// [`Error::Config`] when it is absent or damaged, [`Error::ConfigFormat`] when another version wrote it.
pub fn service_config(layout: &CustomerLayout) -> Result<ServiceConfig, Error> {
    let path = layout.config();
    let bytes = file::read_bounded(&path, CONFIG_BYTES_MAX)
        .map_err(|source| Error::Config { path: path.clone(), source: source.into() })?;
    let config: ServiceConfig =
        serde_yaml::from_slice(&bytes).map_err(|source| Error::Config { path: path.clone(), source: source.into() })?;
    if config.format != FORMAT {
        return Err(Error::ConfigFormat { path, found: config.format, known: FORMAT });
    }
    Ok(config)
}
