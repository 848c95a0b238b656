//! The entries of the stream, as types.

use std::hash::Hash;
use std::sync::Arc;

use async_graphql::connection::PageInfo;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, Interface, Object, SimpleObject, Union};
use entity::{ContactId, ConversationId, MessageId, OnboardingId, TemplateId, WebhookEndpointId, event};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::enums::{
    ClientStatus, DisconnectionInitiator, DisconnectionReason, EventType, MessageStatus, OnboardingStatus,
    SyncKind, SyncState, TemplateStatus, WebhookDisabledReason,
};
use super::message::MessageError;
use super::{
    Client, Contact, Conversation, Message, Onboarding, SyncProgress, Template, WebhookEndpoint, clamp,
};
use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::clients::disconnection;
use crate::events::queries::EventPage;
use crate::feed::about::About;
use crate::graphql::Loaders;
use crate::graphql::beside::Beside;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{ApiError, Result};
use crate::graphql::loaders::Rows;
use crate::graphql::scalars::{DateTime, EventCursor, public};
use crate::ids::{EventId, PublicId};

/// A row of the log, and its cursor.
#[derive(Clone)]
pub struct Entry {
    row: Arc<event::Model>,
    cursor: String,
    beside: Beside,
}

impl Entry {
    fn new(app: &App, row: Arc<event::Model>, about: &Arc<About>) -> Self {
        let cursor = app.cursor(row.partner_id, row.position);
        Self { row, cursor, beside: Beside::Event(about.clone()) }
    }

    fn id(&self) -> ID {
        ID(EventId { partner: self.row.partner_id, position: self.row.position }.public())
    }

    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>> {
        let Some(id) = self.row.client_id else { return Ok(None) };
        Ok(self.beside.client(ctx, id).await?.map(Client))
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.row.data.as_ref()?.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.as_str()
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.value(key)?.as_i64()
    }

    fn uuid(&self, key: &str) -> Option<Uuid> {
        Uuid::try_parse(self.text(key)?).ok()
    }

    /// A word of one of the enums that rows hold.
    fn word<T: for<'a> Deserialize<'a>>(&self, key: &str) -> Option<T> {
        T::deserialize(self.value(key)?).ok()
    }

    fn merged<I: PublicId>(&self) -> Option<ID> {
        self.uuid("mergedId").map(|id| public(I::from_uuid(id)))
    }
}

