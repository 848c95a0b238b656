//! `tandem events tail`: follows the stream of any installation, as its partners' programs do, and passes events on to a
//! receiver on the developer's machine. It shares nothing with a service but its API.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use url::Url;

use crate::clock::Clock;
use crate::upstream::http::{Reach, http_client};
use crate::webhooks::signing;

const DOCUMENT: &str = concat!(include_str!("tail.graphql"), include_str!("graphql/event_data.graphql"));
/// Longest wait for a connection and its acknowledgement.
const GREETING: Duration = Duration::from_secs(15);
/// A service says something far more often than this: what says nothing is gone.
const SILENCE: Duration = Duration::from_secs(120);
/// Pauses before a connection, or a post, is tried again: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Times that a post is tried; then its event is passed over.
const POSTS: u32 = 5;

/// What to follow, and where to.
pub struct Tail {
    /// The installation, such as `https://tandem.example.org`.
    pub url: Url,
    /// An API key with the scope READ.
    pub key: SecretString,
    /// Only events of these types; empty: of all.
    pub types: Vec<String>,
    /// Only events of these clients; empty: of all.
    pub clients: Vec<String>,
    /// Go on after this place; none: from now on.
    pub after: Option<String>,
    /// Where each event is posted.
    pub forward: Option<Forward>,
}

/// A local receiver of events.
pub struct Forward {
    url: Url,
    secret: SecretString,
    http: reqwest::Client,
}

impl Forward {
    /// Posts to this address, signed with this secret (`whsec_…`).
    ///
    /// # Errors
    /// When the secret is none, or no HTTP client can be made.
    pub fn new(url: Url, secret: SecretString) -> anyhow::Result<Self> {
        signing::sign(std::slice::from_ref(&secret), "", 0, b"")
            .context("the secret is not one: it needs whsec_ and base64, as webhook secrets have")?;
        Ok(Self { url, secret, http: http_client(Reach::Beside)? })
    }

    /// Posts an event as a webhook would bring it; says on standard error what did not work.
    async fn post(&self, event: &Value) {
        let id = event["id"].as_str().unwrap_or_default();
        let body =
            json!({ "type": event["type"], "timestamp": event["occurredAt"], "data": event }).to_string();
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=POSTS {
            match self.attempt(id, body.clone()).await {
                Ok(()) => return,
                Err(error) => {
                    note(format!("{} did not take {id} ({attempt} of {POSTS}): {error:#}", self.url));
                }
            }
            if attempt < POSTS {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    async fn attempt(&self, id: &str, body: String) -> anyhow::Result<()> {
        let timestamp = Clock::real_now().0 / 1_000_000;
        let signature = signing::sign(std::slice::from_ref(&self.secret), id, timestamp, body.as_bytes())?;
        let request = self
            .http
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature);
        let status = request.body(body).send().await?.status();
        anyhow::ensure!(status.is_success(), "it answered {status}");
        Ok(())
    }
}

/// Why a connection is over.
enum Over {
    /// It can be tried again.
    Broken(String),
    /// It would end the same way again.
    Refused(anyhow::Error),
    /// Nobody reads any more what is printed.
    Unread,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Tail {
    /// Follows until nobody reads the lines any more: one event a line. Reconnects, and goes on where it was cut.
    ///
    /// # Errors
    /// When the service refuses: the key, the filter or the place.
    pub async fn run(mut self, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let place = self.after.clone();
            match self.follow(out).await {
                Over::Unread => return Ok(()),
                Over::Refused(error) => return Err(error),
                Over::Broken(why) => note(format!("{why}; connecting again")),
            }
            // Progress was made: whatever broke is new.
            pause = if self.after == place { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
            sleep(pause).await;
        }
    }

    async fn follow(&mut self, out: &mut (impl Write + Send)) -> Over {
        let mut socket = match timeout(GREETING, self.connect()).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(over)) => return over,
            Err(_) => return Over::Broken("nobody answers".to_owned()),
        };
        loop {
            let frame = match timeout(SILENCE, hear(&mut socket)).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(over)) => return over,
                Err(_) => return Over::Broken("the connection is silent".to_owned()),
            };
            match frame["type"].as_str() {
                Some("next") => {
                    if let Some(over) = self.take(&frame["payload"], out).await {
                        return over;
                    }
                }
                Some("error") => return refusal(&frame["payload"]),
                Some("complete") => return Over::Broken("the stream ended".to_owned()),
                _ => {}
            }
        }
    }

    /// Takes a result; its place counts only when its event was printed and posted.
    async fn take(&mut self, payload: &Value, out: &mut (impl Write + Send)) -> Option<Over> {
        if payload["errors"].is_array() {
            return Some(refusal(&payload["errors"]));
        }
        let event = &payload["data"]["events"];
        if event["id"].is_string() {
            if writeln!(out, "{event}").and_then(|()| out.flush()).is_err() {
                return Some(Over::Unread);
            }
            if let Some(forward) = &self.forward {
                forward.post(event).await;
            }
        }
        if let Some(cursor) = payload["extensions"]["cursor"].as_str() {
            self.after = Some(cursor.to_owned());
        }
        None
    }

    async fn connect(&self) -> Result<Socket, Over> {
        let broken = |error: tungstenite::Error| Over::Broken(error.to_string());
        let mut request = socket_url(&self.url)
            .and_then(|url| Ok(url.as_str().into_client_request()?))
            .map_err(Over::Refused)?;
        request
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
        let (mut socket, _) = connect_async(request).await.map_err(broken)?;
        let authorization = format!("Bearer {}", self.key.expose_secret());
        let init = json!({ "type": "connection_init", "payload": { "authorization": authorization } });
        socket.send(Message::text(init.to_string())).await.map_err(broken)?;
        while hear(&mut socket).await?["type"] != "connection_ack" {}
        let mut filter = json!({});
        if !self.types.is_empty() {
            filter["types"] = json!(self.types);
        }
        if !self.clients.is_empty() {
            filter["clientIds"] = json!(self.clients);
        }
        let payload = json!({
            "query": DOCUMENT,
            "variables": { "after": self.after, "filter": filter },
            // How far the stream is complete, also while nothing comes.
            "extensions": { "heartbeat": true },
        });
        let subscribe = json!({ "type": "subscribe", "id": "tail", "payload": payload });
        socket.send(Message::text(subscribe.to_string())).await.map_err(broken)?;
        Ok(socket)
    }
}

