//! GraphQL over WebSocket: the sub-protocol `graphql-transport-ws`, and the older `graphql-ws`.
//!
//! One task talks with the client: it owns the socket and runs the operations, so that what many subscribers are told takes
//! one hop to each. While the client takes nothing, each operation goes on up to its next message and pauses there: never
//! in the middle, where it may hold what others wait for. What ends a socket from outside (shutdown, the credential's
//! end) interrupts the talk wherever it stands, also in the middle of a write.

use std::{
    borrow::Cow,
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

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
use futures_util::{SinkExt, Stream, StreamExt, stream::BoxStream};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::time::{self, MissedTickBehavior};
use tokio_stream::StreamMap;
use tokio_util::sync::CancellationToken;

use super::{
    Door,
    access::{Access, AccessError},
    error::Code,
    guard::Params,
    operation::{Part, Payload},
};

const KEEP_ALIVE: &str = r#"{"type":"ka"}"#;
/// What is read at once. The library's own 128 KiB are most of what an idle socket costs.
const READ_BUFFER: usize = 4 * 1024;
/// What is gathered for one write; nothing of it is held by a socket that was never told anything.
const WRITE_BUFFER: usize = 32 * 1024;
/// Messages that are flushed together at most.
const FLUSH_AFTER: usize = 64;
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
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
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
                let open = self.sockets.open();
                (self.attend(&mut socket, dialect, caller, &shutdown).await, Some((permit, open)))
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
        let ends = pin!(self.access.ends(&caller));
        let talk = Box::pin(Talk::new(self, dialect, caller.clone()).run(socket));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => End::going_away(),
            reason = ends => End::Close(4403, reason.as_str().into()),
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
    /// By the ids that the client gave them. Dropping one stops it.
    operations: StreamMap<Arc<str>, Operation>,
}

/// An operation, and what it has to say next.
struct Operation {
    parts: BoxStream<'static, Part>,
    next: Option<Part>,
}

impl Operation {
    /// Goes on up to the next part.
    fn advance(&mut self, context: &mut Context<'_>) {
        if self.next.is_none()
            && let Poll::Ready(part) = self.parts.poll_next_unpin(context)
        {
            self.next = part;
        }
    }
}

impl Stream for Operation {
    type Item = Part;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Part>> {
        match self.next.take() {
            Some(part) => Poll::Ready(Some(part)),
            None => self.parts.poll_next_unpin(context),
        }
    }
}

/// Lets all operations go on up to their next parts, for as long as it is polled.
async fn advance(operations: &mut StreamMap<Arc<str>, Operation>) -> Infallible {
    poll_fn(|context| {
        operations.values_mut().for_each(|operation| operation.advance(context));
        Poll::Pending
    })
    .await
}

/// What is said next; nothing while the socket rests.
async fn next(operations: &mut StreamMap<Arc<str>, Operation>, resting: bool) -> Option<(Arc<str>, Part)> {
    if resting {
        match advance(operations).await {}
    }
    operations.next().await
}

impl<'a, E: Executor, A: Access> Talk<'a, E, A> {
    fn new(door: &'a Door<E, A>, dialect: Dialect, caller: A::Caller) -> Self {
        Self { door, dialect, caller, operations: StreamMap::new() }
    }

