//! A tenant.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{PartnerId, Timestamp};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "partner")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: PartnerId,
    /// Shown to people only.
    pub name: String,
    /// When it first read its stream; none: nobody ever listened (S8).
    pub stream_opened_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
