//! Refusals in the shape the OpenAI clients understand.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    Error,
    wire::{ErrorBody, ErrorDetail},
};

/// A request that is not answered, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
    message: String,
}

impl Refusal {
    /// The request is wrong; `param` names the field, where it is one.
    pub fn invalid(message: impl Into<String>, param: Option<&'static str>) -> Self {
        let kind = "invalid_request_error";
        Self { status: StatusCode::BAD_REQUEST, kind, code: None, param, message: message.into() }
    }

    /// There is no such model, or adapter, here.
    pub fn unknown_model(name: &str) -> Self {
        let shown: String = name.chars().take(80).collect();
        Self {
            status: StatusCode::NOT_FOUND,
            code: Some("model_not_found"),
            param: Some("model"),
            ..Self::invalid(format!("the model `{shown}` does not exist"), None)
        }
    }

    /// The caller did not show the role's token.
    pub fn unauthorised() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            kind: "authentication_error",
            code: Some("invalid_api_key"),
            ..Self::invalid("the bearer token is missing or wrong", None)
        }
    }

    /// There is nothing at this path.
    pub fn unknown_path() -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::invalid("this role serves nothing at this path", None) }
    }

    /// The path is right and the method is not.
    pub fn wrong_method() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, ..Self::invalid("this path takes another method", None) }
    }

    /// The body is larger than the role reads.
    pub fn too_large(limit_bytes: usize) -> Self {
        let message = format!("the body is larger than {limit_bytes} bytes");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::invalid(message, None) }
    }

    /// The role cannot answer now, but will.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let kind = "service_unavailable";
        Self { status: StatusCode::SERVICE_UNAVAILABLE, kind, code: None, param: None, message: message.into() }
    }

    /// Returns the body alone, for an error that comes in the middle of a stream.
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                message: self.message.clone(),
                kind: self.kind.to_owned(),
                param: self.param.map(str::to_owned),
                code: self.code.map(Into::into),
            },
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = crate::error::in_one_line(&error);
        match error {
            Error::UnknownAdapter { name } => Self::unknown_model(&name),
            Error::PromptTooLong { .. } => {
                Self { code: Some("context_length_exceeded"), ..Self::invalid(message, Some("messages")) }
            }
            Error::EmptyPrompt | Error::Template { .. } => Self::invalid(message, Some("messages")),
            Error::LoadAdapter { .. } | Error::OutsideAdapters { .. } => Self::invalid(message, Some("lora_path")),
            Error::Busy { .. } | Error::Stopped => Self::unavailable(message),
            _ => {
                tracing::error!(error = message, "a request failed");
                let kind = "server_error";
                Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind, code: None, param: None, message }
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}
