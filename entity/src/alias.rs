//! An id of what was merged into something else, and what it stands for now.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{AliasKind, PartnerId};

/// An id of what was merged into something else, and what it stands for now.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "alias")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub kind: AliasKind,
    pub target: Uuid,
    pub partner_id: PartnerId,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
