//! One operation, whatever the transport: checked, begun, and answered part by part. The transports give the parts
//! their envelopes and know nothing more.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_graphql::{Executor, Response, ServerError, Value, parser::types::OperationType};
use futures_util::{
    FutureExt, Stream, StreamExt,
    stream::{self, BoxStream},
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::time::{self, Interval, MissedTickBehavior};

use crate::feed::CursorTap;

use super::{
    Door,
    access::{Access, Item},
    error::{Answer, panicked},
    guard::{Checked, GuardError},
};

/// What an operation has to say.
pub(super) enum Part {
    /// A result, and the place in the stream up to which it completes it.
    Next { payload: Payload, cursor: Option<Arc<str>> },
    /// Nothing was executed, for these reasons. Nothing follows.
    Refused(Vec<ServerError>),
    /// There was nothing to tell for a while. Everything up to this place was told; none: no further than before.
    Beat(Option<String>),
    /// It is over. Nothing follows.
    Complete,
}

impl Part {
    /// Whether nothing follows.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Complete)
    }
}

/// A result.
pub(super) enum Payload {
    Answer(Box<Answer>),
    /// Written already.
    Ready(Arc<RawValue>),
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Answer(answer) => answer.serialize(serializer),
            Self::Ready(text) => text.serialize(serializer),
        }
    }
}

/// A subscription's result as it goes over the wire, with its cursor: one line of JSON.
///
/// # Errors
/// When it cannot be written.
pub fn written(response: Response, cursor: &str) -> serde_json::Result<Arc<RawValue>> {
    let mut answer = Answer::from(response);
    answer.data.get_or_insert(Value::Null);
    answer.extensions.insert("cursor".to_owned(), Value::String(cursor.to_owned()));
    serde_json::value::to_raw_value(&answer).map(Arc::from)
}

/// An operation's parts, one after another.
#[derive(Default)]
struct Parts {
    ready: VecDeque<Part>,
    following: Option<Following>,
}

/// What is left of a subscription once it has begun; little, since there are many of them.
struct Following {
    stream: BoxStream<'static, Item>,
    tap: CursorTap,
    name: Option<String>,
    beat: Interval,
    /// Whether its first place was told.
    placed: bool,
    /// Whether heartbeats come as results: for clients whose library shows nothing else.
    beats_as_results: bool,
    /// Whether there was a result.
    begun: bool,
}

impl<E: Executor, A: Access> Door<E, A> {
    /// An operation's parts from its beginning on: it is checked, begun and told by whoever polls this.
    pub(super) fn parts(
        &self,
        caller: A::Caller,
        checked: impl Future<Output = Result<Checked, GuardError>> + Send + 'static,
        resumes_after: Option<String>,
    ) -> BoxStream<'static, Part> {
        let door = self.clone();
        let begin = async move { door.begin(&caller, checked.await, resumes_after).await };
        // Boxed, so that its memory is given back while the subscription waits.
        let begin = AssertUnwindSafe(Box::pin(begin)).catch_unwind();
        let begin =
            begin.map(|begun| begun.unwrap_or_else(|_| Parts::of([Part::Refused(vec![panicked("")])])));
        stream::once(begin).flatten().fuse().boxed()
    }

    /// Begins an operation. Queries and mutations are answered when this returns.
    async fn begin(
        &self,
        caller: &A::Caller,
        checked: Result<Checked, GuardError>,
        resumes_after: Option<String>,
    ) -> Parts {
        match checked {
            Err(refused) => Parts::of([Part::Refused(vec![refused.into()])]),
            Ok(Checked { request, kind: OperationType::Subscription, .. }) => {
                let name = request.operation_name.clone();
                let beats_as_results = request.extensions.get("heartbeat") == Some(&Value::Boolean(true));
                let tap = CursorTap::new(resumes_after);
                let stream = self.access.subscribe(&self.executor, caller, request.data(tap.clone()));
                let interval = self.limits.ping_interval;
                let mut beat = time::interval_at(time::Instant::now() + interval, interval);
                beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let following =
                    Following { stream, tap, name, beat, placed: false, beats_as_results, begun: false };
                Parts { ready: VecDeque::new(), following: Some(following) }
            }
            Ok(checked) => {
                let running = self.run(caller, checked);
                let answer = time::timeout(self.limits.request_timeout, running)
                    .await
                    .unwrap_or_else(|_| self.timed_out().into());
                if answer.is_request_error() {
                    return Parts::of([Part::Refused(answer.errors)]);
                }
                Parts::of([Part::Next { payload: answer.into(), cursor: None }, Part::Complete])
            }
        }
    }
}