/// The next message. Pings are answered by the library.
async fn hear(socket: &mut Socket) -> Result<Value, Over> {
    loop {
        let message = match socket.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(Over::Broken(error.to_string())),
            None => return Err(Over::Broken("the connection ended".to_owned())),
        };
        match message {
            Message::Text(text) => {
                return serde_json::from_str(&text).map_err(|error| Over::Broken(error.to_string()));
            }
            Message::Close(Some(close)) => {
                let (code, reason) = (u16::from(close.code), close.reason.to_string());
                return Err(match code {
                    4401 | 4403 => Over::Refused(anyhow::anyhow!("the service closed with {code}: {reason}")),
                    _ => Over::Broken(format!("the service closed with {code}: {reason}")),
                });
            }
            _ => {}
        }
    }
}

/// What the service's errors mean: whether it can be tried again is said by their code.
fn refusal(errors: &Value) -> Over {
    let error = &errors[0];
    let code = error["extensions"]["code"].as_str().unwrap_or_default();
    let message = error["message"].as_str().unwrap_or_default();
    match code {
        "UNAVAILABLE" | "TIMEOUT" | "RATE_LIMITED" | "INTERNAL_ERROR" => {
            Over::Broken(format!("{code}: {message}"))
        }
        "CURSOR_EXPIRED" => {
            let oldest = error["extensions"]["oldestCursor"].as_str().unwrap_or_default();
            Over::Refused(anyhow::anyhow!("{code}: {message} The oldest place: --after {oldest}"))
        }
        _ => Over::Refused(anyhow::anyhow!("{code}: {message}")),
    }
}

/// The address of an installation's socket.
fn socket_url(url: &Url) -> anyhow::Result<Url> {
    let mut socket = url.clone();
    let scheme = match url.scheme() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        other => bail!("--url begins with {other}:; it needs http: or https:"),
    };
    if socket.set_scheme(scheme).is_err() {
        bail!("--url is {url}; it needs an address such as https://tandem.example.org");
    }
    let path = socket.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/graphql") {
        socket.set_path(&format!("{path}/graphql"));
    }
    Ok(socket)
}

fn note(what: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "tandem: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_s_address_leads_to_its_socket() {
        for (url, socket) in [
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/graphql"),
            ("https://tandem.example.org/", "wss://tandem.example.org/graphql"),
            ("https://example.org/tandem", "wss://example.org/tandem/graphql"),
            ("wss://example.org/graphql", "wss://example.org/graphql"),
        ] {
            assert_eq!(socket_url(&Url::parse(url).unwrap()).unwrap().as_str(), socket, "{url}");
        }
        assert!(socket_url(&Url::parse("ftp://example.org").unwrap()).is_err());
    }
}
