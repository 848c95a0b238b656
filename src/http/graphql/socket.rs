//! GraphQL over WebSocket: the sub-protocol `graphql-transport-ws`, and the older `graphql-ws`.
//!
//! One task talks with the client and owns the socket; each operation runs in a task of its own and hands its messages
//! over a bounded queue. What ends a socket from outside (shutdown, the credential's end, a reader that takes nothing)
//! interrupts the talk wherever it stands, also in the middle of a write.

use std::{borrow::Cow, collections::HashMap, panic::AssertUnwindSafe, pin::pin, sync::Arc};

use async_graphql::{Executor, http::ALL_WEBSOCKET_PROTOCOLS};
use async_graphql_axum::GraphQLProtocol;
use axum::{
    extract::{
        FromRequestParts, Request, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, SinkExt};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::{
    sync::mpsc::{self, error::SendTimeoutError},
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Door,
    access::{Access, AccessError},
    error::{Code, panicked},
    guard::Params,
    operation::Part,
};

const KEEP_ALIVE: &str = r#"{"type":"ka"}"#;
/// The library's buffers of 128 KiB are most of what an idle socket costs.
const SOCKET_BUFFER: usize = 4 * 1024;
/// Messages that are written before they are flushed together.
const FLUSH_AFTER: usize = 16;
const LONGEST_ID: usize = 256;
/// A close frame has 125 bytes; two are the code's.
const LONGEST_REASON: usize = 123;

/// Why a talk is over.
enum End {
    /// We close it.
    Close(u16, Cow<'static, str>),
    /// The other side is gone.
    Gone,
}

impl End {
    fn going_away() -> Self {
        Self::Close(1001, "The server is shutting down".into())
    }

    fn try_again(reason: &'static str) -> Self {
        Self::Close(1013, reason.into())
    }

    fn bad_message(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Close(4400, reason.into())
    }
}

impl<E: Executor, A: Access> Door<E, A> {
    /// Opens a socket.
    pub(super) async fn over_socket(self, request: Request) -> Response {
        let (mut parts, _) = request.into_parts();
        if let Err(status) = GraphQLProtocol::from_request_parts(&mut parts, &()).await {
            return (status, "Use the sub-protocol graphql-transport-ws, or the older graphql-ws.\n")
                .into_response();
        }
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade,
            Err(rejection) => return rejection.into_response(),
        };
        let shutdown = self.access.shutdown();
        if shutdown.is_cancelled() {
            return (StatusCode::SERVICE_UNAVAILABLE, "The server is shutting down.\n").into_response();
        }
        let authorization = parts.headers.get(header::AUTHORIZATION).cloned();
        let running = self.access.tracker().token();
        upgrade
            .read_buffer_size(SOCKET_BUFFER)
            .write_buffer_size(SOCKET_BUFFER)
            .max_message_size(self.limits.message_bytes)
            .max_frame_size(self.limits.message_bytes)
            .protocols(ALL_WEBSOCKET_PROTOCOLS)
            .on_upgrade(move |socket| async move {
                self.converse(socket, authorization, shutdown).await;
                drop(running);
            })
    }

    async fn converse(
        self,
        mut socket: WebSocket,
        authorization: Option<HeaderValue>,
        shutdown: CancellationToken,
    ) {
        let Some(dialect) = Dialect::of(&socket) else {
            return self.part(&mut socket, End::Close(4406, "Subprotocol not acceptable".into())).await;
        };
        let greeting = Box::pin(self.greet(&mut socket, dialect, authorization));
        let greeted = tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(End::going_away()),
            greeted = time::timeout(self.limits.init_timeout, greeting) => greeted
                .unwrap_or_else(|_| Err(End::Close(4408, "Connection initialisation timeout".into()))),
        };
        let (end, _permit) = match greeted {
            Ok((caller, permit)) => {
                (self.attend(&mut socket, dialect, caller, &shutdown).await, Some(permit))
            }
            Err(end) => (end, None),
        };
        self.part(&mut socket, end).await;
    }

    /// Waits for `connection_init`, finds the caller, acknowledges.
    async fn greet(
        &self,
        socket: &mut WebSocket,
        dialect: Dialect,
        authorization: Option<HeaderValue>,
    ) -> Result<(A::Caller, A::SocketPermit), End> {
        let told = loop {
            match receive(socket, dialect).await? {
                ClientMessage::Init { authorization } => break authorization,
                ClientMessage::Ping(payload) => write(socket, pong(payload.as_deref())).await?,
                ClientMessage::Subscribe { .. } => return Err(End::Close(4401, "Unauthorized".into())),
                ClientMessage::Terminate => return Err(End::Gone),
                ClientMessage::Complete { .. } | ClientMessage::Pong | ClientMessage::Alive => {}
            }
        };
        let told = told.as_deref().or_else(|| authorization.as_ref().and_then(|value| value.to_str().ok()));
        let admitted = match self.access.authenticate(told).await {
            Err(AccessError::Unauthenticated) => Err(End::Close(4403, "Forbidden".into())),
            Err(AccessError::RateLimited { .. }) => {
                Err(End::try_again("Too many requests with this credential"))
            }
            Err(AccessError::Unavailable { .. }) => Err(End::try_again("Temporarily unavailable")),
            Ok(caller) => match self.access.admit_socket(&caller) {
                Some(permit) => Ok((caller, permit)),
                None => Err(End::try_again("Too many sockets and event streams at once")),
            },
        };
        if dialect == Dialect::Legacy {
            // Here the reason is a message; the close frame that follows says it again.
            if let Err(End::Close(_, reason)) = &admitted {
                let error = frame(None, "connection_error", Some(&json!({ "message": reason })));
                write(socket, Message::Text(error.into())).await?;
            }
        }
        let admitted = admitted?;
        write(socket, Message::Text(r#"{"type":"connection_ack"}"#.into())).await?;
        if dialect == Dialect::Legacy {
            write(socket, Message::Text(KEEP_ALIVE.into())).await?;
        }
        Ok(admitted)
    }

    /// Talks until one side or the credential ends.
    async fn attend(
        &self,
        socket: &mut WebSocket,
        dialect: Dialect,
        caller: A::Caller,
        shutdown: &CancellationToken,
    ) -> End {
        let stalled = CancellationToken::new();
        let ends = pin!(self.access.ends(&caller));
        let talk = Box::pin(Talk::new(self, dialect, caller.clone(), stalled.clone()).run(socket));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => End::going_away(),
            reason = ends => End::Close(4403, reason.as_str().into()),
            () = stalled.cancelled() => End::try_again("Too slow: reconnect from your last cursor"),
            end = talk => end,
        }
    }

    /// Closes in an orderly way, within the time that there is for it.
    async fn part(&self, socket: &mut WebSocket, end: End) {
        let goodbye = async {
            if let End::Close(code, reason) = end {
                let reason = cut(&reason, LONGEST_REASON).into();
                // The other side may be gone by now, and then there is nobody to tell.
                let _ = socket.send(Message::Close(Some(CloseFrame { code, reason }))).await;
            }
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = time::timeout(self.limits.close_grace, goodbye).await;
    }
}

/// One acknowledged connection.
struct Talk<'a, E, A: Access> {
    door: &'a Door<E, A>,
    dialect: Dialect,
    caller: A::Caller,
    running: HashMap<Arc<str>, Running>,
    /// Counts operations, so that what an ended one left in the queue is not taken for a later one of the same id.
    serial: u64,
    /// Cancelled by an operation whose messages nobody takes.
    stalled: CancellationToken,
    queue: mpsc::Sender<Outgoing>,
    outgoing: mpsc::Receiver<Outgoing>,
}

struct Running {
    serial: u64,
    /// Stops the operation's task when it is dropped.
    _stop: DropGuard,
}

/// A message of an operation on its way to the client.
struct Outgoing {
    serial: u64,
    id: Arc<str>,
    text: String,
    last: bool,
}

impl<'a, E: Executor, A: Access> Talk<'a, E, A> {
    fn new(door: &'a Door<E, A>, dialect: Dialect, caller: A::Caller, stalled: CancellationToken) -> Self {
        let (queue, outgoing) = mpsc::channel(door.limits.outgoing_queue.max(1));
        Self { door, dialect, caller, running: HashMap::new(), serial: 0, stalled, queue, outgoing }
    }

    async fn run(mut self, socket: &mut WebSocket) -> End {
        let interval = self.door.limits.ping_interval;
        let mut ping = time::interval_at(time::Instant::now() + interval, interval);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = true;
        loop {
            let step = tokio::select! {
                message = receive(socket, self.dialect) => {
                    heard = true;
                    match message {
                        Ok(message) => self.hear(socket, message).await,
                        Err(end) => Err(end),
                    }
                }
                Some(first) = self.outgoing.recv() => self.tell(socket, first).await,
                _ = ping.tick() => {
                    if std::mem::take(&mut heard) {
                        self.in_time(self.keep_alive(socket)).await
                    } else {
                        Err(End::try_again("No answer to the ping"))
                    }
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// The other side's library answers the frame by itself; clients of the older dialect also want a message.
    async fn keep_alive(&self, socket: &mut WebSocket) -> Result<(), End> {
        if self.dialect == Dialect::Legacy {
            write(socket, Message::Text(KEEP_ALIVE.into())).await?;
        }
        write(socket, Message::Ping(axum::body::Bytes::new())).await
    }

    async fn hear(&mut self, socket: &mut WebSocket, message: ClientMessage) -> Result<(), End> {
        match message {
            ClientMessage::Init { .. } => Err(End::Close(4429, "Too many initialisation requests".into())),
            ClientMessage::Subscribe { id, params } => {
                if self.running.contains_key(&*id) {
                    return Err(End::Close(4409, format!("Subscriber for {id} already exists").into()));
                }
                if self.running.len() >= self.door.limits.operations_per_socket {
                    let error = Code::RateLimited.error_after(
                        "Too many operations at once on this socket.",
                        time::Duration::from_secs(1),
                    );
                    let refused = self.dialect.frame(&id, &Part::Refused(vec![error])).unwrap_or_default();
                    return self.in_time(write(socket, Message::Text(refused.into()))).await;
                }
                self.start(id, *params);
                Ok(())
            }
            ClientMessage::Complete { id } => {
                self.running.remove(&*id);
                Ok(())
            }
            ClientMessage::Ping(payload) => self.in_time(write(socket, pong(payload.as_deref()))).await,
            ClientMessage::Terminate => Err(End::Close(1000, "Terminated by the client".into())),
            ClientMessage::Pong | ClientMessage::Alive => Ok(()),
        }
    }

    fn start(&mut self, id: Arc<str>, params: Params) {
        self.serial += 1;
        let stop = CancellationToken::new();
        let running = Running { serial: self.serial, _stop: stop.clone().drop_guard() };
        self.running.insert(id.clone(), running);
        let line = Line {
            dialect: self.dialect,
            serial: self.serial,
            id,
            queue: self.queue.clone(),
            stalled: self.stalled.clone(),
            patience: self.door.limits.slow_reader,
        };
        let (door, caller) = (self.door.clone(), self.caller.clone());
        self.door.access.tracker().spawn(async move {
            let work = async {
                // Apart, so that its memory is given back while the subscription waits.
                let begin =
                    Box::pin(async move { door.begin(&caller, door.guard.check(params), None).await });
                let Ok(mut parts) = AssertUnwindSafe(begin).catch_unwind().await else {
                    return line.tell(&Part::Refused(vec![panicked("")])).await;
                };
                while let Some(part) = parts.next().await {
                    line.tell(&part).await?;
                }
                Some(())
            };
            // `None` all the way: the socket is gone, and so is whoever wanted to know.
            let _ = stop.run_until_cancelled(work).await;
        });
    }

    /// Writes what the operations have to say, several messages with one flush.
    async fn tell(&mut self, socket: &mut WebSocket, first: Outgoing) -> Result<(), End> {
        let limit = self.door.limits.slow_reader;
        let writing = async {
            let mut next = Some(first);
            let mut fed = 0;
            while let Some(message) = next.take() {
                if self.running.get(&message.id).is_some_and(|running| running.serial == message.serial) {
                    if message.last {
                        self.running.remove(&message.id);
                    }
                    socket.feed(Message::Text(message.text.into())).await.map_err(|_| End::Gone)?;
                    fed += 1;
                }
                if fed < FLUSH_AFTER {
                    next = self.outgoing.try_recv().ok();
                }
            }
            socket.flush().await.map_err(|_| End::Gone)
        };
        in_time(limit, writing).await
    }

    async fn in_time(&self, writing: impl Future<Output = Result<(), End>>) -> Result<(), End> {
        in_time(self.door.limits.slow_reader, writing).await
    }
}

async fn in_time(limit: time::Duration, writing: impl Future<Output = Result<(), End>>) -> Result<(), End> {
    time::timeout(limit, writing)
        .await
        .unwrap_or_else(|_| Err(End::try_again("Too slow: reconnect from your last cursor")))
}

async fn write(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    socket.send(message).await.map_err(|_| End::Gone)
}

/// An operation's way to its client; `None` when nobody is there any more.
#[derive(Clone)]
struct Line {
    dialect: Dialect,
    serial: u64,
    id: Arc<str>,
    queue: mpsc::Sender<Outgoing>,
    stalled: CancellationToken,
    patience: time::Duration,
}

impl Line {
    async fn tell(&self, part: &Part) -> Option<()> {
        let Some(text) = self.dialect.frame(&self.id, part) else { return Some(()) };
        let message = Outgoing { serial: self.serial, id: self.id.clone(), text, last: part.is_last() };
        match self.queue.send_timeout(message, self.patience).await {
            Ok(()) => Some(()),
            Err(SendTimeoutError::Timeout(_)) => {
                self.stalled.cancel();
                None
            }
            Err(SendTimeoutError::Closed(_)) => None,
        }
    }
}

/// The sub-protocols: what they call the same things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// `graphql-transport-ws`.
    Transport,
    /// `graphql-ws` as subscriptions-transport-ws spoke it, which some mobile clients still ask for.
    Legacy,
}

impl Dialect {
    fn of(socket: &WebSocket) -> Option<Self> {
        match socket.protocol()?.as_bytes() {
            b"graphql-transport-ws" => Some(Self::Transport),
            b"graphql-ws" => Some(Self::Legacy),
            _ => None,
        }
    }

    /// The message that tells a part; none where the dialect has no word for it.
    fn frame(self, id: &str, part: &Part) -> Option<String> {
        Some(match (part, self) {
            (Part::Next { payload, .. }, Self::Transport) => frame(Some(id), "next", Some(payload)),
            (Part::Next { payload, .. }, Self::Legacy) => frame(Some(id), "data", Some(payload)),
            (Part::Refused(errors), Self::Transport) => frame(Some(id), "error", Some(errors)),
            // One error, not a list of them.
            (Part::Refused(errors), Self::Legacy) => frame(Some(id), "error", errors.first()),
            (Part::Complete, _) => frame::<()>(Some(id), "complete", None),
            (Part::Beat(Some(cursor)), Self::Transport) => {
                frame(None, "ping", Some(&json!({ "cursors": { id: cursor } })))
            }
            (Part::Beat(_), _) => return None,
        })
    }
}

fn frame<P: Serialize + ?Sized>(id: Option<&str>, kind: &'static str, payload: Option<&P>) -> String {
    #[derive(Serialize)]
    struct Frame<'a, P: Serialize + ?Sized> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a P>,
    }
    serde_json::to_string(&Frame { id, kind, payload }).unwrap_or_else(|error| {
        tracing::error!(error = %error, "A WebSocket message could not be written as JSON");
        String::new()
    })
}

fn pong(payload: Option<&RawValue>) -> Message {
    Message::Text(frame(None, "pong", payload).into())
}

/// The longest beginning of a text with at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// What a client may say.
enum ClientMessage {
    Init {
        authorization: Option<String>,
    },
    Subscribe {
        id: Arc<str>,
        params: Box<Params>,
    },
    Complete {
        id: String,
    },
    Ping(Option<Box<RawValue>>),
    Pong,
    Terminate,
    /// A frame of the WebSocket protocol itself: answered by the library, but a sign of life.
    Alive,
}

/// The next message of the client. Dropped while it waits, it loses nothing.
async fn receive(socket: &mut WebSocket, dialect: Dialect) -> Result<ClientMessage, End> {
    match socket.recv().await {
        Some(Ok(Message::Text(text))) => {
            ClientMessage::read(dialect, text.as_str()).map_err(End::bad_message)
        }
        Some(Ok(Message::Binary(_))) => Err(End::bad_message("Messages are JSON in text frames")),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(ClientMessage::Alive),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Err(error)) => Err(broken(&error.to_string())),
    }
}

/// How to close when the client's frames cannot be read. The library tells only in words.
fn broken(error: &str) -> End {
    if error.contains("too long") {
        End::Close(1009, "The message is too big".into())
    } else if error.contains("UTF-8") || error.contains("utf-8") {
        End::Close(1007, "The text is not UTF-8".into())
    } else {
        End::Close(1002, "Not the WebSocket protocol".into())
    }
}

impl ClientMessage {
    fn read(dialect: Dialect, text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
            #[serde(borrow)]
            id: Option<Cow<'a, str>>,
            #[serde(borrow)]
            payload: Option<&'a RawValue>,
        }

        #[derive(Deserialize)]
        struct Credentials {
            #[serde(alias = "Authorization")]
            authorization: Option<String>,
        }

        let Envelope { kind, id, payload } =
            serde_json::from_str(text).map_err(|error| format!("Invalid message: {error}"))?;
        if payload.is_some_and(|payload| !payload.get().starts_with('{')) {
            return Err(format!("Invalid message: the payload of {kind:?} is not an object"));
        }
        let id = || match id.as_deref() {
            Some(id) if (1..=LONGEST_ID).contains(&id.len()) => Ok(id),
            _ => Err(format!("Invalid message: {kind:?} needs an id of 1 to {LONGEST_ID} bytes")),
        };
        Ok(match (&*kind, dialect) {
            ("connection_init", _) => Self::Init {
                authorization: payload
                    .map(|payload| serde_json::from_str::<Credentials>(payload.get()))
                    .transpose()
                    .map_err(|error| format!("Invalid message: connection_init: {error}"))?
                    .and_then(|credentials| credentials.authorization),
            },
            ("subscribe", Dialect::Transport) | ("start", Dialect::Legacy) => {
                let payload = payload.ok_or_else(|| format!("Invalid message: {kind} needs a payload"))?;
                let params = serde_json::from_str(payload.get())
                    .map_err(|error| format!("Invalid message: {kind}: {error}"))?;
                Self::Subscribe { id: id()?.into(), params: Box::new(params) }
            }
            ("complete", Dialect::Transport) | ("stop", Dialect::Legacy) => {
                Self::Complete { id: id()?.to_owned() }
            }
            ("ping", Dialect::Transport) => Self::Ping(payload.map(ToOwned::to_owned)),
            ("pong", Dialect::Transport) => Self::Pong,
            ("connection_terminate", Dialect::Legacy) => Self::Terminate,
            _ => return Err(format!("Invalid message: unknown type {kind:?}")),
        })
    }
}
