//! An entry of a partner's stream: what happened, and to what. No words of people.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, EventType, PartnerId, Timestamp};

/// An entry of a partner's stream: what happened, and to what. No words of people.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub partner_id: PartnerId,
    /// 1, 2, 3 … without gaps, in the order of commits.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    pub kind: EventType,
    pub occurred_at: Timestamp,
    pub client_id: Option<ClientId>,
    /// The message, contact or onboarding, by kind.
    pub subject_id: Option<Uuid>,
    /// The changed values.
    pub data: Option<Json>,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
