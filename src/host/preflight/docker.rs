//! Docker: the engine, its interface, where and how it stores, and Compose.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::check::Check;
use super::engine::Facts;
use super::look::{Said, ask};
use super::wanted::{Engine, Need, Place, PlaceKind};

/// Checks that only an engine can answer, in the order they are shown.
const IDS: [&str; 5] = ["docker.engine", "docker.api", "docker.compose", "docker.storage", "docker.limits"];
/// Beside them, the checks of the folders the engine writes to.
const PLACE_IDS: [&str; 2] = ["disk.docker-root", "disk.containerd-root"];
/// The oldest engine and interface that are tested, and the first Compose that waits for health checks.
const ENGINE_MIN: (u32, u32) = (20, 10);
const API_MIN: (u32, u32) = (1, 41);
const COMPOSE_MIN: (u32, u32) = (2, 1);

/// What the engine answered; `None` when not in time.
pub(super) type Answer = Option<io::Result<Facts>>;

/// Asks the first client that has Compose: one without it may stand earlier on the search path.
pub(super) fn compose(deadline: Instant) -> Said {
    let mut said = Said::Absent;
    for client in ["docker", "/usr/bin/docker"] {
        match ask(client, &["compose", "version", "--short"], deadline) {
            text @ Said::Text(_) => return text,
            Said::Absent => {}
            other => said = other,
        }
    }
    said
}

/// Every check of this file, when nobody asked.
pub(super) fn not_asked() -> Vec<Check> {
    IDS.into_iter().chain(PLACE_IDS).map(|id| Check::not_asked(id, "--docker")).collect()
}

/// The checks of [`IDS`], and of the folders too when the engine does not say which they are.
pub(super) fn docker(engine: &Engine, answer: &Answer, compose: &Said) -> Vec<Check> {
    let facts = match answer {
        Some(Ok(facts)) => facts,
        _ => {
            let (reason, remedy) = silence(engine, answer);
            let unknown = |id: &str| match id {
                "docker.engine" => Check::unknown(id, reason.clone(), remedy),
                "docker.compose" => compose_check(compose),
                _ => Check::unknown(id, "the engine was not asked", "see `docker.engine`"),
            };
            return IDS.into_iter().chain(PLACE_IDS).map(unknown).collect();
        }
    };
    vec![engine_check(facts), api(facts), compose_check(compose), storage(facts), limits(facts)]
}

fn silence(engine: &Engine, answer: &Answer) -> (String, &'static str) {
    let socket = match engine {
        Engine::Elsewhere { scheme } => {
            let reason = format!("`DOCKER_HOST` names an engine over {scheme}; only a socket of this machine is asked");
            return (reason, "run this on the engine's own machine, without `DOCKER_HOST`");
        }
        Engine::Socket(path) => path.display(),
    };
    let silent = (format!("`{socket}` does not answer in time"), "see the engine's log: `journalctl -u docker`");
    match answer {
        Some(Err(error)) => match error.kind() {
            ErrorKind::NotFound => (
                format!("there is no socket `{socket}`"),
                "install Docker Engine 20.10 or newer and start it, or do without: the native runtime needs none",
            ),
            ErrorKind::ConnectionRefused => {
                (format!("nobody listens on `{socket}`"), "start it: `systemctl start docker`")
            }
            ErrorKind::PermissionDenied => {
                (format!("this user may not use `{socket}`"), "run with `sudo`, or join the group `docker`")
            }
            ErrorKind::TimedOut => silent,
            _ => (format!("`{socket}`: {error}"), "see the engine's log: `journalctl -u docker`"),
        },
        _ => silent,
    }
}

fn engine_check(facts: &Facts) -> Check {
    let id = "docker.engine";
    let version = &facts.version.version;
    let components = facts.version.components.as_deref().unwrap_or_default();
    if components.iter().any(|component| component.name.contains("Podman")) {
        let seen = format!("Podman {version} in place of Docker; not tested by us");
        return Check::warning(id, seen, "use Docker Engine, or try");
    }
    match numbers(version) {
        None => Check::unknown(id, format!("version `{version}`"), "compare it with 20.10 yourself"),
        Some(found) if found < ENGINE_MIN => {
            Check::failed(id, format!("version {version}, older than 20.10"), "install Docker Engine 20.10 or newer")
        }
        Some(_) if facts.info.is_rootless() => Check::warning(
            id,
            format!("version {version}, without root; not tested by us"),
            "use the machine's own engine, or try",
        ),
        Some(_) => Check::ok(id, format!("version {version}")),
    }
}