/// An event type: the fields that all have, and its own.
macro_rules! events {
    ($($(#[doc = $doc:literal])+ $name:ident { $($subject:ident: $type:ty),* } { $($fields:tt)* })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone)]
            pub struct $name {
                entry: Entry,
                $($subject: $type,)*
            }

            $(#[doc = $doc])+
            #[Object]
            impl $name {
                /// Begins with `evt_`. The same on every transport, however often it is told.
                pub async fn id(&self) -> ID {
                    self.entry.id()
                }

                /// What happened.
                #[graphql(name = "type")]
                async fn what(&self) -> EventType {
                    self.entry.row.kind.into()
                }

                /// Its place in the stream: what follows it is read with `after` this.
                async fn cursor(&self) -> EventCursor {
                    EventCursor(self.entry.cursor.clone())
                }

                /// When it happened, which may be long before it was told.
                async fn occurred_at(&self) -> DateTime {
                    self.entry.row.occurred_at.into()
                }

                /// To which client, as it is now. Null: it concerns the partner itself.
                async fn client(&self, ctx: &Context<'_>) -> Option<Result<Client>> {
                    self.entry.client(ctx).await.transpose()
                }

                $($fields)*
            }
        )+
    };
}

events! {
    /// A customer wrote: MESSAGE_INCOMING.
    IncomingMessageEvent { message: Message } {
        /// The message, as it is now.
        async fn message(&self) -> &Message {
            &self.message
        }
    }

    /// The client wrote in the app on the phone or on a linked device: MESSAGE_OUTGOING.
    OutgoingMessageEvent { message: Message } {
        /// The message, as it is now.
        async fn message(&self) -> &Message {
            &self.message
        }
    }

    /// A message of the client got another status, whether it was sent through the API or in the app: MESSAGE_STATUS.
    MessageStatusEvent { message: Message } {
        /// The message, as it is now: its own status may be a later one.
        async fn message(&self) -> &Message {
            &self.message
        }

        /// The status that it got with this event.
        async fn status(&self) -> MessageStatus {
            self.entry.word::<entity::MessageStatus>("status").unwrap_or(self.message.0.status).into()
        }

        /// Why it failed. Null: it did not.
        async fn error(&self) -> Option<MessageError> {
            self.entry.value("error").and_then(MessageError::read)
        }
    }

    /// Something else happened to a message: MESSAGE_QUEUED, MESSAGE_EDITED, MESSAGE_DELETED, MESSAGE_REACTION,
    /// MESSAGE_UPDATED or MESSAGE_MERGED.
    MessageChangedEvent { message: Message } {
        /// The message, as it is now.
        async fn message(&self) -> &Message {
            &self.message
        }

        /// MESSAGE_MERGED: the id that means `message` from now on; drop what you show under it. Null for other types.
        async fn merged_id(&self) -> Option<ID> {
            self.entry.merged::<MessageId>()
        }
    }

    /// A contact came, changed or went: CONTACT_ADDED, CONTACT_UPDATED, CONTACT_REMOVED or CONTACT_MERGED.
    ContactEvent { contact: Contact } {
        /// The contact, as it is now. One that was taken out of the phone book is still there.
        async fn contact(&self) -> &Contact {
            &self.contact
        }

        /// CONTACT_MERGED: the id that means `contact` from now on; drop what you show under it. Null for other types.
        async fn merged_id(&self) -> Option<ID> {
            self.entry.merged::<ContactId>()
        }
    }

    /// An onboarding took a step: ONBOARDING_CHANGED.
    OnboardingEvent { onboarding: Onboarding } {
        /// The onboarding, as it is now: its own status may be a later one.
        async fn onboarding(&self) -> &Onboarding {
            &self.onboarding
        }

        /// The step that it took.
        async fn status(&self) -> OnboardingStatus {
            self.entry.word::<entity::OnboardingStatus>("status").unwrap_or(self.onboarding.0.status).into()
        }
    }

    /// A template came, changed or went: TEMPLATE_CHANGED.
    TemplateEvent { template: Template } {
        /// The template, as it is now. One that is gone has the status DELETED, and is in no list any more.
        async fn template(&self) -> &Template {
            &self.template
        }

        /// The status that it had after this change.
        async fn status(&self) -> TemplateStatus {
            TemplateStatus::of(self.entry.text("status").unwrap_or(&self.template.0.status))
        }
    }

    /// Something happened to a client: CLIENT_CONNECTED, CLIENT_PAUSED, CLIENT_RESUMED, CLIENT_DISCONNECTED,
    /// CLIENT_PROFILE_CHANGED, CLIENT_MERGED or APP_VISIT_DUE.
    ClientEvent {} {
        /// Where the client stands now. Null: it is gone.
        async fn state(&self, ctx: &Context<'_>) -> Option<Result<ClientStatus>> {
            let client = self.entry.client(ctx).await;
            client.map(|client| client.map(|client| client.0.status.into())).transpose()
        }

        /// APP_VISIT_DUE: whole days since the last sign of life of the app. Null for other types.
        async fn days(&self) -> Option<i32> {
            self.entry.number("days").map(clamp)
        }

        /// APP_VISIT_DUE: days left until the app must be opened, by the upstream's figure (20 days). Null for other types.
        async fn days_left(&self) -> Option<i32> {
            self.entry.number("daysLeft").map(clamp)
        }

        /// APP_VISIT_DUE: the same by Meta's own figure (about 14 days); 0 when they are over. Null for other types.
        async fn days_left_meta(&self) -> Option<i32> {
            self.entry.number("daysLeftMeta").map(clamp)
        }

        /// CLIENT_MERGED: the id that means `client` from now on. Null for other types.
        async fn merged_id(&self) -> Option<ID> {
            self.entry.merged::<entity::ClientId>()
        }

        /// CLIENT_PAUSED: why sending waits, in words. CLIENT_DISCONNECTED: the reason as a word. Null for other types.
        async fn reason(&self) -> Option<&str> {
            self.entry.text("reason")
        }

        /// CLIENT_DISCONNECTED: why the connection ended. Null for other types.
        async fn disconnection_reason(&self) -> Option<DisconnectionReason> {
            if self.entry.row.kind != entity::EventType::ClientDisconnected {
                return None;
            }
            self.entry.text("reason").map(|word| disconnection::DisconnectionReason::parse(word).into())
        }

        /// CLIENT_DISCONNECTED: who ended the connection. Null: not told, and for other types.
        async fn initiated_by(&self) -> Option<DisconnectionInitiator> {
            self.entry.text("initiatedBy").and_then(DisconnectionInitiator::parse)
        }
    }
}

events! {
    /// Something happened to a webhook endpoint: WEBHOOK_ENDPOINT_DISABLED, or TEST, which a person asked for.
    WebhookEndpointEvent { id_of_endpoint: WebhookEndpointId } {
        /// The endpoint's id.
        async fn endpoint_id(&self) -> ID {
            public(self.id_of_endpoint)
        }

        /// The endpoint, as it is now. Null: it is gone, or the credential lacks the scope ADMIN.
        async fn endpoint(&self, ctx: &Context<'_>) -> Option<Result<WebhookEndpoint>> {
            if !ctx.scope().permissions().contains(&Permission::Admin) {
                return None;
            }
            let row = ctx.load(self.id_of_endpoint).await;
            row.map(|row| row.map(WebhookEndpoint)).transpose()
        }

        /// WEBHOOK_ENDPOINT_DISABLED: why it was switched off. Null for other types.
        async fn disabled_reason(&self) -> Option<WebhookDisabledReason> {
            self.entry.word::<entity::WebhookDisabledReason>("reason").map(Into::into)
        }
    }
}

/// An import went on: SYNC_PROGRESS.
#[derive(Clone)]
pub struct SyncEvent {
    entry: Entry,
}

// Written out: the macro cannot carry a field's complexity.
/// An import went on: SYNC_PROGRESS.
#[Object]
impl SyncEvent {
    /// Begins with `evt_`. The same on every transport, however often it is told.
    pub async fn id(&self) -> ID {
        self.entry.id()
    }

    /// What happened.
    #[graphql(name = "type")]
    async fn what(&self) -> EventType {
        self.entry.row.kind.into()
    }

    /// Its place in the stream: what follows it is read with `after` this.
    async fn cursor(&self) -> EventCursor {
        EventCursor(self.entry.cursor.clone())
    }

    /// When it happened, which may be long before it was told.
    async fn occurred_at(&self) -> DateTime {
        self.entry.row.occurred_at.into()
    }

    /// To which client, as it is now. Null: it concerns the partner itself.
    async fn client(&self, ctx: &Context<'_>) -> Option<Result<Client>> {
        self.entry.client(ctx).await.transpose()
    }

    /// Which import.
    async fn kind(&self) -> SyncKind {
        self.entry.word::<entity::SyncKind>("kind").unwrap_or(entity::SyncKind::History).into()
    }

    /// The import, as it is now. Null: its client is gone.
    async fn progress(&self, ctx: &Context<'_>) -> Option<Result<SyncProgress>> {
        let load = async {
            let Some(client) = self.entry.client(ctx).await? else { return Ok(None) };
            let kind = self.entry.word("kind").unwrap_or(entity::SyncKind::History);
            client.sync(ctx, kind).await.map(Some)
        };
        load.await.transpose()
    }

    /// Where it stood with this event. Null: not told.
    async fn state(&self) -> Option<SyncState> {
        self.entry.word::<entity::SyncState>("state").map(Into::into)
    }

    /// How much of it had come, 0 to 100. Null: not told.
    async fn percent(&self) -> Option<i32> {
        self.entry.number("percent").map(clamp)
    }

    /// Messages or contacts that had come. Null: not told.
    async fn items(&self) -> Option<i32> {
        self.entry.number("items").map(clamp)
    }

    /// The oldest message that came with this event was sent then. Null: no message came.
    async fn since(&self) -> Option<DateTime> {
        self.entry.number("since").map(|micros| DateTime(entity::Timestamp(micros)))
    }

    /// The newest message that came with this event was sent then. Null: no message came.
    async fn until(&self) -> Option<DateTime> {
        self.entry.number("until").map(|micros| DateTime(entity::Timestamp(micros)))
    }

    /// The conversations that changed: read again what you show of them.
    async fn conversation_ids(&self) -> Vec<ID> {
        self.changed().into_iter().map(public).collect()
    }

    /// The same conversations, as they are now.
    #[graphql(complexity = "100usize.saturating_mul(child_complexity)")]
    async fn conversations(&self, ctx: &Context<'_>) -> Result<Vec<Conversation>> {
        let ids = self.changed();
        let mut rows = ctx.rows().load_many(ids.iter().copied()).await?;
        Ok(ids.into_iter().filter_map(|id| rows.remove(&id).map(Conversation::alone)).collect())
    }
}

impl SyncEvent {
    fn changed(&self) -> Vec<ConversationId> {
        let ids = self
            .entry
            .value("conversationIds")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let ids = ids.iter().filter_map(|id| Uuid::try_parse(id.as_str()?).ok());
        ids.map(ConversationId).collect()
    }
}

/// One entry of the stream.
#[derive(Clone, Interface)]
#[graphql(
    field(
        name = "id",
        ty = "ID",
        desc = "Begins with `evt_`. The same on every transport, however often it is told."
    ),
    field(name = "type", method = "what", ty = "EventType", desc = "What happened."),
    field(
        name = "cursor",
        ty = "EventCursor",
        desc = "Its place in the stream: what follows it is read with `after` this."
    ),
    field(
        name = "occurred_at",
        ty = "DateTime",
        desc = "When it happened, which may be long before it was told."
    ),
    field(
        name = "client",
        ty = "Option<Result<Client>>",
        desc = "To which client, as it is now. Null: it concerns the partner itself."
    )
)]
/// One entry of the stream. It fixes what happened (type, instant, status, error, step, percent); the nodes reached from
/// it show their present state. Every subscription result carries the cursor in `extensions.cursor` too.
pub enum Event {
    /// A customer wrote.
    Incoming(IncomingMessageEvent),
    /// The client wrote in the app.
    Outgoing(OutgoingMessageEvent),
    /// A message got another status.
    Status(MessageStatusEvent),
    /// Something else happened to a message.
    Changed(MessageChangedEvent),
    /// A contact came, changed or went.
    Contact(ContactEvent),
    /// An onboarding took a step.
    Onboarding(OnboardingEvent),
    /// An import went on.
    Sync(SyncEvent),
    /// A template came, changed or went.
    Template(TemplateEvent),
    /// Something happened to a client.
    Client(ClientEvent),
    /// Something happened to a webhook endpoint.
    WebhookEndpoint(WebhookEndpointEvent),
}

