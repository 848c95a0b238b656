//! A name by which a contact is found (invariant 4).

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, ContactId, ContactKeyKind, Timestamp};

/// A name by which a contact is found (invariant 4).
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "contact_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub value: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: ContactKeyKind,
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: ClientId,
    pub contact_id: ContactId,
    /// When the name was last seen with this contact.
    pub seen_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
