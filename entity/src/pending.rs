//! A change that came before its message, waiting for it (invariant 3).

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, Timestamp};

/// A change that came before its message, waiting for it (invariant 3).
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "pending")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: ClientId,
    /// WhatsApp id of the message.
    #[sea_orm(primary_key, auto_increment = false)]
    pub target: String,
    /// Of the change: the same one waits once.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: String,
    /// Trailing part of the target.
    pub token: String,
    pub change: Json,
    pub received_at: Timestamp,
    /// An echo that waits for the outcome of a send: taken up again at this instant, by real time.
    pub retry_at: Option<Timestamp>,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