impl Event {
    /// Its cursor as text.
    pub fn place(&self) -> &str {
        let entry = match self {
            Event::Incoming(event) => &event.entry,
            Event::Outgoing(event) => &event.entry,
            Event::Status(event) => &event.entry,
            Event::Changed(event) => &event.entry,
            Event::Contact(event) => &event.entry,
            Event::Onboarding(event) => &event.entry,
            Event::Sync(event) => &event.entry,
            Event::Template(event) => &event.entry,
            Event::Client(event) => &event.entry,
            Event::WebhookEndpoint(event) => &event.entry,
        };
        &entry.cursor
    }
}

/// All that had happened when the subscription began was told; from here on it is live.
#[derive(Clone, Debug, SimpleObject)]
pub struct CaughtUp {
    /// The place up to which all was told.
    pub cursor: EventCursor,
}

/// What a subscription to the whole stream yields.
#[derive(Clone, Union)]
pub enum StreamItem {
    /// All that had happened before was told.
    CaughtUp(CaughtUp),
    /// A customer wrote.
    Incoming(IncomingMessageEvent),
    /// The client wrote in the app.
    Outgoing(OutgoingMessageEvent),
    /// A message got another status.
    Status(MessageStatusEvent),
    /// Something else happened to a message.
    Changed(MessageChangedEvent),
    /// A contact came, changed or went.
    Contact(ContactEvent),
    /// An onboarding took a step.
    Onboarding(OnboardingEvent),
    /// An import went on.
    Sync(SyncEvent),
    /// A template came, changed or went.
    Template(TemplateEvent),
    /// Something happened to a client.
    Client(ClientEvent),
    /// Something happened to a webhook endpoint.
    WebhookEndpoint(WebhookEndpointEvent),
}

