use std::path::{Path, PathBuf};

use base::Timestamp;

/// What a preflight is to judge: by the numbers of a plan, or by stated minimums where there is none.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where something is to be written.
    pub places: Vec<Place>,
    /// Memory of the services.
    pub memory: Memory,
    /// Ports the services will listen on.
    pub ports: Vec<PortUse>,
    /// The latest time this installation has seen, when it has seen one.
    pub latest_seen: Option<Timestamp>,
    /// The engine to ask, when containers are wanted.
    pub docker: Option<Engine>,
    /// Who reads the data folders, when containers are wanted.
    pub readers: Option<Readers>,
    /// Whether the graphics card and what containers need for it are looked at.
    pub gpu: bool,
    /// What to try over the network; without it nothing is looked up and nothing is connected to.
    pub online: Option<Online>,
}

/// A folder something is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The second part of the checks' ids.
    pub name: &'static str,
    /// Where; need not exist yet.
    pub path: PathBuf,
    /// How much.
    pub need: Need,
    /// By whom.
    pub kind: PlaceKind,
}

/// Who writes to a place, and so which checks it gets beside that of its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceKind {
    /// 0711 keeps tables and secrets there, and it grows: rights, file system, inodes, latency.
    Data,
    /// 0711 runs programs from there: rights, file system.
    Programs,
    /// Something passes through, and room for it may turn out not to be needed.
    Passing {
        /// The variable of the environment that names another folder.
        setting: &'static str,
    },
    /// The engine writes there: file system, inodes.
    Engine,
}

/// What is still to be written to a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// At most at one time.
    pub peak_bytes: u64,
    /// Of it, what stays.
    pub final_bytes: u64,
}

impl Need {
    /// For the data, where no plan says more: two small models, an empty lake, room for a first training.
    pub const DATA: Self = Self { peak_bytes: 2_000_000_000, final_bytes: 1_000_000_000 };
    /// For temporary files: a package that a model is taken from passes through.
    pub const TEMPORARY: Self = Self { peak_bytes: 256_000_000, final_bytes: 0 };
    /// For the engine's folder: the platform image, and once more while the engine unpacks it.
    pub const ENGINE: Self = Self { peak_bytes: 4_000_000_000, final_bytes: 2_000_000_000 };
}

/// Memory the services take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// At rest.
    pub rest_bytes: u64,
    /// While training.
    pub peak_bytes: u64,
    /// Taken already, because they run.
    pub held_bytes: u64,
}

impl Memory {
    /// Where no plan says more: the small models.
    pub const MINIMUM: Self = Self { rest_bytes: 2_000_000_000, peak_bytes: 4_000_000_000, held_bytes: 0 };
}

/// A port and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortUse {
    /// The port, on 127.0.0.1.
    pub port: u16,
    /// For people: `web console`.
    pub purpose: String,
    /// Whether a running service of this very installation may hold it.
    pub is_ours: bool,
}

/// Where a Docker engine is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Through a socket of this machine.
    Socket(PathBuf),
    /// Somewhere a preflight does not go: only the scheme is kept, the rest may hold a user's name.
    Elsewhere {
        /// For instance `ssh`.
        scheme: String,
    },
}

impl Engine {
    /// The socket of every distribution's Docker package.
    pub const SOCKET: &str = "/var/run/docker.sock";

    /// Reads the value of `DOCKER_HOST`; an empty one counts as none.
    pub fn from_docker_host(value: Option<&str>) -> Self {
        match value.filter(|value| !value.is_empty()) {
            None => Self::Socket(Path::new(Self::SOCKET).to_owned()),
            Some(value) => match value.split_once("://") {
                Some(("unix", path)) => Self::Socket(PathBuf::from(path)),
                Some((scheme, _)) => Self::Elsewhere { scheme: scheme.to_owned() },
                None => Self::Elsewhere { scheme: "tcp".to_owned() },
            },
        }
    }
}

/// The user containers run as, and what it is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readers {
    /// Numeric user.
    pub user: u32,
    /// Numeric group.
    pub group: u32,
    /// The data folders.
    pub folders: Vec<PathBuf>,
}

/// What to try over the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Online {
    /// Names to look up: the hosts that models or updates come from.
    pub names: Vec<String>,
    /// The proxy, as the environment names it. It may hold a password and is never shown whole.
    pub proxy: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_the_engine_is_and_keeps_no_user() {
        let socket = |path: &str| Engine::Socket(path.into());
        assert_eq!(Engine::from_docker_host(None), socket("/var/run/docker.sock"));
        assert_eq!(Engine::from_docker_host(Some("")), socket("/var/run/docker.sock"));
        assert_eq!(
            Engine::from_docker_host(Some("unix:///run/user/1000/docker.sock")),
            socket("/run/user/1000/docker.sock")
        );
        let away = |scheme: &str| Engine::Elsewhere { scheme: scheme.into() };
        assert_eq!(Engine::from_docker_host(Some("ssh://anna@server")), away("ssh"));
        assert_eq!(Engine::from_docker_host(Some("10.0.0.1:2375")), away("tcp"));
    }
}
