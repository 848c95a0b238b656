//! What waits for its turn to be sent, or is on the wire.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, ConversationId, LaneEntryId, LaneEntryKind, MediaId, MessageId, PartnerId, Timestamp};

/// What waits for its turn to be sent, or is on the wire.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "lane_entry")]
pub struct Model {
    /// A message's own id; a reaction has one of its own, since it has no row of history.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: LaneEntryId,
    pub kind: LaneEntryKind,
    /// The message, or the message reacted to.
    pub message_id: MessageId,
    pub client_id: ClientId,
    pub partner_id: PartnerId,
    /// FIFO per recipient.
    pub conversation_id: ConversationId,
    /// Goes before what is not: a reply in an open window, or what such a reply waits behind. Templates have time.
    pub urgent: bool,
    /// Its place in the queue: sendMessage, or later where that was asked for. Never changes. By the service's clock.
    pub due_at: Timestamp,
    /// Left, or may have left: nobody sends it again (invariant 7).
    pub sending: bool,
    /// Of the owner that sends it.
    pub fence: i64,
    /// Times that it was tried in vain.
    pub attempts: i32,
    /// After a try in vain: the next one. Whoever waits behind it waits too. By the service's clock.
    pub not_before: Timestamp,
    /// What goes on the wire, but for the recipient, who may get another number meanwhile.
    pub request: Json,
    /// The uploaded file that it sends: it waits until the upstream has it.
    pub media_id: Option<MediaId>,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