impl From<Event> for StreamItem {
    fn from(event: Event) -> Self {
        match event {
            Event::Incoming(event) => Self::Incoming(event),
            Event::Outgoing(event) => Self::Outgoing(event),
            Event::Status(event) => Self::Status(event),
            Event::Changed(event) => Self::Changed(event),
            Event::Contact(event) => Self::Contact(event),
            Event::Onboarding(event) => Self::Onboarding(event),
            Event::Sync(event) => Self::Sync(event),
            Event::Template(event) => Self::Template(event),
            Event::Client(event) => Self::Client(event),
            Event::WebhookEndpoint(event) => Self::WebhookEndpoint(event),
        }
    }
}

/// What an entry is about: which row must be there for it to be told.
#[derive(Clone, Copy)]
enum Subject {
    Message(MessageId),
    Contact(ContactId),
    Onboarding(OnboardingId),
    Template(TemplateId),
    /// Told whether it is still there or not.
    WebhookEndpoint(WebhookEndpointId),
    /// The entry itself says everything.
    Nothing,
    /// It names nothing.
    Untold,
}

fn subject(row: &event::Model) -> Subject {
    use entity::EventType as Type;
    match row.kind {
        Type::MessageIncoming
        | Type::MessageOutgoing
        | Type::MessageQueued
        | Type::MessageStatus
        | Type::MessageEdited
        | Type::MessageDeleted
        | Type::MessageReaction
        | Type::MessageUpdated
        | Type::MessageMerged => row.subject_id.map_or(Subject::Untold, |id| Subject::Message(MessageId(id))),
        Type::ContactAdded | Type::ContactUpdated | Type::ContactRemoved | Type::ContactMerged => {
            row.subject_id.map_or(Subject::Untold, |id| Subject::Contact(ContactId(id)))
        }
        Type::OnboardingChanged => {
            row.subject_id.map_or(Subject::Untold, |id| Subject::Onboarding(OnboardingId(id)))
        }
        Type::SyncProgress
        | Type::ClientConnected
        | Type::ClientPaused
        | Type::ClientResumed
        | Type::ClientDisconnected
        | Type::ClientProfileChanged
        | Type::ClientMerged
        | Type::AppVisitDue => Subject::Nothing,
        Type::WebhookEndpointDisabled | Type::Test => {
            row.subject_id.map_or(Subject::Untold, |id| Subject::WebhookEndpoint(WebhookEndpointId(id)))
        }
        Type::TemplateChanged => {
            row.subject_id.map_or(Subject::Untold, |id| Subject::Template(TemplateId(id)))
        }
    }
}

