//! One business number (or the place kept for it until it is connected).

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{AppPresenceBasis, ClientId, ClientMode, ClientStatus, HistoryImport, PartnerId, Timestamp};

/// One business number (or the place kept for it until it is connected).
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "client")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ClientId,
    pub partner_id: PartnerId,
    pub mode: ClientMode,
    pub status: ClientStatus,
    /// +97257…, unique; shown until a real number is known. Never matched against a webhook.
    pub temporary_number: String,
    /// E.164 with plus, once connected.
    pub phone_number: Option<String>,
    /// Meta's id of the number.
    pub phone_number_id: Option<String>,
    /// The WhatsApp Business Account.
    pub waba_id: Option<String>,
    /// As set in the app.
    pub display_name: Option<String>,
    /// Of the change that set the name; 0: none yet.
    pub display_name_at: Timestamp,
    /// about, description, address, email, websites, pictureUrl.
    pub profile: Option<Json>,
    /// When name and profile were last read; 0: to be read as soon as can be.
    pub profile_at: Timestamp,
    /// When the templates were last read whole; 0: not since the connection.
    pub templates_at: Timestamp,
    /// When they are to be read again; 0: as soon as can be.
    pub templates_due_at: Timestamp,
    pub business_name: String,
    pub business_email: Option<String>,
    /// The partner's own key.
    pub reference: Option<String>,
    /// The upstream's access token, sealed (invariant 9).
    pub token_sealed: Option<Vec<u8>>,
    pub token_expires_at: Option<Timestamp>,
    /// Of a number on the API alone: the PIN with which it was registered, and which alone registers it again, sealed
    /// (invariant 9).
    pub pin_sealed: Option<Vec<u8>>,
    /// Of the latest onboarding.
    pub history_import: HistoryImport,
    /// Known from the first history webhook or the refusal.
    pub shares_history: Option<bool>,
    /// Of the first connection ever.
    pub first_connected_at: Option<Timestamp>,
    /// Of the latest connection; stays after a disconnection.
    pub connected_at: Option<Timestamp>,
    /// Stamp of the account change that holds; later ones replace it.
    pub account_at: Timestamp,
    /// Breaks ties of the stamp.
    pub account_rank: i32,
    pub disconnected_at: Option<Timestamp>,
    /// DisconnectionReason.
    pub disconnect_reason: Option<String>,
    /// WhatsApp's own word.
    pub disconnect_upstream_reason: Option<String>,
    /// USER, SYSTEM or PARTNER.
    pub disconnect_initiated_by: Option<String>,
    /// Why sending waits, for people.
    pub pause_reason: Option<String>,
    /// Last sign of life of the app (R16).
    pub last_seen_at: Option<Timestamp>,
    pub last_seen_basis: Option<AppPresenceBasis>,
    /// The highest APP_VISIT_DUE raised since then, in days; 0: none.
    pub visit_raised_days: i32,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
