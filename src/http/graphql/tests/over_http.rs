use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{House, app};
use crate::http::graphql::Limits;

const GRAPHQL: &str = "application/graphql-response+json";

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
    }
    fn message(&self) -> &str {
        self.body["errors"][0]["message"].as_str().unwrap_or_default()
    }
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn send(app: Router, request: Request<Body>) -> Reply {
    let response = app.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Reply { status: parts.status, headers: parts.headers, body }
}

fn request(method: &str, uri: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(uri).header("authorization", "Bearer good")
}

async fn post_as(app: Router, accept: &str, body: Value) -> Reply {
    let request =
        request("POST", "/graphql").header("content-type", "application/json").header("accept", accept);
    send(app, request.body(body.to_string().into()).unwrap()).await
}

async fn post(body: Value) -> Reply {
    post_as(app(&House::default(), Limits::default()), GRAPHQL, body).await
}

async fn ask(query: &str) -> Reply {
    post(json!({ "query": query })).await
}

async fn get(query: &str) -> Reply {
    let request = request("GET", &format!("/graphql?{query}")).header("accept", GRAPHQL);
    send(app(&House::default(), Limits::default()), request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_query_is_answered_for_its_caller() {
    let reply = ask("{ me add(left: 1) }").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, json!({ "data": { "me": "acme", "add": 2 } }));
    assert_eq!(reply.header(header::CACHE_CONTROL), "no-store");
}

#[tokio::test]
async fn the_answers_media_type_is_negotiated() {
    let query = json!({ "query": "{ me }" });
    let json_type = "application/json; charset=utf-8";
    let graphql_type = "application/graphql-response+json; charset=utf-8";
    for (accept, expected) in [
        ("*/*", json_type),
        ("application/*", json_type),
        ("application/json", json_type),
        (GRAPHQL, graphql_type),
        ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", graphql_type),
        ("application/json;q=0.5, application/graphql-response+json", graphql_type),
        ("application/graphql-response+json;q=0, */*", json_type),
        ("text/html;q=0.9, */*;q=0.1", json_type),
    ] {
        let reply = post_as(app(&House::default(), Limits::default()), accept, query.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.header(header::CONTENT_TYPE)), (200, expected), "{accept}");
    }
    for accept in ["text/plain", "application/json; charset=latin1"] {
        let reply = post_as(app(&House::default(), Limits::default()), accept, query.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (406, "BAD_USER_INPUT"), "{accept}");
    }
    let silent = request("POST", "/graphql").header("content-type", "application/json");
    let reply =
        send(app(&House::default(), Limits::default()), silent.body(query.to_string().into()).unwrap()).await;
    assert_eq!(reply.header(header::CONTENT_TYPE), json_type);
}

#[tokio::test]
async fn only_json_in_utf8_is_a_body() {
    for (content_type, status) in [
        (Some("application/json"), 200),
        (Some("application/json; charset=utf-8"), 200),
        (Some("application/json; charset=utf-16"), 415),
        (Some("text/plain"), 415),
        (Some("multipart/form-data"), 415),
        (None, 415),
    ] {
        let mut request = request("POST", "/graphql");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let body = json!({ "query": "{ me }" }).to_string();
        let reply = send(app(&House::default(), Limits::default()), request.body(body.into()).unwrap()).await;
        assert_eq!(reply.status, status, "{content_type:?}");
    }
}

#[tokio::test]
async fn a_request_error_is_400_without_data_or_200_for_plain_json() {
    let house = House::default();
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ add }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ add(left: \"one\") }", "BAD_USER_INPUT"),
        ("query($n: Int!) { maybe(number: $n) }", "BAD_USER_INPUT"),
        (
            "{ again { again { again { again { again { again { again { again { again { again { again { again { again { again { again { again { again { again { again { again { me } } } } } } } } } } } } } } } } } } } } }",
            "QUERY_TOO_COMPLEX",
        ),
        ("query A { me } query B { me }", "BAD_USER_INPUT"),
    ] {
        for (accept, status) in [(GRAPHQL, 400), ("application/json", 200)] {
            let reply = post_as(app(&house, Limits::default()), accept, json!({ "query": query })).await;
            assert_eq!((reply.status.as_u16(), reply.code()), (status, code), "{query}: {}", reply.body);
            assert!(reply.body.get("data").is_none(), "{}", reply.body);
            assert!(!reply.message().contains('\n'), "{}", reply.body);
        }
    }
}

