//! The settings' file.

use base::{CustomerLayout, file};

use crate::{Error, FORMAT, Settings, place};

impl Settings {
    /// Reads the settings; the default, which sends nothing and approves nothing, where none were made.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Format`].
    pub fn read(customer: &CustomerLayout) -> Result<Self, Error> {
        let path = customer.handler_settings();
        let Some(bytes) = place::read(&path)? else { return Ok(Self::default()) };
        let damaged = |reason: String| Error::Format { path: path.clone(), reason };
        let settings: Self = serde_yaml::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        match settings.format {
            FORMAT => Ok(settings),
            other => Err(damaged(format!("its format is {other}, not {FORMAT}"))),
        }
    }

    /// Replaces the settings.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, customer: &CustomerLayout) -> Result<(), Error> {
        let path = customer.handler_settings();
        let text = serde_yaml::to_string(self)
            .map_err(|error| Error::Format { path: path.clone(), reason: error.to_string() })?;
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(Error::file("make folder", dir))?;
        }
        file::write_atomic(&path, text.as_bytes(), 0o600).map_err(Error::file("write", &path))
    }
}
