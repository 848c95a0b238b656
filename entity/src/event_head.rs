//! Between which places each partner's log lies. The newest is bumped by the number of new events, in the transaction that
//! inserts them (invariant 5).

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::PartnerId;

/// Between which places a partner's log lies. The newest is bumped by the number of new events, in the transaction that
/// inserts them (invariant 5).
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "event_head")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub partner_id: PartnerId,
    /// 0 when the stream is empty.
    pub head: i64,
    /// Everything after this place is kept, nothing up to it.
    pub floor: i64,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
