use std::time::Duration;

use base::config::ServiceConfig;
use base::{Clock, CustomerLayout, Digest, Layout, Role, Slug};

use crate::docker::Docker;
use crate::egress::{Table, Unrouted};
use crate::http::{Ask, Endpoint};
use crate::{Ended, Error, Native, Observation, Readiness, RoleRecord, service_config};

/// The roles of one customer, whichever way they run. The configuration says which.
#[derive(Debug)]
pub enum Runtime {
    /// As processes.
    Native(Native),
    /// As containers.
    Docker(Docker),
}

impl Runtime {
    /// Reads the configuration of `slug`.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::ConfigFormat`].
    pub fn open(layout: &Layout, slug: &Slug, clock: Clock) -> Result<Self, Error> {
        let customer = layout.customer(slug);
        let config = service_config(&customer)?;
        let path = customer.config();
        let digest = Digest::of_file(&path).map_err(|source| Error::Config { path, source: source.into() })?;
        Ok(match config.containers.clone() {
            None => Self::Native(Native::new(layout, customer, config, digest, clock)),
            Some(containers) => Self::Docker(Docker::new(customer, config, containers, digest, clock)),
        })
    }

    /// Takes over the children of an older value for the same customer, whose configuration has changed.
    pub fn inherit(&self, older: &Self) {
        if let (Self::Native(new), Self::Native(old)) = (self, older) {
            new.inherit(old);
        }
    }

    /// Returns the configuration the roles are started with.
    pub fn config(&self) -> &ServiceConfig {
        match self {
            Self::Native(native) => native.config(),
            Self::Docker(docker) => docker.config(),
        }
    }

    /// Returns whether a running role has the program and the configuration that are in place now.
    pub fn is_current(&self, record: &RoleRecord) -> bool {
        match self {
            Self::Native(native) => native.is_current(record),
            Self::Docker(docker) => docker.is_current(record),
        }
    }

    /// Returns whether a role that is not current becomes so by being started anew. A container keeps what it was made with
    /// until `install` makes another.
    pub fn renews_by_restart(&self) -> bool {
        matches!(self, Self::Native(_))
    }

    /// Looks where a role should be. Says `Ended` once for each end.
    pub fn observe(&self, role: Role) -> Observation {
        match self {
            Self::Native(native) => native.observe(role),
            Self::Docker(docker) => docker.observe(role),
        }
    }

    /// Starts a role, or adopts what already does its work.
    ///
    /// # Errors
    /// [`Error::PortHeld`], [`Error::Start`], [`Error::Record`]; for containers also [`Error::Engine`],
    /// [`Error::ContainerAbsent`].
    pub async fn start(&self, role: Role) -> Result<RoleRecord, Error> {
        match self {
            Self::Native(native) => native.start(role),
            Self::Docker(docker) => docker.start(role).await,
        }
    }

    /// Stops a role: SIGTERM, and SIGKILL after `patience`.
    ///
    /// # Errors
    /// [`Error::Stop`], [`Error::Engine`].
    pub async fn stop(&self, role: Role, patience: Duration) -> Result<Ended, Error> {
        match self {
            Self::Native(native) => native.stop(role, patience).await,
            Self::Docker(docker) => docker.stop(role, patience).await,
        }
    }

    /// Stops every role, in reverse start order.
    ///
    /// # Errors
    /// The first one, after all were tried.
    pub async fn stop_all(&self, patience: Duration) -> Result<(), Error> {
        let mut outcome = Ok(());
        for role in Role::ALL.iter().rev() {
            let stopped = self.stop(*role, patience).await;
            outcome = outcome.and(stopped.map(drop));
        }
        outcome
    }

    /// Returns where this machine reaches a role.
    ///
    /// # Errors
    /// [`Error::Engine`], [`Error::ContainerAbsent`].
    pub async fn endpoint(&self, role: Role) -> Result<Endpoint, Error> {
        match self {
            Self::Native(native) => Ok(Endpoint::loopback(native.config().port(role))),
            Self::Docker(docker) => docker.endpoint(role).await,
        }
    }

    /// Returns whether the roles have networks of their own, so that what leaves them can be counted.
    pub fn has_networks(&self) -> bool {
        matches!(self, Self::Docker(_))
    }

    /// Looks at what the networks counted: nothing where there are no rules, or no networks. With `makes`, rules that are missing
    /// are made.
    ///
    /// # Errors
    /// For people, why that cannot be known.
    pub async fn look_at_rules(&self, makes: bool) -> Result<Option<Table>, String> {
        match self {
            Self::Native(_) => Ok(None),
            Self::Docker(docker) => docker.look_at_rules(makes).await,
        }
    }

    /// Returns what ended inside a running role's own network; nothing where it has none, or has ended.
    pub fn unrouted(&self, record: &RoleRecord) -> Option<Unrouted> {
        match self {
            Self::Native(_) => None,
            Self::Docker(docker) => docker.unrouted(record),
        }
    }

    /// Asks a role whether it is ready.
    pub async fn probe(&self, role: Role, deadline: Duration) -> Readiness {
        match tokio::time::timeout(deadline, self.endpoint(role)).await {
            Ok(Ok(endpoint)) => probe(&endpoint, deadline).await,
            Ok(Err(error @ Error::Engine { .. })) => Readiness::Unknown(error.to_string()),
            Ok(Err(error)) => Readiness::Failing(error.to_string()),
            Err(_) => Readiness::Unknown("the engine did not say where it is".to_owned()),
        }
    }
}

/// Asks a role at an address whether it is ready.
pub async fn probe(endpoint: &Endpoint, deadline: Duration) -> Readiness {
    let ask = Ask { deadline, ..Ask::new("GET", "/health") };
    match crate::http::call(endpoint, ask).await {
        Ok(reply) if reply.status == 200 => Readiness::Ready,
        Ok(reply) if reply.status == 503 => Readiness::Starting,
        Ok(reply) => Readiness::Failing(format!("answered {} to the probe", reply.status)),
        Err(error) => Readiness::Failing(error.to_string()),
    }
}

/// Returns where this machine reaches a role of an installed customer.
///
/// # Errors
/// As [`Runtime::open`] and [`Runtime::endpoint`].
pub async fn endpoint(layout: &Layout, customer: &CustomerLayout, role: Role) -> Result<Endpoint, Error> {
    Runtime::open(layout, customer.slug(), Clock::system())?.endpoint(role).await
}
