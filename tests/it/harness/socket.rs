//! An independent subscriber: tokio-tungstenite speaking `graphql-transport-ws`, sharing no code with the service.

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
}

impl Subscription {
    pub async fn open(url: &str, key: &str, query: &str, variables: Value) -> Self {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let (mut socket, _) = connect_async(request).await.unwrap();
        let init =
            json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {key}") } });
        socket.send(Message::text(init.to_string())).await.unwrap();
        let mut subscription = Self { socket, cursor: None };
        assert_eq!(subscription.frame().await["type"], "connection_ack");
        let start =
            json!({ "type": "subscribe", "id": "1", "payload": { "query": query, "variables": variables } });
        subscription.socket.send(Message::text(start.to_string())).await.unwrap();
        // Frames are handled in order: when the pong is here, so is the subscription.
        subscription.socket.send(Message::text(json!({ "type": "ping" }).to_string())).await.unwrap();
        subscription
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
        tokio::time::timeout(PATIENCE, next).await.expect("nothing came")
    }

    /// The data of the next result.
    pub async fn next(&mut self) -> Value {
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
