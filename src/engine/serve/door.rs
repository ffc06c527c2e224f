//! What every role's server has in common: the token, the body's limit, health, and a graceful end.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use base::{Role, Secret};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use crate::Error;

/// The largest body read. 2,048 chunks of 400 tokens need about 4 MB.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Says whether a role can answer, for its health.
pub(super) trait Ready: Send + Sync + 'static {
    fn ready(&self) -> bool;
}

/// Serves `routes` behind the token, and health before it, until `shutdown`; open answers are finished.
pub(super) async fn open(
    role: Role,
    routes: Router,
    ready: Arc<dyn Ready>,
    token: Secret,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let guarded = routes
        .fallback(|| async { Refusal::unknown_path() })
        .method_not_allowed_fallback(|| async { Refusal::wrong_method() })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::new(token), check_token));
    let app = Router::new().route("/health", get(move || health(role, ready))).fallback_service(guarded);
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(|source| Error::Serve { role: role.name(), source })
}

async fn health(role: Role, ready: Arc<dyn Ready>) -> Response {
    let (status, word) =
        if ready.ready() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting") };
    let body = serde_json::json!({ "status": word, "role": role.name(), "version": env!("CARGO_PKG_VERSION") });
    (status, Json(body)).into_response()
}

async fn check_token(State(token): State<Arc<Secret>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown =
        shown.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match shown {
        Some((_, shown)) if token.matches(shown.trim()) => next.run(request).await,
        _ => Refusal::unauthorised().into_response(),
    }
}

/// A JSON body, refused in the wire's own shape when it is not one. The content type is not asked for: vLLM does not either.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await.map_err(|refused| match refused.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::too_large(MAX_BODY_BYTES),
            _ => Refusal::invalid("the body could not be read", None),
        })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Refusal::invalid(format!("the body is not a request of this kind: {error}"), None))
    }
}