#[tokio::test]
async fn a_syntax_error_is_one_line_with_its_place() {
    let reply = ask("{ me\n  add(left: ) }").await;
    assert_eq!(reply.body["errors"][0]["locations"][0], json!({ "line": 2, "column": 13 }));
    assert!(reply.message().starts_with("Syntax error: expected "), "{}", reply.message());
}

#[tokio::test]
async fn parameters_of_a_wrong_type_are_400_for_every_media_type() {
    for body in [
        json!({ "query": 1 }),
        json!({ "query": ["{ me }"] }),
        json!({}),
        json!({ "query": "{ me }", "operationName": 1 }),
        json!({ "query": "{ me }", "variables": "{}" }),
        json!({ "query": "{ me }", "variables": [1] }),
        json!({ "query": "{ me }", "extensions": 7 }),
        json!([]),
        json!("{ me }"),
        json!(null),
    ] {
        for accept in [GRAPHQL, "application/json"] {
            let reply = post_as(app(&House::default(), Limits::default()), accept, body.clone()).await;
            assert_eq!((reply.status.as_u16(), reply.code()), (400, "BAD_USER_INPUT"), "{body}");
        }
    }
    let nulls = json!({ "query": "{ me }", "operationName": null, "variables": null, "extensions": null });
    assert_eq!(post(nulls).await.status, 200);
}

#[tokio::test]
async fn a_query_may_come_by_get_and_a_mutation_may_not() {
    let reply = get("query=query($n:Int!){add(left:$n)}&variables=%7B%22n%22:4%7D").await;
    assert_eq!(reply.body, json!({ "data": { "add": 5 } }));
    let reply = get("query=mutation%7Bkeep(number:1)%7D").await;
    assert_eq!((reply.status.as_u16(), reply.header(header::ALLOW)), (405, "POST"));
    assert_eq!(get("variables=%7B%7D").await.status, 400);
    assert_eq!(get("query=%7Bme%7D&variables=%5B1%5D").await.status, 400);
    let reply = send(
        app(&House::default(), Limits::default()),
        request("PUT", "/graphql").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(reply.status, 405);
    assert!(reply.header(header::ALLOW).contains("POST"));
}

#[tokio::test]
async fn a_browser_that_comes_by_hand_is_sent_to_the_page() {
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let visit = |uri| Request::get(uri).header("accept", accept).body(Body::empty()).unwrap();
    let reply = send(app(&House::default(), Limits::default()), visit("/graphql")).await;
    assert_eq!((reply.status.as_u16(), reply.header(header::LOCATION)), (303, "/graphiql"));
    let reply = send(app(&House::default(), Limits::default()), visit("/graphql?query={me}")).await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn a_subscription_over_http_is_sent_to_the_socket() {
    let reply = ask("subscription { open }").await;
    assert_eq!((reply.status.as_u16(), reply.code()), (400, "BAD_USER_INPUT"));
    assert!(reply.message().contains("graphql-transport-ws"));
}

#[tokio::test]
async fn who_is_not_let_in_learns_what_to_do() {
    let knock = async |key: Option<&str>| {
        let mut request = Request::post("/graphql").header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("authorization", key);
        }
        let body = json!({ "query": "{ me }" }).to_string();
        send(app(&House::default(), Limits::default()), request.body(body.into()).unwrap()).await
    };
    for key in [None, Some("Bearer bad"), Some("good"), Some("Bearer g\u{f6}\u{f6}d")] {
        let reply = knock(key).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (401, "UNAUTHENTICATED"));
        assert!(reply.header(header::WWW_AUTHENTICATE).starts_with("Bearer"));
    }
    for (key, status, code) in [("Bearer busy", 429, "RATE_LIMITED"), ("Bearer down", 503, "UNAVAILABLE")] {
        let reply = knock(Some(key)).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (status, code));
        assert_eq!(reply.header(header::RETRY_AFTER), "2");
        assert_eq!(reply.body["errors"][0]["extensions"]["retryAfterMs"], 1500);
    }
}

