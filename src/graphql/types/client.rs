//! Clients.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use entity::client::{self, Column};
use entity::sync;
use serde_json::Value;

use super::clamp;
use super::enums::{
    AppFeature, AppPresenceBasis, AppPresenceRisk, Availability, ClientMode, ClientStatus,
    DisconnectionInitiator, DisconnectionReason, HistoryImport,
};
use super::lists::{self, ContactFilter, ConversationFilter, HistoryFilter};
use super::{Contact, Conversation, Message, SyncProgress, Usage};
use crate::clients::{capabilities, disconnection};
use crate::db::page::Place;
use crate::graphql::beside::MadeOf;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{ApiError, Result};
use crate::graphql::loaders::{QueuedOf, SyncsOf, UsageOf};
use crate::graphql::pagination::{Asked, Connection, Listed, cost};
use crate::graphql::scalars::{DateTime, PhoneNumber, public};
use crate::messages::queries::Of;
use crate::presence::estimate;
use crate::sync::queries::progress;

/// Seconds in a day.
const DAY: i64 = 86_400;

/// A business number, or the place kept for it until it is connected.
#[derive(Clone)]
pub struct Client(pub Arc<client::Model>);

impl MadeOf for Client {
    type Table = client::Entity;

    const ALWAYS: &'static [client::Column] = &[Column::Id];

    fn columns(field: &str) -> Option<&'static [client::Column]> {
        Some(match field {
            "__typename" | "id" | "usage" => &[],
            "mode" | "capabilities" | "sendLimit" => &[Column::Mode],
            "status" => &[Column::Status],
            "phoneNumber" => &[Column::PhoneNumber, Column::TemporaryNumber],
            "phoneNumberIsTemporary" => &[Column::PhoneNumber],
            "displayName" => &[Column::DisplayName],
            "businessName" => &[Column::BusinessName],
            "businessEmail" => &[Column::BusinessEmail],
            "profile" => &[Column::Profile],
            "reference" => &[Column::Reference],
            "connectedAt" => &[Column::ConnectedAt],
            "createdAt" => &[Column::CreatedAt],
            "pauseReason" => &[Column::Status, Column::PauseReason],
            "historyImport" => &[Column::HistoryImport],
            // What is made of many; and lists, which take the row over.
            _ => return None,
        })
    }
}

impl Listed for Client {
    const KIND: u8 = b'c';

    fn place(&self) -> Place {
        Place { key: 0, id: self.0.id.0 }
    }
}

impl Client {
    /// One of the client's imports.
    pub async fn sync(&self, ctx: &Context<'_>, kind: entity::SyncKind) -> Result<SyncProgress> {
        let rows: Vec<sync::Model> = ctx.load(SyncsOf(self.0.id)).await?.unwrap_or_default();
        let row = rows.iter().find(|row| row.kind == kind);
        let app = ctx.app();
        Ok(progress(&self.0, kind, row, &app.config.sync, app.now()).into())
    }
}

/// A business number (or the place kept for it until it is connected), with everything that belongs to it.
#[Object]
impl Client {
    /// Begins with `cli_`. Stays the same when the number is disconnected and connected again.
    pub async fn id(&self) -> ID {
        public(self.0.id)
    }

    /// Whether the number is shared with the app on the phone.
    async fn mode(&self) -> ClientMode {
        self.0.mode.into()
    }

    /// Where the client stands.
    async fn status(&self) -> ClientStatus {
        self.0.status.into()
    }

    /// The business's number. Until onboarding ends it is a temporary one that begins with +97257.
    async fn phone_number(&self) -> PhoneNumber {
        PhoneNumber(self.0.phone_number.clone().unwrap_or_else(|| self.0.temporary_number.clone()))
    }

    /// Whether `phoneNumber` is the temporary one, which nobody can write to.
    async fn phone_number_is_temporary(&self) -> bool {
        self.0.phone_number.is_none()
    }

    /// The name that customers see, set by the client in the app. Null: not known yet.
    async fn display_name(&self) -> Option<&str> {
        self.0.display_name.as_deref()
    }

    /// The name of the business, as given to `createOnboarding`.
    async fn business_name(&self) -> &str {
        &self.0.business_name
    }

    /// The mail address of the business, as given to `createOnboarding`. Null: none was given.
    async fn business_email(&self) -> Option<&str> {
        self.0.business_email.as_deref()
    }

    /// The profile that customers see. Set in the app in COEXISTENCE. Null: not known yet.
    async fn profile(&self) -> Option<Box<BusinessProfile>> {
        self.0.profile.as_ref().map(BusinessProfile::read).map(Box::new)
    }

