//! The journey from a link to a connected number.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, ClientMode, HistoryImport, OnboardingId, OnboardingStatus, PartnerId, Timestamp};

/// The journey from a link to a connected number.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "onboarding")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: OnboardingId,
    pub partner_id: PartnerId,
    pub client_id: ClientId,
    /// What the client shall be.
    pub mode: ClientMode,
    pub status: OnboardingStatus,
    /// What the link carries; unique, 128 random bits.
    pub link_token: String,
    pub history_import: HistoryImport,
    /// The partner's own key for the client, as it was given with this link.
    pub reference: Option<String>,
    pub locale: Option<String>,
    pub branding: Option<Json>,
    pub success_url: Option<String>,
    pub failure_url: Option<String>,
    pub shares_history: Option<bool>,
    /// OnboardingFailureCode.
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    pub failure_upstream_code: Option<String>,
    /// Of the browser's session at Meta.
    pub failure_session_id: Option<String>,
    /// Of a number on the API alone, until it is connected: the PIN that registers it, sealed (invariant 9). Kept before it is
    /// used.
    pub pin_sealed: Option<Vec<u8>>,
    /// Unique per partner.
    pub idempotency_key: Option<String>,
    /// Of the input made with that key.
    pub request_hash: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
