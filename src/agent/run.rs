use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use base::file::{self, Lock, LockError};
use base::{Clock, Layout, Timestamp};
use serde::Serialize;
use stack::Identity;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::notify::Notify;
use crate::peer::{Door, Peer};
use crate::routes::{metrics_router, router};
use crate::settings::Settings;
use crate::supervisor::{Event, Supervisor};

/// How long a predecessor may take to end.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(10);

/// Who the agent is; `install` reads the identity to end it.
#[derive(Serialize)]
struct AgentRecord<'a> {
    format: u32,
    identity: &'a Identity,
    version: &'a str,
    started: Timestamp,
}

/// Looks after the installation until `shutdown`; the roles then go on. `notify` is the way to the service manager.
///
/// # Errors
/// [`Error::AlreadyRuns`] when another agent does not end within ten seconds; [`Error::Write`], [`Error::Listen`].
pub async fn run(layout: Layout, notify: Notify, shutdown: CancellationToken) -> Result<(), Error> {
    run_by(Clock::system(), layout, notify, shutdown).await
}

async fn run_by(clock: Clock, layout: Layout, notify: Notify, shutdown: CancellationToken) -> Result<(), Error> {
    let write = |path: &Path, source| Error::Write { path: path.to_owned(), source };
    for folder in [layout.run(), layout.agent_dir()] {
        file::private_dir(&folder).map_err(|source| write(&folder, source))?;
    }
    let _lock = lock(&layout, &shutdown).await?;
    let socket = layout.agent_socket();
    let listener = stack::bind_private(&socket).map_err(|source| Error::Listen { path: socket.clone(), source })?;
    let door = Door::new(listener, vec![rustix::process::geteuid().as_raw()]);
    let identity = Identity::of(std::process::id())
        .ok_or_else(|| write(Path::new("/proc"), std::io::Error::other("this process is not in `/proc`")))?;
    let record =
        AgentRecord { format: 1, identity: &identity, version: env!("CARGO_PKG_VERSION"), started: clock.now() };
    let path = layout.agent_record();
    let bytes = serde_json::to_vec_pretty(&record).map_err(std::io::Error::other);
    let written = bytes.and_then(|bytes| file::write_atomic(&path, &bytes, 0o600));
    written.map_err(|source| write(&path, source))?;

    tracing::info!(
        agent.pid = identity.pid,
        agent.version = env!("CARGO_PKG_VERSION"),
        "the agent looks after the installation"
    );
    tokio::spawn(crate::update::look_after(layout.clone(), shutdown.clone()));
    let settings = Settings::read(&layout);
    let (supervisor, events) = Supervisor::new(layout.clone(), identity, clock, settings, notify);
    if let Some(address) = supervisor.metrics_listen() {
        listen_for_prometheus(address, events.clone(), shutdown.clone()).await;
    }
    let stop = shutdown.clone();
    let routes = router(events, layout, clock).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(door, routes).with_graceful_shutdown(async move { stop.cancelled().await });
    let server = tokio::spawn(async move { server.await });
    supervisor.run(shutdown.clone()).await;
    // A client that keeps its connection open must not keep the agent alive.
    if tokio::time::timeout(Duration::from_secs(2), server).await.is_err() {
        tracing::debug!("a connection was still open at the end");
    }
    // What stays behind is recognised as stale by the next agent; removing it is a courtesy to those who look.
    let _ = std::fs::remove_file(&socket);
    let _ = std::fs::remove_file(&path);
    tracing::info!("the agent ends; its roles go on");
    Ok(())
}

/// Serves the metrics on an address of this machine. One that is taken is told in the log: nothing else depends on it.
async fn listen_for_prometheus(address: SocketAddr, events: mpsc::Sender<Event>, shutdown: CancellationToken) {
    match tokio::net::TcpListener::bind(address).await {
        Ok(listener) => {
            let server = axum::serve(listener, metrics_router(events));
            let server = server.with_graceful_shutdown(async move { shutdown.cancelled().await });
            tokio::spawn(async move { server.await });
        }
        Err(error) => tracing::warn!(%address, %error, "cannot listen for Prometheus"),
    }
}

async fn lock(layout: &Layout, shutdown: &CancellationToken) -> Result<Lock, Error> {
    let begun = Instant::now();
    loop {
        match Lock::try_acquire(&layout.agent_lock(), "agent run") {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held { holder, .. })
                if begun.elapsed() > PREDECESSOR_PATIENCE || shutdown.is_cancelled() =>
            {
                return Err(Error::AlreadyRuns { holder });
            }
            Err(LockError::Held { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return Err(Error::Lock(error)),
        }
    }
}

#[cfg(test)]
mod tests;
