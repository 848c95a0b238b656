//! A key of a partner's server. The secret itself is not here.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ApiKeyId, PartnerId, Timestamp};

/// A key of a partner's server. The secret itself is not here.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiKeyId,
    pub partner_id: PartnerId,
    /// For people.
    pub name: String,
    /// HMAC-SHA256 of the secret under the installation key; unique.
    pub secret_hash: Vec<u8>,
    /// READ, SEND, ADMIN, joined by commas.
    pub scopes: String,
    /// Ids of the only clients that it may see; none: all of the partner's.
    pub client_ids: Option<Json>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
