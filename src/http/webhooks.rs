//! Where WhatsApp posts: `GET` proves that the address is ours, `POST` brings what happened. Nothing is parsed here: a body
//! whose signature holds is put on the disk and answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use secrecy::ExposeSecret;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::inbound::NotAccepted;
use crate::upstream::meta::signature::verify;

/// By how much the simulator's clock is ahead of real time.
const CLOCK_HEADER: &str = "x-simulator-clock-offset-ms";

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new().route("/webhooks/meta", get(prove).post(receive)).with_state(app)
}

#[derive(Deserialize)]
struct Proof {
    #[serde(rename = "hub.mode")]
    mode: Option<String>,
    #[serde(rename = "hub.challenge")]
    challenge: Option<String>,
    #[serde(rename = "hub.verify_token")]
    verify_token: Option<String>,
}

/// Meta asks whether the address is ours, whenever address or token are set.
async fn prove(State(app): State<Arc<App>>, Query(proof): Query<Proof>) -> Response {
    let expected = app.upstream.settings.verify_token.expose_secret();
    let given = proof.verify_token.unwrap_or_default();
    let same: bool = given.as_bytes().ct_eq(expected.as_bytes()).into();
    if !same || proof.mode.as_deref() != Some("subscribe") {
        return (StatusCode::FORBIDDEN, "the verify token is not the one that is configured\n")
            .into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], proof.challenge.unwrap_or_default())
        .into_response()
}

async fn receive(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let Ok(body) = to_bytes(body, app.config.inbound.body_bytes).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than inbound.body_bytes\n")
            .into_response();
    };
    let signature = headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok());
    if let Err(error) = verify(&app.upstream.settings.app_secrets, signature, &body) {
        app.inbox.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "a webhook was refused: {error}");
        return (StatusCode::UNAUTHORIZED, format!("{error}\n")).into_response();
    }
    if app.upstream.settings.simulator.is_some()
        && let Some(offset) = headers.get(CLOCK_HEADER).and_then(|value| value.to_str().ok()?.parse().ok())
    {
        // One that was posted before the clock moved may come after we heard of it.
        app.clock.raise_offset_millis(offset);
    }
    match app.inbox.accept(body, app.now()).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error @ (NotAccepted::Overloaded | NotAccepted::Unavailable)) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], format!("{error}\n"))
                .into_response()
        }
    }
}
