//! Pass-through to a role: the caller's body with the role token, the role's answer as it comes.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};
use base::Role;
use bytes::Bytes;

use super::fault::Fault;
use crate::state::Shared;

/// Sends a JSON body to a role and streams its answer back. The caller's own headers stay here: they could hold the API token.
pub(crate) async fn post(state: &Shared, role: Role, path: &str, body: Bytes) -> Result<Response, Fault> {
    let request = state
        .http
        .post(format!("{}{path}", state.config.url(role)))
        .bearer_auth(state.role_token.expose())
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    send(role, request).await
}

/// Fetches from a role.
pub(crate) async fn get(state: &Shared, role: Role, path: &str) -> Result<Response, Fault> {
    let request = state.http.get(format!("{}{path}", state.config.url(role))).bearer_auth(state.role_token.expose());
    send(role, request).await
}

async fn send(role: Role, request: reqwest::RequestBuilder) -> Result<Response, Fault> {
    let answer = request.send().await.map_err(|error| {
        tracing::warn!(role = role.name(), error = &error as &dyn std::error::Error, "a role does not answer");
        Fault::unavailable(role)
    })?;
    let status = answer.status();
    // The roles share the role token; if one refuses it, that is this installation's fault and not the caller's key.
    if status == StatusCode::UNAUTHORIZED {
        tracing::error!(role = role.name(), "a role refused the role token");
        return Err(Fault::unavailable(role));
    }
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}
