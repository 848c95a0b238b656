//! A partner's webhook receiver.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{PartnerId, Timestamp, WebhookDisabledReason, WebhookEndpointId};

/// A partner's webhook receiver.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_endpoint")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookEndpointId,
    pub partner_id: PartnerId,
    pub url: String,
    pub description: Option<String>,
    /// Words of the only types of events; none: all.
    pub event_types: Option<Json>,
    /// Ids of the only clients; none: all of the partner's, later ones too, and what concerns the partner itself.
    pub client_ids: Option<Json>,
    /// The partner, if CLIENT_CONNECTED carries a key of the client here; unique, so that one endpoint a partner gets it.
    pub client_key_of: Option<PartnerId>,
    /// Many of one client at once, in any order.
    pub parallel: bool,
    pub enabled: bool,
    pub disabled_at: Option<Timestamp>,
    pub disabled_reason: Option<WebhookDisabledReason>,
    /// Signs.
    pub secret_sealed: Vec<u8>,
    /// Signs too, until then.
    pub former_secret_sealed: Option<Vec<u8>>,
    pub former_secret_until: Option<Timestamp>,
    /// Everything up to this place of the stream was turned into deliveries, or passed over.
    pub position: i64,
    pub last_success_at: Option<Timestamp>,
    /// The first failure after the last success; none: the last attempt succeeded.
    pub failing_since: Option<Timestamp>,
    /// Grows with every change that whoever delivers must hear of.
    pub version: i64,
    /// The process that delivers.
    pub owner: Option<Uuid>,
    /// Until then, by the database's clock, nobody else takes it over.
    pub owned_until: i64,
    pub created_at: Timestamp,
    /// Nobody sees it any more; it goes when its deliveries are gone.
    pub deleted_at: Option<Timestamp>,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
