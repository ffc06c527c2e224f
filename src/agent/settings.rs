//! What an administrator may set about the agent: `etc/agent.yaml`. Without the file everything has its default.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base::file::{self, ReadError};
use base::{Explain, Layout, Remedy};
use serde::Deserialize;

/// The file's content. Written by people, read by the agent when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Version of this format: 1.
    pub(crate) format: u32,
    /// Between two small jobs of a role.
    #[serde(default = "probe_seconds")]
    pub(crate) probe_seconds: u64,
    /// Where Prometheus may ask, beside the control socket. An address of this machine only.
    #[serde(default)]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Who is told of changes.
    #[serde(default)]
    pub(crate) webhook: Option<Webhook>,
}

/// An address that is told of changes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// `https`, or `http` on this machine.
    pub(crate) url: String,
    /// A file, readable by its owner only, whose first line signs what is sent.
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the agent's settings")]
    Read(#[source] ReadError),
    #[error("the agent's settings `{}` are wrong: {why}", path.display())]
    Wrong { path: PathBuf, why: String },
}

impl Explain for SettingsError {
    fn remedy(&self) -> Option<Remedy> {
        Some(Remedy::new("correct `agent.yaml`, then run `0711 restart`; without the file everything has its default"))
    }
}

const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 64 << 10;
/// Jobs cost a token and some searches; more often than this they would be a load.
const PROBE_SECONDS_MIN: u64 = 1;

fn probe_seconds() -> u64 {
    60
}

impl Default for Settings {
    fn default() -> Self {
        Self { format: FORMAT, probe_seconds: probe_seconds(), metrics_listen: None, webhook: None }
    }
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub(crate) fn read(layout: &Layout) -> Result<Self, SettingsError> {
        let path = layout.agent_config();
        let bytes = match file::read_bounded(&path, BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(ReadError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(SettingsError::Read(error)),
        };
        let wrong = |why: String| SettingsError::Wrong { path: path.clone(), why };
        let settings: Self = serde_yaml::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        settings.check().map_err(wrong)?;
        Ok(settings)
    }

    pub(crate) fn probe_every(&self) -> Duration {
        Duration::from_secs(self.probe_seconds)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, and {FORMAT} is the one known", self.format));
        }
        if self.probe_seconds < PROBE_SECONDS_MIN {
            return Err(format!("`probe_seconds` is at least {PROBE_SECONDS_MIN}"));
        }
        if let Some(address) = self.metrics_listen.filter(|address| !address.ip().is_loopback()) {
            return Err(format!(
                "`metrics_listen` is {address}, and only addresses of this machine (127.0.0.1) may be listened on"
            ));
        }
        if let Some(webhook) = &self.webhook {
            let url = &webhook.url;
            if !is_secure(url) {
                return Err(format!("the webhook `{url}` is neither https nor on this machine"));
            }
        }
        Ok(())
    }
}

/// Whether nobody between here and there can read what is sent.
fn is_secure(url: &str) -> bool {
    let Ok(uri) = url.parse::<axum::http::Uri>() else { return false };
    // Who puts a name and a password before the host hides where it leads.
    let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") => is_plain,
        Some("http") => is_plain && matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: Option<&str>) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        std::fs::create_dir_all(layout.etc()).unwrap();
        if let Some(text) = text {
            std::fs::write(layout.agent_config(), text).unwrap();
        }
        Settings::read(&layout).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_file_everything_has_its_default() {
        assert_eq!(read(None).unwrap(), Settings::default());
        assert_eq!(read(Some("format: 1\n")).unwrap(), Settings::default());
    }

    #[test]
    fn what_is_set_is_taken() {
        let text = "format: 1\nprobe_seconds: 300\nmetrics_listen: 127.0.0.1:9711\nwebhook:\n  url: https://ops.example/hook\n  secret_file: /etc/0711-hook\n";
        let settings = read(Some(text)).unwrap();
        assert_eq!(settings.probe_every(), Duration::from_secs(300));
        assert_eq!(settings.metrics_listen, Some(([127, 0, 0, 1], 9711).into()));
        assert_eq!(settings.webhook.unwrap().url, "https://ops.example/hook");
        read(Some("format: 1\nwebhook:\n  url: http://127.0.0.1:8080/hook\n")).unwrap();
    }

    #[test]
    fn what_would_be_seen_from_outside_is_refused() {
        for (text, why) in [
            ("format: 2\n", "format is 2"),
            ("format: 1\nmetrics_listen: 10.0.0.1:9711\n", "only addresses of this machine"),
            ("format: 1\nwebhook:\n  url: http://ops.example/hook\n", "neither https"),
            ("format: 1\nwebhook:\n  url: http://127.0.0.1.evil.example/\n", "neither https"),
            ("format: 1\nwebhook:\n  url: http://localhost:80@evil.example/\n", "neither https"),
            ("format: 1\nprobes: 3\n", "unknown field"),
            ("format: 1\nprobe_seconds: 0\n", "at least 1"),
        ] {
            let error = read(Some(text)).unwrap_err();
            assert!(error.contains(why), "{text} gave {error}");
        }
    }
}
