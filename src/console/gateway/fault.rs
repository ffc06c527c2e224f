//! Refusals in the shape OpenAI clients read: `{"error": {"message", "type", "param", "code"}}`.

use answer::Error as AnswerError;
use axum::{
    Json,
    extract::rejection::BytesRejection,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base::{Exit, Explain};
use serde_json::json;

/// A refusal with its status.
#[derive(Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message }
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "show the API token as `Authorization: Bearer …`; it stands in the file `api-token` of the installation's secrets";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message.into())
    }

    pub(crate) fn bad_request(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// A role behind the gateway does not answer.
    pub(crate) fn unavailable(role: base::Role) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            format!("the service `{role}` does not answer; see `0711 status`"),
        )
    }

    /// The body as clients read it; also the data of an error event in a stream.
    pub(crate) fn body(&self) -> serde_json::Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": null, "code": self.code}})
    }
}

impl From<AnswerError> for Fault {
    fn from(error: AnswerError) -> Self {
        let (status, code) = match error.exit() {
            Exit::Usage => (StatusCode::BAD_REQUEST, "invalid_request"),
            Exit::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        };
        if status.is_server_error() {
            tracing::warn!(error = &error as &dyn std::error::Error, "a question could not be answered");
        }
        let message = match error.remedy() {
            Some(remedy) => format!("{error}; {}", remedy.0),
            None => error.to_string(),
        };
        Self::new(status, code, message)
    }
}

impl From<BytesRejection> for Fault {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), "invalid_body", rejection.body_text())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
