//! A hand-made HTTP/1.1 client: one request at a time on a kept connection, no copies but the kernel's.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest answer that is read.
const LARGEST: usize = 64 << 20;

/// A kept connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, in the connection's buffer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("nobody listens at {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 << 10) })
    }

    /// Sends a request that is ready, and reads its answer whole.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            self.more().await?;
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let (status, length) = read_head(self.buffer.get(..head).unwrap_or_default())?;
        ensure!(length <= LARGEST, "an answer of {length} bytes");
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        Ok(Answer { status, body: self.buffer.get(head..head + length).unwrap_or_default() })
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        self.buffer.reserve(32 << 10);
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the service closed the connection");
        }
        Ok(())
    }
}

fn read_head(head: &[u8]) -> anyhow::Result<(u16, usize)> {
    let head = std::str::from_utf8(head).context("the answer's head is no text")?;
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).context("no HTTP answer")?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok((status, length.context("the answer does not tell its length")?))
}

/// A request, ready to be sent.
pub(crate) fn request(method: &str, host: SocketAddr, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n")
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A GraphQL request, ready to be sent.
pub(crate) fn graphql(host: SocketAddr, key: Option<&str>, query: &str, variables: &Value) -> Vec<u8> {
    let mut headers = "content-type: application/json\r\n".to_owned();
    if let Some(key) = key {
        headers.push_str(&format!("authorization: Bearer {key}\r\n"));
    }
    let body = json!({ "query": query, "variables": variables }).to_string();
    request("POST", host, "/graphql", &headers, body.as_bytes())
}

/// The data of a GraphQL request that must succeed, on a connection of its own.
pub(crate) async fn ask(
    host: SocketAddr,
    key: Option<&str>,
    query: &str,
    variables: &Value,
) -> anyhow::Result<Value> {
    let mut connection = Connection::open(host).await?;
    let answer = connection.send(&graphql(host, key, query, variables)).await?;
    let mut told: Value = serde_json::from_slice(answer.body)
        .with_context(|| format!("status {}: {}", answer.status, String::from_utf8_lossy(answer.body)))?;
    ensure!(told.get("errors").is_none(), "{told:#}");
    Ok(told["data"].take())
}
