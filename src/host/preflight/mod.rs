//! Whether this machine will do, check by check.
//!
//! Looking and judging are apart: every file here has a `look` that may be slow or hang, and a pure function from what was
//! seen to [`Check`]s. [`preflight`] begins all looks together, each on a thread of its own, and gives up on those that do
//! not come back. Nothing is changed: the one thing written is a nameless file that measures the disk.

mod check;
mod clock;
mod dns;
mod docker;
mod engine;
mod filesystem;
mod gpu;
mod kernel;
mod latency;
mod look;
mod mount;
mod place;
mod ports;
mod processor;
mod proxy;
mod readable;
mod space;
mod wanted;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use check::{Check, Report, Space, Verdict};
pub use gpu::{Card, Gpus, Lack, gpus};
pub use wanted::{Engine, Memory, Need, Online, Place, PlaceKind, PortUse, Readers, Wanted};

use look::Look;
use place::Found;

/// How long one look may take. A disk that sleeps needs seconds; an administrator waits no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at the machine and judges it; takes some seconds at most, also when something hangs.
pub fn preflight(wanted: &Wanted) -> Report {
    let deadline = Instant::now() + PATIENCE;
    // Programs are ended, and servers given up, a little before those who wait for them.
    let sooner = deadline.checked_sub(PATIENCE / 10).unwrap_or(deadline);
    let places: Vec<_> = wanted.places.iter().cloned().map(Placed::begin).collect();
    let data = wanted.places.iter().find(|place| place.kind == PlaceKind::Data);
    let latency = data.map(Measured::begin);
    let listeners = Look::begin(ports::look);
    let containers = wanted.docker.as_ref().map(|engine| Containers::begin(engine, sooner));
    let samples =
        wanted.readers.clone().map(|readers| (readers.clone(), Look::begin(move || readable::look(&readers))));
    let cards = wanted.gpu.then(|| Look::begin(move || gpu::look(sooner)));
    let network = wanted.online.as_ref().map(|online| Network::begin(online, sooner));

    let containers = containers.map(|containers| containers.end(deadline));
    let mut found: Vec<_> = places.into_iter().map(|placed| placed.end(deadline)).collect();
    if let Some(containers) = &containers {
        // Where the engine writes is known only now; its folders get time of their own.
        let deadline = Instant::now() + PATIENCE;
        let places: Vec<_> = containers.places.iter().cloned().map(Placed::begin).collect();
        found.extend(places.into_iter().map(|placed| placed.end(deadline)));
    }

    let (total_bytes, available_bytes) = crate::facts::memory();
    let mut checks = processor::processor(&crate::cpu::cpu());
    checks.extend(processor::memory(total_bytes, available_bytes, &wanted.memory));
    checks.extend(space::space(&found));
    checks.extend(filesystem::file_systems(&found));
    checks.extend(latency.map(|measured| measured.end(deadline)));
    checks.extend(kernel::kernel(&kernel::look(), wanted.docker.is_some()));
    checks.extend(clock::clock(clock::look(), wanted.latest_seen));
    checks.extend(ports::ports(&wanted.ports, listeners.by(deadline).flatten().as_ref()));
    checks.extend(containers.as_ref().map_or_else(docker::not_asked, |containers| containers.checks.clone()));
    checks.push(match samples {
        Some((readers, look)) => readable::readable(&readers, look.by(deadline).as_ref()),
        None => readable::not_asked(),
    });
    checks.extend(cards.map_or_else(gpu::not_asked, |cards| {
        let has_runtime = containers.as_ref().and_then(|containers| containers.has_gpu_runtime);
        cards.by(deadline).map_or_else(gpu::late, |cards| gpu::gpu(&cards, has_runtime))
    }));
    checks.extend(network.map_or_else(Network::not_asked, |network| network.end(deadline)));
    Report::new(checks)
}

/// A place that is being looked at.
struct Placed(Place, Look<Found>);

impl Placed {
    fn begin(place: Place) -> Self {
        let path = place.path.clone();
        Self(place, Look::begin(move || place::look(&path)))
    }

    fn end(self, deadline: Instant) -> (Place, Found) {
        (self.0, self.1.by(deadline).unwrap_or(Found::Late))
    }
}

