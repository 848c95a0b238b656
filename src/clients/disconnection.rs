//! Why a connection ended, and what to do about it (R15).

use entity::{ClientStatus, Timestamp, client};

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

    /// What to do, for people.
    pub fn remedy(self) -> &'static str {
        match self {
            DisconnectionReason::ByClient => {
                "The client ended the connection in the WhatsApp Business app (Settings, Account, Business Platform), \
                 or deleted its account. If it wants to come back, createOnboarding with its clientId makes a link \
                 that reconnects the same client."
            }
            DisconnectionReason::ByPartner => {
                "You ended the connection. createOnboarding with its clientId makes a link that reconnects the same \
                 client; the app goes on showing the old connection until the client ends it there."
            }
            DisconnectionReason::BusinessDowngrade => {
                "The number was moved to the regular WhatsApp app. The client moves it back to the WhatsApp Business \
                 app; then createOnboarding with its clientId makes a link that reconnects it."
            }
            DisconnectionReason::NumberChanged => {
                "The client changed its number. The new number is connected with a new link; the messages of the old \
                 one stay readable here."
            }
            DisconnectionReason::PhoneInactive => {
                "The WhatsApp Business app was not opened on the phone for too long. The client opens it; then \
                 createOnboarding with its clientId makes a link that reconnects it."
            }
            DisconnectionReason::CompanionInactive => {
                "The connection was not used for too long. createOnboarding with its clientId makes a link that \
                 reconnects it."
            }
            DisconnectionReason::ReRegistered => {
                "The number was registered anew, on another phone or after the app was installed again. \
                 createOnboarding with its clientId makes a link that reconnects it."
            }
            DisconnectionReason::AccountDeleted => {
                "The WhatsApp account was deleted. Once the number is in the WhatsApp Business app again, \
                 createOnboarding with its clientId makes a link that reconnects it."
            }
            DisconnectionReason::TokenLost => {
                "WhatsApp no longer accepts our access to this number. createOnboarding with its clientId makes a \
                 link by which the client grants it again."
            }
            DisconnectionReason::Other => {
                "WhatsApp ended the connection; its own word stands beside this. Ask the client what the WhatsApp \
                 Business app says; createOnboarding with its clientId makes a link that reconnects it."
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
        reason: row.disconnect_reason.as_deref().map_or(DisconnectionReason::Other, DisconnectionReason::parse),
        initiated_by: row.disconnect_initiated_by.clone(),
        at: row.disconnected_at.unwrap_or(row.account_at),
        upstream_reason: row.disconnect_upstream_reason.clone(),
    })
}
