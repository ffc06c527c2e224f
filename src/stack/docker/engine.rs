//! A Docker engine on this machine, asked over its socket.

use std::collections::HashMap;
use std::net::IpAddr;

use base::config::Containers;
use base::{Digest, Role};
use bollard::Docker as Client;
use bollard::errors::Error as ClientError;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder, StopContainerOptionsBuilder,
};

use super::compose::{BRIDGE_OPTION, CONFIG_LABEL, CUSTOMER_LABEL};
use super::rules::Rules;
use crate::Error;
use crate::egress::Network;

/// Where Docker listens when nobody changed it.
pub(crate) const SOCKET: &str = host::Engine::SOCKET;
const TIMEOUT_SECONDS: u64 = 120;
/// From this interface on the engine unpacks zstd (23.0).
const ZSTD_FROM: (usize, usize) = (1, 42);
/// Written into images that only exist to keep the layers of an interrupted loading.
pub(crate) const LOADING_LABEL: &str = "com.0711.loading";

/// An engine that answered.
#[derive(Clone, Debug)]
pub struct Engine {
    client: Client,
    reads_zstd: bool,
    has_containerd_store: bool,
    facts: EngineFacts,
}

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineFacts {
    /// Its version.
    pub version: String,
    /// How it keeps images: the storage driver, and whether containerd does it.
    pub store: String,
    /// Where it keeps everything.
    pub root_dir: std::path::PathBuf,
}

/// A container, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// Its first process on this machine, while it runs.
    pub(crate) pid: Option<u32>,
    /// The image's id.
    pub(crate) image: String,
    /// The configuration it was made for.
    pub(crate) config: Option<Digest>,
    /// Whose it is, by our label.
    pub(crate) customer: Option<String>,
    /// Its addresses, by network.
    pub(crate) addresses: HashMap<String, IpAddr>,
    /// How it ended, when it did.
    pub(crate) end: Option<String>,
}

impl Engine {
    /// Connects and agrees on the interface's version.
    ///
    /// # Errors
    /// [`Error::Engine`] when nobody answers.
    pub async fn connect() -> Result<Self, Error> {
        let act = "ask the Docker engine";
        let client = Client::connect_with_unix(SOCKET, TIMEOUT_SECONDS, bollard::API_DEFAULT_VERSION)
            .map_err(Error::engine(act))?;
        let client = client.negotiate_version().await.map_err(Error::engine(act))?;
        let info = client.info().await.map_err(Error::engine(act))?;
        let version = client.client_version();
        let status = info.driver_status.unwrap_or_default();
        let has_containerd_store = status.iter().flatten().any(|word| word.starts_with("io.containerd.snapshotter"));
        let reads_zstd = (version.major_version, version.minor_version) >= ZSTD_FROM;
        let driver = info.driver.unwrap_or_default();
        let facts = EngineFacts {
            version: info.server_version.unwrap_or_default(),
            store: if has_containerd_store { format!("{driver}, in containerd") } else { driver },
            root_dir: info.docker_root_dir.unwrap_or_default().into(),
        };
        Ok(Self { client, reads_zstd, has_containerd_store, facts })
    }

    /// Returns what the engine said of itself when it was connected to.
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn reads_zstd(&self) -> bool {
        self.reads_zstd
    }

    pub(crate) fn has_containerd_store(&self) -> bool {
        self.has_containerd_store
    }

    /// Returns the digests of an image's unpacked layers, lowest first; nothing when the engine does not have it.
    pub(crate) async fn layers(&self, id: &str) -> Result<Option<Vec<Digest>>, Error> {
        let image = match self.client.inspect_image(id).await {
            Ok(image) => image,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(Error::engine("look for an image")(error)),
        };
        let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
        Ok(Some(layers.iter().filter_map(|layer| layer.parse().ok()).collect()))
    }

    /// Returns the layers of every image the engine has.
    pub(crate) async fn all_layers(&self) -> Result<Vec<Vec<Digest>>, Error> {
        let options = ListImagesOptionsBuilder::default().all(true).build();
        let images = self.client.list_images(Some(options)).await.map_err(Error::engine("list the images"))?;
        let mut all = Vec::new();
        for image in images {
            // One may go while we look.
            all.extend(self.layers(&image.id).await?);
        }
        Ok(all)
    }

