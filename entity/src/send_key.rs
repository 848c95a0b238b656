//! An idempotency key of sendMessage, and what it was used for.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, MessageId, Timestamp};

/// An idempotency key of sendMessage, and what it was used for. Also reactions have keys, which have no row of history.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "send_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: ClientId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// Of what was asked with it.
    pub request_hash: String,
    /// The message, or the message reacted to.
    pub message_id: MessageId,
    /// The place in the partner's stream that the first answer named.
    pub position: i64,
    /// By real time.
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
