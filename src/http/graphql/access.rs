//! What the door needs of the service behind it.

use std::{future::Future, sync::Arc, time::Duration};

use async_graphql::{Executor, Request, Response};
use futures_util::{StreamExt, stream::BoxStream};
use serde_json::value::RawValue;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The service, as far as a transport must know it: who is asking, for how long, and when to stop.
pub trait Access: Clone + Send + Sync + 'static {
    /// Who is asking, once that is known.
    type Caller: Clone + Send + Sync + 'static;

    /// A place among the sockets and event streams that may be open at once. Held as long as one lives; dropping it gives
    /// the place back.
    type SocketPermit: Send + 'static;

    /// Finds the caller by the value of an `Authorization` header (`Bearer KEY`).
    fn authenticate(
        &self,
        authorization: Option<&str>,
    ) -> impl Future<Output = Result<Self::Caller, AccessError>> + Send;

    /// Puts what the resolvers need (the caller's scope, loaders) into a request.
    fn prepare(&self, caller: &Self::Caller, request: Request) -> Request;

    /// Starts a subscription. The request is checked, parsed, and carries a [`CursorTap`](crate::feed::CursorTap); it is not
    /// prepared yet. A service that executes once for many who ask the same hands out results that are ready; it says
    /// through the tap how far they go.
    fn subscribe<E: Executor>(
        &self,
        executor: &E,
        caller: &Self::Caller,
        request: Request,
    ) -> BoxStream<'static, Item> {
        executor.execute_stream(self.prepare(caller, request), None).map(Item::from).boxed()
    }

    /// Resolves when the caller's credential ends; pending for as long as it holds.
    fn ends(&self, caller: &Self::Caller) -> impl Future<Output = EndReason> + Send;

    /// Takes a place for a socket or an event stream; `None` when all are taken.
    fn admit_socket(&self, caller: &Self::Caller) -> Option<Self::SocketPermit>;

    /// Cancelled when the service shuts down.
    fn shutdown(&self) -> CancellationToken;

    /// Knows every task that the door starts.
    fn tracker(&self) -> TaskTracker;
}

/// One result of a subscription.
#[derive(Debug)]
pub enum Item {
    /// As the engine gave it; it gets its cursor from the request's tap.
    Response(Box<Response>),
    /// The whole result as it goes over the wire.
    Ready {
        /// `data`, `errors` and `extensions`, `extensions.cursor` included. One line of JSON.
        payload: Arc<RawValue>,
        /// The same cursor, for envelopes that tell it.
        cursor: Option<Arc<str>>,
    },
}

impl From<Response> for Item {
    fn from(response: Response) -> Self {
        Self::Response(Box::new(response))
    }
}

/// Why nobody was let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no credential, or none that holds.
    #[error("no valid credential")]
    Unauthenticated,
    /// Too much was asked with this credential or from this place.
    #[error("too many requests")]
    RateLimited {
        /// When to ask again.
        retry_after: Duration,
    },
    /// Credentials cannot be looked up now.
    #[error("temporarily unavailable")]
    Unavailable {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// Why a credential no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its time is over.
    Expired,
    /// Somebody took it back.
    Revoked,
}

impl EndReason {
    /// In words, for the frame that closes a socket.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "Credential expired",
            Self::Revoked => "Credential revoked",
        }
    }
}
