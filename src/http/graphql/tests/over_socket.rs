use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};

use super::{EndReason, House, app};
use crate::http::graphql::Limits;

struct Served {
    house: House,
    at: SocketAddr,
}

impl Served {
    async fn new(limits: Limits) -> Self {
        let house = House::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let app = app(&house, limits);
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { house, at }
    }

    async fn knock(&self, headers: &[(&'static str, &str)]) -> Result<Client, tungstenite::Error> {
        let mut request = format!("ws://{}/graphql", self.at).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        connect_async(request).await.map(|(socket, _)| Client(socket))
    }

    /// Connected, nothing said yet.
    async fn connect(&self) -> Client {
        self.knock(&[("sec-websocket-protocol", "graphql-transport-ws")]).await.unwrap()
    }

    /// Connected and acknowledged.
    async fn client(&self) -> Client {
        let mut client = self.connect().await;
        client.init("Bearer good").await;
        assert_eq!(client.hear().await, json!({ "type": "connection_ack" }));
        client
    }
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn init(&mut self, key: &str) {
        self.say(json!({ "type": "connection_init", "payload": { "authorization": key } })).await;
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({ "type": "subscribe", "id": id, "payload": { "query": query } })).await;
    }

    async fn hear(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("not a text: {other:?}"),
            }
        }
    }

    /// Reads up to the close frame.
    async fn closed(mut self) -> (u16, String) {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
                Message::Close(None) => panic!("closed without a code"),
                _ => {}
            }
        }
    }
}

async fn served() -> Served {
    Served::new(Limits::default()).await
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test]
async fn a_query_and_a_mutation_answer_with_next_and_complete() {
    let mut client = served().await.client().await;
    for (query, data) in
        [("{ me }", json!({ "me": "acme" })), ("mutation { keep(number: 1) }", json!({ "keep": 1 }))]
    {
        client.subscribe("1", query).await;
        assert_eq!(client.hear().await, json!({ "type": "next", "id": "1", "payload": { "data": data } }));
        assert_eq!(client.hear().await, json!({ "type": "complete", "id": "1" }));
    }
}

#[tokio::test]
async fn every_result_of_a_subscription_carries_its_cursor() {
    let mut client = served().await.client().await;
    client.subscribe("1", "subscription { count(to: 3) }").await;
    for number in 1..=3 {
        let payload =
            json!({ "data": { "count": number }, "extensions": { "cursor": format!("c{number}") } });
        assert_eq!(client.hear().await, json!({ "type": "next", "id": "1", "payload": payload }));
    }
    assert_eq!(client.hear().await, json!({ "type": "complete", "id": "1" }));
}

