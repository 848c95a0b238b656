use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::{Request, Response, StatusCode, header},
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{EndReason, House, app};
use crate::http::{Connections, graphql::Limits};

/// An event stream, read event by event.
struct Events {
    body: BodyDataStream,
    read: String,
}

impl Events {
    /// The next event as it was written, without the empty line; none when the stream has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                return Some(event);
            }
            let bytes = self.body.next().await?.unwrap();
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn rest(mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

async fn ask(house: &House, limits: Limits, request: Request<Body>) -> Response<Body> {
    app(house, limits).oneshot(request).await.unwrap()
}

fn post() -> axum::http::request::Builder {
    Request::post("/graphql")
        .header(header::AUTHORIZATION, "Bearer good")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "text/event-stream")
}

async fn open(house: &House, limits: Limits, body: Value) -> Events {
    let request = post().body(Body::from(body.to_string())).unwrap();
    events(ask(house, limits, request).await)
}

fn events(response: Response<Body>) -> Events {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream; charset=utf-8");
    Events { body: response.into_body().into_data_stream(), read: String::new() }
}

async fn told(query: &str) -> Vec<String> {
    open(&House::default(), Limits::default(), json!({ "query": query })).await.rest().await
}

#[tokio::test]
async fn every_result_is_an_event_with_its_place_as_id() {
    let count = |number: i32| {
        format!(
            "id: c{number}\nevent: next\ndata: {{\"data\":{{\"count\":{number}}},\"extensions\":{{\"cursor\":\"c{number}\"}}}}"
        )
    };
    let expected = [count(1), count(2), "event: complete\ndata:".to_owned()];
    assert_eq!(told("subscription { count(to: 2) }").await, expected);
    let get = Request::get("/graphql?query=subscription%20%7B%20count(to%3A%202)%20%7D")
        .header(header::AUTHORIZATION, "Bearer good")
        .header(header::ACCEPT, "text/event-stream")
        .body(Body::empty())
        .unwrap();
    assert_eq!(events(ask(&House::default(), Limits::default(), get).await).rest().await, expected);
}

#[tokio::test]
async fn queries_and_mutations_are_answered_by_events_too() {
    assert_eq!(
        told("{ me }").await,
        ["event: next\ndata: {\"data\":{\"me\":\"acme\"}}", "event: complete\ndata:"]
    );
    assert_eq!(told("mutation { keep(number: 1) }").await.len(), 2);
}

#[tokio::test]
async fn ready_results_bear_their_place() {
    let body = json!({ "query": "subscription Shared { open }", "operationName": "Shared" });
    let told = open(&House::default(), Limits::default(), body).await.rest().await;
    assert_eq!(told, ["id: c7\nevent: next\ndata: {\"data\":{\"open\":7}}", "event: complete\ndata:"]);
}

