//! A message that waits for its turn, or is on the wire.

use sea_orm::entity::prelude::*;

use crate::{ClientId, ConversationId, MessageId, PartnerId, Timestamp};

/// A message that waits for its turn, or is on the wire.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "lane_entry")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub message_id: MessageId,
    pub client_id: ClientId,
    pub partner_id: PartnerId,
    /// FIFO per recipient.
    pub conversation_id: ConversationId,
    /// Left, or may have left: nobody sends it again (invariant 7).
    pub sending: bool,
    /// Of the owner that sends it.
    pub fence: i64,
    pub attempts: i32,
    /// By the service's clock.
    pub not_before: Timestamp,
    /// What goes on the wire, but for the recipient's token.
    pub request: Json,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
