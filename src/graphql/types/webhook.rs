//! Webhook endpoints and what became of deliveries. Whatever gives them out has checked the scope ADMIN.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use entity::{ClientId, webhook_attempt, webhook_delivery, webhook_endpoint};
use uuid::Uuid;

use super::clamp;
use super::enums::{EventType, WebhookDeliveryStatus, WebhookDisabledReason};
use crate::db::page::Place;
use crate::graphql::context::ContextExt;
use crate::graphql::error::Result;
use crate::graphql::loaders::{AttemptsOf, PendingOf};
use crate::graphql::pagination::Listed;
use crate::graphql::scalars::{DateTime, EventCursor, Url, public};
use crate::ids::EventId;

/// A receiver of webhooks on the partner's server.
#[derive(Clone)]
pub struct WebhookEndpoint(pub Arc<webhook_endpoint::Model>);

impl Listed for WebhookEndpoint {
    const KIND: u8 = b'w';

    fn place(&self) -> Place {
        Place { key: 0, id: self.0.id.0 }
    }
}

/// A receiver of webhooks on the partner's server.
#[Object]
impl WebhookEndpoint {
    /// Begins with `whe_`.
    pub async fn id(&self) -> ID {
        public(self.0.id)
    }

    /// Where events are posted to.
    async fn url(&self) -> Url {
        Url(self.0.url.clone())
    }

    /// For people. Null: none was given.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// The only types of events that it gets. Null: all, later ones too.
    async fn event_types(&self) -> Option<Vec<EventType>> {
        let types: Vec<entity::EventType> = serde_json::from_value(self.0.event_types.clone()?).ok()?;
        Some(types.into_iter().map(Into::into).collect())
    }

    /// The only clients whose events it gets. Null: all, later ones too, and what concerns you alone.
    async fn client_ids(&self) -> Option<Vec<ID>> {
        let ids: Vec<Uuid> = serde_json::from_value(self.0.client_ids.clone()?).ok()?;
        Some(ids.into_iter().map(|id| public(ClientId(id))).collect())
    }

    /// Whether CLIENT_CONNECTED carries a key of the client here: `data.clientKey`, with the scopes READ and SEND.
    async fn include_client_key(&self) -> bool {
        self.0.client_key_of.is_some()
    }

    /// false: the events of one client come one after another, in the order of the stream. true: in any order.
    async fn parallel(&self) -> bool {
        self.0.parallel
    }

    /// Whether it gets anything. What happens while it is off waits in the stream, for as long as that is kept.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// When it was switched off. Null: it is on.
    async fn disabled_at(&self) -> Option<DateTime> {
        self.0.disabled_at.map(Into::into)
    }

    /// Why it was switched off. Null: it is on.
    async fn disabled_reason(&self) -> Option<WebhookDisabledReason> {
        self.0.disabled_reason.map(Into::into)
    }

    /// The last success. Null: none yet.
    async fn last_success_at(&self) -> Option<DateTime> {
        self.0.last_success_at.map(Into::into)
    }

    /// The first failure after the last success; three days after it the endpoint is switched off. Null: the last attempt
    /// succeeded.
    async fn failing_since(&self) -> Option<DateTime> {
        self.0.failing_since.map(Into::into)
    }

    /// Until then the former secret signs too. Null: there is none.
    async fn former_secret_until(&self, ctx: &Context<'_>) -> Option<DateTime> {
        self.0.former_secret_until.filter(|until| *until > ctx.app().now()).map(Into::into)
    }

    /// How far the stream was turned into deliveries, as it was last written down.
    async fn cursor(&self, ctx: &Context<'_>) -> EventCursor {
        EventCursor(ctx.app().cursor(self.0.partner_id, self.0.position))
    }

    /// Deliveries that wait for an attempt.
    async fn pending(&self, ctx: &Context<'_>) -> Result<i32> {
        Ok(clamp(ctx.load(PendingOf(self.0.id)).await?.unwrap_or(0)))
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

/// One event for one endpoint.
#[derive(Clone)]
pub struct WebhookDelivery(pub Arc<webhook_delivery::Model>);

impl Listed for WebhookDelivery {
    const KIND: u8 = b'd';

    fn place(&self) -> Place {
        Place { key: 0, id: self.0.id.0 }
    }
}

/// One event for one endpoint, and what became of it.
#[Object]
impl WebhookDelivery {
    /// Begins with `whd_`.
    pub async fn id(&self) -> ID {
        public(self.0.id)
    }

    /// To which endpoint.
    async fn endpoint_id(&self) -> ID {
        public(self.0.endpoint_id)
    }

    /// Which event: what the receiver gets as `webhook-id`.
    async fn event_id(&self) -> ID {
        ID(EventId { partner: self.0.partner_id, position: self.0.position }.public())
    }

    /// What happened.
    async fn event_type(&self) -> EventType {
        self.0.kind.into()
    }

    /// The event's place in the stream.
    async fn event_cursor(&self, ctx: &Context<'_>) -> EventCursor {
        EventCursor(ctx.app().cursor(self.0.partner_id, self.0.position))
    }

    /// To which client, by the id that it had then. Null: it concerns the partner itself.
    async fn client_id(&self) -> Option<ID> {
        self.0.client_id.map(public)
    }

    /// Whether `replayWebhooks` asked for it.
    async fn replay(&self) -> bool {
        self.0.replay
    }

    /// Where it stands.
    async fn status(&self) -> WebhookDeliveryStatus {
        self.0.status.into()
    }

    /// The attempts so far, first to last.
    async fn attempts(&self, ctx: &Context<'_>) -> Result<Vec<WebhookAttempt>> {
        let rows = ctx.load(AttemptsOf(self.0.id)).await?.unwrap_or_default();
        // The row was read before them: an attempt recorded in between is one that it does not know of yet.
        Ok(rows.into_iter().filter(|row| row.number <= self.0.attempts).map(Into::into).collect())
    }

    /// When it is tried next, at the earliest: it may have to wait for others. Null: never again.
    async fn next_attempt_at(&self) -> Option<DateTime> {
        let waits = self.0.status == entity::WebhookDeliveryStatus::Pending;
        waits.then(|| self.0.next_attempt_at.into())
    }

    /// When the status became final. Null: it waits.
    async fn settled_at(&self) -> Option<DateTime> {
        self.0.settled_at.map(Into::into)
    }
}

/// One try to deliver.
#[derive(Clone, Debug, SimpleObject)]
pub struct WebhookAttempt {
    /// 1, 2, 3 …
    number: i32,
    /// When it began.
    at: DateTime,
    /// How long it took, milliseconds.
    duration_ms: i32,
    /// Status of the answer. Null: there was none.
    http_status: Option<i32>,
    /// Why it failed, in words. Null: it did not.
    error: Option<String>,
}

impl From<webhook_attempt::Model> for WebhookAttempt {
    fn from(row: webhook_attempt::Model) -> Self {
        let webhook_attempt::Model { delivery_id: _, number, at, duration_ms, http_status, error } = row;
        Self { number, at: at.into(), duration_ms, http_status, error }
    }
}
