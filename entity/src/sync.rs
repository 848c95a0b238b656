//! An import, as something to watch.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, SyncKind, SyncState, Timestamp};

/// An import, as something to watch.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "sync")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: ClientId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: SyncKind,
    pub state: SyncState,
    /// 0 to 100.
    pub percent: i32,
    /// Messages or contacts seen so far.
    pub items: i64,
    /// Recorded before WhatsApp is asked; without an outcome it is asked again.
    pub intent_at: Option<Timestamp>,
    /// WhatsApp accepted the request.
    pub requested_at: Option<Timestamp>,
    pub request_id: Option<String>,
    /// After this instant WhatsApp accepts none.
    pub deadline_at: Option<Timestamp>,
    /// Of the next try, while intent has no outcome.
    pub next_attempt_at: Option<Timestamp>,
    pub attempts: i32,
    /// WhatsApp's words, when it refused for good.
    pub refusal: Option<String>,
    /// Why the last try was in vain; it is made again.
    pub last_failure: Option<String>,
    /// First webhook.
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub last_chunk_at: Option<Timestamp>,
    /// progress 100 was seen.
    pub complete_seen: bool,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
