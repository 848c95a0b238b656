//! Bytes in the store of files, once for all files that are the same.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{BlobId, Timestamp};

/// Bytes in the store of files, once for all files that are the same.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "blob")]
pub struct Model {
    /// Names the object in the store.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: BlobId,
    /// SHA-256 of all bytes, hexadecimal; unique. None: still being written, or going.
    pub sha256: Option<String>,
    pub size_bytes: i64,
    /// No file refers to it: it goes after this instant, by real time. None: it is in use.
    pub free_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
