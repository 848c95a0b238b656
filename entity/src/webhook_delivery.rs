//! One event for one endpoint.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{
    ClientId, EventType, PartnerId, Timestamp, WebhookDeliveryId, WebhookDeliveryStatus, WebhookEndpointId,
};

/// One event for one endpoint.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_delivery")]
pub struct Model {
    /// Ascending in the order of the stream: the order of delivery.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookDeliveryId,
    pub partner_id: PartnerId,
    pub endpoint_id: WebhookEndpointId,
    /// The event's place in the stream.
    pub position: i64,
    pub kind: EventType,
    pub occurred_at: Timestamp,
    pub client_id: Option<ClientId>,
    /// The message, contact, onboarding or endpoint, by kind.
    pub subject_id: Option<Uuid>,
    /// Asked for by `replayWebhooks`.
    pub replay: bool,
    pub status: WebhookDeliveryStatus,
    /// It failed for an hour: later ones of its client no longer wait for it.
    pub alone: bool,
    pub attempts: i32,
    pub first_attempt_at: Option<Timestamp>,
    /// Meaningful while PENDING.
    pub next_attempt_at: Timestamp,
    /// When the status became final.
    pub settled_at: Option<Timestamp>,
    /// `data` of the body: made before the first attempt, the same on every other. None: not made yet, or erased.
    pub data: Option<String>,
    /// The client's key, sealed; gone with the first success or the last attempt.
    pub client_key_sealed: Option<Vec<u8>>,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
