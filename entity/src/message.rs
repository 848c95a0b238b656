//! A message: one row, whatever order echo, history, status and answer come in.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{
    ClientId, ConversationId, MessageDirection, MessageId, MessageOrigin, MessageStatus, PartnerId, Timestamp,
};

/// A message: one row, whatever order echo, history, status and answer come in.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "message")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MessageId,
    pub partner_id: PartnerId,
    pub client_id: ClientId,
    pub conversation_id: ConversationId,
    /// Of the WhatsApp ids that it was seen under the smallest, of a send the one that was answered; all are in message_key.
    pub whatsapp_id: Option<String>,
    pub direction: MessageDirection,
    pub origin: MessageOrigin,
    /// Seen in the history, never live.
    pub imported: bool,
    /// The history import brought it too (or alone).
    pub in_history: bool,
    /// Some version of its content opens the customer service window, once it is seen live.
    pub opens_window: bool,
    /// WhatsApp's second, or the instant of sendMessage.
    pub sent_at: Timestamp,
    /// Content.
    pub content: Json,
    /// Which version of the content this is.
    pub substance: i32,
    /// Stamp of that version.
    pub content_at: Timestamp,
    /// The words of it, for lists and search.
    pub text: Option<String>,
    pub status: MessageStatus,
    pub status_at: Timestamp,
    /// ReportedError of FAILED.
    pub error: Option<Json>,
    /// ReportedPricing.
    pub pricing: Option<Json>,
    /// WhatsApp id of what it answers.
    pub reply_to: Option<String>,
    /// The same, known by our id (API messages).
    pub reply_to_id: Option<MessageId>,
    pub forwarded: bool,
    pub edited_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    /// Of sendMessage; `send_key` keeps it unique per client.
    pub idempotency_key: Option<String>,
    /// Of what was asked with that key.
    pub request_hash: Option<String>,
    /// The credential of an API message.
    pub sent_by: Option<Json>,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
