//! What callers see when something fails: a stable code, and no more than they may know.

use async_graphql::{ErrorExtensionValues, SimpleObject};
use sea_orm::DbErr;

use super::types::enums::UserErrorCode;
use crate::events::queries::CursorError;
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::secrets::random_hex;

/// When to try again after UNAVAILABLE.
const RETRY_AFTER_MILLIS: u64 = 1000;

/// The result of a resolver.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// What a resolver fails with. Deliberately not `Display`: async-graphql turns whatever has `Display` into an error by
/// itself, words of the database included; this way only the conversion below decides what a caller sees.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: &'static str,
    message: String,
    more: Option<More>,
}

/// What stands beside the code in `extensions`.
#[derive(Clone, Debug)]
enum More {
    RetryAfterMillis(u64),
    OldestCursor(String),
    RequestId(String),
}

impl ApiError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), more: None }
    }

    /// There is none, or it is another partner's.
    pub fn not_found(what: &str) -> Self {
        Self::new("NOT_FOUND", format!("There is no such {what}."))
    }

    /// An argument is wrong; the message says what it needs.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new("BAD_USER_INPUT", message)
    }

    /// Our fault: logged here, once, with its chain.
    pub fn internal(error: &anyhow::Error) -> Self {
        let id = random_hex(16);
        tracing::error!(request.id = id, error = format!("{error:#}"), "A resolver failed");
        Self {
            code: "INTERNAL_ERROR",
            message: "Something went wrong on our side. The request's id finds it in the log.".to_owned(),
            more: Some(More::RequestId(id)),
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(Refusal { code: RefusalCode::NotFound, message, .. }) => {
                Self::new("NOT_FOUND", message)
            }
            Failure::Refused(refusal) => Self::bad_input(refusal.message),
            Failure::Forbidden(scope) => {
                Self::new("FORBIDDEN", format!("The credential lacks the scope {scope}, which this needs."))
            }
            Failure::Unavailable(error) => {
                tracing::warn!(error = format!("{error:#}"), "Temporarily unavailable");
                Self {
                    code: "UNAVAILABLE",
                    message: "Temporarily unavailable; nothing was changed.".to_owned(),
                    more: Some(More::RetryAfterMillis(RETRY_AFTER_MILLIS)),
                }
            }
            Failure::Internal(error) => Self::internal(&error),
        }
    }
}

impl From<DbErr> for ApiError {
    fn from(error: DbErr) -> Self {
        Failure::from(error).into()
    }
}

impl From<CursorError> for ApiError {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Broken => Self::bad_input("`after` is not a cursor of this partner's event stream."),
            CursorError::Expired { oldest } => Self {
                code: "CURSOR_EXPIRED",
                message: "The stream no longer holds what follows this cursor. Read the present state anew and go on \
                          from a fresh cursor; extensions.oldestCursor is the oldest place that is left."
                    .to_owned(),
                more: Some(More::OldestCursor(oldest)),
            },
            CursorError::Database(error) => error.into(),
        }
    }
}

impl From<ApiError> for async_graphql::Error {
    fn from(error: ApiError) -> Self {
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", error.code);
        match error.more {
            None => {}
            Some(More::RetryAfterMillis(millis)) => extensions.set("retryAfterMs", millis),
            Some(More::OldestCursor(cursor)) => extensions.set("oldestCursor", cursor),
            Some(More::RequestId(id)) => extensions.set("requestId", id),
        }
        Self { message: error.message, source: None, extensions: Some(extensions) }
    }
}

/// Why a mutation was refused: a rule of WhatsApp's or of this API, or a value that is not one. Nothing was changed.
#[derive(Clone, Debug, SimpleObject)]
pub struct UserError {
    /// Which rule. Clients should expect values that they do not know.
    code: UserErrorCode,
    /// Path of the input field at fault, outermost first; empty when no one field is.
    field: Vec<String>,
    /// What is wrong and what to do, in English, for developers.
    message: String,
}

impl From<Refusal> for UserError {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code.into(), field: refusal.field, message: refusal.message }
    }
}

/// Parts a command's outcome into what it made and why it was refused; whatever is neither is an error of the request.
///
/// # Errors
/// FORBIDDEN, UNAVAILABLE, INTERNAL_ERROR.
pub fn settle<T>(outcome: Outcome<T>) -> Result<(Option<T>, Vec<UserError>)> {
    match outcome {
        Ok(value) => Ok((Some(value), Vec::new())),
        Err(Failure::Refused(refusal)) => Ok((None, vec![refusal.into()])),
        Err(failure @ (Failure::Forbidden(_) | Failure::Unavailable(_) | Failure::Internal(_))) => {
            Err(failure.into())
        }
    }
}
