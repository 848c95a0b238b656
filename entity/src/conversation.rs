//! One client with one contact.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, ContactId, ConversationId, MessageId, PartnerId, Timestamp};

/// One client with one contact.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "conversation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ConversationId,
    pub partner_id: PartnerId,
    pub client_id: ClientId,
    /// Unique.
    pub contact_id: ContactId,
    /// sentAt of its newest message.
    pub last_activity_at: Timestamp,
    pub last_message_id: Option<MessageId>,
    /// sentAt of the newest live customer message that opens a window.
    pub window_opened_at: Option<Timestamp>,
    pub window_message_id: Option<MessageId>,
    /// WhatsApp answered 131047 at this instant: older openings no longer count.
    pub window_refused_at: Option<Timestamp>,
    /// Customer messages up to here are read: markAsRead, or sentAt of the newest outbound message.
    pub read_at: Timestamp,
    pub unread_count: i32,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
