//! Why an onboarding fails, and what to do about it (R1, R2).

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
    /// The client left.
    Canceled,
    /// WhatsApp refused the code or the token.
    TokenRefused,
    /// Something else; WhatsApp's own code is kept beside it.
    Other,
}

impl OnboardingFailureCode {
    /// All of them.
    pub const ALL: [OnboardingFailureCode; 10] = [
        OnboardingFailureCode::NotABusinessAppNumber,
        OnboardingFailureCode::AppTooOld,
        OnboardingFailureCode::NotEnoughActivity,
        OnboardingFailureCode::RegionNotAvailable,
        OnboardingFailureCode::ConnectedElsewhere,
        OnboardingFailureCode::NumberInUse,
        OnboardingFailureCode::NotCoexistence,
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
            OnboardingFailureCode::Canceled => "CANCELED",
            OnboardingFailureCode::TokenRefused => "TOKEN_REFUSED",
            OnboardingFailureCode::Other => "OTHER",
        }
    }

    /// From the stored word; what is not one of them is OTHER.
    pub fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|code| code.word() == word).unwrap_or(Self::Other)
    }

    /// What to do, for people; `minimum_version` is the oldest app that will do.
    pub fn remedy(self, minimum_version: &str) -> String {
        match self {
            OnboardingFailureCode::NotABusinessAppNumber => {
                "The number must be in the WhatsApp Business app. A number of the regular WhatsApp app is moved there \
                 by installing the WhatsApp Business app and registering the same number: the chats come along. Then \
                 the same link works."
                    .to_owned()
            }
            OnboardingFailureCode::AppTooOld => format!(
                "The client updates the WhatsApp Business app to version {minimum_version} or newer. Then the same \
                 link works."
            ),
            OnboardingFailureCode::NotEnoughActivity => {
                "WhatsApp wants to see more activity of this number first: the client uses the WhatsApp Business app \
                 with its customers for some days and tries the same link again."
                    .to_owned()
            }
            OnboardingFailureCode::RegionNotAvailable => {
                "WhatsApp does not offer coexistence for numbers of this region.".to_owned()
            }
            OnboardingFailureCode::ConnectedElsewhere => {
                "The number is connected with another provider. The client ends that connection in the WhatsApp \
                 Business app (Settings, Account, Business Platform), waits 15 minutes and tries the same link again."
                    .to_owned()
            }
            OnboardingFailureCode::NumberInUse => {
                "The number is in use. The client ends its present connection in the WhatsApp Business app (Settings, \
                 Account, Business Platform) and tries the same link again."
                    .to_owned()
            }
            OnboardingFailureCode::NotCoexistence => {
                "The client chose another way than connecting its WhatsApp Business app. It opens the same link again \
                 and chooses \"Connect a WhatsApp Business App\"."
                    .to_owned()
            }
            OnboardingFailureCode::Canceled => "The client left before the end. The same link works.".to_owned(),
            OnboardingFailureCode::TokenRefused => {
                "WhatsApp refused the permission that the client gave. The client tries the same link again.".to_owned()
            }
            OnboardingFailureCode::Other => {
                "The client tries the same link again; if that fails too, WhatsApp's own code says more.".to_owned()
            }
        }
    }
}