/// Makes events of rows of the log, reading what they are about together, if nobody did so before. An entry whose row is
/// gone is left out.
///
/// # Errors
/// When the database is away.
pub async fn events(
    app: &App,
    scope: &Scope,
    loaders: &Loaders,
    rows: Vec<(Arc<event::Model>, Arc<About>)>,
) -> Result<Vec<Event>> {
    let events = rows.into_iter().map(|(row, about)| event(app, scope, loaders, row, about));
    let events = futures_util::future::join_all(events).await;
    events
        .into_iter()
        .filter_map(|event| match event {
            Ok(event) => Some(Ok(event)),
            Err(Lacking::Gone) => None,
            Err(Lacking::Failed(error)) => Some(Err(error)),
        })
        .collect()
}

/// Why there is no row.
enum Lacking {
    /// It is not there, or not for this caller.
    Gone,
    Failed(ApiError),
}

/// The row that an event is about: read by whoever asks for it first.
async fn read<K, M>(
    loaders: &Loaders,
    cell: &OnceCell<Arc<M>>,
    id: K,
    is_admitted: impl Fn(&M) -> bool,
) -> Result<Arc<M>, Lacking>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Rows: Loader<K, Value = Arc<M>, Error = ApiError>,
{
    let read = async { loaders.load_one(id).await.map_err(Lacking::Failed)?.ok_or(Lacking::Gone) };
    let row = cell.get_or_try_init(|| read).await?;
    if is_admitted(row) { Ok(row.clone()) } else { Err(Lacking::Gone) }
}

