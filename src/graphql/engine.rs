//! The schema as the doors execute it. Each request gets its own loaders, and is driven together with them as one
//! task: a batch is read only when the resolvers can get no further without it. So a page costs the same number of
//! statements however threads are scheduled, and no request waits for a timer.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_graphql::dataloader::DataLoader;
use async_graphql::runtime::Timer;
use async_graphql::{Data, Executor, Request, Response};
use futures_util::Stream;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{BoxStream, FuturesUnordered, StreamExt};
use futures_util::task::{FutureObj, Spawn, SpawnError};

use super::context::Caller;
use super::loaders::Rows;
use super::{Mutation, Query, Subscription};

/// The schema.
pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// Executes requests that carry a [`Caller`]: see [`super::prepare`].
#[derive(Clone)]
pub struct Engine {
    schema: Schema,
}

impl Engine {
    /// For this schema.
    pub fn new(schema: Schema) -> Self {
        Self { schema }
    }
}

impl Executor for Engine {
    async fn execute(&self, request: Request) -> Response {
        let batches = Batches::default();
        let request = with_loaders(request, &batches);
        let schema = self.schema.clone();
        let answer = async move { schema.execute(request).await };
        let mut driven = Driven::new(answer.into_stream().boxed(), batches);
        match driven.next().await {
            Some(response) => response,
            None => unreachable!("a future that ends gives its value"),
        }
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let batches = Batches::default();
        let request = with_loaders(request, &batches);
        let answers = self.schema.execute_stream_with_session_data(request, session_data.unwrap_or_default());
        Driven::new(answers, batches).boxed()
    }
}

fn with_loaders(mut request: Request, batches: &Batches) -> Request {
    let caller = request
        .data
        .get(&std::any::TypeId::of::<Caller>())
        .and_then(|caller| caller.downcast_ref::<Caller>());
    if let Some(caller) = caller.cloned() {
        // Nothing is cached: a subscription lives long, and one mutation of a request sees what another one did.
        request.data.insert(Arc::new(DataLoader::new(Rows::new(caller), batches.clone(), AtOnce)));
    }
    request
}

/// Batches that wait to be read.
#[derive(Clone, Default)]
struct Batches(Arc<Mutex<Vec<FutureObj<'static, ()>>>>);

impl Batches {
    fn take(&self) -> Vec<FutureObj<'static, ()>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Spawn for Batches {
    fn spawn_obj(&self, batch: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        Ok(())
    }
}

/// A batch is taken up when nothing else can be done: there is nothing more to wait for.
struct AtOnce;

impl Timer for AtOnce {
    fn delay(&self, _: Duration) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

/// How often resolvers that wake themselves are asked again before the other tasks of the thread get their turn.
const TURNS: usize = 32;

/// Resolvers, driven together with their batches.
struct Driven {
    resolvers: BoxStream<'static, Response>,
    batches: Batches,
    reading: FuturesUnordered<FutureObj<'static, ()>>,
}

impl Driven {
    fn new(resolvers: BoxStream<'static, Response>, batches: Batches) -> Self {
        Self { resolvers, batches, reading: FuturesUnordered::new() }
    }
}

impl Stream for Driven {
    type Item = Response;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Response>> {
        let this = &mut *self;
        let woken = Arc::new(Woken { again: AtomicBool::new(false), outer: context.waker().clone() });
        let waker = Waker::from(woken.clone());
        let mut inner = Context::from_waker(&waker);
        for _ in 0..TURNS {
            woken.again.store(false, Ordering::Release);
            if let Poll::Ready(response) = this.resolvers.poll_next_unpin(&mut inner) {
                return Poll::Ready(response);
            }
            if woken.again.load(Ordering::Acquire) {
                continue; // Some resolver had more to say: its keys belong to the batch.
            }
            this.reading.extend(this.batches.take());
            match this.reading.poll_next_unpin(context) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Tells apart who is woken while the resolvers run.
struct Woken {
    again: AtomicBool,
    outer: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::Release);
        self.outer.wake_by_ref();
    }
}
