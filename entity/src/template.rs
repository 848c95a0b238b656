//! A template of a client's account.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, PartnerId, TemplateId, Timestamp};

/// A template of a client's account, as that client knows it: clients that share an account have a row each.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "template")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TemplateId,
    pub partner_id: PartnerId,
    pub client_id: ClientId,
    /// The account.
    pub waba_id: String,
    /// Meta's id of it.
    pub upstream_id: String,
    pub name: String,
    pub language: String,
    /// Meta's word: APPROVED, PENDING, REJECTED …; DELETED where it is gone.
    pub status: String,
    /// Stamp of the status that holds.
    pub status_at: Timestamp,
    /// Why it has that status, in Meta's words.
    pub reason: Option<String>,
    /// Meta's word: MARKETING, UTILITY, AUTHENTICATION …
    pub category: String,
    /// Stamp of the category that holds, and of what is to come.
    pub category_at: Timestamp,
    /// The category that it will have.
    pub next_category: Option<String>,
    /// From when on.
    pub next_category_at: Option<Timestamp>,
    /// GREEN, YELLOW, RED or UNKNOWN.
    pub quality: Option<String>,
    pub quality_at: Timestamp,
    /// NAMED or POSITIONAL.
    pub parameter_format: Option<String>,
    /// As on Meta's wire; none: not read yet.
    pub components: Option<Json>,
    /// When this row was made.
    pub created_at: Timestamp,
    /// When anything of it changed last.
    pub changed_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
