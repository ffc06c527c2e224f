//! Who works on a repository: one adds, others may read meanwhile, and who prunes is alone.
//!
//! File locks do not reach across shares and buckets, so a lock is a small file that is written and then looked for: two who
//! come at once see each other, and both step back. It is renewed as long as its holder lives. One whose holder is gone is
//! passed over: known at once on the same machine, and elsewhere by its age, which is the difference of two times the same
//! place gave, and so asks no clock of ours.

use std::{
    fs,
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{Error, seal::random, store::Store};

/// What somebody wants to do with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Use {
    Read,
    Add,
    Prune,
}

impl Use {
    fn excludes(self, other: Self) -> bool {
        self == Self::Prune || other == Self::Prune || (self, other) == (Self::Add, Self::Add)
    }

    fn command(self) -> &'static str {
        match self {
            Self::Read => "0711 backup restore or verify",
            Self::Add => "0711 backup create",
            Self::Prune => "0711 backup prune",
        }
    }
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    format: u32,
    r#use: Use,
    host: String,
    /// The machine and its boot, and the pid's own space of numbers: only within all three can a process be looked up.
    machine: String,
    boot: String,
    namespace: String,
    pid: u32,
    /// When the process began, in the kernel's ticks: a pid comes again, and with it another one of these.
    began: u64,
}

/// Where the kernel says who we are.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
const MACHINE: &str = "/etc/machine-id";
const NAMESPACE: &str = "/proc/self/ns/pid";
const RENEW_EVERY: Duration = Duration::from_secs(120);
/// Seven renewals that did not come.
const STALE_MS: i64 = 15 * 60 * 1000;
const HOLDER_BYTES_MAX: u64 = 4096;

impl Holder {
    fn own(r#use: Use) -> Self {
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let pid = std::process::id();
        Self {
            format: 1,
            r#use,
            host: host(),
            machine: line(MACHINE),
            boot: line(BOOT),
            namespace: namespace(),
            pid,
            began: began(pid).unwrap_or(0),
        }
    }

    /// Whether the holder lives; nothing where that cannot be known from here.
    fn lives(&self) -> Option<bool> {
        let own = Self::own(self.r#use);
        if self.boot == own.boot && !own.boot.is_empty() {
            let is_visible = self.namespace == own.namespace;
            return is_visible.then(|| began(self.pid) == Some(self.began));
        }
        // The same machine has been started anew since.
        (self.machine == own.machine && !own.machine.is_empty()).then_some(false)
    }
}

/// Returns this machine's name.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn namespace() -> String {
    fs::read_link(NAMESPACE).map(|link| link.display().to_string()).unwrap_or_default()
}

/// Returns when a process began; nothing when there is none.
fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name stands in parentheses and may hold anything; the 22nd field is the 20th after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// A lock that is held until the value goes.
#[derive(Debug)]
pub(crate) struct RepositoryLock {
    /// Nothing where nobody can write. Gives the lock back when it goes.
    _held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    store: Arc<Store>,
    name: String,
    stop: mpsc::Sender<()>,
    renewing: Option<JoinHandle<()>>,
}

impl RepositoryLock {
    /// Takes a lock. With `patience`, waits until the others are gone or it is cancelled.
    pub fn take(store: &Arc<Store>, r#use: Use, patience: Option<&CancellationToken>) -> Result<Self, Error> {
        loop {
            match Self::attempt(store, r#use) {
                Err(Error::InUse { .. }) if patience.is_some_and(|cancel| !cancel.is_cancelled()) => {
                    // Two who wait for each other must not come again at the same moment.
                    let [jitter] = random::<1>();
                    sleep(Duration::from_millis(2_000 + 8 * u64::from(jitter)), patience);
                }
                done => return done,
            }
        }
    }