fn api(facts: &Facts) -> Check {
    let id = "docker.api";
    let version = &facts.version.api_version;
    match numbers(version) {
        None => Check::unknown(id, format!("version `{version}`"), "compare it with 1.41 yourself"),
        Some(found) if found < API_MIN => {
            Check::failed(id, format!("version {version}, older than 1.41"), "install Docker Engine 20.10 or newer")
        }
        Some(_) => Check::ok(id, format!("version {version}")),
    }
}

fn compose_check(said: &Said) -> Check {
    let id = "docker.compose";
    let install =
        "install the Compose plugin 2.1 or newer (Debian: `docker-compose`, elsewhere `docker-compose-plugin`)";
    match said {
        Said::Absent => Check::unknown(id, "there is no `docker` client", install),
        Said::Failed(_) => Check::unknown(id, "the `docker` client has no Compose", install),
        Said::Late => Check::unknown(id, "`docker compose version` does not end", "run it yourself"),
        Said::Text(text) => match numbers(text) {
            None => Check::unknown(id, format!("version `{}`", short(text)), "compare it with 2.1 yourself"),
            Some(found) if found < COMPOSE_MIN => {
                Check::failed(id, format!("version {}, older than 2.1", short(text)), install)
            }
            Some(_) => Check::ok(id, format!("version {}", short(text))),
        },
    }
}

fn storage(facts: &Facts) -> Check {
    let id = "docker.storage";
    let driver = facts.info.driver.as_str();
    let root = &facts.info.docker_root_dir;
    let remedy = "set `\"storage-driver\": \"overlay2\"` in `/etc/docker/daemon.json` and restart the engine";
    match driver {
        "" => Check::unknown(id, "the engine does not say", "see `docker info`"),
        "overlayfs" if facts.info.has_containerd_store() => {
            Check::ok(id, format!("overlayfs in containerd's store, the rest in `{root}`"))
        }
        "overlay2" => Check::ok(id, format!("overlay2 in `{root}`")),
        "vfs" => Check::warning(id, format!("vfs in `{root}`: every layer is a whole copy"), remedy),
        "devicemapper" | "aufs" | "overlay" => {
            Check::failed(id, format!("{driver} in `{root}`, which engines gave up"), remedy)
        }
        other => Check::warning(id, format!("{other} in `{root}`; not tested by us"), remedy),
    }
}

fn limits(facts: &Facts) -> Check {
    let id = "docker.limits";
    let missing: Vec<_> = [("memory", facts.info.memory_limit), ("processes", facts.info.pids_limit)]
        .into_iter()
        .filter(|(_, holds)| *holds != Some(true))
        .collect();
    if missing.is_empty() {
        return Check::ok(id, "memory and processes of a container can be limited");
    }
    let names = missing.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" and ");
    if missing.iter().any(|(_, holds)| holds.is_none()) {
        return Check::unknown(id, format!("the engine does not say whether it limits {names}"), "see `docker info`");
    }
    let remedy = "see `cgroups.version`; the kernel may want `cgroup_enable=memory`";
    Check::warning(id, format!("the engine cannot limit {names}"), remedy)
}

/// Returns the folders the engine and its containerd write to; `config` is the text of containerd's configuration.
pub(super) fn places(facts: &Facts, config: &str, need: Need) -> Vec<Place> {
    let root = PathBuf::from(&facts.info.docker_root_dir);
    if root.as_os_str().is_empty() {
        return Vec::new();
    }
    // A containerd of the distribution has its own folder; one that the engine starts keeps to the engine's.
    let shared = containerd_root(config);
    let containerd = if shared.is_dir() { shared } else { root.join("containerd") };
    let (of_root, of_containerd) = match facts.info.has_containerd_store() {
        true => (Need::default(), need),
        false => (need, Need::default()),
    };
    let place = |name, path, need| Place { name, path, need, kind: PlaceKind::Engine };
    vec![place("docker-root", root, of_root), place("containerd-root", containerd, of_containerd)]
}

/// Where containerd's configuration is, where a distribution installed it.
pub(super) const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";

/// The top-level `root = "…"`; it stands before the first table.
fn containerd_root(config: &str) -> PathBuf {
    let top = config.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    let mut values = top.filter_map(|line| line.strip_prefix("root")?.trim_start().strip_prefix('='));
    let named = values.next().map(|value| value.trim().trim_matches(['"', '\'']));
    Path::new(named.unwrap_or("/var/lib/containerd")).to_owned()
}

/// `v2.26.1-4` is `(2, 26)`.
pub(super) fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim().trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The first line, and not much of it: what a program says is not ours to trust.
pub(super) fn short(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests;
