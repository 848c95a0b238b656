//! An independent reader of server-sent events: reqwest, and the format as browsers read it.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};

use super::PATIENCE;

/// One operation, answered by an event stream.
pub struct EventStream {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    unread: Vec<u8>,
    /// The id of the last event that had one, with data or without.
    pub last_id: Option<String>,
}

/// One event with data.
#[derive(Debug)]
pub struct Event {
    pub id: Option<String>,
    pub kind: String,
    pub data: String,
}

impl EventStream {
    /// Asks; the answer must be an event stream.
    pub async fn open(url: &str, key: &str, query: &str, variables: Value, last_id: Option<&str>) -> Self {
        Self::try_open(url, key, query, variables, last_id).await.expect("no event stream")
    }

    /// Asks; none if nobody answers, or not with an event stream.
    pub async fn try_open(
        url: &str,
        key: &str,
        query: &str,
        variables: Value,
        last_id: Option<&str>,
    ) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "a client of its own, whose answers have no end")]
        let http = reqwest::Client::builder().build().unwrap();
        let mut request = http.post(url).bearer_auth(key).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.json(&json!({ "query": query, "variables": variables })).send().await.ok()?;
        if answer.status() != 200 {
            return None;
        }
        let last_id = last_id.map(ToOwned::to_owned);
        Some(Self { body: answer.bytes_stream().boxed(), unread: Vec::new(), last_id })
    }

    /// The next event with data; none when the stream has ended or broken.
    pub async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("nothing came")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                let block = String::from_utf8(block).unwrap();
                let (mut id, mut kind, mut data) = (None, String::new(), None::<String>);
                for line in block.lines() {
                    let (field, value) = line.split_once(':').unwrap_or((line, ""));
                    let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
                    match field {
                        "id" => id = Some(value),
                        "event" => kind = value,
                        "data" => data = Some(value),
                        _ => {}
                    }
                }
                if id.is_some() {
                    self.last_id.clone_from(&id);
                }
                if let Some(data) = data {
                    return Some(Event { id, kind, data });
                }
            }
            self.unread.extend(self.body.next().await?.ok()?);
        }
    }

    /// The payload of the next result.
    pub async fn payload(&mut self) -> Value {
        let event = self.next().await.expect("the stream has ended");
        assert_eq!(event.kind, "next", "{event:?}");
        serde_json::from_str(&event.data).unwrap()
    }
}
