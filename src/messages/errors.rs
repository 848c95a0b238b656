//! What WhatsApp's error codes mean for whoever sent a message.

use crate::upstream::meta::client::{Class, GraphError, MARKETING_STOPPED};

/// What WhatsApp's refusal of one message says of those to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// There is no window, whatever we believe.
    WindowClosed,
    /// The person stopped marketing messages.
    MarketingStopped,
    /// The client's templates are not what we believe.
    TemplatesChanged,
}

impl Lesson {
    /// What an error code teaches, if anything.
    pub fn of(code: i64) -> Option<Self> {
        match Class::of(code, None) {
            Class::Window => Some(Lesson::WindowClosed),
            Class::Template => Some(Lesson::TemplatesChanged),
            Class::Recipient if code == MARKETING_STOPPED => Some(Lesson::MarketingStopped),
            _ => None,
        }
    }
}

/// Whether sending the same message again can help, perhaps later: the failure was of the moment, or of the rate. A
/// closed window (131047) needs another message, and so counts as no.
pub fn is_retryable(code: i64) -> bool {
    matches!(
        code,
        1 | 2 | 4 | 80007 | 130_429 | 131_000 | 131_016 | 131_048 | 131_049 | 131_056 | 131_057 | 133_004
    )
}

/// For people, why nothing more of a client is sent until somebody does something: what WhatsApp says, and what to do. None:
/// the error is of one message alone, or of the moment.
pub fn stops(error: &GraphError) -> Option<String> {
    matches!(error.class(), Class::Token | Class::Account).then(|| format!("{error}. {}", remedy(error.code)))
}

/// The same of a token that is here, but cannot be read.
pub fn unreadable_token() -> String {
    format!("The stored token of this number cannot be read. {}", remedy(190))
}

/// What to do about an error that stops all sends of a client, in words.
fn remedy(code: i64) -> &'static str {
    match code {
        131_042 => "The business adds or repairs its payment method in WhatsApp Manager; then resume.",
        368 | 131_031 => {
            "WhatsApp has locked or restricted the account: see WhatsApp Manager, appeal there; then resume."
        }
        130_497 => {
            "WhatsApp does not let this account write to that country: cancel what waits for it; then resume."
        }
        33 | 100 | 133_010 => {
            "The number is not on the API any more, or no longer ours: let the client connect again through a new \
             onboarding with its id."
        }
        _ => {
            "WhatsApp no longer accepts our permission: let the client connect again through a new onboarding with its \
             id, or resume once the permission is back."
        }
    }
}
