//! Onboarding: from a link to a connected number (S1 to S7, R1, R2, R15).

pub mod failure;
pub mod queries;

use entity::{ClientId, HistoryImport, OnboardingId, Timestamp, onboarding};
use serde_json::Value;

use crate::app::App;
use crate::auth::Scope;
use crate::failure::{Failure, Outcome};

/// What a new onboarding shall be.
#[derive(Clone, Debug)]
pub struct Create {
    /// The client keeps the app (S1).
    pub coexistence: bool,
    /// Name of the business; not empty.
    pub business_name: String,
    /// Its mail address.
    pub business_email: Option<String>,
    /// What the client is called until its own display name is known.
    pub display_name: Option<String>,
    /// The partner's own key.
    pub reference: Option<String>,
    /// Language of the page, such as `de`.
    pub locale: Option<String>,
    /// logoUrl, message, buttonLabel, successText, failureText.
    pub branding: Option<Value>,
    /// Where the browser goes afterwards.
    pub success_url: Option<String>,
    /// Where the browser goes when it failed.
    pub failure_url: Option<String>,
    /// Whether to import the six months (R3).
    pub history: HistoryImport,
    /// Reconnects a known client.
    pub client: Option<ClientId>,
    /// Life of the link, seconds.
    pub expires_in: Option<i64>,
    /// The same key makes one onboarding.
    pub idempotency_key: Option<String>,
}

/// A new onboarding.
#[derive(Clone, Debug)]
pub struct Created {
    /// It.
    pub onboarding: onboarding::Model,
    /// What the partner should know: such as that nobody listens to the stream (S8).
    pub warnings: Vec<String>,
    /// Place in the stream at which it is visible.
    pub position: i64,
}

/// What the browser got from Embedded Signup; either part may be missing.
#[derive(Clone, Debug)]
pub struct Complete {
    /// Which.
    pub onboarding: OnboardingId,
    /// Lives 30 seconds, works once.
    pub code: Option<String>,
    /// From the event; not to be trusted.
    pub waba_id: Option<String>,
    /// From the event; not to be trusted.
    pub phone_number_id: Option<String>,
    /// The event's name, such as `FINISH_WHATSAPP_BUSINESS_APP_ONBOARDING`.
    pub event: Option<String>,
    /// Where the client left the flow.
    pub current_step: Option<String>,
    /// The error that the client reported.
    pub error: Option<SignupError>,
}

/// An error of Embedded Signup.
#[derive(Clone, Debug)]
pub struct SignupError {
    /// Meta's code, such as `2655095`.
    pub code: String,
    /// Meta's words.
    pub message: Option<String>,
    /// For Meta's support.
    pub session_id: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

/// An onboarding after a command, and the place in the stream at which that is visible.
#[derive(Clone, Debug)]
pub struct Changed {
    /// It.
    pub onboarding: onboarding::Model,
    /// Place in the stream.
    pub position: i64,
}

fn later<T>() -> Outcome<T> {
    Err(Failure::Internal(anyhow::anyhow!("not there yet")))
}

/// Makes an onboarding and the place for its client.
///
/// # Errors
/// INVALID, NOT_FOUND (client), UPSTREAM_NOT_LISTENING, IDEMPOTENCY_CONFLICT, CLIENT already connected (INVALID).
pub async fn create(app: &App, scope: &Scope, input: Create) -> Outcome<Created> {
    let _ = (app, scope, input);
    later()
}

/// Ends an onboarding that is not finished.
///
/// # Errors
/// NOT_FOUND, ONBOARDING_CLOSED.
pub async fn revoke(app: &App, scope: &Scope, id: OnboardingId) -> Outcome<Changed> {
    let _ = (app, scope, id);
    later()
}

/// Takes what the browser got from Embedded Signup as far as it goes.
///
/// # Errors
/// NOT_FOUND, ONBOARDING_CLOSED, INVALID, UPSTREAM_REJECTED. A failed signup is not an error: it is the onboarding's state.
pub async fn complete(app: &App, scope: &Scope, input: Complete) -> Outcome<Changed> {
    let _ = (app, scope, input);
    later()
}
