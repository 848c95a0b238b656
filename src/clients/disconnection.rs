//! Why a connection ended, and what to do about it (R15).

/// A reason, as rows and events hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Our word: a value of `DisconnectionReason`.
    pub code: &'static str,
    /// WhatsApp's own word.
    pub upstream: Option<String>,
    /// `USER`, `SYSTEM` or `PARTNER`.
    pub initiated_by: Option<String>,
}

impl Reason {
    /// From what WhatsApp says of a removal.
    pub fn of_whatsapp(reason: Option<&str>, initiated_by: Option<&str>) -> Self {
        let code = match reason {
            Some("BUSINESS_DOWNGRADE") => "BUSINESS_DOWNGRADE",
            Some("CHANGE_NUMBER") => "NUMBER_CHANGED",
            Some("COMPANION_INACTIVITY") => "COMPANION_INACTIVE",
            Some("PRIMARY_INACTIVITY") => "PHONE_INACTIVE",
            Some("USER_RE_REGISTERED") => "RE_REGISTERED",
            // ACCOUNT_DISCONNECTED stands for enforcement and for a deleted account alike; an unknown word for anything.
            _ if initiated_by == Some("USER") => "BY_CLIENT",
            _ => "OTHER",
        };
        Self { code, upstream: reason.map(str::to_owned), initiated_by: initiated_by.map(str::to_owned) }
    }

    /// The account is gone.
    pub fn account_deleted() -> Self {
        Self { code: "ACCOUNT_DELETED", upstream: Some("ACCOUNT_DELETED".to_owned()), initiated_by: None }
    }
}

/// What a person can do about it.
pub fn remedy(code: &str) -> &'static str {
    match code {
        "BY_CLIENT" => {
            "The client ended the connection in the app, or deleted the account. If that was not meant: make a new \
             onboarding with this client's id and let the client connect again."
        }
        "BY_PARTNER" => "It was ended through this API. Make a new onboarding with this client's id to connect again.",
        "BUSINESS_DOWNGRADE" => {
            "The number was moved to the regular WhatsApp app. The client moves it back to the WhatsApp Business app, then \
             connects again through a new onboarding."
        }
        "NUMBER_CHANGED" => "The app has another number now. Make a new onboarding for the new number.",
        "PHONE_INACTIVE" => {
            "The WhatsApp Business app was not opened on the phone for too long. The client opens it and connects again \
             through a new onboarding; opening it every few days keeps the connection."
        }
        "COMPANION_INACTIVE" => {
            "The connection was not used for too long. The client connects again through a new onboarding."
        }
        "RE_REGISTERED" => {
            "The number was registered again on a phone. The client connects again through a new onboarding."
        }
        "ACCOUNT_DELETED" => {
            "The WhatsApp account was deleted. The client sets it up again in the WhatsApp Business app, then connects \
             through a new onboarding."
        }
        "TOKEN_LOST" => "WhatsApp no longer accepts our access. The client connects again through a new onboarding.",
        _ => {
            "WhatsApp ended the connection; see upstreamReason and WhatsApp Manager. Then the client connects again \
             through a new onboarding."
        }
    }
}
