//! A raw body, kept before it is answered (invariant 1). On SQLite in a file of its own.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{InboundId, InboundState, Timestamp};

/// A raw body, kept before it is answered (invariant 1). On SQLite in a file of its own.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "inbound")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InboundId,
    /// By the service's clock.
    pub received_at: Timestamp,
    /// Holds an import: applied behind live traffic.
    pub history: bool,
    pub state: InboundState,
    /// Kept as long as what failed: something in it is not understood.
    pub partly_unknown: bool,
    /// When the state became final.
    pub settled_at: Option<Timestamp>,
    pub error: Option<String>,
    pub body: Vec<u8>,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