#[tokio::test]
async fn what_a_resolver_did_not_mean_to_say_stays_inside() {
    for query in ["{ leaky }", "{ careless }", "{ panics }"] {
        let reply = ask(query).await;
        assert_eq!(reply.code(), "INTERNAL_ERROR", "{query}");
        assert!(!reply.body.to_string().contains("secret"), "{query}");
        assert!(reply.body["errors"][0]["extensions"]["requestId"].is_string(), "{query}");
    }
    // Executed, so it is no request error.
    let reply = ask("{ leaky }").await;
    assert_eq!((reply.status.as_u16(), &reply.body["data"]), (200, &Value::Null));
    assert_eq!(reply.body["errors"][0]["path"], json!(["leaky"]));
    let reply = ask("{ coded me }").await;
    assert_eq!(reply.code(), "NOT_FOUND");
    assert_eq!(reply.body["data"], json!({ "coded": null, "me": "acme" }));
}

#[tokio::test]
async fn a_batch_is_answered_in_order_up_to_its_limit() {
    let batch =
        |number| Value::from_iter((0..number).map(|n| json!({ "query": format!("{{ add(left: {n}) }}") })));
    let reply = post(batch(10)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body[9], json!({ "data": { "add": 10 } }));
    let reply = post(batch(11)).await;
    assert_eq!((reply.status.as_u16(), reply.code()), (400, "QUERY_TOO_COMPLEX"));
    let reply = post(json!([{ "query": "{" }, { "query": "{ me }" }])).await;
    assert_eq!(reply.body[0]["errors"][0]["extensions"]["code"], "GRAPHQL_PARSE_FAILED");
    assert_eq!(reply.body[1], json!({ "data": { "me": "acme" } }));
}

#[tokio::test]
async fn a_long_body_or_document_is_refused() {
    let reply = ask(&format!("{{ me }} #{}", "x".repeat(64 * 1024))).await;
    assert_eq!((reply.status.as_u16(), reply.code()), (400, "QUERY_TOO_COMPLEX"));
    let reply = post(json!({ "query": "{ me }", "variables": { "n": "x".repeat(1024 * 1024) } })).await;
    assert_eq!((reply.status.as_u16(), reply.code()), (413, "QUERY_TOO_COMPLEX"));
}

#[tokio::test]
async fn what_takes_too_long_is_a_timeout() {
    let limits = Limits { request_timeout: std::time::Duration::from_millis(20), ..Limits::default() };
    let reply = post_as(app(&House::default(), limits), GRAPHQL, json!({ "query": "{ never }" })).await;
    assert_eq!((reply.status.as_u16(), reply.code()), (504, "TIMEOUT"));
}

#[tokio::test]
async fn introspection_that_is_off_says_so() {
    let limits = Limits { introspection: false, ..Limits::default() };
    let query = json!({ "query": "{ ...F } fragment F on Query { __schema { queryType { name } } }" });
    assert_eq!(
        post(query.clone()).await.body["data"],
        json!({ "__schema": { "queryType": { "name": "Query" } } })
    );
    let reply = post_as(app(&House::default(), limits), GRAPHQL, query).await;
    assert_eq!((reply.status.as_u16(), reply.code()), (400, "GRAPHQL_VALIDATION_FAILED"));
    assert_eq!(reply.message(), "Introspection is switched off on this server.");
}

#[tokio::test]
async fn a_hash_alone_asks_for_the_document() {
    let reply =
        post(json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "0".repeat(64) } } }))
            .await;
    assert_eq!(reply.code(), "PERSISTED_QUERY_NOT_FOUND");
}
