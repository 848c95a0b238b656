//! How a command can fail, in words that say whose fault it is. The doors decide how it looks outside.

use sea_orm::DbErr;

use crate::db::is_away;

/// Stable codes of refusals: the caller's fault, or a rule of WhatsApp's. Listed in `docs/errors.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// A value is not one.
    Invalid,
    /// There is none, or it is another partner's.
    NotFound,
    /// No customer message in 24 hours: only a template can be sent.
    WindowClosed,
    /// Onboarding, disconnected or paused.
    ClientNotConnected,
    /// R7.
    GroupsNotSupported,
    /// R17: only the client can change it, in the WhatsApp Business app.
    ManagedInApp,
    /// The template is not approved.
    TemplateNotApproved,
    /// The person stopped marketing messages.
    RecipientOptedOut,
    /// Asked already since the connection.
    SyncAlreadyRequested,
    /// More than 24 hours since the connection.
    SyncDeadlinePassed,
    /// Same key, other content.
    IdempotencyConflict,
    /// Finished, revoked or expired.
    OnboardingClosed,
    /// The upstream app is not subscribed to what coexistence needs.
    UpstreamNotListening,
    /// A private, loopback or link-local webhook address.
    UrlNotAllowed,
    /// WhatsApp said no.
    UpstreamRejected,
}

/// Why a command was refused: written for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which rule.
    pub code: RefusalCode,
    /// The input field at fault, outermost first; empty when no one field is.
    pub field: Vec<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal because of one field; `field` is a path with dots, or empty.
    pub fn new(code: RefusalCode, field: &str, message: impl Into<String>) -> Self {
        let field = field.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { code, field, message: message.into() }
    }
}

/// What a command fails with. Deliberately not `Display`: the doors' one conversion decides what a caller sees.
#[derive(Debug)]
pub enum Failure {
    /// The caller's fault.
    Refused(Refusal),
    /// The credential lacks a scope; names it.
    Forbidden(&'static str),
    /// We cannot right now; nothing was changed. Try again.
    Unavailable(anyhow::Error),
    /// Our fault. Logged once, with its chain.
    Internal(anyhow::Error),
}

/// The result of a command.
pub type Outcome<T> = Result<T, Failure>;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        if is_away(&error) { Self::Unavailable(error.into()) } else { Self::Internal(error.into()) }
    }
}

/// An error with all that caused it, for logs and for `tandem inbound list`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.into())
    }
}
