//! A subscriber over `graphql-transport-ws`.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// One subscription on a socket of its own.
pub(crate) struct Subscriber {
    socket: WebSocketStream<TcpStream>,
}

impl Subscriber {
    /// Subscribes; returns when the service has taken it up.
    pub(crate) async fn open(
        host: SocketAddr,
        key: &str,
        query: &str,
        variables: &Value,
    ) -> anyhow::Result<Self> {
        let mut request = format!("ws://{host}/graphql").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        let mut subscriber = Self { socket };
        let init =
            json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {key}") } });
        subscriber.say(&init).await?;
        subscriber.heard("connection_ack").await?;
        let start =
            json!({ "type": "subscribe", "id": "1", "payload": { "query": query, "variables": variables } });
        subscriber.say(&start).await?;
        // Frames are handled in order: when the pong is here, so is the subscription.
        subscriber.say(&json!({ "type": "ping" })).await?;
        subscriber.heard("pong").await?;
        Ok(subscriber)
    }

    async fn say(&mut self, frame: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(frame.to_string())).await?)
    }

    async fn heard(&mut self, kind: &str) -> anyhow::Result<()> {
        loop {
            let text = self.text().await?;
            let frame: Value = serde_json::from_str(&text)?;
            // A heartbeat may come before.
            if frame["type"] != "ping" {
                ensure!(frame["type"] == kind, "{frame:#} instead of {kind}");
                return Ok(());
            }
        }
    }

    async fn text(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            match self.socket.next().await.context("the service closed the socket")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(close) => bail!("the service closed the socket: {close:?}"),
                _ => {}
            }
        }
    }

    /// The next result, as its text.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            let text = self.text().await?;
            let is_beat = text.starts_with("{\"type\":\"ping\"");
            if !is_beat && memchr::memmem::find(text.as_bytes(), b"\"payload\"").is_some() {
                ensure!(memchr::memmem::find(text.as_bytes(), b"\"errors\"").is_none(), "{text}");
                return Ok(text);
            }
            let frame: Value = serde_json::from_str(&text)?;
            match frame["type"].as_str() {
                Some("ping") => self.say(&json!({ "type": "pong" })).await?,
                Some("pong") => {}
                _ => bail!("the subscription ended: {frame:#}"),
            }
        }
    }
}
