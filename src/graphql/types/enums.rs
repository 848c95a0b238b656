//! Enums. Clients should expect values that they do not know: new ones may come with any version.

use async_graphql::Enum;

use crate::clients::{capabilities, disconnection};
use crate::onboarding::failure;
use crate::presence::estimate;

macro_rules! mirror {
    ($($(#[$doc:meta])* $name:ident = $remote:literal { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum)]
            #[graphql(remote = $remote)]
            pub enum $name {
                $($(#[$vdoc])* $variant),+
            }
        )+
    };
}

mirror! {
    /// How a number lives.
    ClientMode = "entity::ClientMode" {
        /// The WhatsApp Business app on the phone and this API share the number.
        Coexistence,
        /// The number lives on the API alone.
        ApiOnly,
    }
    /// Where a client stands.
    ClientStatus = "entity::ClientStatus" {
        /// It has a link, but no number yet.
        Onboarding,
        /// It sends and receives.
        Connected,
        /// It receives; what the API sends waits, and goes on by itself when the cause is gone.
        Paused,
        /// It does neither; see `disconnection`.
        Disconnected,
    }
    /// Where an onboarding stands. A later step may come without an earlier one.
    OnboardingStatus = "entity::OnboardingStatus" {
        /// The link exists.
        Created,
        /// The link was opened.
        Opened,
        /// The client went through WhatsApp's signup to its end.
        SignedIn,
        /// WhatsApp named the number.
        NumberConfirmed,
        /// The client chose whether to share its chats. May come after CONNECTED, and is a step only, never a status.
        HistoryChosen,
        /// Done: the client is connected.
        Connected,
        /// The last try failed, see `failure`; the same link can be tried again.
        Failed,
        /// You called the link back.
        Revoked,
        /// The link was not used in time.
        Expired,
    }
    /// Whether to import the six months of chats.
    HistoryImport = "entity::HistoryImport" {
        /// At once after connection.
        Automatic,
        /// When `requestHistorySync` asks for it, within 24 hours of connection.
        OnRequest,
        /// Not at all; what WhatsApp sends all the same is discarded unread.
        Never,
    }
    /// What is imported.
    SyncKind = "entity::SyncKind" {
        /// Up to six months of chats.
        History,
        /// The phone book.
        Contacts,
    }
    /// Where an import stands.
    SyncState = "entity::SyncState" {
        /// WhatsApp was not asked yet.
        NotRequested,
        /// WhatsApp accepted the request; nothing came yet.
        Requested,
        /// It is coming in.
        Running,
        /// Complete.
        Done,
        /// The client chose not to share its chats.
        Declined,
        /// Asked for, and nothing came for 10 minutes: see `remedy`.
        Stalled,
        /// There is nothing to ask for: the number is API_ONLY, or the import was not wanted (NEVER).
        Unavailable,
    }
    /// Which way a message went.
    MessageDirection = "entity::MessageDirection" {
        /// From the customer to the client.
        Inbound,
        /// From the client to the customer, from the app or through the API.
        Outbound,
    }
    /// Who made a message.
    MessageOrigin = "entity::MessageOrigin" {
        /// The customer.
        Customer,
        /// The client, in the WhatsApp Business app or on a linked device.
        App,
        /// This API.
        Api,
    }
    /// What became of a message. Statuses only climb: QUEUED, SENDING, UNKNOWN, ACCEPTED, SENT, FAILED, DELIVERED, READ,
    /// PLAYED.
    MessageStatus = "entity::MessageStatus" {
        /// It came in.
        Received,
        /// It waits in its client's lane.
        Queued,
        /// It was taken back before it left.
        Canceled,
        /// It is on its way to WhatsApp.
        Sending,
        /// It left, or it did not: the answer got lost. Settled by a later status.
        Unknown,
        /// WhatsApp took it. Told only where the answer comes before the first status; otherwise SENT or a later one is.
        Accepted,
        /// It left WhatsApp's server.
        Sent,
        /// It failed; see `error`.
        Failed,
        /// It is on the recipient's phone.
        Delivered,
        /// The recipient read it.
        Read,
        /// The recipient played the voice note.
        Played,
    }
    /// Who reacted to a message.
    ReactionBy = "entity::ReactionBy" {
        /// The customer.
        Customer,
        /// The client, in the app or through the API.
        Business,
    }
    /// What the estimate of the app's presence rests on.
    AppPresenceBasis = "entity::AppPresenceBasis" {
        /// The connection itself.
        Connection,
        /// A message sent from the app. A linked device can send one too.
        OutgoingMessage,
        /// A change of the phone book.
        ContactChange,
        /// A person said so: `confirmAppVisit`.
        Confirmed,
    }
    /// What an entry of the stream tells.
    EventType = "entity::EventType" {
        /// A customer wrote.
        MessageIncoming,
        /// The client wrote in the app.
        MessageOutgoing,
        /// `sendMessage` took a message.
        MessageQueued,
        /// A message of the client got another status, wherever it was sent from.
        MessageStatus,
        /// A message got other words.
        MessageEdited,
        /// A message was deleted for everyone.
        MessageDeleted,
        /// A reaction was set, replaced or taken away.
        MessageReaction,
        /// The content of a message was completed, such as a file for its placeholder.
        MessageUpdated,
        /// Two messages proved to be one.
        MessageMerged,
        /// A new entry of the phone book, or a customer who wrote for the first time.
        ContactAdded,
        /// A contact has another name or number, or is in the phone book again.
        ContactUpdated,
        /// A contact was taken out of the phone book.
        ContactRemoved,
        /// Two contacts proved to be one.
        ContactMerged,
        /// An onboarding took a step.
        OnboardingChanged,
        /// An import went on.
        SyncProgress,
        /// A number is connected.
        ClientConnected,
        /// What the API sends waits.
        ClientPaused,
        /// Sending goes on.
        ClientResumed,
        /// The connection ended.
        ClientDisconnected,
        /// The client changed its name or profile in the app.
        ClientProfileChanged,
        /// A known number came back through a fresh link: the client that was made for the link goes on as the known one.
        ClientMerged,
        /// The app should be opened on the phone.
        AppVisitDue,
        /// A template came, changed or went.
        TemplateChanged,
        /// A webhook endpoint was switched off, because it is gone or nothing but failed for three days.
        WebhookEndpointDisabled,
        /// Asked for by a person, to try a receiver.
        Test,
    }
    /// Where a delivery stands.
    WebhookDeliveryStatus = "entity::WebhookDeliveryStatus" {
        /// It waits for its first attempt, or for another one.
        Pending,
        /// The receiver answered 2xx.
        Delivered,
        /// It failed for three days.
        Failed,
        /// What it was about is gone.
        Canceled,
    }
    /// Why an endpoint was switched off.
    WebhookDisabledReason = "entity::WebhookDisabledReason" {
        /// You did it.
        ByPartner,
        /// The receiver answered 410: it does not want any more.
        Gone,
        /// Nothing but failures for three days.
        Failing,
    }
    /// Why a mutation was refused.
    UserErrorCode = "crate::failure::RefusalCode" {
        /// A value is not one.
        Invalid,
        /// There is none, or it is another partner's.
        NotFound,
        /// The customer wrote nothing in the last 24 hours: only a template can be sent.
        WindowClosed,
        /// The client is onboarding, disconnected or paused.
        ClientNotConnected,
        /// Groups stay in the app.
        GroupsNotSupported,
        /// Only the client can change it, in the WhatsApp Business app.
        ManagedInApp,
        /// WhatsApp has not approved the template.
        TemplateNotApproved,
        /// The person stopped marketing messages.
        RecipientOptedOut,
        /// It was asked for since the connection already; WhatsApp answers once.
        SyncAlreadyRequested,
        /// More than 24 hours since the connection.
        SyncDeadlinePassed,
        /// The same idempotency key was used with another content.
        IdempotencyConflict,
        /// The onboarding is finished, revoked or expired.
        OnboardingClosed,
        /// The upstream app is not subscribed to what coexistence needs; the message names the fields.
        UpstreamNotListening,
        /// The address is private, loopback or link-local.
        UrlNotAllowed,
        /// WhatsApp said no; the message carries its words.
        UpstreamRejected,
    }
    /// How near the connection is to being lost because the app is not opened.
    AppPresenceRisk = "estimate::AppPresenceRisk" {
        /// A sign of life was seen lately.
        None,
        /// The app should be opened soon.
        DueSoon,
        /// The time is over.
        Overdue,
    }
    /// Why a connection ended.
    DisconnectionReason = "disconnection::DisconnectionReason" {
        /// The client ended it in the app, or deleted its account.
        ByClient,
        /// The partner ended it.
        ByPartner,
        /// The number was moved to the regular WhatsApp app.
        BusinessDowngrade,
        /// The client changed its number.
        NumberChanged,
        /// The phone was not used for too long.
        PhoneInactive,
        /// The connection was not used for too long.
        CompanionInactive,
        /// The number was registered anew.
        ReRegistered,
        /// The account was deleted.
        AccountDeleted,
        /// WhatsApp no longer accepts our access.
        TokenLost,
        /// Something else; see `upstreamReason`.
        Other,
    }
    /// A feature of the WhatsApp Business app.
    AppFeature = "capabilities::AppFeature" {
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
        /// Name, picture, description, website, mail address.
        Profile,
        /// WhatsApp Web as a linked device.
        LinkedWeb,
        /// WhatsApp for Mac as a linked device.
        LinkedMac,
        /// WhatsApp for Windows as a linked device.
        LinkedWindows,
        /// A WearOS watch as a linked device.
        #[graphql(name = "LINKED_WEAROS")]
        LinkedWearos,
    }
    /// Where a feature works.
    Availability = "capabilities::Availability" {
        /// In the app and through the API.
        AppAndApi,
        /// In the app; the API sees nothing of it.
        AppOnly,
        /// Through the API.
        ApiOnly,
        /// Nowhere.
        Disabled,
        /// In groups in the app, and nowhere else.
        DisabledExceptGroups,
    }
    /// Why an onboarding failed.
    OnboardingFailureCode = "failure::OnboardingFailureCode" {
        /// The number is not in the WhatsApp Business app.
        NotABusinessAppNumber,
        /// The app is older than 2.24.17 (a setting).
        AppTooOld,
        /// The app was not used enough yet.
        NotEnoughActivity,
        /// WhatsApp does not offer coexistence for this region.
        RegionNotAvailable,
        /// The number is connected with another provider.
        ConnectedElsewhere,
        /// The number is in use.
        NumberInUse,
        /// The client chose another way than coexistence.
        NotCoexistence,
        /// A number on the API alone was asked for, and this one lives in the WhatsApp Business app. Nothing was registered.
        InBusinessApp,
        /// WhatsApp did not register the number on the API; see `upstreamCode`.
        RegistrationRefused,
        /// The client left before the end.
        Canceled,
        /// WhatsApp refused the permission that the client gave.
        TokenRefused,
        /// Something else; see `upstreamCode`.
        Other,
    }
    /// What a credential may do.
    Scope = "crate::auth::Permission" {
        /// See whatever the credential's clients have, and follow the stream.
        Read,
        /// Send messages and mark them read.
        Send,
        /// Onboarding, imports, keys, endpoints.
        Admin,
    }
    /// What kind of file.
    MediaKind = "crate::messages::content::MediaKind" {
        /// JPEG or PNG.
        Image,
        /// MP4 or 3GP.
        Video,
        /// Music or a voice note.
        Audio,
        /// Any file.
        Document,
        /// WebP.
        Sticker,
    }
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum DisconnectionInitiator {
    /// The client.
    User,
    /// WhatsApp.
    System,
    /// You.
    Partner,
}

impl DisconnectionInitiator {
    /// From the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "USER" => Some(Self::User),
            "SYSTEM" => Some(Self::System),
            "PARTNER" => Some(Self::Partner),
            _ => None,
        }
    }
}

/// Kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum CredentialKind {
    /// A key of a partner's server.
    ApiKey,
    /// A short-lived token of a partner's frontend.
    FrontendToken,
}

impl CredentialKind {
    /// From the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "API_KEY" => Some(Self::ApiKey),
            "FRONTEND_TOKEN" => Some(Self::FrontendToken),
            _ => None,
        }
    }
}