async fn event(
    app: &App,
    scope: &Scope,
    loaders: &Loaders,
    row: Arc<event::Model>,
    about: Arc<About>,
) -> Result<Event, Lacking> {
    use entity::EventType as Type;
    let subject = subject(&row);
    let kind = row.kind;
    let entry = Entry::new(app, row, &about);
    Ok(match subject {
        Subject::Message(id) => {
            let row = read(loaders, &about.message, id, |row| scope.admits(row.client_id)).await?;
            let message = Message(row, Beside::Event(about));
            match kind {
                Type::MessageIncoming => Event::Incoming(IncomingMessageEvent { entry, message }),
                Type::MessageOutgoing => Event::Outgoing(OutgoingMessageEvent { entry, message }),
                Type::MessageStatus => Event::Status(MessageStatusEvent { entry, message }),
                _ => Event::Changed(MessageChangedEvent { entry, message }),
            }
        }
        Subject::Contact(id) => {
            let row = read(loaders, &about.contact, id, |row| scope.admits(row.client_id)).await?;
            Event::Contact(ContactEvent { entry, contact: Contact(row) })
        }
        Subject::Onboarding(id) => {
            let row = read(loaders, &about.onboarding, id, |row| scope.admits(row.client_id)).await?;
            Event::Onboarding(OnboardingEvent { entry, onboarding: Onboarding(row) })
        }
        Subject::Template(id) => {
            let row = read(loaders, &about.template, id, |row| scope.admits(row.client_id)).await?;
            Event::Template(TemplateEvent { entry, template: Template(row) })
        }
        Subject::WebhookEndpoint(id_of_endpoint) => {
            Event::WebhookEndpoint(WebhookEndpointEvent { entry, id_of_endpoint })
        }
        Subject::Nothing if kind == Type::SyncProgress => Event::Sync(SyncEvent { entry }),
        Subject::Nothing => Event::Client(ClientEvent { entry }),
        Subject::Untold => return Err(Lacking::Gone),
    })
}

/// A page of the stream: at most 100 entries. One that looks at many entries of which few fit may hold fewer than were
/// asked for, or none, and still have a next page: go on from `pageInfo.endCursor`.
#[derive(SimpleObject)]
pub struct EventConnection {
    /// The entries, each with its cursor, oldest first.
    edges: Vec<EventEdge>,
    /// The entries alone.
    nodes: Vec<Event>,
    /// Whether there is more, and the cursor to go on with: it is there even on an empty page.
    page_info: PageInfo,
}

/// An entry of the stream, with its cursor.
#[derive(SimpleObject)]
pub struct EventEdge {
    /// The entry's place, good for `after` here and in subscriptions.
    cursor: EventCursor,
    /// The entry.
    node: Event,
}

impl EventConnection {
    /// Of a page of the log.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn new(ctx: &Context<'_>, page: EventPage, has_previous: bool) -> Result<Self> {
        let EventPage { rows, end, has_next } = page;
        let app = ctx.app();
        let end = app.cursor(ctx.scope().partner(), end);
        let rows = rows.into_iter().map(|row| (Arc::new(row), Arc::default())).collect();
        let nodes = events(app, ctx.scope(), ctx.rows(), rows).await?;
        let edge =
            |node: &Event| EventEdge { cursor: EventCursor(node.place().to_owned()), node: node.clone() };
        let edges: Vec<EventEdge> = nodes.iter().map(edge).collect();
        let page_info = PageInfo {
            has_previous_page: has_previous,
            has_next_page: has_next,
            start_cursor: edges.first().map(|edge| edge.cursor.0.clone()),
            end_cursor: Some(end),
        };
        Ok(Self { edges, nodes, page_info })
    }
}

/// Reads one entry of the caller's stream by its id.
///
/// # Errors
/// When the database is away.
pub async fn by_id(ctx: &Context<'_>, id: EventId) -> Result<Option<Event>> {
    ctx.reader()?;
    let Some(row) = ctx.load(id).await? else { return Ok(None) };
    let events = events(ctx.app(), ctx.scope(), ctx.rows(), vec![(row, Arc::default())]).await?;
    Ok(events.into_iter().next())
}
