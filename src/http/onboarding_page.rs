//! Where a link leads: a bare page that shows how the onboarding stands. Opening it is a step of the journey.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use entity::OnboardingStatus;

use crate::app::App;
use crate::failure::Failure;
use crate::onboarding::{self, failure::OnboardingFailureCode};

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new().route("/onboarding/{token}", get(page)).with_state(app)
}

async fn page(State(app): State<Arc<App>>, Path(token): Path<String>, method: Method) -> Response {
    let found = match onboarding::by_link(&app, &token).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "an onboarding cannot be looked up");
            return show(
                StatusCode::SERVICE_UNAVAILABLE,
                "One moment",
                "Please open this link again in a minute.",
            );
        }
    };
    let Some(found) = found else {
        return show(
            StatusCode::NOT_FOUND,
            "No such link",
            "Please ask whoever gave you this link for a new one.",
        );
    };
    // Whoever only asks whether it is there (previews of links do) has not opened it.
    if method == Method::GET
        && let Err(Failure::Internal(error) | Failure::Unavailable(error)) =
            onboarding::opened(&app, &found).await
    {
        tracing::error!(%error, "an opened link cannot be recorded");
    }
    let (title, words) = match found.status {
        OnboardingStatus::Connected => {
            ("Connected", "Your WhatsApp number is connected. You can close this page.")
        }
        OnboardingStatus::Revoked => ("Closed", "This link was taken back. Please ask for a new one."),
        OnboardingStatus::Expired => ("Too late", "This link has expired. Please ask for a new one."),
        _ if onboarding::is_closed(&found, app.now()) => {
            ("Too late", "This link has expired. Please ask for a new one.")
        }
        OnboardingStatus::Failed => {
            let code = OnboardingFailureCode::parse(found.failure_code.as_deref().unwrap_or_default());
            ("Not connected yet", code.remedy())
        }
        OnboardingStatus::SignedIn | OnboardingStatus::NumberConfirmed => {
            ("Almost there", "The number is being connected.")
        }
        OnboardingStatus::Created | OnboardingStatus::Opened | OnboardingStatus::HistoryChosen => {
            ("Connect your WhatsApp number", "Keep your phone with the WhatsApp Business app at hand.")
        }
    };
    show(StatusCode::OK, title, words)
}

/// Both texts are ours: nothing that a stranger wrote is ever put into this page.
fn show(status: StatusCode, title: &str, words: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1.5rem}}</style>\
         <main><h1>{title}</h1><p>{words}</p></main></html>"
    );
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Html(page)).into_response()
}
