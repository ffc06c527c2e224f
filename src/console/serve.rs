use std::{future::IntoFuture, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use base::{CustomerLayout, Secret, config::ServiceConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Error, gateway, state::Shared, web};

/// How long answers under way may take after the role was asked to stop.
const GRACE: Duration = Duration::from_secs(8);

/// Serves the gateway on `api` and the page on `page` until `shutdown` is cancelled.
///
/// The API token is made if there is none yet. Neither the lake nor the models need to answer: the page says what does not.
pub async fn serve(
    config: ServiceConfig,
    layout: CustomerLayout,
    token: Secret,
    api: TcpListener,
    page: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let what = "the page";
    let port = page.local_addr().map_err(|source| Error::Serve { what, source })?.port();
    let state = Arc::new(Shared::open(config, layout, token, port)?);
    let gateway = run("the gateway", api, gateway::router(state.clone()), &shutdown);
    let web = run(what, page, web::router(state), &shutdown);
    let (gateway, web) = tokio::join!(gateway, web);
    gateway.and(web)
}

/// Serves one router; when one of the two listeners fails the other is asked to stop too.
async fn run(
    what: &'static str,
    listener: TcpListener,
    router: Router,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let result = tokio::select! {
        result = served.into_future() => result,
        () = overdue(shutdown) => Ok(()),
    };
    shutdown.cancel();
    result.map_err(|source| Error::Serve { what, source })
}

/// Ends some time after shutdown was asked for: a stream somebody keeps open must not hold the role.
async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
