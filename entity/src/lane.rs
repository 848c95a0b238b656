//! Who sends for a client: a lease by the database's clock, with a fencing token.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, Timestamp};

/// Who sends for a client: a lease by the database's clock, with a fencing token.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "lane")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: ClientId,
    /// Of the process.
    pub owner: Option<Uuid>,
    /// Grows with each owner.
    pub fence: i64,
    /// By the database's clock.
    pub until: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
