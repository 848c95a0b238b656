//! One try to deliver. What the receiver said is not kept: it may repeat what it was sent.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{Timestamp, WebhookDeliveryId};

/// One try to deliver.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_attempt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub delivery_id: WebhookDeliveryId,
    /// 1, 2, 3 …
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i32,
    pub at: Timestamp,
    pub duration_ms: i32,
    /// Of the answer; none: there was no answer.
    pub http_status: Option<i32>,
    /// Why it failed; none: it did not.
    pub error: Option<String>,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
