//! GraphQL over WebSocket, sub-protocol `graphql-transport-ws`.
//!
//! One task talks with the client and owns the socket; each operation runs in a task of its own and hands its messages
//! over a bounded queue. What ends a socket from outside (shutdown, the credential's end, a reader that takes nothing)
//! interrupts the talk wherever it stands, also in the middle of a write.

use std::{borrow::Cow, collections::HashMap, panic::AssertUnwindSafe, pin::pin, sync::Arc};

use async_graphql::{
    Executor, ServerError, Value, http::ALL_WEBSOCKET_PROTOCOLS, parser::types::OperationType,
};
use async_graphql_axum::GraphQLProtocol;
use axum::{
    extract::{
        FromRequestParts, Request, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, SinkExt, StreamExt, stream::BoxStream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    sync::mpsc::{self, error::SendTimeoutError},
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Door,
    access::{Access, AccessError, Item},
    error::{Answer, Code, panicked},
    guard::{Checked, Params},
    tap::CursorTap,
};

const TRANSPORT: HeaderValue = HeaderValue::from_static("graphql-transport-ws");
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
            return (status, "Use the sub-protocol graphql-transport-ws.\n").into_response();
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
        let greeting = Box::pin(self.greet(&mut socket, authorization));
        let greeted = tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(End::going_away()),
            greeted = time::timeout(self.limits.init_timeout, greeting) => greeted
                .unwrap_or_else(|_| Err(End::Close(4408, "Connection initialisation timeout".into()))),
        };
        let (end, _permit) = match greeted {
            Ok((caller, permit)) => (self.attend(&mut socket, caller, &shutdown).await, Some(permit)),
            Err(end) => (end, None),
        };
        self.part(&mut socket, end).await;
    }

    /// Waits for `connection_init`, finds the caller, acknowledges.
    async fn greet(
        &self,
        socket: &mut WebSocket,
        authorization: Option<HeaderValue>,
    ) -> Result<(A::Caller, A::SocketPermit), End> {
        if socket.protocol() != Some(&TRANSPORT) {
            return Err(End::Close(4406, "Subprotocol not acceptable".into()));
        }
        let told = loop {
            match receive(socket).await? {
                ClientMessage::Init { authorization } => break authorization,
                ClientMessage::Ping(payload) => write(socket, pong(payload.as_deref())).await?,
                ClientMessage::Subscribe { .. } => return Err(End::Close(4401, "Unauthorized".into())),
                ClientMessage::Complete { .. } | ClientMessage::Pong | ClientMessage::Alive => {}
            }
        };
        let told = told.as_deref().or_else(|| authorization.as_ref().and_then(|value| value.to_str().ok()));
        let caller = self.access.authenticate(told).await.map_err(|refused| match refused {
            AccessError::Unauthenticated => End::Close(4403, "Forbidden".into()),
            AccessError::RateLimited { .. } => End::try_again("Too many requests with this credential"),
            AccessError::Unavailable { .. } => End::try_again("Temporarily unavailable"),
        })?;
        let permit = self
            .access
            .admit_socket(&caller)
            .ok_or_else(|| End::try_again("Too many sockets with this credential"))?;
        write(socket, Message::Text(r#"{"type":"connection_ack"}"#.into())).await?;
        Ok((caller, permit))
    }

    /// Talks until one side or the credential ends.
    async fn attend(&self, socket: &mut WebSocket, caller: A::Caller, shutdown: &CancellationToken) -> End {
        let stalled = CancellationToken::new();
        let ends = pin!(self.access.ends(&caller));
        let talk = Box::pin(Talk::new(self, caller.clone(), stalled.clone()).run(socket));
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
    fn new(door: &'a Door<E, A>, caller: A::Caller, stalled: CancellationToken) -> Self {
        let (queue, outgoing) = mpsc::channel(door.limits.outgoing_queue.max(1));
        Self { door, caller, running: HashMap::new(), serial: 0, stalled, queue, outgoing }
    }

    async fn run(mut self, socket: &mut WebSocket) -> End {
        let interval = self.door.limits.ping_interval;
        let mut ping = time::interval_at(time::Instant::now() + interval, interval);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = true;
        loop {
            let step = tokio::select! {
                message = receive(socket) => {
                    heard = true;
                    match message {
                        Ok(message) => self.hear(socket, message).await,
                        Err(end) => Err(end),
                    }
                }
                Some(first) = self.outgoing.recv() => self.tell(socket, first).await,
                _ = ping.tick() => {
                    if std::mem::take(&mut heard) {
                        self.in_time(write(socket, Message::Ping(axum::body::Bytes::new()))).await
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
                if self.running.contains_key(&*id) {
                    return Err(End::Close(4409, format!("Subscriber for {id} already exists").into()));
                }
                if self.running.len() >= self.door.limits.operations_per_socket {
                    let error = Code::RateLimited.error_after(
                        "Too many operations at once on this socket.",
                        time::Duration::from_secs(1),
                    );
                    return self
                        .in_time(write(socket, Message::Text(frame_error(&id, &[error]).into())))
                        .await;
                }
                self.start(id, *params);
                Ok(())
            }
            ClientMessage::Complete { id } => {
                self.running.remove(&*id);
                Ok(())
            }
            ClientMessage::Ping(payload) => self.in_time(write(socket, pong(payload.as_deref()))).await,
            ClientMessage::Pong | ClientMessage::Alive => Ok(()),
        }
    }

    fn start(&mut self, id: Arc<str>, params: Params) {
        self.serial += 1;
        let stop = CancellationToken::new();
        let running = Running { serial: self.serial, _stop: stop.clone().drop_guard() };
        self.running.insert(id.clone(), running);
        let operation = Operation {
            door: self.door.clone(),
            caller: self.caller.clone(),
            line: Line {
                serial: self.serial,
                id,
                queue: self.queue.clone(),
                stalled: self.stalled.clone(),
                patience: self.door.limits.slow_reader,
            },
        };
        self.door.access.tracker().spawn(async move {
            let work = async {
                // Apart, so that its memory is given back while the subscription waits.
                let line = operation.line.clone();
                match AssertUnwindSafe(Box::pin(operation.begin(params))).catch_unwind().await {
                    Ok(Some(following)) => following.run().await,
                    Ok(None) => None,
                    Err(_) => line.refuse(&[panicked("")]).await,
                }
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

/// One operation, in its own task.
struct Operation<E, A: Access> {
    door: Door<E, A>,
    caller: A::Caller,
    line: Line,
}

/// What is left of a subscription's operation once it has begun; little, since there are many of them.
struct Following {
    line: Line,
    stream: BoxStream<'static, Item>,
    tap: CursorTap,
    name: Option<String>,
}

impl<E: Executor, A: Access> Operation<E, A> {
    /// Checks and answers the operation; a subscription's answers are still to come.
    async fn begin(self, params: Params) -> Option<Following> {
        match self.door.guard.check(params) {
            Err(refused) => self.line.refuse(&[refused.into()]).await.and(None),
            Ok(Checked { request, kind: OperationType::Subscription, .. }) => {
                let name = request.operation_name.clone();
                let tap = CursorTap::default();
                let request = request.data(tap.clone());
                let stream = self.door.access.subscribe(&self.door.executor, &self.caller, request);
                Some(Following { line: self.line, stream, tap, name })
            }
            Ok(checked) => self.answer(checked).await.and(None),
        }
    }

    async fn answer(&self, checked: Checked) -> Option<()> {
        let running = self.door.run(&self.caller, checked);
        let answer = time::timeout(self.door.limits.request_timeout, running)
            .await
            .unwrap_or_else(|_| self.door.timed_out().into());
        if answer.is_request_error() {
            return self.line.refuse(&answer.errors).await;
        }
        self.line.next(&answer).await?;
        self.line.complete().await
    }
}

impl Following {
    async fn run(mut self) -> Option<()> {
        let mut begun = false;
        loop {
            let mut answer = match AssertUnwindSafe(self.stream.next()).catch_unwind().await {
                Ok(Some(Item::Response(response))) => Answer::from(*response),
                Ok(Some(Item::Ready(payload))) => {
                    begun = true;
                    self.line.next(&*payload).await?;
                    continue;
                }
                Ok(None) => return self.line.complete().await,
                Err(_) => panicked(self.name.as_deref().unwrap_or_default()).into(),
            };
            let cursor = self.tap.take();
            // The stream could not be made: nothing was executed yet.
            let unborn =
                !begun && cursor.is_none() && answer.errors.iter().all(|error| error.path.len() <= 1);
            let void = answer.is_void();
            if void && unborn {
                return self.line.refuse(&answer.errors).await;
            }
            begun = true;
            answer.data.get_or_insert(Value::Null);
            if let Some(cursor) = cursor {
                answer.extensions.insert("cursor".to_owned(), Value::String(cursor));
            }
            self.line.next(&answer).await?;
            if void {
                return self.line.complete().await;
            }
        }
    }
}

/// An operation's way to its client. Every method gives `None` when nobody is there any more.
#[derive(Clone)]
struct Line {
    serial: u64,
    id: Arc<str>,
    queue: mpsc::Sender<Outgoing>,
    stalled: CancellationToken,
    patience: time::Duration,
}

impl Line {
    async fn next(&self, payload: &(impl Serialize + ?Sized)) -> Option<()> {
        self.send(frame("next", &self.id, Some(payload)), false).await
    }

    async fn refuse(&self, errors: &[ServerError]) -> Option<()> {
        self.send(frame_error(&self.id, errors), true).await
    }

    async fn complete(&self) -> Option<()> {
        self.send(frame::<()>("complete", &self.id, None), true).await
    }

    async fn send(&self, text: String, last: bool) -> Option<()> {
        let message = Outgoing { serial: self.serial, id: self.id.clone(), text, last };
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

fn frame_error(id: &str, errors: &[ServerError]) -> String {
    frame("error", id, Some(errors))
}

fn frame<P: Serialize + ?Sized>(kind: &'static str, id: &str, payload: Option<&P>) -> String {
    #[derive(Serialize)]
    struct Frame<'a, P: Serialize + ?Sized> {
        id: &'a str,
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
    let text = match payload {
        Some(payload) => format!(r#"{{"type":"pong","payload":{payload}}}"#),
        None => r#"{"type":"pong"}"#.to_owned(),
    };
    Message::Text(text.into())
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
    /// A frame of the WebSocket protocol itself: answered by the library, but a sign of life.
    Alive,
}

/// The next message of the client. Dropped while it waits, it loses nothing.
async fn receive(socket: &mut WebSocket) -> Result<ClientMessage, End> {
    match socket.recv().await {
        Some(Ok(Message::Text(text))) => ClientMessage::read(text.as_str()).map_err(End::bad_message),
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
    fn read(text: &str) -> Result<Self, String> {
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
        Ok(match &*kind {
            "connection_init" => Self::Init {
                authorization: payload
                    .map(|payload| serde_json::from_str::<Credentials>(payload.get()))
                    .transpose()
                    .map_err(|error| format!("Invalid message: connection_init: {error}"))?
                    .and_then(|credentials| credentials.authorization),
            },
            "subscribe" => {
                let payload = payload.ok_or("Invalid message: subscribe needs a payload")?;
                let params = serde_json::from_str(payload.get())
                    .map_err(|error| format!("Invalid message: subscribe: {error}"))?;
                Self::Subscribe { id: id()?.into(), params: Box::new(params) }
            }
            "complete" => Self::Complete { id: id()?.to_owned() },
            "ping" => Self::Ping(payload.map(ToOwned::to_owned)),
            "pong" => Self::Pong,
            _ => return Err(format!("Invalid message: unknown type {kind:?}")),
        })
    }
}