/// Where a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum MediaState {
    /// WhatsApp told only that there was a file: an import brings no files, or not yet.
    Placeholder,
    /// WhatsApp told of the file, and it is being fetched: MESSAGE_UPDATED tells when it is there, or never will be.
    Pending,
    /// The file is at `url`.
    Ready,
    /// The file is gone: it was too old, its partner had too many, or WhatsApp no longer kept it.
    Expired,
    /// The file cannot be had.
    Failed,
}

/// Where a template stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TemplateStatus {
    /// It can be sent.
    Approved,
    /// WhatsApp reviews it.
    Pending,
    /// WhatsApp refused it; see `reason`.
    Rejected,
    /// Too many people disliked it: it cannot be sent for a while.
    Paused,
    /// Too many people disliked it: it cannot be sent any more.
    Disabled,
    /// The refusal is being reviewed.
    InAppeal,
    /// It is about to go.
    PendingDeletion,
    /// It is gone.
    Deleted,
    /// Put away by WhatsApp.
    Archived,
    /// The account has too many templates.
    LimitExceeded,
    /// Something newer, or not told yet.
    Other,
}

impl TemplateStatus {
    /// From WhatsApp's word.
    pub fn of(word: &str) -> Self {
        match word {
            "APPROVED" => Self::Approved,
            "PENDING" => Self::Pending,
            "REJECTED" => Self::Rejected,
            "PAUSED" => Self::Paused,
            "DISABLED" => Self::Disabled,
            "IN_APPEAL" => Self::InAppeal,
            "PENDING_DELETION" => Self::PendingDeletion,
            "DELETED" => Self::Deleted,
            "ARCHIVED" => Self::Archived,
            "LIMIT_EXCEEDED" => Self::LimitExceeded,
            _ => Self::Other,
        }
    }
}

/// What a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TemplateCategory {
    /// Offers and news. People can stop these.
    Marketing,
    /// What belongs to something that the customer did: orders, appointments.
    Utility,
    /// Codes to sign in with.
    Authentication,
    /// Something newer, or not told yet.
    Other,
}

impl TemplateCategory {
    /// From WhatsApp's word.
    pub fn of(word: &str) -> Self {
        match word {
            "MARKETING" => Self::Marketing,
            "UTILITY" => Self::Utility,
            "AUTHENTICATION" => Self::Authentication,
            _ => Self::Other,
        }
    }
}

/// How people take a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TemplateQuality {
    /// Well.
    Green,
    /// Some complain.
    Yellow,
    /// Many complain: it may be paused.
    Red,
    /// Too few got it.
    Unknown,
}

impl TemplateQuality {
    /// From WhatsApp's word.
    pub fn of(word: &str) -> Self {
        match word {
            "GREEN" => Self::Green,
            "YELLOW" => Self::Yellow,
            "RED" => Self::Red,
            _ => Self::Unknown,
        }
    }
}
