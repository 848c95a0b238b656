//! GraphQL over server-sent events: one operation a request, in the distinct connections mode of the graphql-sse
//! protocol, with the events `next` and `complete`. Every event has its place in the stream as `id`.

use async_graphql::Executor;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use tokio::{sync::mpsc, time::Duration};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Door,
    access::{Access, AccessError},
    error::Answer,
    guard::{Checked, GuardError},
    operation::Part,
};

const LAST_EVENT_ID: &str = "last-event-id";

impl<E: Executor, A: Access> Door<E, A> {
    /// Answers one operation with an event stream. It ends without `complete` when it is cut, so that clients come back.
    pub(super) fn over_events(
        &self,
        caller: A::Caller,
        checked: Result<Checked, GuardError>,
        headers: &HeaderMap,
    ) -> Result<Response, AccessError> {
        let retry_after = Duration::from_secs(1);
        let shutdown = self.access.shutdown();
        if shutdown.is_cancelled() {
            return Err(AccessError::Unavailable { retry_after });
        }
        let permit = self.access.admit_socket(&caller).ok_or(AccessError::RateLimited { retry_after })?;
        let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
        let resumes_after = last.map(str::trim).filter(|last| !last.is_empty()).map(ToOwned::to_owned);
        let (queue, events) = mpsc::channel(self.limits.outgoing_queue.max(1));
        let door = self.clone();
        self.access.tracker().spawn(async move {
            // Held as long as the stream lives.
            let _permit = permit;
            let cut = tokio::select! {
                biased;
                () = shutdown.cancelled() => "The server is shutting down",
                reason = door.access.ends(&caller) => reason.as_str(),
                () = queue.closed() => return,
                slow = door.tell(&queue, &caller, checked, resumes_after) => match slow {
                    Ok(()) => return,
                    Err(Slow) => "Too slow: reconnect from your last cursor",
                },
            };
            // For who looks; a full queue has nobody who does.
            let _ = queue.try_send(Bytes::from(format!(": {cut}\n\n")));
        });
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            // Proxies that collect an answer before they pass it on are asked not to.
            (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        Ok((headers, Body::from_stream(ReceiverStream::new(events).map(Ok::<_, std::convert::Infallible>)))
            .into_response())
    }

    async fn tell(
        &self,
        queue: &mpsc::Sender<Bytes>,
        caller: &A::Caller,
        checked: Result<Checked, GuardError>,
        resumes_after: Option<String>,
    ) -> Result<(), Slow> {
        let send = async |part: &Part| {
            // The other failure is that nobody is there any more.
            match queue.send_timeout(event(part), self.limits.slow_reader).await {
                Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(Slow),
                Ok(()) | Err(mpsc::error::SendTimeoutError::Closed(_)) => Ok(()),
            }
        };
        let mut parts = self.parts(caller.clone(), std::future::ready(checked), resumes_after);
        while let Some(part) = parts.next().await {
            send(&part).await?;
        }
        Ok(())
    }
}

/// The reader took nothing for too long.
struct Slow;

fn event(part: &Part) -> Bytes {
    let next = |payload: serde_json::Result<String>, id: Option<&str>| {
        let payload = payload.unwrap_or_else(|error| {
            tracing::error!(error = %error, "An event could not be written as JSON");
            "{}".to_owned()
        });
        let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
        format!("{id}event: next\ndata: {payload}\n\n")
    };
    Bytes::from(match part {
        Part::Next { payload, cursor } => next(serde_json::to_string(payload), cursor.as_deref()),
        // The protocol knows no other way to refuse once the request itself was understood.
        Part::Refused(errors) => {
            let refused = Answer::refused(errors.clone());
            next(serde_json::to_string(&refused), None) + COMPLETE
        }
        Part::Complete => COMPLETE.to_owned(),
        Part::Beat(Some(cursor)) => format!("id: {cursor}\n\n"),
        Part::Beat(None) => ":\n\n".to_owned(),
    })
}

const COMPLETE: &str = "event: complete\ndata:\n\n";
