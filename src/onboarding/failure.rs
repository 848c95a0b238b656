//! Why a signup failed, and what to do about it (R1, R2). The link stays good: the next try may succeed.

use crate::config::MetaConfig;

/// A failed try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignupFailure {
    /// A value of `OnboardingFailureCode`.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// Meta's own code.
    pub upstream_code: Option<String>,
    /// Of the browser's session at Meta, which Meta's support asks for.
    pub session_id: Option<String>,
}

impl SignupFailure {
    /// A failure that we found ourselves.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), upstream_code: None, session_id: None }
    }

    /// From a code of Meta's Embedded Signup.
    pub fn of_meta(code: &str, message: Option<&str>, config: &MetaConfig) -> Self {
        let (ours, words) = match code {
            "2655095" | "2655048" => (
                "NOT_A_BUSINESS_APP_NUMBER",
                "This number is not registered in the WhatsApp Business app.".to_owned(),
            ),
            "4563015" => (
                "APP_TOO_OLD",
                format!(
                    "The WhatsApp Business app on the phone is too old: version {} or newer is needed.",
                    config.minimum_app_version
                ),
            ),
            "3441045" => (
                "NOT_ENOUGH_ACTIVITY",
                "The number was not used enough in the WhatsApp Business app yet.".to_owned(),
            ),
            "3441042" => {
                ("REGION_NOT_AVAILABLE", "WhatsApp does not offer this in the number's country.".to_owned())
            }
            "2655093" | "2655094" | "3441049" => {
                (
                "CONNECTED_ELSEWHERE",
                "The app on the phone shows the number as connected already: with another provider, or still with this one."
                    .to_owned(),
            )
            }
            _ => ("OTHER", message.unwrap_or("WhatsApp ended the signup with an error.").to_owned()),
        };
        Self { upstream_code: Some(code.to_owned()), ..Self::new(ours, words) }
    }
}

/// What to do next, in words.
pub fn remedy(code: &str) -> &'static str {
    match code {
        "NOT_A_BUSINESS_APP_NUMBER" => {
            "Install the WhatsApp Business app on the phone and register the same number there: WhatsApp moves the chats. \
             Then open the same link again."
        }
        "APP_TOO_OLD" => "Update the WhatsApp Business app on the phone, then open the same link again.",
        "NOT_ENOUGH_ACTIVITY" => {
            "Use the WhatsApp Business app with this number for some days, then open the same link again."
        }
        "REGION_NOT_AVAILABLE" => "Use a number of another country, or wait until WhatsApp offers it there.",
        "CONNECTED_ELSEWHERE" => {
            "In the WhatsApp Business app choose Settings, Account, Business Platform, Disconnect; wait 15 minutes; then \
             open the same link again."
        }
        "NUMBER_IN_USE" => {
            "Disconnect the number where it is connected now (in the app: Settings, Account, Business Platform), then open \
             the same link again."
        }
        "NOT_COEXISTENCE" => {
            "Open the same link again and choose to connect the existing WhatsApp Business app, not a new number."
        }
        "IN_BUSINESS_APP" => {
            "To keep the app, make an onboarding with coexistence: true. To leave the app for good, delete the account in it, \
             then open the same link again."
        }
        "REGISTRATION_REFUSED" => {
            "If the number has a two-step verification PIN, turn it off in WhatsApp Manager; otherwise see the upstream code. \
             Then open the same link again."
        }
        "CANCELED" => "Open the same link again and go on to the end.",
        "TOKEN_REFUSED" => "Open the same link again: what WhatsApp gave had expired or lacked a permission.",
        _ => {
            "Open the same link again; if it fails once more, ask WhatsApp's support with the upstream code."
        }
    }
}

/// Why an onboarding failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnboardingFailureCode {
    /// R1: the number is not in the WhatsApp Business app.
    NotABusinessAppNumber,
    /// R2: the app is too old.
    AppTooOld,
    /// The app was not used enough yet.
    NotEnoughActivity,
    /// WhatsApp does not offer coexistence there.
    RegionNotAvailable,
    /// The number is connected with another provider.
    ConnectedElsewhere,
    /// The number is connected with another partner of this installation.
    NumberInUse,
    /// The number was connected in another way than coexistence.
    NotCoexistence,
    /// A number on the API alone was asked for, and this one lives in the WhatsApp Business app.
    InBusinessApp,
    /// WhatsApp did not register the number on the API.
    RegistrationRefused,
    /// The client left.
    Canceled,
    /// WhatsApp refused the code or the token.
    TokenRefused,
    /// Something else; WhatsApp's own code is kept beside it.
    Other,
}

impl OnboardingFailureCode {
    /// All of them.
    pub const ALL: [OnboardingFailureCode; 12] = [
        OnboardingFailureCode::NotABusinessAppNumber,
        OnboardingFailureCode::AppTooOld,
        OnboardingFailureCode::NotEnoughActivity,
        OnboardingFailureCode::RegionNotAvailable,
        OnboardingFailureCode::ConnectedElsewhere,
        OnboardingFailureCode::NumberInUse,
        OnboardingFailureCode::NotCoexistence,
        OnboardingFailureCode::InBusinessApp,
        OnboardingFailureCode::RegistrationRefused,
        OnboardingFailureCode::Canceled,
        OnboardingFailureCode::TokenRefused,
        OnboardingFailureCode::Other,
    ];

    /// The word that rows hold.
    pub fn word(self) -> &'static str {
        match self {
            OnboardingFailureCode::NotABusinessAppNumber => "NOT_A_BUSINESS_APP_NUMBER",
            OnboardingFailureCode::AppTooOld => "APP_TOO_OLD",
            OnboardingFailureCode::NotEnoughActivity => "NOT_ENOUGH_ACTIVITY",
            OnboardingFailureCode::RegionNotAvailable => "REGION_NOT_AVAILABLE",
            OnboardingFailureCode::ConnectedElsewhere => "CONNECTED_ELSEWHERE",
            OnboardingFailureCode::NumberInUse => "NUMBER_IN_USE",
            OnboardingFailureCode::NotCoexistence => "NOT_COEXISTENCE",
            OnboardingFailureCode::InBusinessApp => "IN_BUSINESS_APP",
            OnboardingFailureCode::RegistrationRefused => "REGISTRATION_REFUSED",
            OnboardingFailureCode::Canceled => "CANCELED",
            OnboardingFailureCode::TokenRefused => "TOKEN_REFUSED",
            OnboardingFailureCode::Other => "OTHER",
        }
    }

    /// From the stored word; what is not one of them is OTHER.
    pub fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|code| code.word() == word).unwrap_or(Self::Other)
    }

    /// What to do next, in words.
    pub fn remedy(self) -> &'static str {
        remedy(self.word())
    }
}
