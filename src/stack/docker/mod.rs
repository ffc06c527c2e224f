//! The roles of a customer as containers: the docker runtime.
//!
//! `docker compose` makes the containers from the generated file; starting, stopping and looking is asked of the engine itself.
//! A running container is known by its first process, as a role without containers is, so that looking costs no request.

mod applied;
mod command;
mod compose;
mod engine;
mod export;
mod load;
mod namespace;
mod rules;
mod vllm;
mod watch;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base::config::{Containers, ServiceConfig};
use base::{Clock, CustomerLayout, Digest, Role};

pub use self::applied::{Applied, changes, drift};
pub use self::command::{Project, Turn};
pub use self::compose::{CUSTOMER_LABEL, Compose, written};
use self::engine::Container;
pub use self::engine::{Engine, EngineFacts, Made, Removal};
pub use self::load::Loaded;
pub use self::rules::Rules;
pub use self::watch::{Differs, News};
use crate::egress::{Table, Unrouted};
use crate::http::Endpoint;
use crate::identity::command_line;
use crate::record::Ran;
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

const SETTLE_LOOKS: u32 = 40;
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

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
        let image = self.containers.image_of(record.role).to_string();
        record.binary == Path::new(&image) && record.config == self.config_digest
    }

    /// Returns what a running role's own network counted; nothing when it has ended.
    pub(crate) fn unrouted(&self, record: &RoleRecord) -> Option<Unrouted> {
        namespace::unrouted(record.identity.pid)
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
        // A container nobody labelled counts as outdated.
        let (program, config) = (found.image.clone().into(), found.config.unwrap_or_else(|| Digest::of(b"")));
        let command = match self.containers.vllm(role) {
            // It becomes another program when it has read the token.
            Some(_) => Vec::new(),
            None => self.settled(&identity).await,
        };
        let ran = Ran { program, config, command };
        RoleRecord::put(self.layout.role_record(role), role, identity, self.config.port(role), ran, self.clock.now())
    }

    /// Returns the command line of a container's first process: for a moment it still is the one that sets the container up.
    async fn settled(&self, identity: &Identity) -> Vec<String> {
        for _ in 0..SETTLE_LOOKS {
            let line = command_line(identity.pid).unwrap_or_default();
            if line.get(1).is_some_and(|verb| verb == "serve") {
                return line;
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
        command_line(identity.pid).unwrap_or_default()
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

    /// Looks at what its networks counted, as [`Rules::look`].
    pub(crate) async fn look_at_rules(&self, makes: bool) -> Result<Option<Table>, String> {
        Rules::of(&self.containers.project).look(makes).await
    }

    /// Makes the containers that are missing, from the files they were made from before.
    ///
    /// # Errors
    /// [`Error::Compose`] when those files are not what they were: changes are applied by `install` only, with a person looking on.
    pub async fn make_missing(&self) -> Result<(), Error> {
        let turn = Turn::take(&self.layout).await?;
        self.prove_unchanged()?;
        Project::open(&self.containers.project, &self.layout).await.create(turn).await
    }

    /// Makes a role's container anew, from the files it was made from before. What a container has of the machine's devices and drivers it was
    /// given when it was made: one that lost its graphics card does not get it back by being started again.
    ///
    /// # Errors
    /// As [`Docker::make_missing`]; the old container is gone only if those files are what they were.
    pub async fn make_anew(&self, role: Role) -> Result<(), Error> {
        self.prove_unchanged()?;
        let engine = Engine::connect().await?;
        let name = self.containers.name(role);
        if engine.container(&name).await?.is_some_and(|found| self.is_ours(&found)) {
            engine.remove(&Made { containers: vec![name], networks: Vec::new() }).await?;
        }
        self.make_missing().await
    }

    /// Returns whether a role's container was given graphics cards.
    pub fn has_cards(&self, role: Role) -> bool {
        self.containers.vllm(role).is_some()
    }

    fn prove_unchanged(&self) -> Result<(), Error> {
        if Applied::read(&self.layout).as_ref() == Some(&Applied::now(&self.layout)) {
            return Ok(());
        }
        let output = "the files were changed after the containers were made".to_owned();
        Err(Error::Compose { file: self.layout.compose(), output })
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
