//! Each WhatsApp id of a message (invariant 2).

use sea_orm::entity::prelude::*;

use crate::{ClientId, MessageId};

/// Each WhatsApp id of a message (invariant 2).
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "message_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub whatsapp_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: ClientId,
    pub message_id: MessageId,
    /// The trailing part of the decoded id, the same under all ids of a message.
    pub token: Option<String>,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
