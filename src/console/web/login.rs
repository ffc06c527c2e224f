//! Login and logout, and the page itself.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use access::ADMINISTRATOR;
use audit::{Act, Entry, Log, Outcome, Who};
use axum::{
    Extension, Form,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use base::{Digest, Secret};
use serde::Deserialize;

use super::{
    guard::{SignedIn, cookie, no_csrf, session_cookie},
    page::{self, Page},
    strings::Locale,
};
use crate::state::Shared;

/// The cookie that binds a login form to the browser it was sent to, before there is a session.
fn form_cookie(state: &Shared) -> String {
    format!("0711-{}-form", state.config.slug.as_str())
}

/// `GET /`: the question page.
pub(crate) async fn home(
    State(state): State<Arc<Shared>>,
    Extension(signed_in): Extension<SignedIn>,
    headers: HeaderMap,
) -> Response {
    let page = Page {
        locale: Locale::of(&headers),
        customer: &state.config.customer_name,
        csrf: signed_in.session.csrf_token(),
    };
    Html(page::page(&page).into_string()).into_response()
}

/// `GET /login`.
pub(crate) async fn form(State(state): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    render(&state, &headers, StatusCode::OK, None)
}

/// Renders the form with a fresh token in a field and in a cookie; both must come back together.
fn render(state: &Shared, headers: &HeaderMap, status: StatusCode, message: Option<&str>) -> Response {
    let token = match Secret::generate() {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(error = %error, "the system gives no random bytes");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let customer = &state.config.customer_name;
    let body = page::login(Locale::of(headers), customer, token.expose(), (state.has_people(), message));
    let mut response = (status, Html(body.into_string())).into_response();
    set_cookie(&mut response, &form_cookie(state), token.expose(), "/login", FORM_SECONDS);
    response
}

/// A login form left open longer than this has to be sent twice.
const FORM_SECONDS: u32 = 3600;

/// The fields of the login form.
#[derive(Deserialize)]
pub(crate) struct Login {
    form_token: String,
    /// Nothing for the administrator.
    #[serde(default)]
    name: String,
    password: String,
}

/// `POST /login`.
pub(crate) async fn log_in(
    State(state): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> Response {
    let words = Locale::of(&headers).words();
    let refuse = |status, message: &str| render(&state, &headers, status, Some(message));
    let bound = cookie(&headers, &form_cookie(&state)).unwrap_or_default();
    if bound.is_empty() || !Secret::new(bound).matches(&login.form_token) {
        return refuse(StatusCode::FORBIDDEN, words.stale_form);
    }
    let account = match login.name.trim() {
        "" => ADMINISTRATOR.to_owned(),
        name => name.chars().take(NAME_CHARS).collect(),
    };
    if let Err(wait) = state.throttle.attempt(&account, peer.ip(), state.clock.now()) {
        let message = words.wait.replace("{seconds}", &wait.seconds.to_string());
        let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, &message);
        response.headers_mut().insert(header::RETRY_AFTER, wait.seconds.into());
        return response;
    }
    let password = match check(&state, account.clone(), login.password).await {
        Ok(Some(password)) => password,
        Ok(None) => {
            tracing::warn!(peer = %peer.ip(), "wrong password");
            // How often this can happen is bounded by the throttle: what it turns away is not written down.
            // A password typed into the wrong field must not be kept.
            let named = state.rights_of_account(&account).map_or("nobody", |_| account.as_str());
            record(&state, named, peer.ip(), Act::LoginFailed, Outcome::Refused).await;
            return refuse(StatusCode::UNAUTHORIZED, words.wrong_password);
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "nobody can log in");
            return refuse(StatusCode::SERVICE_UNAVAILABLE, words.no_password);
        }
    };
    state.throttle.succeeded(&account, peer.ip());
    match state.sessions.begin(&account, password, state.clock.now()) {
        Ok(new) => {
            tracing::info!(peer = %peer.ip(), "logged in");
            record(&state, &account, peer.ip(), Act::Login, Outcome::Ok).await;
            let mut response = Redirect::to("/").into_response();
            let id = new.id.expose();
            set_cookie(&mut response, &session_cookie(&state), id, "/", SESSION_SECONDS);
            set_cookie(&mut response, &form_cookie(&state), "", "/login", 0);
            response
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no session can be begun");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Writes who logged in, or tried to, or said yes to an update into the console's own audit log. Where that is not possible it is said in the log of the role,
/// and people can still log in.
pub(super) async fn record(state: &Shared, account: &str, peer: IpAddr, act: Act, outcome: Outcome) {
    let entry = Entry::new(Who::console(account, peer), act).object("console").outcome(outcome);
    let (log, clock) = (Log::console(&state.layout), state.clock);
    let appended = tokio::task::spawn_blocking(move || log.append(entry, clock)).await;
    if let Ok(Err(error)) = appended {
        tracing::error!(error = &error as &dyn std::error::Error, "an act could not be written into the audit log");
    }
}

/// Longer names are nobody's.
const NAME_CHARS: usize = 64;

/// The cookie lives as long as a session can; the server forgets idle ones earlier.
const SESSION_SECONDS: u32 = 7 * 24 * 3600;

/// Compares with the stored hash, read anew so that a changed password works at once; off the async threads, since it is slow on purpose.
/// Returns the digest of the stored one if it is the same.
async fn check(state: &Shared, account: String, password: String) -> Result<Option<Digest>, access::Error> {
    let (administrators, people) = (state.layout.password_hash(), state.layout.people());
    let compare = move || match account.as_str() {
        ADMINISTRATOR => {
            let hash = access::PasswordHash::read(&administrators)?;
            Ok(hash.matches(&password).then(|| hash.digest()))
        }
        name => {
            let people = access::People::read(&people)?;
            Ok(people.is_password_of(name, &password).then(|| people.password_digest(name)).flatten())
        }
    };
    match tokio::task::spawn_blocking(compare).await {
        Ok(result) => result,
        // The comparison panicked: that is nobody's password.
        Err(_) => Ok(None),
    }
}

/// The field of the logout form.
#[derive(Deserialize)]
pub(crate) struct LogOut {
    csrf: String,
}

/// `POST /logout`.
pub(crate) async fn log_out(
    State(state): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(signed_in): Extension<SignedIn>,
    Form(form): Form<LogOut>,
) -> Response {
    if !signed_in.session.allows_form(&form.csrf) {
        return no_csrf();
    }
    state.sessions.end(&signed_in.id);
    state.conversations.forget(&signed_in.key);
    record(&state, &signed_in.session.account, peer.ip(), Act::Logout, Outcome::Ok).await;
    let mut response = Redirect::to("/login").into_response();
    set_cookie(&mut response, &session_cookie(&state), "", "/", 0);
    response
}

/// Sets a cookie no script reads and no other site sends.
fn set_cookie(response: &mut Response, name: &str, value: &str, path: &str, seconds: u32) {
    let text = format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    match HeaderValue::from_str(&text) {
        Ok(value) => {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        Err(error) => tracing::error!(error = %error, "a cookie has a value no header can carry"),
    }
}
