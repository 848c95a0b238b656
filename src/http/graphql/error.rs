//! What a client sees when something fails: a code that it can act upon, and no more than it may know.

use std::{collections::BTreeMap, time::Duration};

use async_graphql::{Response, ServerError, Value};
use serde::Serialize;
use uuid::Uuid;

use super::access::AccessError;

/// `extensions.code` of the errors that the door itself makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// No credential, or none that holds.
    Unauthenticated,
    /// An argument, a variable or a parameter of the request is wrong.
    BadUserInput,
    /// The document is not GraphQL.
    ParseFailed,
    /// The document does not fit the schema.
    ValidationFailed,
    /// The document's hash alone was sent, and nobody knows it.
    PersistedQueryNotFound,
    /// More is asked for than one may ask for at once.
    QueryTooComplex,
    /// Come back later: `extensions.retryAfterMs`.
    RateLimited,
    /// It took too long.
    Timeout,
    /// Come back later: `extensions.retryAfterMs`.
    Unavailable,
    /// Our fault. The log has the rest, under `extensions.requestId`.
    Internal,
}

impl Code {
    /// As it goes over the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::ParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::ValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::QueryTooComplex => "QUERY_TOO_COMPLEX",
            Self::RateLimited => "RATE_LIMITED",
            Self::Timeout => "TIMEOUT",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL_ERROR",
        }
    }

    /// An error of this code.
    pub(super) fn error(self, message: impl Into<String>) -> ServerError {
        let mut error = ServerError::new(message, None);
        self.mark(&mut error);
        error
    }

    /// An error of this code that says when to try again.
    pub(super) fn error_after(self, message: impl Into<String>, retry_after: Duration) -> ServerError {
        let mut error = self.error(message);
        let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        error.extensions.get_or_insert_default().set("retryAfterMs", millis);
        error
    }

    fn mark(self, error: &mut ServerError) {
        error.extensions.get_or_insert_default().set("code", self.as_str());
    }
}

impl AccessError {
    /// As a client sees it.
    pub(super) fn to_error(&self) -> ServerError {
        match self {
            Self::Unauthenticated => Code::Unauthenticated
                .error("A valid credential is needed: `Authorization: Bearer` and an API key."),
            Self::RateLimited { retry_after } => {
                Code::RateLimited.error_after("Too many requests with this credential.", *retry_after)
            }
            Self::Unavailable { retry_after } => {
                Code::Unavailable.error_after("Temporarily unavailable.", *retry_after)
            }
        }
    }
}

/// A response as it goes over the wire.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<ServerError>,
    /// `None` where nothing was executed: then the key is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) extensions: BTreeMap<String, Value>,
}

impl Answer {
    /// Nothing was executed, for these reasons.
    pub(super) fn refused(errors: Vec<ServerError>) -> Self {
        Self { errors, data: None, extensions: BTreeMap::new() }
    }

    /// Nothing was executed.
    pub(super) fn is_request_error(&self) -> bool {
        self.data.is_none()
    }

    /// It was executed, and nothing came of it.
    pub(super) fn is_void(&self) -> bool {
        matches!(self.data, None | Some(Value::Null)) && !self.errors.is_empty()
    }
}

impl From<ServerError> for Answer {
    fn from(error: ServerError) -> Self {
        Self::refused(vec![error])
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        let Response { mut errors, data, extensions, .. } = response;
        // What a resolver says has a path; what is refused before execution has none.
        let refused = data == Value::Null && !errors.is_empty() && errors.iter().all(|e| e.path.is_empty());
        for error in &mut errors {
            complete(error);
        }
        Self { errors, data: (!refused).then_some(data), extensions }
    }
}

/// Gives an error of the library its code. What nobody wrote for a client's eyes is logged and hidden.
fn complete(error: &mut ServerError) {
    if error.extensions.as_ref().is_some_and(|values| values.get("code").is_some()) {
        return;
    }
    match library_code(error) {
        Some(code) => code.mark(error),
        None => {
            let id = Uuid::from_bytes(rand::random());
            log(error, id);
            let hidden = internal(id);
            error.message = hidden.message;
            error.source = None;
            error.extensions = hidden.extensions;
        }
    }
}

/// Which of the library's own messages this is; `None`: not one of them.
fn library_code(error: &ServerError) -> Option<Code> {
    if error.source.is_some() {
        return None;
    }
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| error.message.starts_with(prefix));
    // Arguments are read while their field is resolved, so these come with a path and without one.
    if starts(&["Failed to parse \"", "Expected input type \"", "Invalid value for argument"]) {
        return Some(Code::BadUserInput);
    }
    if !error.path.is_empty() {
        return None;
    }
    Some(
        if starts(&[
            "Query is too complex",
            "Query is nested too deep",
            "The recursion depth of the query",
            "The amount of aliases",
            "The number of directives",
        ]) {
            Code::QueryTooComplex
        } else {
            Code::ValidationFailed
        },
    )
}

/// What a client sees of a failure that is not its own.
pub(super) fn internal(id: Uuid) -> ServerError {
    let mut error =
        Code::Internal.error("Something went wrong on our side. The request's id finds it in the log.");
    error.extensions.get_or_insert_default().set("requestId", id.to_string());
    error
}

/// A resolver has panicked.
pub(super) fn panicked(operation: &str) -> ServerError {
    let id = Uuid::from_bytes(rand::random());
    tracing::error!(request.id = %id, graphql.operation = operation, "A resolver panicked");
    internal(id)
}

fn log(error: &ServerError, id: Uuid) {
    let cause = error.source::<anyhow::Error>().map_or_else(String::new, |source| format!("{source:#}"));
    let path = serde_json::to_string(&error.path).unwrap_or_default();
    tracing::error!(
        request.id = %id,
        graphql.path = path,
        error.message = error.message,
        error.cause = cause,
        "A resolver failed without a code"
    );
}
