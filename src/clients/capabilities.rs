//! What works where once a number is connected (R7, R10 to R13, R17): each feature that the provider's page names.
//! Where Meta's own pages differ from it, the note tells both.

use entity::ClientMode;

/// A feature of the WhatsApp Business app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppFeature {
    /// One-to-one chats.
    Messages,
    /// Group chats.
    Groups,
    /// Messages that vanish after a time.
    DisappearingMessages,
    /// Media that can be opened once.
    ViewOnce,
    /// Channels.
    Channels,
    /// Status updates.
    Status,
    /// The automatic greeting.
    GreetingMessages,
    /// The automatic answer outside office hours.
    AwayMessages,
    /// Voice and video calls.
    Calls,
    /// Broadcast lists.
    BroadcastLists,
    /// A place shared as it moves.
    LiveLocation,
    /// Name, picture, description, website, address.
    Profile,
    /// WhatsApp Web as a linked device.
    LinkedWeb,
    /// WhatsApp for Mac as a linked device.
    LinkedMac,
    /// WhatsApp for Windows as a linked device.
    LinkedWindows,
    /// A WearOS watch as a linked device.
    LinkedWearos,
}

impl AppFeature {
    /// All of them, in the order of the page.
    pub const ALL: [AppFeature; 16] = [
        AppFeature::Messages,
        AppFeature::Groups,
        AppFeature::DisappearingMessages,
        AppFeature::ViewOnce,
        AppFeature::Channels,
        AppFeature::Status,
        AppFeature::GreetingMessages,
        AppFeature::AwayMessages,
        AppFeature::Calls,
        AppFeature::BroadcastLists,
        AppFeature::LiveLocation,
        AppFeature::Profile,
        AppFeature::LinkedWeb,
        AppFeature::LinkedMac,
        AppFeature::LinkedWindows,
        AppFeature::LinkedWearos,
    ];
}

/// Where a feature works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// In both.
    AppAndApi,
    /// In the app alone; the API sees nothing of it.
    AppOnly,
    /// Through the API alone.
    ApiOnly,
    /// Nowhere.
    Disabled,
    /// In groups in the app, and nowhere else.
    DisabledExceptGroups,
}

/// What holds for one feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The feature.
    pub feature: AppFeature,
    /// Where it works.
    pub availability: Availability,
    /// What one should know about it.
    pub note: Option<&'static str>,
}

/// What holds for a client of this mode: an answer for every feature.
pub fn of(mode: ClientMode) -> [Capability; 16] {
    AppFeature::ALL.map(|feature| {
        let (availability, note) = match mode {
            ClientMode::Coexistence => in_coexistence(feature),
            ClientMode::ApiOnly => on_the_api_alone(feature),
        };
        Capability { feature, availability, note }
    })
}

fn in_coexistence(feature: AppFeature) -> (Availability, Option<&'static str>) {
    use Availability::{AppAndApi, AppOnly, DisabledExceptGroups};
    match feature {
        AppFeature::Messages => (
            AppAndApi,
            Some("Every message of a one-to-one chat is seen on both sides, whoever sent it and from where."),
        ),
        AppFeature::Groups => (
            AppOnly,
            Some(
                "Groups go on in the app; their messages are neither stored nor told, and none can be sent.",
            ),
        ),
        AppFeature::DisappearingMessages => (
            DisabledExceptGroups,
            Some("Switched off for all one-to-one chats when the number is connected."),
        ),
        AppFeature::ViewOnce => (
            DisabledExceptGroups,
            Some("Switched off for all one-to-one chats when the number is connected."),
        ),
        AppFeature::Channels | AppFeature::Status => (AppOnly, None),
        AppFeature::GreetingMessages | AppFeature::AwayMessages => (
            AppOnly,
            Some("Set and sent by the app. WhatsApp does not say whether such a message is told to the API."),
        ),
        AppFeature::Calls => (AppOnly, Some("Voice and video calls are made and taken in the app.")),
        AppFeature::BroadcastLists => (
            AppOnly,
            Some(
                "The provider says that broadcast stays in the app. Meta says that no new lists can be made there and \
                 that old ones can only be read.",
            ),
        ),
        AppFeature::LiveLocation => (
            AppOnly,
            Some(
                "The provider says that live location stays in the app. Meta says that it is switched off for \
                 one-to-one chats, which leaves groups.",
            ),
        ),
        AppFeature::Profile => (
            AppOnly,
            Some(
                "Name, picture, description, website and mail address are set by the client in the app; the API reads \
                 the profile and follows its changes.",
            ),
        ),
        AppFeature::LinkedWeb | AppFeature::LinkedMac => (
            AppAndApi,
            Some(
                "Unlinked when the number is connected; can be linked again (four devices at most). Messages sent \
                 there are told like those of the phone.",
            ),
        ),
        AppFeature::LinkedWindows => (
            AppOnly,
            Some(
                "Unlinked when the number is connected; can be linked again, but the provider says that the API does \
                 not see what is sent from WhatsApp for Windows: better use WhatsApp Web. Meta says that it is not \
                 supported: messages of the business show placeholder text there.",
            ),
        ),
        AppFeature::LinkedWearos => (
            AppOnly,
            Some(
                "Unlinked when the number is connected; can be linked again, but the provider says that the API does \
                 not see what is sent from a WearOS watch. Meta says that it is not supported: messages of the \
                 business show placeholder text there.",
            ),
        ),
    }
}

fn on_the_api_alone(feature: AppFeature) -> (Availability, Option<&'static str>) {
    match feature {
        AppFeature::Messages => (Availability::ApiOnly, None),
        AppFeature::Profile => (Availability::ApiOnly, Some("There is no app that could set it.")),
        AppFeature::Groups
        | AppFeature::DisappearingMessages
        | AppFeature::ViewOnce
        | AppFeature::Channels
        | AppFeature::Status
        | AppFeature::GreetingMessages
        | AppFeature::AwayMessages
        | AppFeature::Calls
        | AppFeature::BroadcastLists
        | AppFeature::LiveLocation
        | AppFeature::LinkedWeb
        | AppFeature::LinkedMac
        | AppFeature::LinkedWindows
        | AppFeature::LinkedWearos => {
            (Availability::Disabled, Some("A feature of the app, which this number does not have."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r10_r11_r12_every_feature_has_one_answer() {
        for mode in [ClientMode::Coexistence, ClientMode::ApiOnly] {
            for (feature, capability) in AppFeature::ALL.iter().zip(of(mode)) {
                assert_eq!(*feature, capability.feature);
            }
        }
    }
}
