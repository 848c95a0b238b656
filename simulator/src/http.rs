//! The port: who may call, and which door they get.

use crate::CLOCK_HEADER;
use crate::door;
use crate::engine::Engine;
use crate::graph;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Both doors. With `loopback_only`, callers must name a loopback address: a page from elsewhere that makes a browser
/// call this port under its own name is turned away.
pub(crate) fn router(engine: Arc<Engine>, loopback_only: bool) -> Router {
    let router = Router::new()
        .route("/graphql", post(door::answer))
        .with_state(door::build(engine.clone()))
        .route("/healthz", get(|| async { "ok" }))
        .fallback(graph::answer)
        .with_state(engine.clone())
        .layer(middleware::from_fn_with_state(engine, tell_clock));
    if loopback_only { router.layer(middleware::from_fn(only_loopback)) } else { router }
}

/// Every answer tells how far simulated time is from real time.
async fn tell_clock(State(engine): State<Arc<Engine>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let offset = engine.read(|world| world.settings.offset_ms);
    response.headers_mut().insert(CLOCK_HEADER, HeaderValue::from(offset));
    response
}

async fn only_loopback(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    if host.is_some_and(is_loopback) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "the simulator answers only under a loopback name").into_response()
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || name.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_names_count() {
        for host in ["localhost", "LocalHost:4001", "127.0.0.1:80", "127.1.2.3", "[::1]:4001"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.test", "localhost.example.test:80", "10.0.0.1", "[::2]:1", "", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