#[tokio::test]
async fn results_that_are_ready_pass_as_they_are() {
    let mut client = served().await.client().await;
    let payload = json!({ "query": "subscription Shared { open }", "operationName": "Shared" });
    client.say(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
    let next = json!({ "type": "next", "id": "1", "payload": { "data": { "open": 7 } } });
    assert_eq!(client.hear().await, next);
    assert_eq!(client.hear().await, json!({ "type": "complete", "id": "1" }));
}

#[tokio::test]
async fn what_fails_before_it_began_is_an_error_message() {
    let mut client = served().await.client().await;
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { count(to: \"x\") }", "BAD_USER_INPUT"),
        ("subscription { count(to: 1) open }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { unborn }", "CURSOR_EXPIRED"),
        ("{ panics }", "INTERNAL_ERROR"),
        ("subscription Broken { open }", "INTERNAL_ERROR"),
    ] {
        client.subscribe("1", query).await;
        let heard = client.hear().await;
        assert_eq!((&heard["type"], &heard["id"]), (&json!("error"), &json!("1")), "{query}: {heard}");
        assert_eq!(heard["payload"][0]["extensions"]["code"], code, "{query}");
    }
}

#[tokio::test]
async fn a_bomb_of_brackets_leaves_the_socket_alive() {
    let mut client = served().await.client().await;
    client.subscribe("1", &format!("{{ a(x: {}", "[".repeat(50_000))).await;
    assert_eq!(client.hear().await["payload"][0]["extensions"]["code"], "QUERY_TOO_COMPLEX");
    client.subscribe("1", "{ me }").await;
    assert_eq!(client.hear().await["type"], "next");
}

#[tokio::test]
async fn what_fails_after_it_began_is_a_last_result() {
    let mut client = served().await.client().await;
    for (query, code) in
        [("subscription { breaks }", "TIMEOUT"), ("subscription { panics }", "INTERNAL_ERROR")]
    {
        client.subscribe("1", query).await;
        assert_eq!(client.hear().await["type"], "next");
        let heard = client.hear().await;
        assert_eq!(heard["type"], "next");
        assert_eq!(heard["payload"]["data"], Value::Null);
        assert_eq!(heard["payload"]["errors"][0]["extensions"]["code"], code);
        assert_eq!(client.hear().await, json!({ "type": "complete", "id": "1" }));
    }
}

#[tokio::test]
async fn the_clients_complete_ends_its_operation_without_an_answer() {
    let served = served().await;
    let mut client = served.client().await;
    client.subscribe("1", "subscription { open }").await;
    assert_eq!(client.hear().await["type"], "next");
    client.say(json!({ "type": "complete", "id": "1" })).await;
    served.house.dropped.0.notified().await;
    // The id is free again, and nothing comes before its new owner's result.
    client.subscribe("1", "{ me }").await;
    assert_eq!(client.hear().await["payload"]["data"], json!({ "me": "acme" }));
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let mut client = served().await.connect().await;
    client.say(json!({ "type": "ping", "payload": { "at": 1 } })).await;
    assert_eq!(client.hear().await, json!({ "type": "pong", "payload": { "at": 1 } }));
    client.init("Bearer good").await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    client.say(json!({ "type": "ping" })).await;
    assert_eq!(client.hear().await, json!({ "type": "pong" }));
    client.say(json!({ "type": "pong" })).await;
    client.subscribe("1", "{ me }").await;
    assert_eq!(client.hear().await["type"], "next");
}

#[tokio::test]
async fn the_credential_may_come_in_the_upgrades_header() {
    let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
    let mut client = served().await.knock(&[protocol, ("authorization", "Bearer good")]).await.unwrap();
    client.say(json!({ "type": "connection_init" })).await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    // What the payload says goes before it.
    let mut client = served().await.knock(&[protocol, ("authorization", "Bearer good")]).await.unwrap();
    client.say(json!({ "type": "connection_init", "payload": { "Authorization": "Bearer bad" } })).await;
    assert_eq!(client.closed().await.0, 4403);
}

#[tokio::test]
async fn a_dead_operation_s_messages_do_not_reach_the_next_of_its_id() {
    let mut client = served().await.client().await;
    for round in 0..20 {
        client.subscribe("1", "subscription { count(to: 1000000) }").await;
        client.say(json!({ "type": "complete", "id": "1" })).await;
        client.subscribe("1", &format!("{{ add(left: {round}) }}")).await;
        let mut heard = client.hear().await;
        // Results that were on the wire before the server read the `complete`.
        while heard["payload"]["data"]["count"].is_number() {
            heard = client.hear().await;
        }
        assert_eq!(heard["payload"]["data"]["add"], round + 1);
        assert_eq!(client.hear().await["type"], "complete");
    }
}

#[tokio::test]
async fn operations_beyond_the_limit_are_refused_one_by_one() {
    let limits = Limits { operations_per_socket: 1, ..Limits::default() };
    let mut client = Served::new(limits).await.client().await;
    client.subscribe("1", "subscription { open }").await;
    assert_eq!(client.hear().await["type"], "next");
    client.subscribe("2", "{ me }").await;
    let heard = client.hear().await;
    assert_eq!((&heard["type"], &heard["id"]), (&json!("error"), &json!("2")));
    let extensions = &heard["payload"][0]["extensions"];
    assert_eq!((&extensions["code"], &extensions["retryAfterMs"]), (&json!("RATE_LIMITED"), &json!(1000)));
}

#[tokio::test]
async fn a_query_over_the_socket_has_its_time() {
    let limits = Limits { request_timeout: millis(20), ..Limits::default() };
    let mut client = Served::new(limits).await.client().await;
    client.subscribe("1", "{ never }").await;
    assert_eq!(client.hear().await["payload"][0]["extensions"]["code"], "TIMEOUT");
}

#[tokio::test]
async fn close_4400_for_what_is_not_a_message() {
    let served = served().await;
    for message in [
        "{",
        "[]",
        "{}",
        r#"{"type":"start","id":"1"}"#,
        r#"{"type":"subscribe","id":"1"}"#,
        r#"{"type":"subscribe","payload":{"query":"{ me }"}}"#,
        r#"{"type":"subscribe","id":"","payload":{"query":"{ me }"}}"#,
        r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#,
        r#"{"type":"subscribe","id":1,"payload":{"query":"{ me }"}}"#,
        r#"{"type":"ping","payload":1}"#,
        r#"{"type":"connection_init","payload":{"authorization":1}}"#,
    ] {
        let mut client = served.connect().await;
        client.0.send(Message::text(message)).await.unwrap();
        assert_eq!(client.closed().await.0, 4400, "{message}");
    }
    let mut client = served.connect().await;
    client.0.send(Message::binary(&b"{}"[..])).await.unwrap();
    assert_eq!(client.closed().await.0, 4400);
}

#[tokio::test]
async fn a_close_reason_is_cut_to_what_a_frame_holds() {
    let mut client = served().await.connect().await;
    client.say(json!({ "type": "\u{e9}".repeat(500) })).await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, 4400);
    assert!((120..=123).contains(&reason.len()), "{reason}");
}

