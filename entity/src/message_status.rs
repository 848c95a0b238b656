//! A rung of the ladder that a message reached, other than the one that holds: that is in the message.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{MessageId, MessageStatus, Timestamp};

/// A rung of the ladder that a message reached.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "message_status")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub message_id: MessageId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub status: MessageStatus,
    pub at: Timestamp,
    pub error: Option<Json>,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
