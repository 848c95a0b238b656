//! Each WhatsApp id of a message (invariant 2).

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, MessageId};

/// Each WhatsApp id of a message (invariant 2).
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "message_key")]
pub struct Model {
    /// The trailing part of the decoded id, the same under all ids of a message; the whole id where it has none. First in
    /// the key, so that one tree finds a message by its exact id and by its other ids.
    #[sea_orm(primary_key, auto_increment = false)]
    pub token: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: ClientId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub whatsapp_id: String,
    pub message_id: MessageId,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