    async fn run(mut self, socket: &mut WebSocket) -> End {
        let interval = self.door.limits.ping_interval;
        let mut ping = time::interval_at(time::Instant::now() + interval, interval);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rest = pin!(time::sleep(time::Duration::ZERO));
        let mut heard = true;
        let mut resting = false;
        loop {
            let step = tokio::select! {
                message = receive(socket, self.dialect) => {
                    heard = true;
                    // It may ask for something, and wait for that.
                    resting = false;
                    match message {
                        Ok(message) => self.hear(socket, message).await,
                        Err(end) => Err(end),
                    }
                }
                Some((id, part)) = next(&mut self.operations, resting) => {
                    let told = self.tell(socket, id, part).await;
                    let pause = self.door.sockets.pause();
                    if !pause.is_zero() {
                        rest.as_mut().reset(time::Instant::now() + pause);
                        resting = true;
                    }
                    told
                }
                () = &mut rest, if resting => {
                    resting = false;
                    Ok(())
                }
                _ = ping.tick() => {
                    if std::mem::take(&mut heard) {
                        let dialect = self.dialect;
                        self.say(keep_alive(socket, dialect)).await
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

    async fn hear(&mut self, socket: &mut WebSocket, message: ClientMessage) -> Result<(), End> {
        match message {
            ClientMessage::Init { .. } => Err(End::Close(4429, "Too many initialisation requests".into())),
            ClientMessage::Subscribe { id, params } => {
                if self.operations.contains_key(&id) {
                    return Err(End::Close(4409, format!("Subscriber for {id} already exists").into()));
                }
                if self.operations.len() >= self.door.limits.operations_per_socket {
                    let error = Code::RateLimited.error_after(
                        "Too many operations at once on this socket.",
                        time::Duration::from_secs(1),
                    );
                    let refused = self.dialect.frame(&id, &Part::Refused(vec![error])).unwrap_or_default();
                    return self.say(write(socket, Message::Text(refused.into()))).await;
                }
                let guard = self.door.guard.clone();
                let checked = async move { guard.check(*params) };
                let parts = self.door.parts(self.caller.clone(), checked, None);
                self.operations.insert(id, Operation { parts, next: None });
                Ok(())
            }
            ClientMessage::Complete { id } => {
                self.operations.remove(&*id);
                Ok(())
            }
            ClientMessage::Ping(payload) => self.say(write(socket, pong(payload.as_deref()))).await,
            ClientMessage::Terminate => Err(End::Close(1000, "Terminated by the client".into())),
            ClientMessage::Pong | ClientMessage::Alive => Ok(()),
        }
    }

    /// Writes what the operations have to say, several messages with one flush.
    async fn tell(&mut self, socket: &mut WebSocket, id: Arc<str>, part: Part) -> Result<(), End> {
        let mut messages = VecDeque::new();
        let mut next = Some((id, part));
        while let Some((id, part)) = next.take() {
            if let Some(text) = self.dialect.frame(&id, &part) {
                messages.push_back(Message::Text(text.into()));
            }
            if part.is_last() {
                self.operations.remove(&id);
            }
            if messages.len() < FLUSH_AFTER {
                next = poll_fn(|context| match self.operations.poll_next_unpin(context) {
                    Poll::Ready(next) => Poll::Ready(next),
                    Poll::Pending => Poll::Ready(None),
                })
                .await;
            }
        }
        let writing = async {
            while let Some(message) = messages.pop_front() {
                socket.feed(message).await.map_err(|_| End::Gone)?;
            }
            socket.flush().await.map_err(|_| End::Gone)
        };
        self.say(writing).await
    }

    /// Writes something while the operations go on up to their next parts.
    async fn say(&mut self, writing: impl Future<Output = Result<(), End>>) -> Result<(), End> {
        tokio::select! {
            biased;
            written = in_time(self.door.limits.slow_reader, writing) => written,
            never = advance(&mut self.operations) => match never {},
        }
    }
}

/// How many sockets are open, and how long each rests after it was written to.
///
/// A write is a system call, and by far the dearest part of telling somebody something. Where many are told the same
/// events, each socket rests for about as long as it takes to write to all of them and to be read; what comes meanwhile
/// goes out with one write. Few sockets never rest.
#[derive(Clone, Default)]
pub(super) struct Sockets(Arc<AtomicU32>);

impl Sockets {
    /// What a write and its reader cost, roughly.
    const WRITE: time::Duration = time::Duration::from_micros(20);
    /// Nobody waits longer than this for company.
    const LONGEST_PAUSE: time::Duration = time::Duration::from_millis(20);
    /// Timers are no finer.
    const SHORTEST_PAUSE: time::Duration = time::Duration::from_millis(1);

    fn open(&self) -> OpenSocket {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenSocket(self.clone())
    }

    fn pause(&self) -> time::Duration {
        let pause = (Self::WRITE * self.0.load(Ordering::Relaxed)).min(Self::LONGEST_PAUSE);
        if pause < Self::SHORTEST_PAUSE { time::Duration::ZERO } else { pause }
    }
}

struct OpenSocket(Sockets);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn in_time(limit: time::Duration, writing: impl Future<Output = Result<(), End>>) -> Result<(), End> {
    time::timeout(limit, writing)
        .await
        .unwrap_or_else(|_| Err(End::try_again("Too slow: reconnect from your last cursor")))
}

/// The other side's library answers the frame by itself; clients of the older dialect also want a message.
async fn keep_alive(socket: &mut WebSocket, dialect: Dialect) -> Result<(), End> {
    if dialect == Dialect::Legacy {
        write(socket, Message::Text(KEEP_ALIVE.into())).await?;
    }
    write(socket, Message::Ping(axum::body::Bytes::new())).await
}

async fn write(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    socket.send(message).await.map_err(|_| End::Gone)
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
            (Part::Next { payload: Payload::Ready(payload), .. }, _) => {
                let kind = if self == Self::Transport { "next" } else { "data" };
                let id = serde_json::to_string(id).unwrap_or_default();
                ["{\"id\":", &id, ",\"type\":\"", kind, "\",\"payload\":", payload.get(), "}"].concat()
            }
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

        // Structs are read from lists as well, which are no messages.
        if !text.trim_start().starts_with('{') {
            return Err("Invalid message: it is not an object".to_owned());
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