#[tokio::test]
async fn close_4401_for_a_subscription_before_the_acknowledgement() {
    let mut client = served().await.connect().await;
    client.subscribe("1", "{ me }").await;
    assert_eq!(client.closed().await, (4401, "Unauthorized".to_owned()));
}

#[tokio::test]
async fn close_4403_for_a_credential_that_does_not_hold() {
    let served = served().await;
    for key in ["Bearer bad", "good", ""] {
        let mut client = served.connect().await;
        client.init(key).await;
        assert_eq!(client.closed().await, (4403, "Forbidden".to_owned()));
    }
    let mut client = served.connect().await;
    client.say(json!({ "type": "connection_init" })).await;
    assert_eq!(client.closed().await, (4403, "Forbidden".to_owned()));
}

#[tokio::test]
async fn close_4403_when_the_credential_ends() {
    for (reason, text) in
        [(EndReason::Expired, "Credential expired"), (EndReason::Revoked, "Credential revoked")]
    {
        let served = served().await;
        let mut client = served.client().await;
        client.subscribe("1", "subscription { open }").await;
        assert_eq!(client.hear().await["type"], "next");
        served.house.end.send_replace(Some(reason));
        assert_eq!(client.closed().await, (4403, text.to_owned()));
        served.house.dropped.0.notified().await;
    }
}

#[tokio::test]
async fn without_a_known_protocol_there_is_no_socket() {
    let served = served().await;
    for headers in [&[][..], &[("sec-websocket-protocol", "soap")][..]] {
        match served.knock(headers).await {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status().as_u16(), 400),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("connected"),
        }
    }
}

/// A client of the older dialect, connected and acknowledged.
async fn older(served: &Served) -> Client {
    let mut client = served.knock(&[("sec-websocket-protocol", "graphql-ws")]).await.unwrap();
    client.init("Bearer good").await;
    assert_eq!(client.hear().await, json!({ "type": "connection_ack" }));
    assert_eq!(client.hear().await, json!({ "type": "ka" }));
    client
}

#[tokio::test]
async fn the_older_dialect_starts_stops_and_tells_data() {
    let served = served().await;
    let mut client = older(&served).await;
    let start = |id: &str, query: &str| json!({ "type": "start", "id": id, "payload": { "query": query } });
    client.say(start("1", "subscription { count(to: 2) }")).await;
    for number in 1..=2 {
        let payload =
            json!({ "data": { "count": number }, "extensions": { "cursor": format!("c{number}") } });
        assert_eq!(client.hear().await, json!({ "type": "data", "id": "1", "payload": payload }));
    }
    assert_eq!(client.hear().await, json!({ "type": "complete", "id": "1" }));
    client.say(start("2", "subscription { open }")).await;
    assert_eq!(client.hear().await["type"], "data");
    client.say(json!({ "type": "stop", "id": "2" })).await;
    served.house.dropped.0.notified().await;
    client.say(start("3", "subscription { unborn }")).await;
    let heard = client.hear().await;
    assert_eq!((&heard["type"], &heard["id"]), (&json!("error"), &json!("3")));
    assert_eq!(heard["payload"]["extensions"]["code"], "CURSOR_EXPIRED", "one error, no list: {heard}");
    client.say(json!({ "type": "connection_terminate" })).await;
    assert_eq!(client.closed().await.0, 1000);
}

