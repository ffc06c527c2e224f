//! One look at disks, files, ports and containers: everything that may hang, beside the supervisor's task.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::{CustomerLayout, Layout, Role};
use install::control::{DiskRoom, Drift};
use stack::Runtime;
use stack::docker::{Differs, Engine, EngineFacts};

use crate::drift::{self, Memory};

/// What to look at.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) layout: Layout,
    pub(crate) customer: CustomerLayout,
    /// Whether files, ports and containers are looked at too, not only disks.
    pub(crate) is_thorough: bool,
    /// Roles that ought to run and do not, with the ports they need.
    pub(crate) down: Vec<(Role, u16)>,
    pub(crate) memory: Arc<Mutex<Memory>>,
    /// Where the engine keeps its images; known after the first thorough look.
    pub(crate) engine_root: Option<PathBuf>,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The disks; the first one holds the data.
    pub(crate) rooms: Vec<DiskRoom>,
    /// What is not as it was installed; none when that was not looked at.
    pub(crate) drift: Option<Vec<Drift>>,
    pub(crate) engine: Option<EngineFacts>,
}

/// The disk of the data: it is the one whose want of room stops work.
pub(crate) const DATA: &str = "the data";
const ENGINE: &str = "the engine's images";
const AGAIN: &str = "run `0711 install` again: it makes what is missing";

const ENGINE_PATIENCE: Duration = Duration::from_secs(15);

/// Looks.
pub(crate) async fn look(wish: Wish, runtime: Arc<Runtime>) -> Seen {
    let mut seen = Seen::default();
    let mut of_containers = Vec::new();
    if let (Runtime::Docker(docker), true) = (runtime.as_ref(), wish.is_thorough) {
        let ask = async {
            let (differences, has_images) = docker.differences().await.ok()?;
            of_containers.extend(differences.into_iter().map(|(role, differs)| container(role, differs)));
            if !has_images {
                of_containers.push(of("image", None, "the engine does not have an image any more".to_owned(), AGAIN));
            }
            Some(Engine::connect().await.ok()?.facts().clone())
        };
        // An engine that is gone or hangs is told by the one who listens to it; the disks are looked at all the same.
        seen.engine = tokio::time::timeout(ENGINE_PATIENCE, ask).await.ok().flatten();
    }
    let engine_root = seen.engine.as_ref().map(|facts| facts.root_dir.clone()).or_else(|| wish.engine_root.clone());
    let files = tokio::task::spawn_blocking(move || {
        let rooms = rooms(&wish, engine_root.as_deref());
        let drift = wish.is_thorough.then(|| {
            let mut all = ports(&wish.down);
            // A plan that cannot be read is told by whoever needs it.
            if let Ok(Some(plan)) = install::read_plan(&wish.customer) {
                let mut memory = wish.memory.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(drift::files(&wish.customer, &plan, &mut memory));
            }
            all
        });
        (rooms, drift)
    });
    if let Ok((rooms, drift)) = files.await {
        seen.rooms = rooms;
        seen.drift = drift.map(|mut all| {
            all.extend(of_containers);
            all.sort();
            all.dedup();
            all
        });
    }
    seen
}

fn of(what: &str, role: Option<Role>, cause: String, remedy: &str) -> Drift {
    Drift { what: what.to_owned(), role, cause, remedy: remedy.to_owned() }
}

fn container(role: Role, differs: Differs) -> Drift {
    let cause = match differs {
        Differs::Absent => "its container is gone",
        Differs::Foreign => "a container of its name belongs to somebody else",
        Differs::Image => "its container was made from another image",
        Differs::Config => "its container was made for another configuration",
    };
    let remedy = match differs {
        Differs::Foreign => "remove or rename that container, then run `0711 install` again",
        _ => AGAIN,
    };
    of("container", Some(role), cause.to_owned(), remedy)
}

fn ports(down: &[(Role, u16)]) -> Vec<Drift> {
    let held = |(role, port): &(Role, u16)| {
        let holder = host::port_holder(*port)?.holder;
        let remedy = format!("stop {holder}, then run `0711 start`");
        Some(of("port", Some(*role), format!("its port {port} is held by {holder}"), &remedy))
    };
    down.iter().filter_map(held).collect()
}

/// Returns the room on each file system once, that of the data first.
fn rooms(wish: &Wish, engine_root: Option<&Path>) -> Vec<DiskRoom> {
    let models = wish.layout.models();
    let places = [(DATA, Some(wish.customer.dir())), ("the models", Some(models.as_path())), (ENGINE, engine_root)];
    let mut devices = BTreeSet::new();
    let mut rooms = Vec::new();
    for (purpose, path) in places {
        let Some((device, room)) = path.and_then(|path| room(purpose, path)) else { continue };
        if devices.insert(device) {
            rooms.push(room);
        }
    }
    rooms
}

/// Returns the device of a path, and the room there.
pub(crate) fn room(purpose: &str, path: &Path) -> Option<(u64, DiskRoom)> {
    let device = std::fs::metadata(path).ok()?.dev();
    let stat = rustix::fs::statvfs(path).ok()?;
    let room = DiskRoom {
        path: path.to_owned(),
        purpose: purpose.to_owned(),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_files: stat.f_favail,
        total_files: stat.f_files,
    };
    Some((device, room))
}
