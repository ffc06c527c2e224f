//! The role `ingest`: runs when asked over HTTP, one at a time, confined to what it needs.
//!
//! `POST /v1/jobs` starts a run over the configured folders, or over some below them; `GET` and `DELETE /v1/jobs/{id}` watch and stop it;
//! `PUT /v1/watch` says whether the role keeps the folders in step by itself; `GET /v1/report` is the last report; `GET /v1/sandbox` says which walls hold.

mod confine;
mod routes;
#[cfg(test)]
mod tests;
mod watch;
mod work;

use std::{path::Path, thread, time::Duration};

use base::{CustomerLayout, Layout, Role, Secret, config::ServiceConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How long a run that was asked to stop may take to commit what it has.
const GRACE: Duration = Duration::from_secs(20);

/// Serves the role until `shutdown` is cancelled; a run under way then commits what it has and stops.
///
/// The role's work runs on threads of its own, which are confined before anything else happens on them: the walls hold for a thread and
/// what it starts, and the caller's threads are already there.
///
/// # Errors
/// [`Error::Serve`] when the listener or the job folder cannot be used, [`Error::Embed`] when the embedding model cannot be opened.
pub async fn serve(
    config: ServiceConfig,
    layout: Layout,
    customer: CustomerLayout,
    token: Secret,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let failed = |source| Error::Serve { source };
    let listener = listener.into_std().map_err(failed)?;
    let jobs_dir = layout.jobs_dir(&config.slug, Role::Ingest);
    let (ended, end) = tokio::sync::oneshot::channel();
    let confined = move || {
        let result = confined(config, customer, &jobs_dir, token, listener, shutdown);
        // The receiver is gone only when the caller was dropped, and then nobody wants the result.
        let _ = ended.send(result);
    };
    thread::Builder::new().name("ingest".to_owned()).spawn(confined).map_err(failed)?;
    end.await.map_err(|_| Error::Broken { reason: "the role's thread panicked".to_owned() })?
}

fn confined(
    config: ServiceConfig,
    customer: CustomerLayout,
    jobs_dir: &Path,
    token: Secret,
    listener: std::net::TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let failed = |source| Error::Serve { source };
    let exe = std::env::current_exe().map_err(failed)?;
    // Walls are put around folders that exist.
    for dir in [customer.ingest_state().as_path(), jobs_dir] {
        base::file::private_dir(dir).map_err(failed)?;
    }
    // What needs files that the walls hide is made first: the clients ask for the system's certificates, though they use none.
    let works = work::Works::new(config.clone(), customer.clone(), &token, exe.clone())?;
    let walls = confine::confine(&config, &customer, jobs_dir, &exe);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::try_from(config.threads).unwrap_or(1).clamp(1, 4))
        .thread_name("ingest")
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async move {
        let jobs = base::job::Jobs::open(jobs_dir).map_err(failed)?;
        let watch = watch::Watch::new(works.clone(), jobs.clone());
        tokio::spawn(watch.clone().keep_in_step(shutdown.clone()));
        let state = routes::State::new(works, jobs.clone(), token, walls, watch);
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let served = axum::serve(listener, routes::router(state))
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await;
        jobs.cancel_all();
        let stopping = async {
            while jobs.current().is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(GRACE, stopping).await.is_err() {
            tracing::warn!("a run did not stop in time; the next one goes on from its last commit");
        }
        served.map_err(failed)
    })
}