/// The speed of the data's disk, being measured in the nearest folder that exists.
struct Measured {
    name: &'static str,
    wanted: PathBuf,
    look: Look<(PathBuf, std::io::Result<Vec<Duration>>)>,
}

impl Measured {
    fn begin(place: &Place) -> Self {
        let path = place.path.clone();
        let look = Look::begin(move || match crate::disk::nearest(&path) {
            Ok((dir, _)) => {
                let taken = latency::look(&dir);
                (dir, taken)
            }
            Err(error) => (path, Err(error)),
        });
        Self { name: place.name, wanted: place.path.clone(), look }
    }

    fn end(self, deadline: Instant) -> Check {
        match self.look.by(deadline) {
            Some((dir, taken)) => latency::latency(self.name, &dir, Some(&taken)),
            None => latency::latency(self.name, &self.wanted, None),
        }
    }
}

/// An engine with the folders it writes to.
type EngineSeen = std::io::Result<(engine::Facts, Vec<Place>)>;

/// The engine and Compose, being asked.
struct Containers {
    engine: Engine,
    answer: Option<Look<EngineSeen>>,
    compose: Look<look::Said>,
}

/// What they said.
struct ContainersSeen {
    checks: Vec<Check>,
    places: Vec<Place>,
    has_gpu_runtime: Option<bool>,
}

impl Containers {
    fn begin(engine: &Engine, deadline: Instant) -> Self {
        let answer = match engine {
            Engine::Elsewhere { .. } => None,
            Engine::Socket(socket) => {
                let socket = socket.clone();
                Some(Look::begin(move || {
                    let facts = engine::look(&socket, deadline)?;
                    let config = std::fs::read_to_string(Path::new(docker::CONTAINERD_CONFIG)).unwrap_or_default();
                    let places = docker::places(&facts, &config, Need::ENGINE);
                    Ok((facts, places))
                }))
            }
        };
        Self { engine: engine.clone(), answer, compose: Look::begin(move || docker::compose(deadline)) }
    }

    fn end(self, deadline: Instant) -> ContainersSeen {
        let compose = self.compose.by(deadline).unwrap_or(look::Said::Late);
        let (answer, places) = match self.answer.and_then(|answer| answer.by(deadline)) {
            Some(Ok((facts, places))) => (Some(Ok(facts)), places),
            Some(Err(error)) => (Some(Err(error)), Vec::new()),
            None => (None, Vec::new()),
        };
        let runtimes = match &answer {
            Some(Ok(facts)) => facts.info.runtimes.as_ref(),
            _ => None,
        };
        ContainersSeen {
            has_gpu_runtime: runtimes.map(|runtimes| runtimes.contains_key("nvidia")),
            checks: docker::docker(&self.engine, &answer, &compose),
            places,
        }
    }
}

/// The machine's set-up, and what its name servers made of each name.
type NamesSeen = (Option<dns::Names>, Vec<(String, dns::Answer)>);

/// Name servers and proxy, being tried.
struct Network {
    dns: Look<NamesSeen>,
    proxy: Look<proxy::Attempt>,
}

impl Network {
    fn begin(online: &Online, deadline: Instant) -> Self {
        let online = Arc::new(online.clone());
        let for_proxy = Arc::clone(&online);
        let dns = Look::begin(move || {
            let names = dns::names();
            let asked = match online.names.is_empty() {
                true => vec![String::new()],
                false => online.names.clone(),
            };
            let answers =
                names.iter().flat_map(|names| asked.iter().map(|name| (name.clone(), names.ask(name, deadline))));
            let answers = answers.collect();
            (names, answers)
        });
        let proxy = Look::begin(move || proxy::look(for_proxy.proxy.as_deref(), dns::names().as_ref(), deadline));
        Self { dns, proxy }
    }

    fn not_asked() -> Vec<Check> {
        ["dns", "proxy"].into_iter().map(|id| Check::not_asked(id, "--online")).collect()
    }

    fn end(self, deadline: Instant) -> Vec<Check> {
        let (names, answers) = self.dns.by(deadline).unwrap_or_default();
        vec![dns::dns(names.as_ref(), &answers), proxy::proxy(self.proxy.by(deadline).as_ref())]
    }
}

#[cfg(test)]
mod tests;
