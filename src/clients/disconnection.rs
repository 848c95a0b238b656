//! Why a connection ended, and what to do about it (R15).

use entity::{ClientStatus, Timestamp, client};
use serde_json::json;

/// A reason, as rows and events hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Our word.
    pub code: DisconnectionReason,
    /// WhatsApp's own word.
    pub upstream: Option<String>,
    /// `USER`, `SYSTEM` or `PARTNER`.
    pub initiated_by: Option<String>,
}

impl Reason {
    /// From what WhatsApp says of a removal.
    pub fn of_whatsapp(reason: Option<&str>, initiated_by: Option<&str>) -> Self {
        let code = match reason {
            Some("BUSINESS_DOWNGRADE") => DisconnectionReason::BusinessDowngrade,
            Some("CHANGE_NUMBER") => DisconnectionReason::NumberChanged,
            Some("COMPANION_INACTIVITY") => DisconnectionReason::CompanionInactive,
            Some("PRIMARY_INACTIVITY") => DisconnectionReason::PhoneInactive,
            Some("USER_RE_REGISTERED") => DisconnectionReason::ReRegistered,
            // ACCOUNT_DISCONNECTED stands for enforcement and for a deleted account alike; an unknown word for anything.
            _ if initiated_by == Some("USER") => DisconnectionReason::ByClient,
            _ => DisconnectionReason::Other,
        };
        Self { code, upstream: reason.map(str::to_owned), initiated_by: initiated_by.map(str::to_owned) }
    }

    /// The account is gone.
    pub fn account_deleted() -> Self {
        Self {
            code: DisconnectionReason::AccountDeleted,
            upstream: Some("ACCOUNT_DELETED".to_owned()),
            initiated_by: None,
        }
    }

    /// The partner ended it through the API.
    pub fn by_partner() -> Self {
        Self {
            code: DisconnectionReason::ByPartner,
            upstream: None,
            initiated_by: Some("PARTNER".to_owned()),
        }
    }
}

