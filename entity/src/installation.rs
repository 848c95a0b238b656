//! One row: what this database is.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::Timestamp;

/// One row: what this database is.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// Of the log; every cursor carries it.
    pub epoch: i64,
    /// Where the database lived when the epoch began: a copy of it, or one restored from a backup, lives elsewhere.
    pub place: String,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
