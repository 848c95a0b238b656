//! GraphQL's transports. They check, authenticate, hand a request to the engine, and bring back what it says; they
//! know neither the schema nor the service behind it.

mod access;
mod error;
mod guard;
mod http;
mod limits;
mod operation;
mod socket;
mod sse;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_graphql::Executor;
use axum::{
    Router,
    extract::{Request, State},
    http::{Method, header},
    response::Response,
    routing::get,
};

use self::socket::Sockets;
pub use self::{
    access::{Access, AccessError, EndReason, Item},
    error::Code,
    guard::{Checked, Guard, GuardError, Params},
    limits::Limits,
    operation::written,
};

/// `GET` and `POST /graphql`: queries and mutations over HTTP, everything over a WebSocket or as server-sent events, and
/// the way to the page for a browser that comes by hand.
pub fn router<E: Executor, A: Access>(executor: E, access: A, limits: Limits) -> Router {
    let guard = Arc::new(Guard::new(&limits));
    let door = Door { executor, access, guard, limits: Arc::new(limits), sockets: Sockets::default() };
    let route = get(enter::<E, A>).post(enter::<E, A>).connect(enter::<E, A>);
    Router::new().route("/graphql", route).with_state(door)
}

/// What every transport needs.
#[derive(Clone)]
struct Door<E, A> {
    executor: E,
    access: A,
    guard: Arc<Guard>,
    limits: Arc<Limits>,
    sockets: Sockets,
}

async fn enter<E: Executor, A: Access>(State(door): State<Door<E, A>>, request: Request) -> Response {
    // HTTP/2 opens a WebSocket by CONNECT, HTTP/1.1 by an upgrade.
    let upgrade = request.headers().get(header::UPGRADE);
    let websocket = upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if request.method() == Method::CONNECT || websocket {
        Box::pin(door.over_socket(request)).await
    } else {
        door.over_http(request).await
    }
}
