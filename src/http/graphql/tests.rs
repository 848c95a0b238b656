mod over_events;
mod over_http;
mod over_socket;

use std::{
    any::TypeId,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_graphql::{
    Context, Error, ErrorExtensions, Executor, Object, Request, Result, Schema, Subscription,
};
use futures_util::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use serde_json::value::RawValue;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::feed::CursorTap;

use super::{Access, AccessError, EndReason, Item, Limits, router};

/// Who `Access::prepare` says that is asking.
struct Name(String);

fn coded(code: &'static str) -> Error {
    Error::new("said on purpose").extend_with(|_, values| values.set("code", code))
}

struct Query;

#[Object]
impl Query {
    async fn me(&self, ctx: &Context<'_>) -> String {
        ctx.data_unchecked::<Name>().0.clone()
    }
    async fn add(&self, left: i32, #[graphql(default = 1)] right: i32) -> i32 {
        left + right
    }
    async fn maybe(&self, number: Option<i32>) -> Option<i32> {
        number
    }
    async fn again(&self) -> Query {
        Query
    }
    async fn leaky(&self) -> Result<i32> {
        Err(Error::new_with_source(anyhow::anyhow!("no such table: secret_table")))
    }
    async fn careless(&self) -> Result<i32> {
        Err(Error::new("no such table: secret_table"))
    }
    async fn coded(&self) -> Option<Result<i32>> {
        Some(Err(coded("NOT_FOUND")))
    }
    async fn panics(&self, #[graphql(default = 0)] divisor: i32) -> i32 {
        1 / divisor
    }
    async fn never(&self) -> i32 {
        pending().await
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn keep(&self, number: i32) -> i32 {
        number
    }
}

/// Tells when a subscription's stream was dropped.
#[derive(Clone, Default)]
struct Dropped(Arc<Notify>);

struct Teller(Dropped);

/// Lets `quiet` walk on.
struct Walked(Arc<Notify>);

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.0.notify_one();
    }
}

struct Events;

#[Subscription]
impl Events {
    /// Counts, with a cursor for each number.
    async fn count(&self, ctx: &Context<'_>, to: i32) -> impl Stream<Item = i32> {
        let tap = ctx.data_unchecked::<CursorTap>().clone();
        stream::iter(1..=to).map(move |number| {
            tap.set(format!("c{number}"));
            number
        })
    }
    /// Yields once, then waits.
    async fn open(&self, ctx: &Context<'_>) -> impl Stream<Item = i32> {
        let teller = Teller(ctx.data_unchecked::<Dropped>().clone());
        stream::once(async { 1 }).chain(stream::once(async move {
            let _teller = teller;
            pending().await
        }))
    }
    async fn unborn(&self) -> Result<stream::Empty<i32>> {
        Err(coded("CURSOR_EXPIRED"))
    }
    async fn breaks(&self, ctx: &Context<'_>) -> impl Stream<Item = Result<i32>> {
        let tap = ctx.data_unchecked::<CursorTap>().clone();
        stream::iter([Ok(1), Err(coded("TIMEOUT")), Ok(3)]).inspect(move |_| tap.set("c"))
    }
    /// Passes over two places, each when told to, then yields a third.
    async fn quiet(&self, ctx: &Context<'_>) -> impl Stream<Item = i32> {
        let tap = ctx.data_unchecked::<CursorTap>().clone();
        let walked = ctx.data_unchecked::<Walked>().0.clone();
        stream::once(async move {
            for place in ["p1", "p2"] {
                tap.complete(place, true);
                walked.notified().await;
            }
            tap.set("p3");
            3
        })
    }
    /// Goes one step, and says so by dropping what it holds.
    async fn step(&self, ctx: &Context<'_>) -> impl Stream<Item = i32> {
        let walked = ctx.data_unchecked::<Walked>().0.clone();
        let teller = Teller(ctx.data_unchecked::<Dropped>().clone());
        stream::once(async move {
            walked.notified().await;
            drop(teller);
            pending().await
        })
    }
    /// Where the transport says to go on.
    async fn place(&self, ctx: &Context<'_>) -> impl Stream<Item = Option<String>> {
        let place = ctx.data_unchecked::<CursorTap>().resumes_after().map(ToOwned::to_owned);
        stream::once(async move { place })
    }
    async fn panics(&self) -> impl Stream<Item = i32> {
        stream::iter([1, 2]).inspect(|number| assert!(*number < 2, "on purpose"))
    }
    async fn flood(&self, ctx: &Context<'_>) -> impl Stream<Item = String> {
        let teller = Teller(ctx.data_unchecked::<Dropped>().clone());
        stream::repeat("x".repeat(64 * 1024)).inspect(move |_| {
            let _ = &teller;
        })
    }
}

