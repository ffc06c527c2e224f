//! What the service manager is told: that the agent is ready, and, again and again, that it lives (sd_notify(3)).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The way to the service manager. Without one nothing is told.
#[derive(Debug, Default)]
pub struct Notify {
    way: Option<(UnixDatagram, SocketAddr)>,
    every: Option<Duration>,
    last: Option<Instant>,
}

impl Notify {
    /// Takes what the service manager put into the environment: `NOTIFY_SOCKET` and `WATCHDOG_USEC`. A socket that cannot be used counts
    /// as none: the agent works without.
    pub fn new(socket: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let way = socket.and_then(|socket| match open(&socket) {
            Ok(way) => Some(way),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                None
            }
        });
        // Twice within the time, so that one delay does not end the agent.
        Self { way, every: watchdog.map(|time| time / 2), last: None }
    }

    /// Says that the control socket answers.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// Says that the agent ends of its own will.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Says that the supervisor's loop turns, when it is time to.
    pub(crate) fn alive(&mut self) {
        let Some(every) = self.every else { return };
        if self.last.is_none_or(|last| last.elapsed() >= every) {
            self.last = Some(Instant::now());
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, text: &str) {
        if let Some((socket, to)) = &self.way
            && let Err(error) = socket.send_to_addr(text.as_bytes(), to)
        {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

fn open(socket: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let way = UnixDatagram::unbound()?;
    // A manager that does not read must not stop the loop it watches.
    way.set_nonblocking(true)?;
    Ok((way, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(socket: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    #[test]
    fn the_manager_hears_ready_alive_and_stopping() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let mut notify = Notify::new(Some(path.into()), Some(Duration::from_secs(60)));
        notify.ready();
        notify.alive();
        notify.alive();
        notify.stopping();
        let heard: Vec<_> = std::iter::from_fn(|| said(&manager)).collect();
        assert_eq!(heard, ["READY=1", "WATCHDOG=1", "STOPPING=1"], "once in half the time is enough");
    }

    #[test]
    fn without_a_manager_or_with_a_dead_one_nothing_happens() {
        let mut none = Notify::default();
        none.ready();
        none.alive();
        let dir = tempfile::tempdir().unwrap();
        let dead = Notify::new(Some(dir.path().join("gone").into()), None);
        dead.ready();
        let name = format!("@0711-notify-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name[1..]).unwrap()).unwrap();
        Notify::new(Some(name.into()), None).ready();
        manager.set_nonblocking(true).unwrap();
        assert_eq!(said(&manager).as_deref(), Some("READY=1"));
    }
}