#[tokio::test]
async fn the_older_dialect_is_told_by_message_why_it_is_refused() {
    let served = served().await;
    let mut client = served.knock(&[("sec-websocket-protocol", "graphql-ws")]).await.unwrap();
    client.init("Bearer bad").await;
    let error = json!({ "type": "connection_error", "payload": { "message": "Forbidden" } });
    assert_eq!(client.hear().await, error);
    assert_eq!(client.closed().await.0, 4403);
    // Each dialect has its own words.
    let mut client = older(&served).await;
    client.subscribe("1", "{ me }").await;
    assert_eq!(client.closed().await.0, 4400);
}

#[tokio::test]
async fn the_older_dialect_is_kept_alive_by_messages() {
    let limits = Limits { ping_interval: millis(150), ..Limits::default() };
    let mut client = older(&Served::new(limits).await).await;
    for _ in 0..3 {
        assert_eq!(client.hear().await, json!({ "type": "ka" }));
    }
}

#[tokio::test]
async fn who_asks_for_both_dialects_gets_the_newer_one() {
    let mut client = served()
        .await
        .knock(&[("sec-websocket-protocol", "graphql-ws, graphql-transport-ws")])
        .await
        .unwrap();
    client.init("Bearer good").await;
    assert_eq!(client.hear().await, json!({ "type": "connection_ack" }));
    client.subscribe("1", "{ me }").await;
    assert_eq!(client.hear().await["type"], "next");
}

#[tokio::test]
async fn a_heartbeat_tells_up_to_where_a_subscription_is_complete() {
    let limits = Limits { ping_interval: millis(150), ..Limits::default() };
    let served = Served::new(limits).await;
    let mut client = served.client().await;
    client.subscribe("1", "subscription { quiet }").await;
    // The first place at once, others when it is time; none twice.
    for place in ["p1", "p2"] {
        let ping = json!({ "type": "ping", "payload": { "cursors": { "1": place } } });
        assert_eq!(client.hear().await, ping);
        client.say(json!({ "type": "pong", "payload": ping["payload"] })).await;
        served.house.walked.notify_one();
    }
    // What is told later is newer than what was complete before.
    let heard = client.hear().await;
    assert_eq!(heard["payload"], json!({ "data": { "quiet": 3 }, "extensions": { "cursor": "p3" } }));
}

