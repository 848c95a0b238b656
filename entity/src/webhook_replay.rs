//! A part of the stream that an endpoint gets once more.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{PartnerId, Timestamp, WebhookEndpointId, WebhookReplayId};

/// A part of the stream that an endpoint gets once more.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_replay")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookReplayId,
    pub partner_id: PartnerId,
    pub endpoint_id: WebhookEndpointId,
    /// Everything up to this place was turned into deliveries, or passed over.
    pub position: i64,
    /// The last place.
    pub until_position: i64,
    /// Only what happened then or later.
    pub since: Option<Timestamp>,
    /// Only what happened before.
    pub until: Option<Timestamp>,
    /// Words of the only types; none: all that the endpoint wants.
    pub event_types: Option<Json>,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
