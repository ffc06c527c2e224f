//! The roles of a customer as containers: the docker runtime.
//!
//! `docker compose` makes the containers from the generated file; starting, stopping and looking is asked of the engine itself.
//! A running container is known by its first process, as a role without containers is, so that looking costs no request.

mod compose;
mod engine;
mod export;
mod load;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base::config::{Containers, ServiceConfig};
use base::{Clock, CustomerLayout, Digest, Role, file};

pub use self::compose::{CUSTOMER_LABEL, Compose, is_as_written, written};
use self::engine::{Container, SOCKET};
pub use self::engine::{Engine, Made};
pub use self::load::Loaded;
use crate::http::Endpoint;
use crate::identity::command_line;
use crate::{Ended, Error, Identity, Observation, RoleRecord};

/// The roles of one customer, as containers.
#[derive(Debug)]
pub struct Docker {
    layout: CustomerLayout,
    config: ServiceConfig,
    containers: Containers,
    config_digest: Digest,
    clock: Clock,
}

/// Compose makes six containers in seconds; it may wait for a busy engine.
const COMPOSE_PATIENCE: Duration = Duration::from_secs(180);
const SETTLE_LOOKS: u32 = 40;
const SETTLE_PAUSE: Duration = Duration::from_millis(50);
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
const OUTPUT_CHARACTERS_MAX: usize = 600;

impl Docker {
    pub(crate) fn new(
        layout: CustomerLayout,
        config: ServiceConfig,
        containers: Containers,
        config_digest: Digest,
        clock: Clock,
    ) -> Self {
        Self { layout, config, containers, config_digest, clock }
    }

    pub(crate) fn config(&self) -> &ServiceConfig {
        &self.config
    }

    pub(crate) fn is_current(&self, record: &RoleRecord) -> bool {
        record.binary == Path::new(&self.containers.image.to_string()) && record.config == self.config_digest
    }

    pub(crate) fn observe(&self, role: Role) -> Observation {
        RoleRecord::observe(&self.layout.role_record(role))
    }