    /// The partner's own key for it. Null: none was given.
    async fn reference(&self) -> Option<&str> {
        self.0.reference.as_deref()
    }

    /// When it was connected, the latest time; stays after a disconnection. Null: never.
    async fn connected_at(&self) -> Option<DateTime> {
        self.0.connected_at.map(DateTime)
    }

    /// When the place for it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Why sending waits, in words. Null: it does not (the status is not PAUSED).
    async fn pause_reason(&self) -> Option<&str> {
        self.0.pause_reason.as_deref().filter(|_| self.0.status == entity::ClientStatus::Paused)
    }

    /// How the connection ended. Null: the status is not DISCONNECTED.
    async fn disconnection(&self) -> Option<Disconnection> {
        disconnection::of(&self.0).map(Disconnection::from)
    }

    /// Whether the phone still keeps the connection alive, as far as can be told. Null: there is no app (API_ONLY), or
    /// the client was never connected.
    async fn app(&self, ctx: &Context<'_>) -> Option<AppPresence> {
        let app = ctx.app();
        estimate::of(&self.0, &app.config, app.now()).map(AppPresence::from)
    }

    /// Whether the six months of chats are imported, as chosen for the latest onboarding.
    async fn history_import(&self) -> HistoryImport {
        self.0.history_import.into()
    }

    /// The import of up to six months of chats.
    async fn history_sync(&self, ctx: &Context<'_>) -> Result<Box<SyncProgress>> {
        self.sync(ctx, entity::SyncKind::History).await.map(Box::new)
    }

    /// The import of the phone book.
    async fn contact_sync(&self, ctx: &Context<'_>) -> Result<Box<SyncProgress>> {
        self.sync(ctx, entity::SyncKind::Contacts).await.map(Box::new)
    }

    /// Which features work where: every one has an answer.
    async fn capabilities(&self) -> Vec<Capability> {
        capabilities::of(self.0.mode).into_iter().map(Capability::from).collect()
    }

    /// How fast the API can send, and what waits.
    async fn send_limit(&self, ctx: &Context<'_>) -> Result<SendLimit> {
        let lanes = &ctx.app().config.lanes;
        let per_second = match self.0.mode {
            entity::ClientMode::Coexistence => lanes.coexistence_per_second,
            entity::ClientMode::ApiOnly => lanes.api_only_per_second,
        };
        let queued = ctx.load(QueuedOf(self.0.id)).await?.unwrap_or_default();
        Ok(SendLimit { messages_per_second: clamp(per_second.into()), queued: clamp(queued) })
    }

    /// How many messages it sent and received between two instants, and what they cost in WhatsApp's words. BAD_USER_INPUT
    /// when `until` is not after `since`, or more than 92 days (a setting) after it.
    #[graphql(complexity = "child_complexity.saturating_mul(10).saturating_add(50)")]
    async fn usage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Messages sent at this instant or later.")] since: DateTime,
        #[graphql(desc = "Messages sent before this instant.")] until: DateTime,
    ) -> Result<Usage> {
        let days = ctx.app().config.graphql.usage_days;
        let (since, until) = (since.0, until.0);
        if until <= since || until > since.plus_seconds(days.saturating_mul(DAY)) {
            return Err(ApiError::bad_input(format!(
                "`until` must be after `since`, by {days} days at most."
            )));
        }
        let key = UsageOf { client: self.0.id, since, until };
        Ok(Usage::new(ctx.load(key).await?.unwrap_or_default()))
    }

    /// Messages, newest first: imported history and live traffic alike.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which messages. Null: all.")] filter: Option<Box<HistoryFilter>>,
        #[graphql(desc = "How many from the beginning, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> Result<Connection<Message>> {
        let asked = Asked { first, after, last, before };
        lists::messages(ctx, Of::Client(self.0.clone()), filter, asked).await
    }

    /// The contacts: the phone book, and customers who wrote. Oldest first.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn contacts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which contacts. Null: all.")] filter: Option<ContactFilter>,
        #[graphql(desc = "How many from the beginning, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> Result<Connection<Contact>> {
        lists::contacts(ctx, self.0.clone(), filter, Asked { first, after, last, before }).await
    }

    /// The conversations, latest activity first. One that moves while you page may be seen twice.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn conversations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversations. Null: all.")] filter: Option<Box<ConversationFilter>>,
        #[graphql(desc = "How many from the beginning, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> Result<Connection<Conversation>> {
        lists::conversations(ctx, Some(vec![self.0.clone()]), filter, Asked { first, after, last, before })
            .await
    }
}

