//! Where WhatsApp posts: `GET` proves that the address is ours, `POST` brings what happened. Nothing is parsed here: a body
//! whose signature holds is put on the disk and answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use secrecy::ExposeSecret;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::inbound::NotAccepted;
use crate::upstream::meta::signature::{SignatureError, verify};

/// How long a body may take.
const BODY: Duration = Duration::from_secs(15);
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
    let signature = headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok());
    // Before anything is read: whoever does not even claim to be WhatsApp gets no memory.
    let Some(signature) = signature else { return refused(&app, SignatureError::Missing) };
    let read = tokio::time::timeout(BODY, read(&app, &headers, body)).await;
    let (body, _room) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(not_read)) => return not_read.into_response(),
        Err(_) => {
            let why = format!("the body was not there after {} s\n", BODY.as_secs());
            return (StatusCode::REQUEST_TIMEOUT, why).into_response();
        }
    };
    if let Err(error) = verify(&app.upstream.settings.app_secrets, Some(signature), &body) {
        return refused(&app, error);
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

/// Nothing is kept of it. The log tells of it once a minute: a stranger decides how many there are.
fn refused(app: &App, error: SignatureError) -> Response {
    let count = app.inbox.refused.fetch_add(1, Ordering::Relaxed) + 1;
    if app.inbox.tells_of_refusal() {
        tracing::warn!(count, "a webhook was refused: {error}; {count} since the start");
    }
    (StatusCode::UNAUTHORIZED, format!("{error}\n")).into_response()
}

/// Why a body was not read.
enum NotRead {
    TooLarge,
    NoRoom,
    BrokenOff,
}

impl IntoResponse for NotRead {
    fn into_response(self) -> Response {
        match self {
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than inbound.body_bytes\n")
                .into_response(),
            Self::NoRoom => {
                let again = [(header::RETRY_AFTER, "5")];
                (StatusCode::SERVICE_UNAVAILABLE, again, "too many bodies are being read\n").into_response()
            }
            Self::BrokenOff => (StatusCode::BAD_REQUEST, "the body ended early\n").into_response(),
        }
    }
}

/// Reads a body, and takes room for it as it comes: what strangers announce costs nothing, and all that they send at once is
/// bounded.
async fn read(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), NotRead> {
    let most = app.config.inbound.body_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > most) {
        return Err(NotRead::TooLarge);
    }
    let mut pieces = body.into_data_stream();
    let (mut whole, mut rest) = (Bytes::new(), BytesMut::new());
    let mut room: Option<OwnedSemaphorePermit> = None;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| NotRead::BrokenOff)?;
        let held = if rest.is_empty() { whole.len() } else { rest.len() };
        if held + piece.len() > most {
            return Err(NotRead::TooLarge);
        }
        // By the whole, not by pieces: a body of small ones takes no more room than its bytes do.
        let taken = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = app.inbox.room(held + piece.len(), taken).ok_or(NotRead::NoRoom)?;
        match &mut room {
            Some(room) => room.merge(more),
            None => room = Some(more),
        }
        // Most come in one piece, which is not copied.
        if held == 0 {
            whole = piece;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&std::mem::take(&mut whole));
        }
        rest.extend_from_slice(&piece);
    }
    Ok((if rest.is_empty() { whole } else { rest.freeze() }, room))
}
