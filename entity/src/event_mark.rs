//! How far each partner's log went at some instants: what retention goes by.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{PartnerId, Timestamp};

/// How far a partner's log went at some instant. An entry tells when something happened, which may be long before it was
/// told; retention goes by when it was told.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "event_mark")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub partner_id: PartnerId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub at: Timestamp,
    /// Everything up to here was told by then.
    pub position: i64,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
