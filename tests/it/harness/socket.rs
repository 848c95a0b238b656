//! An independent subscriber: tokio-tungstenite speaking `graphql-transport-ws`, sharing no code with the service.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::PATIENCE;

/// One subscription on a socket of its own.
pub struct Subscription {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The cursor of the last result.
    pub cursor: Option<String>,
    /// The sign that it caught up is still to come, and nobody wants it.
    catches_up: bool,
    patience: Duration,
}

impl Subscription {
    pub async fn open(url: &str, key: &str, query: &str, variables: Value) -> Self {
        let init = json!({ "authorization": format!("Bearer {key}") });
        let mut subscription = Self::greet(url, init).await;
        assert_eq!(subscription.frame().await["type"], "connection_ack");
        let start =
            json!({ "type": "subscribe", "id": "1", "payload": { "query": query, "variables": variables } });
        subscription.socket.send(Message::text(start.to_string())).await.unwrap();
        subscription
    }

    /// Waits longer for each frame.
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same, or none if nobody answers.
    pub async fn try_open(url: &str, key: &str, query: &str, variables: Value) -> Option<Self> {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let (socket, _) = connect_async(request).await.ok()?;
        let mut subscription = Self { socket, cursor: None, catches_up: false, patience: PATIENCE };
        let init = json!({ "authorization": format!("Bearer {key}") });
        let payload = json!({ "query": query, "variables": variables });
        for message in [
            json!({ "type": "connection_init", "payload": init }),
            json!({ "type": "subscribe", "id": "1", "payload": payload }),
        ] {
            subscription.socket.send(Message::text(message.to_string())).await.ok()?;
        }
        Some(subscription)
    }

    /// The next frame of any type; none when the socket was closed or broke.
    pub async fn try_frame(&mut self) -> Option<Value> {
        let next = async {
            loop {
                match self.socket.next().await?.ok()? {
                    Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                    Message::Close(_) => return None,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("nothing came")
    }

    /// A socket that has sent this `connection_init`, and heard nothing yet.
    pub async fn greet(url: &str, init: Value) -> Self {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let (mut socket, _) = connect_async(request).await.unwrap();
        let init = json!({ "type": "connection_init", "payload": init });
        socket.send(Message::text(init.to_string())).await.unwrap();
        Self { socket, cursor: None, catches_up: false, patience: PATIENCE }
    }

    async fn raw_frame(&mut self) -> Value {
        loop {
            let message = self.socket.next().await.expect("the socket ended").expect("the socket failed");
            match message {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(close) => panic!("the service closed the socket: {close:?}"),
                _ => {}
            }
        }
    }

    /// The next frame that is neither ping nor pong.
    pub async fn frame(&mut self) -> Value {
        let patience = self.patience;
        let next = async {
            loop {
                let frame = self.raw_frame().await;
                match frame["type"].as_str() {
                    Some("ping") => {
                        let pong = json!({ "type": "pong" });
                        self.socket.send(Message::text(pong.to_string())).await.unwrap();
                    }
                    Some("pong") => {}
                    _ => return frame,
                }
            }
        };
        tokio::time::timeout(patience, next).await.expect("nothing came")
    }

    /// Begun after this place: its CaughtUp is no result for the test. It alone bears the cursor of what came before it.
    pub fn pass_over_caught_up(&mut self, place: &str) {
        self.cursor = Some(place.to_owned());
        self.catches_up = true;
    }

    /// The data of the next result.
    pub async fn next(&mut self) -> Value {
        let before = self.cursor.clone();
        let data = self.next_item().await;
        if self.catches_up && self.cursor == before {
            self.catches_up = false;
            return self.next_item().await;
        }
        data
    }

    async fn next_item(&mut self) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame["type"], "next", "{frame:#}");
        let payload = &frame["payload"];
        assert!(payload.get("errors").is_none(), "{payload:#}");
        let cursor = payload["extensions"]["cursor"].as_str();
        self.cursor = Some(cursor.unwrap_or_else(|| panic!("no cursor: {payload:#}")).to_owned());
        payload["data"].clone()
    }

    /// The next result for which `wanted` says yes; others are passed over.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let data = self.next().await;
            if wanted(&data) {
                return data;
            }
        }
    }

    /// Whether nothing more lies ready: the answer to a query on the same socket comes next.
    pub async fn is_silent(&mut self) -> bool {
        self.first_or_silence().await["id"] == "silence"
    }

    /// The next frame, or that of the answer to a query on the same socket, under the id `silence`.
    pub async fn first_or_silence(&mut self) -> Value {
        let query = "query { viewer { eventCursor } }";
        let ask = json!({ "type": "subscribe", "id": "silence", "payload": { "query": query } });
        self.socket.send(Message::text(ask.to_string())).await.unwrap();
        self.frame().await
    }

    /// The next place that a heartbeat tells for the subscription.
    pub async fn beat(&mut self) -> String {
        let beat = async {
            loop {
                let frame = self.raw_frame().await;
                if let Some(place) = frame["payload"]["cursors"]["1"].as_str() {
                    assert_eq!(frame["type"], "ping", "{frame:#}");
                    return place.to_owned();
                }
            }
        };
        tokio::time::timeout(PATIENCE, beat).await.expect("no heartbeat came")
    }

    /// How the service closes the socket: code and words. What it says before is passed over.
    pub async fn closed(&mut self) -> (u16, String) {
        let closing = async {
            loop {
                let message = self.socket.next().await.expect("the socket ended").expect("the socket failed");
                if let Message::Close(close) = message {
                    return close.expect("it is closed without a code");
                }
            }
        };
        let close = tokio::time::timeout(PATIENCE, closing).await.expect("the socket stays open");
        (close.code.into(), close.reason.to_string())
    }

    /// Goes away without a word.
    pub fn cut(self) -> Option<String> {
        self.cursor
    }
}
