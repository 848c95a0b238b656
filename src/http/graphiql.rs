//! The GraphiQL page: served from the binary, loads nothing from elsewhere.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde::Serialize;

/// What `make graphiql` has built; empty without it.
#[derive(RustEmbed)]
#[folder = "web/graphiql/dist/"]
#[allow_missing = true]
struct Bundle;

/// What the page begins with. Whoever can open the page can read it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GraphiqlStart {
    /// A key for the headers editor: in development only.
    pub key: Option<String>,
    /// The tabs of a browser's first visit.
    pub operations: Vec<StartOperation>,
}

/// A ready tab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StartOperation {
    /// What it does, in a few words: the document's first line, a comment.
    pub title: String,
    /// The document.
    pub query: String,
    /// Its variables: a JSON object, as it is shown.
    pub variables: String,
}

impl StartOperation {
    fn new(query: &str, variables: &str) -> Self {
        let title = query.lines().next().unwrap_or_default().trim_start_matches('#').trim().to_owned();
        Self { title, query: query.to_owned(), variables: variables.trim_end().to_owned() }
    }
}

/// The journey from a link to a live conversation, step by step. A variable `"cli_..."` stands for the last client that
/// the page has seen, and so with every other kind of id.
#[must_use]
pub fn journey() -> Vec<StartOperation> {
    macro_rules! steps {
        ($($name:literal),* $(,)?) => {
            [$((
                include_str!(concat!("../../web/graphiql/operations/", $name, ".graphql")),
                include_str!(concat!("../../web/graphiql/operations/", $name, ".json")),
            )),*]
        };
    }
    steps![
        "1-create-onboarding",
        "2-complete-onboarding",
        "3-clients",
        "4-history",
        "5-contacts",
        "6-events",
        "7-send-message",
        "8-conversations",
        "9-outgoing-messages",
    ]
    .map(|(query, variables)| StartOperation::new(query, variables))
    .into()
}

/// `GET /graphiql` and what belongs to it.
pub fn router(start: GraphiqlStart) -> Router {
    let start = Arc::new(start);
    Router::new()
        .route("/graphiql", get(page))
        .route("/graphiql/", get(async || Redirect::permanent("/graphiql")))
        .route("/graphiql/start.json", get(async move || guarded(Json(start).into_response(), "no-store")))
        .route("/graphiql/{*path}", get(asset))
}

async fn page(headers: HeaderMap) -> Response {
    match Bundle::get("index.html") {
        Some(file) => serve(&file, "text/html; charset=utf-8", &headers),
        None => guarded(
            (
                StatusCode::SERVICE_UNAVAILABLE,
                [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
                include_str!("../../web/graphiql/missing.html"),
            )
                .into_response(),
            "no-store",
        ),
    }
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    match Bundle::get(&path) {
        Some(file) => serve(&file, file.metadata.mimetype(), &headers),
        None => guarded(StatusCode::NOT_FOUND.into_response(), "no-store"),
    }
}

/// A file of the bundle, or word that the browser has it.
fn serve(file: &EmbeddedFile, content_type: &str, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex::encode(file.metadata.sha256_hash()));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let response = if known.is_some_and(|known| known.contains(&tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, content_type)], Body::from(file.data.clone())).into_response()
    };
    let mut response = guarded(response, "no-cache");
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Adds what keeps the page to itself.
fn guarded(mut response: Response, cache: &'static str) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
        font-src 'self' data:; img-src 'self' data:; worker-src 'self' blob:; connect-src 'self' ws: wss:; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers: [(HeaderName, &'static str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, cache),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(path: &str, etag: &str) -> (Response, String) {
        let start = GraphiqlStart { key: Some("k".to_owned()), operations: journey() };
        let request = Request::get(path).header(header::IF_NONE_MATCH, etag).body(Body::empty()).unwrap();
        let (parts, body) = router(start).oneshot(request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (Response::from_parts(parts, Body::empty()), String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn everything_is_kept_to_itself() {
        for path in ["/graphiql", "/graphiql/start.json", "/graphiql/app.js", "/graphiql/nothing"] {
            let (response, _) = get(path, "").await;
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}");
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
            assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer", "{path}");
        }
    }

    /// With the bundle or without: a page comes, and loads nothing from elsewhere.
    #[tokio::test]
    async fn there_is_a_page_with_and_without_the_bundle() {
        let (response, page) = get("/graphiql", "").await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(!page.contains("//"), "{page}");
        if Bundle::get("index.html").is_none() {
            assert_eq!(response.status(), 503);
            assert!(page.contains("make graphiql"));
        } else {
            let tag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
            assert_eq!(get("/graphiql", &tag).await.0.status(), 304);
        }
        assert_eq!(get("/graphiql/../Cargo.toml", "").await.0.status(), 404);
        assert_eq!(get("/graphiql/", "").await.0.status(), 308);
    }

    #[tokio::test]
    async fn the_journey_is_ready_to_run() {
        let (response, start) = get("/graphiql/start.json", "").await;
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let start: serde_json::Value = serde_json::from_str(&start).unwrap();
        assert_eq!(start["key"], "k");
        let operations = start["operations"].as_array().unwrap();
        assert_eq!(operations.len(), 9);
        for (number, operation) in (1..).zip(operations) {
            assert!(operation["title"].as_str().unwrap().starts_with(&format!("{number}. ")));
            async_graphql::parser::parse_query(operation["query"].as_str().unwrap()).unwrap();
            let variables: serde_json::Value =
                serde_json::from_str(operation["variables"].as_str().unwrap()).unwrap();
            assert!(variables.is_object());
        }
    }
}