#[tokio::test]
async fn what_fails_before_it_began_is_one_event_of_errors() {
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { unborn }", "CURSOR_EXPIRED"),
        ("subscription { panics }", "INTERNAL_ERROR"),
    ] {
        let mut told = told(query).await;
        assert_eq!(told.pop().unwrap(), "event: complete\ndata:", "{query}");
        let errors = told.pop().unwrap();
        let data = errors.split_once("data: ").unwrap().1;
        let payload: Value = serde_json::from_str(data).unwrap();
        assert_eq!(payload["errors"][0]["extensions"]["code"], code, "{query}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_by_status() {
    let house = House::default();
    let limits = Limits::default;
    let body = json!({ "query": "{ me }" });
    let without = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "text/event-stream")
        .body(Body::from(body.to_string()))
        .unwrap();
    assert_eq!(ask(&house, limits(), without).await.status(), StatusCode::UNAUTHORIZED);
    for body in ["{", "[]", "[{\"query\":\"{ me }\"}]", "{}"] {
        let request = post().body(Body::from(body)).unwrap();
        assert_eq!(ask(&house, limits(), request).await.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let mutation = Request::get("/graphql?query=mutation%20%7B%20keep(number%3A%201)%20%7D")
        .header(header::AUTHORIZATION, "Bearer good")
        .header(header::ACCEPT, "text/event-stream")
        .body(Body::empty())
        .unwrap();
    assert_eq!(ask(&house, limits(), mutation).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_last_event_s_id_is_where_it_goes_on() {
    let body = json!({ "query": "subscription { place }" });
    let request = post().header("last-event-id", "c9").body(Body::from(body.to_string())).unwrap();
    let told = events(ask(&House::default(), Limits::default(), request).await).rest().await;
    assert_eq!(told[0], "event: next\ndata: {\"data\":{\"place\":\"c9\"}}");
}

#[tokio::test]
async fn heartbeats_are_ids_without_data() {
    let limits = Limits { ping_interval: Duration::from_millis(20), ..Limits::default() };
    let house = House::default();
    let mut stream = open(&house, limits, json!({ "query": "subscription { quiet }" })).await;
    assert_eq!(stream.next().await.unwrap(), "id: p1");
    // Nothing new to say, but alive.
    assert_eq!(stream.next().await.unwrap(), ":");
    house.walked.notify_one();
    while let Some(event) = stream.next().await {
        if event != ":" {
            assert_eq!(event, "id: p2");
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_is_not_complete() {
    for cut in ["shutdown", "credential"] {
        let house = House::default();
        let body = json!({ "query": "subscription { open }" });
        let mut stream = open(&house, Limits::default(), body).await;
        assert!(stream.next().await.unwrap().starts_with("event: next"));
        match cut {
            "shutdown" => house.shutdown.cancel(),
            _ => {
                house.end.send_replace(Some(EndReason::Revoked));
            }
        }
        let rest = stream.rest().await;
        assert_eq!(rest.len(), 1, "{rest:?}");
        assert!(rest[0].starts_with(": "), "{rest:?}");
        house.dropped.0.notified().await;
        // Its place is free again, and its task gone.
        house.tracker.close();
        house.tracker.wait().await;
        assert_eq!(house.sockets.available_permits(), 2);
    }
}

#[tokio::test]
async fn a_reader_that_goes_or_takes_nothing_ends_its_subscription() {
    let limits = Limits { slow_reader: Duration::from_millis(50), outgoing_queue: 4, ..Limits::default() };
    for reads in [true, false] {
        let house = House::default();
        let query = if reads { "subscription { open }" } else { "subscription { flood }" };
        let mut stream = open(&house, limits.clone(), json!({ "query": query })).await;
        assert!(stream.next().await.unwrap().starts_with("event: next"));
        if reads {
            drop(stream);
            house.dropped.0.notified().await;
        } else {
            house.dropped.0.notified().await;
            drop(stream);
        }
        house.tracker.close();
        house.tracker.wait().await;
    }
}

#[tokio::test]
async fn streams_and_sockets_are_counted_together() {
    let house = House::default();
    let body = json!({ "query": "subscription { open }" });
    let _first = open(&house, Limits::default(), body.clone()).await;
    let _second = open(&house, Limits::default(), body.clone()).await;
    let third = post().body(Body::from(body.to_string())).unwrap();
    let refused = ask(&house, Limits::default(), third).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
}

/// A flood that nobody reads ends, and its connection with it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_whose_other_side_takes_nothing_is_ended() {
    let limits = Limits { slow_reader: Duration::from_millis(200), ..Limits::default() };
    let house = House::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let minute = Duration::from_secs(60);
    let bounds = Connections { most: 100, first: minute, next: minute, slow_reader: limits.slow_reader };
    let serving = crate::http::serve(listener, app(&house, limits), stop.clone(), bounds);
    let client = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        let body = json!({ "query": "subscription { flood }" }).to_string();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\naccept: text/event-stream\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(body.as_bytes()).await.unwrap();
        house.dropped.0.notified().await;
        // An orderly end waits for all connections.
        stop.cancel();
        client
    };
    let ((), _client) =
        tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(serving, client) })
            .await
            .expect("the connection stays");
}
