//! Who may pass: a known Host, a session, and on every change the session's CSRF token.

use std::sync::Arc;

use access::Session;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use base::Rights;

use super::refusal::Refusal;
use crate::state::Shared;

/// The request's session, put there by [`signed_in`].
#[derive(Clone)]
pub(crate) struct SignedIn {
    /// The cookie's value.
    pub(crate) id: String,
    /// What the session's conversation is kept under: not the id, which nothing but the cookie holds.
    pub(crate) key: String,
    pub(crate) session: Session,
    /// What the account may read.
    pub(crate) rights: Rights,
}

const FORBIDDEN_HOST: Refusal = Refusal::new(
    StatusCode::FORBIDDEN,
    "this host name is not allowed; list it under `console.hosts` in the answers (or with `--console-host`) and install again",
);
const NO_SESSION: Refusal = Refusal::new(StatusCode::UNAUTHORIZED, "log in first");
const NO_CSRF: Refusal = Refusal::new(StatusCode::FORBIDDEN, "the request does not come from this page");

/// Refuses requests whose `Host` is neither a loopback name nor configured: a foreign name that resolves to this machine (DNS rebinding) must not reach the page.
pub(crate) async fn known_host(State(state): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if let Err(refusal) = known(&state, request.headers()) {
        return refusal.into_response();
    }
    next.run(request).await
}

fn known(state: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if !text(header::HOST).is_some_and(|host| state.hosts.allows(host)) {
        return Err(FORBIDDEN_HOST);
    }
    // Browsers name the page a request comes from; programs do not.
    match text(header::ORIGIN).is_some_and(|origin| !state.hosts.allows_origin(origin)) {
        true => Err(NO_CSRF),
        false => Ok(()),
    }
}

/// Lets requests with a session pass. Whoever has none is sent to the login form, or told so if it is the page's script that asks.
///
/// The CSRF token comes in the header `X-CSRF-Token`; the one plain form (logout) checks its own field.
pub(crate) async fn signed_in(State(state): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let script = path.starts_with("/api/");
    let id = cookie(request.headers(), &session_cookie(&state)).unwrap_or_default();
    let session = state.sessions.find(&id, state.clock.now());
    // The account is asked for anew each time: one that was taken away, or got another password, ends its sessions.
    let found = session.and_then(|session| Some((state.rights_of_session(&session)?, session)));
    let Some((rights, session)) = found else {
        return match script {
            true => NO_SESSION.into_response(),
            false => Redirect::to("/login").into_response(),
        };
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let shown = request.headers().get("x-csrf-token").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if script && !reads && !session.allows_form(shown) {
        return NO_CSRF.into_response();
    }
    let key = base::Digest::of(id.as_bytes()).hex();
    request.extensions_mut().insert(SignedIn { id, key, session, rights });
    next.run(request).await
}

/// The refusal of a form without the session's token.
pub(crate) fn no_csrf() -> Response {
    NO_CSRF.into_response()
}

/// The session cookie's name: cookies do not know ports, so it carries the customer's slug.
pub(crate) fn session_cookie(state: &Shared) -> String {
    format!("0711-{}", state.config.slug.as_str())
}

/// Returns a cookie's value.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("x0711-a=1; 0711-a=2; 0711-ab=3"));
        assert_eq!(cookie(&headers, "0711-a").as_deref(), Some("2"));
        assert_eq!(cookie(&headers, "0711-b"), None);
    }
}
