//! Posts the webhooks of one phone, one after another, until each has been answered 200.

use super::queue::{Next, Parcel};
use super::signature::sign;
use crate::chance::Chance;
use crate::engine::Engine;
use crate::number::Number;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long the receiver may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Delivers what `number` has to tell until the simulator stops.
pub(crate) async fn run(engine: Arc<Engine>, number: Number, wake: Arc<Notify>) {
    loop {
        let next = engine.read(|world| world.next_parcel(number, engine.committed()));
        let woken = wake.notified();
        match next {
            Next::Post(parcel) => {
                tokio::select! {
                    () = deliver(&engine, number, parcel) => {}
                    () = engine.stop.cancelled() => return,
                }
            }
            Next::WaitUntil(at) => {
                tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = engine.stop.cancelled() => return,
                }
            }
            Next::Wait => {
                tokio::select! {
                    () = woken => {}
                    () = engine.stop.cancelled() => return,
                }
            }
        }
    }
}

async fn deliver(engine: &Engine, number: Number, parcel: Parcel) {
    let (secret, offset, twice) = engine.read(|world| {
        (
            world.development.app_secret.clone(),
            world.settings.offset_ms,
            Chance::fresh().hits(world.settings.trouble.duplicate_webhooks),
        )
    });
    let signature = sign(&secret, &parcel.body);
    let body = axum::body::Bytes::from(parcel.body);
    let post = || {
        engine
            .http
            .post(&parcel.url)
            .header("content-type", "application/json")
            .header("x-hub-signature-256", &signature)
            .header(crate::CLOCK_HEADER, offset)
            .timeout(TIMEOUT)
            .body(body.clone())
            .send()
    };
    let answer = post().await;
    match answer {
        Ok(answer) if answer.status().is_success() => {
            // Read to the end, so that the connection can be used again.
            let _ = answer.bytes().await;
            if twice {
                let _ = post().await;
            }
            engine.taken(number, &parcel.ids);
        }
        Ok(answer) => {
            tracing::debug!(%number, status = %answer.status(), "a webhook was refused");
            engine.refused(number);
        }
        Err(error) => {
            tracing::debug!(%number, %error, "a webhook did not arrive");
            engine.refused(number);
        }
    }
}
