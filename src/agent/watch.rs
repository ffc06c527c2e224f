//! Learns of a process's end the moment it happens, whoever started it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags};
use stack::Identity;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::supervisor::Event;

/// Tells `send` when the process has ended. Where the kernel has no such descriptor nothing is told, and the next look finds out.
pub(crate) fn end_of(identity: Identity, send: mpsc::Sender<Event>) -> tokio::task::AbortHandle {
    let wait = async move {
        if let Ok(process) = open(&identity)
            && process.readable().await.is_ok()
        {
            let _ = send.send(Event::Woken).await;
        }
    };
    tokio::spawn(wait).abort_handle()
}

fn open(identity: &Identity) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(identity.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    // A pid may have been given to another process before it was opened; that one's end would only wake us once for nothing.
    // SAFETY: an `OwnedFd` is one open descriptor, always the same, until it is dropped, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.map_err(Into::into)
}
