//! The doors: HTTP and WebSocket in, and nothing of the domain behind them.

mod access;
pub mod graphiql;
pub mod graphql;
mod health;
mod media;
mod onboarding_page;
mod serve;
mod shared;
mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::app::App;
use crate::config::Config;
use access::Door;
use graphiql::{GraphiqlStart, journey};
use graphql::Limits;
pub use serve::{Connections, serve};

/// How long browsers need not ask again whether a page may call.
const PREFLIGHT: Duration = Duration::from_secs(7_200);

/// What exists in development only (invariant 13).
#[derive(Clone, Debug, Default)]
pub struct Development {
    /// The development partner's key, for GraphiQL's first visit.
    pub key: Option<String>,
}

/// All routes.
pub fn router(app: Arc<App>, development: &Development) -> Router {
    let config = &app.config;
    let limits = Limits {
        query_bytes: config.graphql.query_bytes,
        body_bytes: config.graphql.body_bytes,
        nesting: config.graphql.nesting,
        fragments: config.graphql.fragments,
        batch: config.graphql.batch,
        introspection: config.is_development() || config.graphql.introspection,
        request_timeout: Duration::from_secs(config.graphql.timeout_seconds),
        operations_per_socket: config.graphql.subscriptions_per_socket,
        message_bytes: config.graphql.message_bytes,
        ping_interval: Duration::from_secs(config.graphql.heartbeat_seconds),
        slow_reader: Duration::from_secs(config.graphql.slow_reader_seconds),
        ..Limits::default()
    };
    let start = GraphiqlStart { key: development.key.clone(), operations: journey() };
    let schema = crate::graphql::schema(config);
    let closed = config.is_development() && !config.development.open;
    let pages = graphiql::router(start).layer(CompressionLayer::new());
    let called_by_pages = graphql::router(schema, Door::new(app.clone()), limits)
        .merge(media::router(app.clone()))
        .layer(cors(config));
    let router = called_by_pages
        .merge(pages)
        .merge(onboarding_page::router(app.clone()))
        .merge(health::router(app.clone()))
        // Outermost on the webhooks' side is nothing: a body is answered by what happened to it alone.
        .merge(webhooks::router(app))
        .layer(CatchPanicLayer::new());
    if closed { router.layer(middleware::from_fn(loopback_host)) } else { router }
}

/// What lets scripts of pages of other origins call us. Nothing goes by cookies, so that whoever has no key gets nothing.
fn cors(config: &Config) -> CorsLayer {
    let origins = &config.browser_origins;
    let origins = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::try_from(origin).ok())),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            header::ACCEPT_RANGES,
            header::CONTENT_DISPOSITION,
            header::CONTENT_RANGE,
            header::ETAG,
            header::RETRY_AFTER,
        ])
        .max_age(PREFLIGHT)
}

/// In development only names of this machine are answered: a page elsewhere that resolves its own name to 127.0.0.1 finds
/// nothing here (DNS rebinding).
async fn loopback_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    if host.is_some_and(is_loopback) {
        return next.run(request).await;
    }
    (
        StatusCode::FORBIDDEN,
        "in development only this machine's own names are answered: localhost or 127.0.0.1\n",
    )
        .into_response()
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:8080", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.org", "localhost.example.org", "10.0.0.1:80", "[fe80::1]", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
