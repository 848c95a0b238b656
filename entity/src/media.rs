//! A file of a client: one that came with a message, or one that a partner uploaded.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{BlobId, ClientId, MediaId, MediaState, MessageId, PartnerId, Timestamp};

/// A file of a client: one that came with a message, or one that a partner uploaded.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "media")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MediaId,
    pub partner_id: PartnerId,
    pub client_id: ClientId,
    /// The message that it came with; none: it was uploaded.
    pub message_id: Option<MessageId>,
    /// The upstream's id of the file: of what came in, to fetch it by; of an upload, once it was used.
    pub upstream_id: Option<String>,
    /// Until when that id lives, by the service's clock; 0: there is none.
    pub upstream_until: Timestamp,
    pub state: MediaState,
    /// It came with the history: live ones are fetched first.
    pub imported: bool,
    pub mime_type: Option<String>,
    pub filename: Option<String>,
    /// Its bytes, while they are here.
    pub blob_id: Option<BlobId>,
    /// Of its bytes; 0: not known yet.
    pub size_bytes: i64,
    /// Tries to fetch it, or to hand it to the upstream, since the last success.
    pub attempts: i32,
    /// The next try, by the service's clock.
    pub next_try_at: Timestamp,
    /// Somebody tries until then, by the database's clock.
    pub claimed_until: Timestamp,
    /// Why the last try failed, for people.
    pub error: Option<String>,
    /// When it came, or was sent last: retention counts from here. By the service's clock.
    pub used_at: Timestamp,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