#[tokio::test]
async fn a_heartbeat_tells_no_place_before_the_last_result() {
    let limits = Limits { ping_interval: millis(50), ..Limits::default() };
    let mut client = Served::new(limits).await.client().await;
    let payload = json!({ "query": "subscription Late { open }", "operationName": "Late" });
    client.say(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
    assert_eq!(client.hear().await["payload"], json!({ "data": { "open": 7 } }));
    // Three rounds, with nothing to tell.
    for _ in 0..3 {
        let heard = client.0.next().await.unwrap().unwrap();
        assert!(matches!(heard, Message::Ping(_)), "{heard:?}");
    }
}

#[tokio::test]
async fn heartbeats_come_as_results_to_who_asks_for_that() {
    let mut client = served().await.client().await;
    let payload = json!({ "query": "subscription { quiet }", "extensions": { "heartbeat": true } });
    client.say(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
    let payload = json!({ "data": null, "extensions": { "cursor": "p1", "heartbeat": true } });
    assert_eq!(client.hear().await, json!({ "type": "next", "id": "1", "payload": payload }));
}

#[tokio::test]
async fn close_4408_for_a_client_that_never_begins() {
    let limits = Limits { init_timeout: millis(20), ..Limits::default() };
    let client = Served::new(limits).await.connect().await;
    assert_eq!(client.closed().await, (4408, "Connection initialisation timeout".to_owned()));
}

#[tokio::test]
async fn close_4409_for_an_id_in_use() {
    let mut client = served().await.client().await;
    client.subscribe("same", "subscription { open }").await;
    assert_eq!(client.hear().await["type"], "next");
    client.subscribe("same", "{ me }").await;
    assert_eq!(client.closed().await, (4409, "Subscriber for same already exists".to_owned()));
}

#[tokio::test]
async fn close_4429_for_a_second_beginning() {
    let mut client = served().await.client().await;
    client.init("Bearer good").await;
    assert_eq!(client.closed().await, (4429, "Too many initialisation requests".to_owned()));
}

#[tokio::test]
async fn close_1001_when_the_service_shuts_down() {
    let served = served().await;
    let mut greeted = served.client().await;
    greeted.subscribe("1", "subscription { open }").await;
    assert_eq!(greeted.hear().await["type"], "next");
    let silent = served.connect().await;
    served.house.shutdown.cancel();
    assert_eq!(greeted.closed().await.0, 1001);
    assert_eq!(silent.closed().await.0, 1001);
    // Every task is gone, and the tracker knows.
    served.house.tracker.close();
    served.house.tracker.wait().await;
}

#[tokio::test]
async fn close_1009_for_a_message_that_is_too_big() {
    let limits = Limits { message_bytes: 1000, ..Limits::default() };
    let mut client = Served::new(limits).await.client().await;
    client.say(json!({ "type": "ping", "payload": { "x": "x".repeat(1000) } })).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn close_1013_for_too_many_sockets_of_one_credential() {
    let served = served().await;
    let first = served.client().await;
    let _second = served.client().await;
    let mut third = served.connect().await;
    third.init("Bearer good").await;
    assert_eq!(third.closed().await.0, 1013);
    // A socket that ends gives its place back.
    let mut first = first;
    first.0.close(None).await.unwrap();
    while first.0.next().await.is_some() {}
    let permit = served.house.sockets.clone().acquire_owned().await.unwrap();
    drop(permit);
    served.client().await;
}

#[tokio::test]
async fn close_1013_while_credentials_cannot_be_checked() {
    let served = served().await;
    for key in ["Bearer busy", "Bearer down"] {
        let mut client = served.connect().await;
        client.init(key).await;
        assert_eq!(client.closed().await.0, 1013);
    }
}

#[tokio::test]
async fn close_1013_for_who_does_not_answer_the_ping() {
    let limits = Limits { ping_interval: millis(20), close_grace: millis(20), ..Limits::default() };
    let served = Served::new(limits).await;
    let client = served.client().await;
    // A client that is not polled answers nothing.
    served.house.tracker.close();
    served.house.tracker.wait().await;
    assert_eq!(client.closed().await, (1013, "No answer to the ping".to_owned()));
}

#[tokio::test]
async fn who_answers_the_pings_stays() {
    let limits = Limits { ping_interval: millis(100), ..Limits::default() };
    let mut client = Served::new(limits).await.client().await;
    let mut pings = 0;
    while pings < 4 {
        match client.0.next().await.unwrap().unwrap() {
            Message::Ping(_) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn operations_go_on_while_an_answer_to_a_ping_cannot_be_written() {
    let served = served().await;
    let mut client = served.client().await;
    client.subscribe("1", "subscription { step }").await;
    // Until nothing more fits: the service waits for a reader.
    let ping = json!({ "type": "ping", "payload": { "much": "x".repeat(256 * 1024) } });
    while tokio::time::timeout(millis(200), client.say(ping.clone())).await.is_ok() {}
    served.house.walked.notify_one();
    let stepped = served.house.dropped.0.notified();
    tokio::time::timeout(Duration::from_secs(5), stepped).await.expect("it holds what others wait for");
}

#[tokio::test]
async fn close_1013_for_a_reader_that_takes_nothing() {
    let limits =
        Limits { slow_reader: millis(50), close_grace: Duration::from_secs(30), ..Limits::default() };
    let served = Served::new(limits).await;
    let mut client = served.client().await;
    client.subscribe("1", "subscription { flood }").await;
    // Its operations end first; what is still on the way is followed by the close frame.
    served.house.dropped.0.notified().await;
    assert_eq!(client.closed().await, (1013, "Too slow: reconnect from your last cursor".to_owned()));
}
