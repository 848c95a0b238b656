//! Words that rows hold. Stored as text, so that a person who reads the database can read them.

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
        )]
        #[sea_orm(rs_type = "String", db_type = "Text")]
        pub enum $name {
            $($(#[$vdoc])* #[sea_orm(string_value = $word)] #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// The stored word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words!(
    /// How a number lives.
    ClientMode {
        /** The app on the phone and the API share the number. */ Coexistence = "COEXISTENCE",
        /** The number lives on the API alone. */ ApiOnly = "API_ONLY",
    }
);
words!(
    /// Where a client stands.
    ClientStatus {
        /** Has a link, not yet a number. */ Onboarding = "ONBOARDING",
        /** Sends and receives. */ Connected = "CONNECTED",
        /** Receives; sending waits. */ Paused = "PAUSED",
        /** Neither. */ Disconnected = "DISCONNECTED",
    }
);
words!(
    /// Where an onboarding stands.
    OnboardingStatus {
        /** The link exists. */ Created = "CREATED",
        /** The link was opened. */ Opened = "OPENED",
        /** The signup ended with a code. */ SignedIn = "SIGNED_IN",
        /** WhatsApp named the number. */ NumberConfirmed = "NUMBER_CONFIRMED",
        /** The client chose whether to share the history. A step only, never a status. */ HistoryChosen = "HISTORY_CHOSEN",
        /** Done. */ Connected = "CONNECTED",
        /** The last try failed; the same link can be tried again. */ Failed = "FAILED",
        /** Called back by the partner. */ Revoked = "REVOKED",
        /** Too late. */ Expired = "EXPIRED",
    }
);
words!(
    /// Whether to import the six months.
    HistoryImport {
        /** Right after connection. */ Automatic = "AUTOMATIC",
        /** When the partner asks for it. */ OnRequest = "ON_REQUEST",
        /** Not at all; what comes all the same is discarded unread. */ Never = "NEVER",
    }
);
words!(
    /// What is imported.
    SyncKind {
        /** Six months of chats. */ History = "HISTORY",
        /** The phone book. */ Contacts = "CONTACTS",
    }
);
words!(
    /// Where an import stands.
    SyncState {
        /** Nobody asked yet. */ NotRequested = "NOT_REQUESTED",
        /** WhatsApp accepted the request. */ Requested = "REQUESTED",
        /** Something arrived. */ Running = "RUNNING",
        /** Complete. */ Done = "DONE",
        /** The client does not share its history. */ Declined = "DECLINED",
        /** Asked, and nothing came: a person is needed. */ Stalled = "STALLED",
        /** Nothing to ask for. */ Unavailable = "UNAVAILABLE",
    }
);
words!(
    /// What kind of name a contact is found by.
    ContactKeyKind {
        /** A phone number or `wa_id`, E.164 with plus. */ Phone = "PHONE",
        /** A WhatsApp user id. */ UserId = "USER_ID",
        /** The parent form of a user id. */ ParentUserId = "PARENT_USER_ID",
    }
);
words!(
    /// Where a file stands.
    MediaState {
        /** To be fetched from the upstream. */ Pending = "PENDING",
        /** Its bytes are here. */ Ready = "READY",
        /** Its bytes are gone: too old, too much, deleted with its message, or the upstream has it no longer. */ Expired = "EXPIRED",
        /** It cannot be had. */ Failed = "FAILED",
    }
);
words!(
    /// Which way a message went.
    MessageDirection {
        /** To the client. */ Inbound = "INBOUND",
        /** From the client. */ Outbound = "OUTBOUND",
    }
);
words!(
    /// Who made a message. In ascending order of authority over its row.
    MessageOrigin {
        /** The customer. */ Customer = "CUSTOMER",
        /** The client, in the phone app. */ App = "APP",
        /** A partner, through this API. */ Api = "API",
    }
);
words!(
    /// What became of a message, in the order of the ladder (invariant 3); RECEIVED stands apart, for incoming ones.
    MessageStatus {
        /** Came in. */ Received = "RECEIVED",
        /** Waits in its lane. */ Queued = "QUEUED",
        /** Taken back before it left. */ Canceled = "CANCELED",
        /** On the wire. */ Sending = "SENDING",
        /** It left, or not: nobody knows yet. */ Unknown = "UNKNOWN",
        /** WhatsApp took it. */ Accepted = "ACCEPTED",
        /** It left WhatsApp's server. */ Sent = "SENT",
        /** It failed; see the error. */ Failed = "FAILED",
        /** It is on the phone. */ Delivered = "DELIVERED",
        /** It was read. */ Read = "READ",
        /** The voice note was played. */ Played = "PLAYED",
    }
);
words!(
    /// Who reacted.
    ReactionBy {
        /** The customer. */ Customer = "CUSTOMER",
        /** The business, in the app or through the API. */ Business = "BUSINESS",
    }
);
words!(
    /// What the estimate of the app's presence rests on.
    AppPresenceBasis {
        /** The connection itself. */ Connection = "CONNECTION",
        /** A message from the app. */ OutgoingMessage = "OUTGOING_MESSAGE",
        /** A change of the phone book. */ ContactChange = "CONTACT_CHANGE",
        /** A person said so. */ Confirmed = "CONFIRMED",
    }
);
words!(
    /// What became of a raw body.
    InboundState {
        /** Waits to be applied. */ Pending = "PENDING",
        /** Applied whole. */ Applied = "APPLIED",
        /** Concerns a number that nobody holds (yet). */ Unmatched = "UNMATCHED",
        /** Cannot be applied; see the error. */ Failed = "FAILED",
        /** Makes no sense; see the error. */ Rejected = "REJECTED",
    }
);
words!(
    /// What waits to be sent.
    LaneEntryKind {
        /** A message. */ Message = "MESSAGE",
        /** A reaction to a message. */ Reaction = "REACTION",
    }
);
words!(
    /// What became of an event for a webhook receiver.
    WebhookDeliveryStatus {
        /** Waits for its first attempt, or for another one. */ Pending = "PENDING",
        /** The receiver took it. */ Delivered = "DELIVERED",
        /** Three days of failures. */ Failed = "FAILED",
        /** What it was about is gone. */ Canceled = "CANCELED",
    }
);
words!(
    /// Why a webhook receiver gets nothing.
    WebhookDisabledReason {
        /** The partner switched it off. */ ByPartner = "BY_PARTNER",
        /** It answered 410. */ Gone = "GONE",
        /** Nothing but failures for three days. */ Failing = "FAILING",
    }
);
words!(
    /// What an alias stands for.
    AliasKind {
        /** A client. */ Client = "CLIENT",
        /** A contact. */ Contact = "CONTACT",
        /** A conversation. */ Conversation = "CONVERSATION",
        /** A message. */ Message = "MESSAGE",
    }
);
words!(
    /// The kinds of events of a partner's stream.
    EventType {
        /** A customer wrote. */ MessageIncoming = "MESSAGE_INCOMING",
        /** The client wrote in the app. */ MessageOutgoing = "MESSAGE_OUTGOING",
        /** sendMessage took a message. */ MessageQueued = "MESSAGE_QUEUED",
        /** A message climbed the ladder of statuses. */ MessageStatus = "MESSAGE_STATUS",
        /** Other words. */ MessageEdited = "MESSAGE_EDITED",
        /** Gone for everyone. */ MessageDeleted = "MESSAGE_DELETED",
        /** A reaction was set or taken away. */ MessageReaction = "MESSAGE_REACTION",
        /** Its content was completed (a medium filled its placeholder). */ MessageUpdated = "MESSAGE_UPDATED",
        /** Two rows proved to be one. */ MessageMerged = "MESSAGE_MERGED",
        /** A new entry of the phone book, or a customer who wrote first. */ ContactAdded = "CONTACT_ADDED",
        /** Another name, number or place in the phone book. */ ContactUpdated = "CONTACT_UPDATED",
        /** Taken out of the phone book. */ ContactRemoved = "CONTACT_REMOVED",
        /** Two contacts proved to be one. */ ContactMerged = "CONTACT_MERGED",
        /** An onboarding took a step. */ OnboardingChanged = "ONBOARDING_CHANGED",
        /** An import went on. */ SyncProgress = "SYNC_PROGRESS",
        /** A number is connected. */ ClientConnected = "CLIENT_CONNECTED",
        /** Sending waits. */ ClientPaused = "CLIENT_PAUSED",
        /** Sending goes on. */ ClientResumed = "CLIENT_RESUMED",
        /** The connection ended. */ ClientDisconnected = "CLIENT_DISCONNECTED",
        /** Name or profile changed in the app. */ ClientProfileChanged = "CLIENT_PROFILE_CHANGED",
        /** A known number came back through a fresh link. */ ClientMerged = "CLIENT_MERGED",
        /** The app should be opened on the phone. */ AppVisitDue = "APP_VISIT_DUE",
        /** A template changed. */ TemplateChanged = "TEMPLATE_CHANGED",
        /** An endpoint was switched off. */ WebhookEndpointDisabled = "WEBHOOK_ENDPOINT_DISABLED",
        /** Asked for by a person. */ Test = "TEST",
    }
);

impl MessageStatus {
    /// Place on the ladder. RECEIVED and CANCELED are ends of their own.
    pub fn rank(self) -> u8 {
        match self {
            MessageStatus::Received => 0,
            MessageStatus::Queued => 1,
            MessageStatus::Canceled => 2,
            MessageStatus::Sending => 3,
            MessageStatus::Unknown => 4,
            MessageStatus::Accepted => 5,
            MessageStatus::Sent => 6,
            MessageStatus::Failed => 7,
            MessageStatus::Delivered => 8,
            MessageStatus::Read => 9,
            MessageStatus::Played => 10,
        }
    }
}