impl Parts {
    fn of<const N: usize>(parts: [Part; N]) -> Self {
        Self { ready: parts.into(), following: None }
    }
}

impl Stream for Parts {
    type Item = Part;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Part>> {
        if let Some(part) = self.ready.pop_front() {
            return Poll::Ready(Some(part));
        }
        let Some(following) = &mut self.following else { return Poll::Ready(None) };
        let (part, then) = ready!(following.next(context));
        if part.is_last() || then.is_some() {
            self.following = None;
            self.ready.extend(then);
        }
        Poll::Ready(Some(part))
    }
}

impl Following {
    /// The next part, and a last one if one follows it at once.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<(Part, Option<Part>)> {
        let heard = match catch_unwind(AssertUnwindSafe(|| self.poll(context))) {
            Ok(heard) => Ok(ready!(heard)),
            Err(panic) => Err(panic),
        };
        let mut answer = match heard {
            Ok(Heard::Item(Some(Item::Response(response)))) => Answer::from(*response),
            Ok(Heard::Item(Some(Item::Ready { payload, cursor }))) => {
                self.begun = true;
                // An older place, which no heartbeat may tell any more: who resumed from it would hear this again.
                let _ = self.tap.take_complete();
                return Poll::Ready((Part::Next { payload: Payload::Ready(payload), cursor }, None));
            }
            Ok(Heard::Item(None)) => return Poll::Ready((Part::Complete, None)),
            Ok(Heard::Beat(place)) => return Poll::Ready((self.heartbeat(place), None)),
            Err(_) => panicked(self.name.as_deref().unwrap_or_default()).into(),
        };
        let cursor = self.tap.take();
        // The stream could not be made: nothing was executed yet.
        let unborn =
            !self.begun && cursor.is_none() && answer.errors.iter().all(|error| error.path.len() <= 1);
        let void = answer.is_void();
        if void && unborn {
            return Poll::Ready((Part::Refused(answer.errors), None));
        }
        self.begun = true;
        answer.data.get_or_insert(Value::Null);
        if let Some(cursor) = &cursor {
            answer.extensions.insert("cursor".to_owned(), Value::String(cursor.clone()));
        }
        let next = Part::Next { payload: answer.into(), cursor: cursor.map(Arc::from) };
        Poll::Ready((next, void.then_some(Part::Complete)))
    }

    /// A result if there is one; else a beat when it is time for one, and at once when the first place is known.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        if let Poll::Ready(item) = self.stream.poll_next_unpin(context) {
            return Poll::Ready(Heard::Item(item));
        }
        if !self.placed
            && let Some(place) = self.tap.take_complete()
        {
            self.placed = true;
            return Poll::Ready(Heard::Beat(Some(place)));
        }
        self.beat.poll_tick(context).map(|_| Heard::Beat(self.tap.take_complete()))
    }

    fn heartbeat(&self, place: Option<String>) -> Part {
        let Some(cursor) = place.as_deref().filter(|_| self.beats_as_results) else {
            return Part::Beat(place);
        };
        let extensions = [
            ("cursor".to_owned(), Value::String(cursor.to_owned())),
            ("heartbeat".to_owned(), Value::Boolean(true)),
        ];
        let answer = Answer { errors: Vec::new(), data: Some(Value::Null), extensions: extensions.into() };
        Part::Next { payload: answer.into(), cursor: Some(cursor.into()) }
    }
}

enum Heard {
    Item(Option<Item>),
    Beat(Option<String>),
}

impl From<Answer> for Payload {
    fn from(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}