#[derive(Clone)]
struct House {
    end: watch::Sender<Option<EndReason>>,
    shutdown: CancellationToken,
    tracker: TaskTracker,
    sockets: Arc<Semaphore>,
    dropped: Dropped,
    walked: Arc<Notify>,
    asked: Arc<AtomicUsize>,
}

impl Default for House {
    fn default() -> Self {
        Self {
            end: watch::Sender::new(None),
            shutdown: CancellationToken::new(),
            tracker: TaskTracker::new(),
            sockets: Arc::new(Semaphore::new(2)),
            dropped: Dropped::default(),
            walked: Arc::default(),
            asked: Arc::default(),
        }
    }
}

impl Access for House {
    type Caller = String;
    type SocketPermit = OwnedSemaphorePermit;

    async fn authenticate(&self, authorization: Option<&str>) -> Result<String, AccessError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let retry_after = Duration::from_millis(1500);
        match authorization {
            Some("Bearer good") => Ok("acme".to_owned()),
            Some("Bearer busy") => Err(AccessError::RateLimited { retry_after }),
            Some("Bearer down") => Err(AccessError::Unavailable { retry_after }),
            _ => Err(AccessError::Unauthenticated),
        }
    }

    fn prepare(&self, caller: &String, request: Request) -> Request {
        request.data(Name(caller.clone())).data(self.dropped.clone()).data(Walked(self.walked.clone()))
    }

    fn subscribe<E: Executor>(
        &self,
        executor: &E,
        caller: &String,
        request: Request,
    ) -> BoxStream<'static, Item> {
        assert!(!request.query.contains("Broken"), "on purpose");
        if request.operation_name.as_deref() == Some("Shared") {
            let ready = RawValue::from_string(r#"{"data":{"open":7}}"#.to_owned()).unwrap();
            return stream::iter([Item::Ready { payload: ready.into(), cursor: Some("c7".into()) }]).boxed();
        }
        if request.operation_name.as_deref() == Some("Late") {
            let tap = request.data.get(&TypeId::of::<CursorTap>()).and_then(|tap| tap.downcast_ref());
            CursorTap::complete(tap.unwrap(), "c6", true);
            let ready = RawValue::from_string(r#"{"data":{"open":7}}"#.to_owned()).unwrap();
            let item = Item::Ready { payload: ready.into(), cursor: Some("c7".into()) };
            return stream::iter([item]).chain(stream::pending()).boxed();
        }
        executor.execute_stream(self.prepare(caller, request), None).map(Item::from).boxed()
    }

    async fn ends(&self, _: &String) -> EndReason {
        let mut end = self.end.subscribe();
        let reason = end.wait_for(Option::is_some).await.map(|reason| *reason);
        match reason {
            Ok(Some(reason)) => reason,
            _ => pending().await,
        }
    }

    fn admit_socket(&self, _: &String) -> Option<OwnedSemaphorePermit> {
        self.sockets.clone().try_acquire_owned().ok()
    }

    fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    fn tracker(&self) -> TaskTracker {
        self.tracker.clone()
    }
}

fn schema() -> Schema<Query, Mutation, Events> {
    Schema::build(Query, Mutation, Events).limit_depth(20).finish()
}

fn app(house: &House, limits: Limits) -> axum::Router {
    router(schema(), house.clone(), limits)
}
