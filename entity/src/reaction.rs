//! A reaction to a message; without emoji: taken away, kept so that an older one cannot come back.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{MessageId, ReactionBy, Timestamp};

/// A reaction to a message; without emoji: taken away, kept so that an older one cannot come back.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "reaction")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub message_id: MessageId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub by: ReactionBy,
    pub emoji: Option<String>,
    pub at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