    /// Removes what only kept the layers of an interrupted loading. One that is in use stays.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn remove_leftovers(&self) -> Result<(), Error> {
        let filters = HashMap::from([("label".to_owned(), vec![LOADING_LABEL.to_owned()])]);
        let options = ListImagesOptionsBuilder::default().all(true).filters(&filters).build();
        let images = self.client.list_images(Some(options)).await.map_err(Error::engine("list the images"))?;
        for image in images {
            self.remove_image(&image.id).await?;
        }
        Ok(())
    }

    /// Removes an image, unless a container or another name uses it.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn remove_image(&self, id: &str) -> Result<Removal, Error> {
        let options = RemoveImageOptionsBuilder::default().force(false).build();
        match self.client.remove_image(id, Some(options), None).await {
            Ok(_) => Ok(Removal::Done),
            Err(error) if is_absent(&error) => Ok(Removal::Absent),
            Err(error) if status(&error) == Some(409) => Ok(Removal::Used),
            Err(error) => Err(Error::engine("remove an image")(error)),
        }
    }

    /// Returns whether the engine has an image of this id.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn knows(&self, id: &Digest) -> Result<bool, Error> {
        Ok(self.layers(&id.to_string()).await?.is_some())
    }

    /// Returns whether a role's container is there, of this image and made for this configuration.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn has_container(&self, of: &Containers, role: Role, config: Digest) -> Result<bool, Error> {
        let found = self.container(&of.name(role)).await?;
        Ok(found.is_some_and(|found| found.config == Some(config) && found.image == of.image_of(role).to_string()))
    }

    /// Looks at a container; nothing when there is none of that name.
    pub(crate) async fn container(&self, name: &str) -> Result<Option<Container>, Error> {
        match self.client.inspect_container(name, None).await {
            Ok(found) => Ok(Some(Container::from(found))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::engine("look at a container")(error)),
        }
    }

    pub(crate) async fn start(&self, name: &str) -> Result<(), Error> {
        self.client.start_container(name, None).await.map_err(Error::engine("start a container"))
    }

    /// Stops a container: SIGTERM, SIGKILL after `seconds`. One that is not there is stopped.
    pub(crate) async fn stop(&self, name: &str, seconds: i32) -> Result<(), Error> {
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        match self.client.stop_container(name, Some(options)).await {
            Ok(()) => Ok(()),
            // 304: it is stopped already.
            Err(error) if is_absent(&error) || status(&error) == Some(304) => Ok(()),
            Err(error) => Err(Error::engine("stop a container")(error)),
        }
    }

    /// Returns the names of a customer's containers and networks of one project.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn made(&self, project: &str, customer: &str) -> Result<Made, Error> {
        let filters = ours(project, customer);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let containers =
            self.client.list_containers(Some(options)).await.map_err(Error::engine("list the containers"))?;
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let networks = self.client.list_networks(Some(options)).await.map_err(Error::engine("list the networks"))?;
        let name = |names: Option<Vec<String>>| names?.first().map(|name| name.trim_start_matches('/').to_owned());
        Ok(Made {
            containers: containers.into_iter().filter_map(|container| name(container.names)).collect(),
            networks: networks.into_iter().filter_map(|network| network.name).collect(),
        })
    }

    /// Returns whether both networks of a project are there, each with the bridge its counters know.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn has_networks(&self, project: &str, customer: &str) -> Result<bool, Error> {
        let options = ListNetworksOptionsBuilder::default().filters(&ours(project, customer)).build();
        let found = self.client.list_networks(Some(options)).await.map_err(Error::engine("list the networks"))?;
        let rules = Rules::of(project);
        Ok(Network::ALL.into_iter().all(|network| {
            let (name, bridge) = (format!("{project}-{}", network.name()), rules.bridge(network));
            found.iter().any(|found| {
                let option = found.options.as_ref().and_then(|options| options.get(BRIDGE_OPTION));
                found.name.as_ref() == Some(&name) && option == Some(&bridge)
            })
        }))
    }

    /// Removes containers and networks, as [`Self::made`] found them.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn remove(&self, made: &Made) -> Result<(), Error> {
        for name in &made.containers {
            let options = RemoveContainerOptionsBuilder::default().force(true).build();
            match self.client.remove_container(name, Some(options)).await {
                Err(error) if !is_absent(&error) => return Err(Error::engine("remove a container")(error)),
                _ => {}
            }
        }
        for name in &made.networks {
            match self.client.remove_network(name).await {
                Err(error) if !is_absent(&error) => return Err(Error::engine("remove a network")(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What became of an image that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Done,
    /// It was not there.
    Absent,
    /// Somebody uses it; it stays.
    Used,
}

/// What has both our label and the project's.
fn ours(project: &str, customer: &str) -> HashMap<String, Vec<String>> {
    let labels = vec![format!("{CUSTOMER_LABEL}={customer}"), format!("com.docker.compose.project={project}")];
    HashMap::from([("label".to_owned(), labels)])
}

/// What the engine holds for a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Made {
    /// By name.
    pub containers: Vec<String>,
    /// By name.
    pub networks: Vec<String>,
}

impl From<ContainerInspectResponse> for Container {
    fn from(found: ContainerInspectResponse) -> Self {
        let state = found.state.unwrap_or_default();
        let is_running = state.running == Some(true);
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = |(name, endpoint): (String, bollard::models::EndpointSettings)| {
            Some((name, endpoint.ip_address?.parse().ok()?))
        };
        let end = match (state.oom_killed, state.exit_code) {
            (Some(true), _) => "killed: it took more memory than it may have".to_owned(),
            (_, Some(code)) => format!("exit code {code}"),
            (_, None) => "it ended".to_owned(),
        };
        let has_ended = !is_running && state.finished_at.is_some_and(|at| !at.starts_with("0001"));
        Self {
            pid: state.pid.filter(|_| is_running).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
            image: found.image.unwrap_or_default(),
            config: labels.get(CONFIG_LABEL).and_then(|digest| digest.parse().ok()),
            customer: labels.get(CUSTOMER_LABEL).cloned(),
            addresses: networks.into_iter().filter_map(address).collect(),
            end: has_ended.then_some(end),
        }
    }
}

fn status(error: &ClientError) -> Option<u16> {
    match error {
        ClientError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn is_absent(error: &ClientError) -> bool {
    status(error) == Some(404)
}