    fn attempt(store: &Arc<Store>, r#use: Use) -> Result<Self, Error> {
        let own = Holder::own(r#use);
        let json = serde_json::to_vec(&own);
        let json = json.map_err(|error| Error::Encode { name: "a lock".to_owned(), source: error.into() })?;
        let name = format!("locks/{}.lock", hex::encode(random::<16>()));
        match store.put(&name, &json) {
            // Where nobody can write, nobody prunes.
            Err(error) if r#use == Use::Read && Store::is_read_only(&error) => return Ok(Self { _held: None }),
            done => done?,
        }
        let (stop, stopped) = mpsc::channel();
        let mut held = Held { store: store.clone(), name, stop, renewing: None };
        held.clear_the_way(&own)?;
        held.renew(json, stopped);
        Ok(Self { _held: Some(held) })
    }
}

impl Held {
    /// Looks who else is here, and passes over those who are gone.
    fn clear_the_way(&self, own: &Holder) -> Result<(), Error> {
        let all = self.store.list("locks")?;
        let now_ms = all.iter().find(|lock| lock.name == self.name).map(|lock| lock.modified_ms);
        // Whose lock vanishes at once is on a medium that is being taken away.
        let now_ms = now_ms.ok_or_else(|| Error::TargetGone { place: self.store.place() })?;
        for lock in all.iter().filter(|lock| lock.name != self.name) {
            let bytes = match self.store.get(&lock.name, HOLDER_BYTES_MAX) {
                Err(Error::Missing { .. }) => continue,
                bytes => bytes?,
            };
            let is_old = now_ms - lock.modified_ms > STALE_MS;
            let holder: Option<Holder> = serde_json::from_slice(&bytes).ok();
            let lives = holder.as_ref().and_then(Holder::lives).unwrap_or(!is_old);
            if !lives {
                tracing::info!(lock = lock.name, "passed over the lock of a process that is gone");
                self.store.remove(&lock.name)?;
                continue;
            }
            let excludes = holder.as_ref().is_none_or(|holder| own.r#use.excludes(holder.r#use));
            if excludes {
                let who = holder.map_or_else(
                    || "somebody whose lock cannot be read".to_owned(),
                    |holder| format!("`{}` on {} (pid {})", holder.r#use.command(), holder.host, holder.pid),
                );
                return Err(Error::InUse { holder: who });
            }
        }
        Ok(())
    }

    fn renew(&mut self, json: Vec<u8>, stopped: mpsc::Receiver<()>) {
        let (store, name) = (self.store.clone(), self.name.clone());
        let renewing = std::thread::Builder::new().name("backup-lock".to_owned()).spawn(move || {
            while stopped.recv_timeout(RENEW_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Err(error) = store.put(&name, &json) {
                    tracing::warn!(%error, "cannot renew the lock of the backup");
                }
            }
        });
        // Without the thread the lock is good for a quarter of an hour, and on this machine for as long as we live.
        self.renewing = renewing.ok();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(renewing) = self.renewing.take() {
            let _ = renewing.join();
        }
        // One that stays is passed over: this process is gone soon.
        if let Err(error) = self.store.remove(&self.name) {
            tracing::debug!(%error, "cannot remove the lock of the backup");
        }
    }
}

fn sleep(time: Duration, cancel: Option<&CancellationToken>) {
    let until = Instant::now() + time;
    while Instant::now() < until && !cancel.is_some_and(CancellationToken::is_cancelled) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &tempfile::TempDir) -> Arc<Store> {
        Arc::new(Store::folder(dir.path().to_owned()).unwrap())
    }

    fn plant(store: &Store, name: &str, change: impl FnOnce(&mut Holder)) {
        let mut holder = Holder::own(Use::Prune);
        change(&mut holder);
        store.put(&format!("locks/{name}.lock"), &serde_json::to_vec(&holder).unwrap()).unwrap();
    }

    #[test]
    fn one_adds_while_others_read_and_who_prunes_is_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let take = |r#use| RepositoryLock::take(&store, r#use, None);
        let (read, add) = (take(Use::Read).unwrap(), take(Use::Add).unwrap());
        let another = take(Use::Read).unwrap();
        // Two who add would each write a catalog that does not know the other's backup.
        assert!(matches!(take(Use::Add), Err(Error::InUse { .. })));
        match take(Use::Prune) {
            Err(Error::InUse { holder }) => assert!(holder.contains(&std::process::id().to_string()), "{holder}"),
            other => panic!("{other:?}"),
        }
        drop((read, add, another));
        let prune = take(Use::Prune).unwrap();
        assert!(matches!(take(Use::Read), Err(Error::InUse { .. })));
        drop(prune);
        take(Use::Read).unwrap();
        assert_eq!(store.list("locks").unwrap(), [], "a lock goes with its holder");
    }

    #[test]
    fn a_lock_of_the_dead_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let take = || RepositoryLock::take(&store, Use::Add, None);
        // The pid is there, and another process has it now.
        plant(&store, "reused-pid", |holder| holder.began += 1);
        plant(&store, "rebooted", |holder| {
            holder.machine = fs::read_to_string(MACHINE).unwrap_or_default().trim().to_owned();
            holder.boot = "before".to_owned();
        });
        if fs::read_to_string(MACHINE).is_ok_and(|id| !id.trim().is_empty()) {
            take().unwrap();
            assert_eq!(store.list("locks").unwrap(), []);
        }
        let far = |holder: &mut Holder| {
            (holder.machine, holder.boot) = ("another".to_owned(), "another".to_owned());
        };
        plant(&store, "far", far);
        assert!(matches!(take(), Err(Error::InUse { .. })), "who cannot be seen may live");
        let path = dir.path().join("locks/far.lock");
        let age = |minutes: u64| {
            let at = std::time::SystemTime::now() - Duration::from_secs(minutes * 60);
            fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        };
        age(14);
        assert!(matches!(take(), Err(Error::InUse { .. })));
        age(16);
        take().unwrap();
        fs::write(dir.path().join("locks/torn.lock"), b"{").unwrap();
        assert!(matches!(take(), Err(Error::InUse { .. })), "what cannot be read may be anybody's");
    }

    #[test]
    fn who_waits_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let first = RepositoryLock::take(&store, Use::Prune, None).unwrap();
        let waiting = {
            let store = store.clone();
            std::thread::spawn(move || RepositoryLock::take(&store, Use::Add, Some(&CancellationToken::new())))
        };
        std::thread::sleep(Duration::from_millis(100));
        drop(first);
        waiting.join().unwrap().unwrap();
        let first = RepositoryLock::take(&store, Use::Prune, None).unwrap();
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert!(matches!(RepositoryLock::take(&store, Use::Add, Some(&cancel)), Err(Error::InUse { .. })));
        drop(first);
    }
}
