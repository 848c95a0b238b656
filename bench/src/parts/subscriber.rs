//! A subscriber over `graphql-transport-ws`: hand-made, since it shares the cores with the service, and a thousand of
//! them read a great deal.

use std::collections::VecDeque;
use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest frame that is read.
const LARGEST: usize = 16 << 20;
/// Read at once.
const READ: usize = 16 << 10;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// One subscription on a socket of its own.
pub(crate) struct Subscriber {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer was read already.
    read: usize,
    /// A heartbeat told its place.
    placed: bool,
    /// Results that came before the subscription was known to be taken up.
    early: VecDeque<Vec<u8>>,
}

impl Subscriber {
    /// Subscribes; returns when the service has taken it up.
    pub(crate) async fn open(
        host: SocketAddr,
        key: &str,
        query: &str,
        variables: &Value,
    ) -> anyhow::Result<Self> {
        let mut subscriber = Self::bare(host).await?;
        let upgrade = format!(
            "GET /graphql HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
        );
        subscriber.stream.write_all(upgrade.as_bytes()).await?;
        let head = loop {
            if let Some(end) = memmem::find(&subscriber.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            subscriber.more().await?;
        };
        ensure!(subscriber.buffer.starts_with(b"HTTP/1.1 101"), "the service opens no WebSocket");
        subscriber.read = head;
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

    /// Reads frames that somebody writes who asks nothing.
    pub(crate) async fn bare(host: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), read: 0, placed: false, early: VecDeque::new() })
    }

    async fn say(&mut self, message: &Value) -> anyhow::Result<()> {
        self.write(TEXT, message.to_string().as_bytes()).await
    }

    /// The mask is 0: the bytes stay as they are.
    async fn write(&mut self, kind: u8, bytes: &[u8]) -> anyhow::Result<()> {
        let mut frame = vec![0x80 | kind];
        match u16::try_from(bytes.len()).context("too long for one frame")? {
            short @ 0..126 => frame.push(0x80 | short as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&length.to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(bytes);
        Ok(self.stream.write_all(&frame).await?)
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.reserve(READ);
        ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the service closed the socket");
        Ok(())
    }

    /// The next frame's kind, and its payload within the buffer.
    async fn frame(&mut self) -> anyhow::Result<(u8, &[u8])> {
        let (kind, length) = loop {
            if let Some((kind, head, length)) = head(self.buffer.get(self.read..).unwrap_or_default()) {
                ensure!(length <= LARGEST, "a frame of {length} bytes");
                if self.buffer.len() >= self.read + head + length {
                    self.read += head + length;
                    break (kind, length);
                }
            }
            self.more().await?;
        };
        Ok((kind, self.buffer.get(self.read - length..self.read).unwrap_or_default()))
    }

    async fn heard(&mut self, kind: &str) -> anyhow::Result<()> {
        loop {
            let (frame, payload) = self.frame().await?;
            ensure!(frame == TEXT, "the service closed the socket");
            let message: Value = serde_json::from_slice(payload)?;
            // A heartbeat may come before, and what was missed.
            match message["type"].as_str() {
                Some("ping") => self.placed |= !message["payload"]["cursors"].is_null(),
                Some("next") => {
                    let early = payload.to_vec();
                    self.early.push_back(early);
                }
                _ => {
                    ensure!(message["type"] == kind, "{message:#} instead of {kind}");
                    return Ok(());
                }
            }
        }
    }

    /// The next result, as its text.
    pub(crate) async fn next(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        self.told(|payload| {
            text.push_str(std::str::from_utf8(payload)?);
            Ok(())
        })
        .await?;
        Ok(text)
    }

    /// Reads on until a result came.
    pub(crate) async fn told(
        &mut self,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        loop {
            if self.step(&mut take).await? {
                return Ok(());
            }
        }
    }

    /// Reads what it missed, so many results, and that it is followed now.
    pub(crate) async fn catch_up(&mut self, mut missed: usize) -> anyhow::Result<()> {
        while missed > 0 || !self.placed {
            if self.step(&mut |_| Ok(())).await? {
                missed = missed.checked_sub(1).context("more was told than was missed")?;
            }
        }
        Ok(())
    }

    /// Reads one frame. True: it was a result.
    async fn step(&mut self, take: &mut impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<bool> {
        if let Some(early) = self.early.pop_front() {
            take(&early)?;
            return Ok(true);
        }
        let (kind, payload) = self.frame().await?;
        if kind == TEXT && payload.starts_with(b"{\"id\":\"1\",\"type\":\"next\"") {
            ensure!(memmem::find(payload, b"\"errors\"").is_none(), "{}", String::from_utf8_lossy(payload));
            take(payload)?;
            return Ok(true);
        }
        match kind {
            TEXT => {
                let message: Value = serde_json::from_slice(payload)?;
                match message["type"].as_str() {
                    Some("ping") => {
                        self.placed |= !message["payload"]["cursors"].is_null();
                        self.say(&json!({ "type": "pong" })).await?;
                    }
                    Some("pong") => {}
                    _ => bail!("the subscription ended: {message:#}"),
                }
            }
            PING => {
                let payload = payload.to_vec();
                self.write(PONG, &payload).await?;
            }
            PONG => {}
            CLOSE => bail!(
                "the service closed the socket: {}",
                String::from_utf8_lossy(payload.get(2..).unwrap_or_default())
            ),
            other => bail!("a frame of kind {other}"),
        }
        Ok(false)
    }
}

/// A frame's kind, and the lengths of its head and its payload, once the head is whole. A server masks nothing.
fn head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let kind = bytes.first()? & 0x0f;
    Some(match *bytes.get(1)? {
        126 => (kind, 4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (kind, 10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (kind, 2, usize::from(short)),
    })
}