/// Ends the connection of this row, and gives what the event tells. Its token is worth nothing any more, and not to be
/// kept (invariant 9).
pub fn end(row: &mut client::Model, at: Timestamp, reason: &Reason) -> serde_json::Value {
    row.status = ClientStatus::Disconnected;
    row.disconnected_at = Some(at);
    row.disconnect_reason = Some(reason.code.word().to_owned());
    row.disconnect_upstream_reason.clone_from(&reason.upstream);
    row.disconnect_initiated_by.clone_from(&reason.initiated_by);
    row.pause_reason = None;
    row.token_sealed = None;
    row.token_expires_at = None;
    json!({ "reason": reason.code.word(), "initiatedBy": reason.initiated_by })
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectionReason {
    /// The client ended it in the app.
    ByClient,
    /// The partner ended it through the API.
    ByPartner,
    /// The number was moved to the regular WhatsApp app.
    BusinessDowngrade,
    /// The client changed its number.
    NumberChanged,
    /// The phone was not used for too long (R16).
    PhoneInactive,
    /// The companion was not used for too long.
    CompanionInactive,
    /// The number was registered anew.
    ReRegistered,
    /// The account was deleted.
    AccountDeleted,
    /// WhatsApp no longer accepts the token.
    TokenLost,
    /// Something else; WhatsApp's own word is kept beside it.
    Other,
}

impl DisconnectionReason {
    /// All of them.
    pub const ALL: [DisconnectionReason; 10] = [
        DisconnectionReason::ByClient,
        DisconnectionReason::ByPartner,
        DisconnectionReason::BusinessDowngrade,
        DisconnectionReason::NumberChanged,
        DisconnectionReason::PhoneInactive,
        DisconnectionReason::CompanionInactive,
        DisconnectionReason::ReRegistered,
        DisconnectionReason::AccountDeleted,
        DisconnectionReason::TokenLost,
        DisconnectionReason::Other,
    ];

    /// The word that rows and events hold.
    pub fn word(self) -> &'static str {
        match self {
            DisconnectionReason::ByClient => "BY_CLIENT",
            DisconnectionReason::ByPartner => "BY_PARTNER",
            DisconnectionReason::BusinessDowngrade => "BUSINESS_DOWNGRADE",
            DisconnectionReason::NumberChanged => "NUMBER_CHANGED",
            DisconnectionReason::PhoneInactive => "PHONE_INACTIVE",
            DisconnectionReason::CompanionInactive => "COMPANION_INACTIVE",
            DisconnectionReason::ReRegistered => "RE_REGISTERED",
            DisconnectionReason::AccountDeleted => "ACCOUNT_DELETED",
            DisconnectionReason::TokenLost => "TOKEN_LOST",
            DisconnectionReason::Other => "OTHER",
        }
    }

    /// From the stored word; what is not one of them is OTHER.
    pub fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|reason| reason.word() == word).unwrap_or(Self::Other)
    }

    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            DisconnectionReason::ByClient => {
                "The client ended the connection in the app, or deleted the account. If that was not meant: make a new \
                 onboarding with this client's id and let the client connect again."
            }
            DisconnectionReason::ByPartner => {
                "It was ended through this API; the app goes on showing the connection. To connect again the client first ends \
                 it there (Settings, Account, Business Platform), then opens the link of a new onboarding with this client's id."
            }
            DisconnectionReason::BusinessDowngrade => {
                "The number was moved to the regular WhatsApp app. The client moves it back to the WhatsApp Business app, then \
                 connects again through a new onboarding."
            }
            DisconnectionReason::NumberChanged => {
                "The app has another number now. Make a new onboarding for the new number."
            }
            DisconnectionReason::PhoneInactive => {
                "The WhatsApp Business app was not opened on the phone for too long. The client opens it and connects again \
                 through a new onboarding; opening it every few days keeps the connection."
            }
            DisconnectionReason::CompanionInactive => {
                "The connection was not used for too long. The client connects again through a new onboarding."
            }
            DisconnectionReason::ReRegistered => {
                "The number was registered again on a phone. The client connects again through a new onboarding."
            }
            DisconnectionReason::AccountDeleted => {
                "The WhatsApp account was deleted. The client sets it up again in the WhatsApp Business app, then connects \
                 through a new onboarding."
            }
            DisconnectionReason::TokenLost => {
                "WhatsApp no longer accepts our access. The client connects again through a new onboarding."
            }
            DisconnectionReason::Other => {
                "WhatsApp ended the connection; see upstreamReason and WhatsApp Manager. Then the client connects again \
                 through a new onboarding."
            }
        }
    }

    /// Whether a new link can bring the same client back.
    pub fn is_reconnectable(self) -> bool {
        match self {
            DisconnectionReason::NumberChanged => false,
            DisconnectionReason::ByClient
            | DisconnectionReason::ByPartner
            | DisconnectionReason::BusinessDowngrade
            | DisconnectionReason::PhoneInactive
            | DisconnectionReason::CompanionInactive
            | DisconnectionReason::ReRegistered
            | DisconnectionReason::AccountDeleted
            | DisconnectionReason::TokenLost
            | DisconnectionReason::Other => true,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnection {
    /// Why.
    pub reason: DisconnectionReason,
    /// USER, SYSTEM or PARTNER, where it is known.
    pub initiated_by: Option<String>,
    /// When.
    pub at: Timestamp,
    /// WhatsApp's own word.
    pub upstream_reason: Option<String>,
}

/// How the connection of this client ended; none while it is not DISCONNECTED.
pub fn of(row: &client::Model) -> Option<Disconnection> {
    (row.status == ClientStatus::Disconnected).then(|| Disconnection {
        reason: row
            .disconnect_reason
            .as_deref()
            .map_or(DisconnectionReason::Other, DisconnectionReason::parse),
        initiated_by: row.disconnect_initiated_by.clone(),
        at: row.disconnected_at.unwrap_or(row.account_at),
        upstream_reason: row.disconnect_upstream_reason.clone(),
    })
}
