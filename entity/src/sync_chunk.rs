//! A chunk of the history that arrived, to see whether one is missing.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, Timestamp};

/// A chunk of the history that arrived, to see whether one is missing.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "sync_chunk")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: ClientId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub phase: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    pub chunk_order: i32,
    /// Of the connection that it belongs to.
    pub connected_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