/// Which clients.
#[derive(Debug, Default, InputObject)]
pub struct ClientFilter {
    /// In one of these states. Null: in any.
    pub status: Option<Vec<ClientStatus>>,
    /// Only of this kind. Null: of any.
    pub mode: Option<ClientMode>,
    /// Words that a name, the number or the partner's own key contains. Null: all.
    pub search: Option<String>,
}

/// What customers see of a business.
#[derive(Clone, Debug, Default, SimpleObject)]
pub struct BusinessProfile {
    /// The line beside the name. Null: empty.
    about: Option<String>,
    /// What the business does. Null: empty.
    description: Option<String>,
    /// Where it is. Null: empty.
    address: Option<String>,
    /// Its mail address. Null: empty.
    email: Option<String>,
    /// Its websites, two at most.
    websites: Vec<String>,
    /// Where its picture can be fetched, for a while. Null: there is none, or it is not known.
    picture_url: Option<String>,
}

impl BusinessProfile {
    fn read(profile: &Value) -> Self {
        let text = |key: &str| {
            profile.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let websites =
            profile.get("websites").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self {
            about: text("about"),
            description: text("description"),
            address: text("address"),
            email: text("email"),
            websites: websites.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            picture_url: text("pictureUrl"),
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, SimpleObject)]
pub struct Disconnection {
    /// Why.
    reason: DisconnectionReason,
    /// Who ended it. Null: WhatsApp does not say.
    initiated_by: Option<DisconnectionInitiator>,
    /// When.
    at: DateTime,
    /// What to do, in words.
    remedy: &'static str,
    /// Whether a new link can bring the same client back.
    reconnectable: bool,
    /// WhatsApp's own word for the reason. Null: it gave none.
    upstream_reason: Option<String>,
}

impl From<disconnection::Disconnection> for Disconnection {
    fn from(ended: disconnection::Disconnection) -> Self {
        let disconnection::Disconnection { reason, initiated_by, at, upstream_reason } = ended;
        Self {
            reason: reason.into(),
            initiated_by: initiated_by.as_deref().and_then(DisconnectionInitiator::parse),
            at: at.into(),
            remedy: reason.remedy(),
            reconnectable: reason.is_reconnectable(),
            upstream_reason,
        }
    }
}

/// An estimate of whether the phone still keeps the connection alive: the app must be opened at least once in 20 days
/// (a setting of each upstream). WhatsApp does not tell when it is opened; outgoing messages and changes of the phone
/// book stand in for it, and a linked device can cause those too.
#[derive(Clone, Debug, SimpleObject)]
pub struct AppPresence {
    /// The last sign of life. Null: not known.
    last_seen_at: Option<DateTime>,
    /// What the estimate rests on.
    basis: AppPresenceBasis,
    /// By when the app must be opened, if nothing else is seen.
    visit_due_at: DateTime,
    /// How near that is.
    risk: AppPresenceRisk,
    /// Whole days left until then; 0 when they are over.
    days_left: i32,
    /// The same by Meta's own figure (about 14 days), which is stricter.
    days_left_meta: i32,
    /// The version of the app. Null: the upstream does not tell.
    version: Option<String>,
}

impl From<estimate::AppPresence> for AppPresence {
    fn from(presence: estimate::AppPresence) -> Self {
        let estimate::AppPresence { last_seen_at, basis, visit_due_at, risk, days_left, days_left_meta } =
            presence;
        Self {
            last_seen_at: Some(last_seen_at.into()),
            basis: basis.into(),
            visit_due_at: visit_due_at.into(),
            risk: risk.into(),
            days_left: clamp(days_left),
            days_left_meta: clamp(days_left_meta),
            version: None,
        }
    }
}

/// What holds for one feature.
#[derive(Clone, Debug, SimpleObject)]
pub struct Capability {
    /// The feature.
    feature: AppFeature,
    /// Where it works.
    availability: Availability,
    /// What one should know about it; where the provider and Meta differ, what both say. Null: nothing.
    note: Option<&'static str>,
}

impl From<capabilities::Capability> for Capability {
    fn from(capability: capabilities::Capability) -> Self {
        let capabilities::Capability { feature, availability, note } = capability;
        Self { feature: feature.into(), availability: availability.into(), note }
    }
}

/// How fast the API can send. Nothing is refused for speed: what is too fast waits in the client's lane.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct SendLimit {
    /// Messages in any second: 20 in COEXISTENCE, 80 when API_ONLY.
    messages_per_second: i32,
    /// Messages of the API that wait or are on their way now.
    queued: i32,
}