    /// Starts the role's container, or adopts it when it runs.
    pub(crate) async fn start(&self, role: Role) -> Result<RoleRecord, Error> {
        let engine = Engine::connect().await?;
        let name = self.containers.name(role);
        let absent = || Error::ContainerAbsent { role, name: name.clone() };
        // A container of somebody else that has the name is none of ours.
        let mut found = engine.container(&name).await?.filter(|found| self.is_ours(found)).ok_or_else(absent)?;
        if found.pid.is_none() {
            engine.start(&name).await?;
            found = engine.container(&name).await?.ok_or_else(absent)?;
        }
        let start = |why: String| Error::Start { role, source: std::io::Error::other(why) };
        let ended = || start(found.end.clone().unwrap_or_else(|| "it ended at once".to_owned()));
        let identity = found.pid.and_then(Identity::of).ok_or_else(ended)?;
        // For a moment the process still is the one that sets the container up.
        let is_serving =
            || command_line(identity.pid).is_some_and(|line| line.get(1).is_some_and(|verb| verb == "serve"));
        for _ in 0..SETTLE_LOOKS {
            if is_serving() {
                break;
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
        // A container nobody labelled counts as outdated.
        let ran = (found.image.clone().into(), found.config.unwrap_or_else(|| Digest::of(b"")));
        RoleRecord::put(self.layout.role_record(role), role, identity, self.config.port(role), ran, self.clock.now())
    }

    pub(crate) async fn stop(&self, role: Role, patience: Duration) -> Result<Ended, Error> {
        let engine = Engine::connect().await?;
        let name = self.containers.name(role);
        let found = engine.container(&name).await?.filter(|found| self.is_ours(found));
        let was_running = found.as_ref().is_some_and(|found| found.pid.is_some());
        if found.is_some() {
            // Also one that is only being started: the engine does one after the other.
            engine.stop(&name, i32::try_from(patience.as_secs()).unwrap_or(i32::MAX)).await?;
        }
        // A record that stays names a dead process, which the next look finds out.
        let _ = std::fs::remove_file(self.layout.role_record(role));
        Ok(if was_running { Ended::Asked } else { Ended::Gone })
    }

    fn is_ours(&self, found: &Container) -> bool {
        found.customer.as_deref() == Some(self.config.slug.as_str())
    }

    /// Returns where this machine reaches a role. The gateway is published; the others have an address on the inner network.
    pub(crate) async fn endpoint(&self, role: Role) -> Result<Endpoint, Error> {
        let port = self.config.port(role);
        if role == Role::Console {
            return Ok(Endpoint::loopback(port));
        }
        let name = self.containers.name(role);
        let found = Engine::connect().await?.container(&name).await?.filter(|found| self.is_ours(found));
        let network = format!("{}-core", self.containers.project);
        let address = found.and_then(|found| found.addresses.get(&network).copied());
        let address = address.filter(|address| !address.is_unspecified());
        address
            .map(|address| Endpoint::Tcp(SocketAddr::new(address, port)))
            .ok_or(Error::ContainerAbsent { role, name })
    }
}

/// Makes the containers and networks of a compose file, or makes those anew that differ from it. Starts nothing.
///
/// An override file beside it is taken too, as `docker compose` itself does.
///
/// # Errors
/// [`Error::Compose`] with what compose said.
pub async fn create(project: &str, file: &Path) -> Result<(), Error> {
    let mut command = tokio::process::Command::new(client().await);
    command.args(["--host", &format!("unix://{SOCKET}"), "compose", "--project-name", project, "--file"]).arg(file);
    let changes = file.with_file_name("docker-compose.override.yml");
    if changes.is_file() {
        command.arg("--file").arg(changes);
    }
    command.args(["create", "--no-build", "--remove-orphans"]);
    let failed = |output: String| Error::Compose { file: file.to_owned(), output };
    let run = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(COMPOSE_PATIENCE, run)
        .await
        .map_err(|_| failed(format!("no end within {} s", COMPOSE_PATIENCE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    // The last lines say what went wrong; the first ones, what went well.
    let text: Vec<char> = text.trim().chars().collect();
    Err(failed(text[text.len().saturating_sub(OUTPUT_CHARACTERS_MAX)..].iter().collect()))
}

/// The client that knows compose: one that does not may stand earlier on the path.
async fn client() -> &'static str {
    for program in ["docker", "/usr/bin/docker"] {
        let mut ask = tokio::process::Command::new(program);
        ask.args(["compose", "version"]).stdin(std::process::Stdio::null()).kill_on_drop(true);
        let answer = tokio::time::timeout(CLIENT_PATIENCE, ask.output()).await;
        if answer.is_ok_and(|answer| answer.is_ok_and(|output| output.status.success())) {
            return program;
        }
    }
    "docker"
}

/// Writes the compose file. One that was edited by hand is kept beside it; its new path is returned.
///
/// # Errors
/// [`Error::ComposeFile`].
pub fn write_compose(path: &Path, text: &str) -> Result<Option<std::path::PathBuf>, Error> {
    const BYTES_MAX: u64 = 4 << 20;
    let failed = |source| Error::ComposeFile { path: path.to_owned(), source };
    let mut kept = None;
    match std::fs::symlink_metadata(path) {
        Ok(_) => {
            let found = file::read_bounded(path, BYTES_MAX).map_err(|error| failed(std::io::Error::other(error)))?;
            if found == text.as_bytes() {
                return Ok(None);
            }
            if !std::str::from_utf8(&found).is_ok_and(is_as_written) {
                let aside = path.with_file_name(format!("docker-compose.edited-{}.yml", Digest::of(&found).short()));
                file::write_atomic(&aside, &found, 0o600).map_err(failed)?;
                kept = Some(aside);
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    file::write_atomic(path, text.as_bytes(), 0o600).map_err(failed)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_compose_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker-compose.yml");
        let body = "services: {}\n";
        let written = |body: &str| {
            format!(
                "# Written by 0711. Put changes into docker-compose.override.yml beside it. Content: {}\n{body}",
                Digest::of(body.as_bytes())
            )
        };
        assert_eq!(write_compose(&path, &written(body)).unwrap(), None);
        assert_eq!(write_compose(&path, &written("services: {a: {}}\n")).unwrap(), None, "ours may be replaced");
        let edited = written(body).replace("{}", "{mine: {}}");
        std::fs::write(&path, &edited).unwrap();
        let kept = write_compose(&path, &written(body)).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(kept).unwrap(), edited);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), written(body));
    }
}
