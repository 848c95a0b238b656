//! What an upstream tells, in the domain's words: the output of every decoder and the input of `apply`.
//!
//! A decoder is a pure function from the bytes of one body to [`Decoded`]. It knows no database and no clock, so
//! that the same bytes always give the same changes, in whatever order and however often they come.

use entity::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::messages::content::Content;

/// Everything that one body says.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The upstream's own names of what the body holds (Meta: `changes[].field`), each once, in order.
    pub fields: Vec<String>,
    /// What it means to us. Never empty together with `unknown` and `error`.
    pub changes: Vec<Change>,
    /// What we do not know: a field, a type, a status, a shape. Kept and counted, never an error.
    pub unknown: Vec<Unknown>,
    /// Why the body as a whole makes no sense (not JSON, no envelope). Then `changes` is empty.
    pub error: Option<String>,
}

/// A piece of a body that no rule understands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// Where it stood: a path such as `messages.type` or `account_update.event`.
    pub what: String,
    /// The unknown word itself, cut to 64 characters; never message text.
    pub value: String,
}

/// One thing that happened to one business number.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Whom it concerns.
    pub account: Account,
    /// What happened.
    pub kind: ChangeKind,
}

/// How a body names the business number. At least one is set where the body names anything at all; a number of
/// the account, where given, decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Account {
    /// Meta's id of the business number (`metadata.phone_number_id`).
    pub phone_number_id: Option<String>,
    /// The WhatsApp Business Account: `waba_info.waba_id`, else `entry[].id`.
    pub waba_id: Option<String>,
    /// The business's number, digits with plus, where the body shows it.
    pub phone_number: Option<String>,
}

/// The other side of a chat, as far as one body names it. Empty strings on the wire are `None` here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The number, E.164 with plus (made of `from`, `to`, `wa_id`, `recipient_id`, a thread's `id`).
    pub phone_number: Option<String>,
    /// The WhatsApp user id (Meta: BSUID, `DE.1234`), whole.
    pub user_id: Option<String>,
    /// The parent form of the user id (`DE.ENT.1234`).
    pub parent_user_id: Option<String>,
    /// Without a leading `@`.
    pub username: Option<String>,
    /// The name that the person gave themselves in WhatsApp.
    pub profile_name: Option<String>,
}

/// Who did something inside a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Author {
    /// The person whom the business chats with.
    Customer,
    /// The business, in the phone app or on a linked device.
    App,
}

/// By which way a message was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Via {
    /// As it happened: an incoming message or an echo.
    Live,
    /// In the imported six months.
    History,
}

/// A step of the ladder of statuses that an upstream may report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReportedStatus {
    /// History's PENDING: it was never learnt what became of it.
    Pending,
    /// Left WhatsApp's server.
    Sent,
    /// Failed; see the error.
    Failed,
    /// Reached the phone.
    Delivered,
    /// Was read.
    Read,
    /// A voice note was played.
    Played,
}

/// An error as WhatsApp reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedError {
    /// WhatsApp's code, such as 131047.
    pub code: i64,
    /// The title or message.
    pub title: String,
    /// `error_data.details`, the part worth reading.
    pub details: Option<String>,
}

/// What a status says about money. The amount is never told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedPricing {
    /// Whether it costs anything, where told.
    pub billable: Option<bool>,
    /// `CBP` or `PMP`.
    pub model: Option<String>,
    /// `regular`, `free_customer_service`, `free_entry_point` …
    pub kind: Option<String>,
    /// `marketing`, `utility`, `authentication`, `service` …
    pub category: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// A message between the business and a customer.
    Message(Box<MessageSeen>),
    /// What became of a message that the business sent, from wherever.
    Status(Box<StatusSeen>),
    /// A message got other words.
    Edit(Box<EditSeen>),
    /// A message was deleted for everyone.
    Delete(DeleteSeen),
    /// A reaction was set, replaced or taken away.
    Reaction(ReactionSeen),
    /// An entry of the phone book was added, edited or removed.
    PhoneBook(PhoneBookSeen),
    /// A person has another number or user id now.
    Identity(IdentitySeen),
    /// One chunk of the history import arrived; its messages stand beside it as `Message` changes.
    HistoryChunk(HistoryChunk),
    /// The client chose not to share the history (Meta error 2593109).
    HistoryDeclined(ReportedError),
    /// Somebody stopped marketing messages, or wants them again.
    Preference(PreferenceSeen),
    /// Something became of a template of the account.
    Template(TemplateSeen),
    /// Something happened to the account or the number itself.
    Account(AccountSeen),
    /// Known to us, told by WhatsApp, and of no effect (yet): quality, limits, alerts …
    Notice(Notice),
    /// Left out on purpose.
    Ignored(Ignored),
}

/// A message, live or of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageSeen {
    /// WhatsApp's id; none in some odd bodies (then it cannot be matched and is told as `unknown` instead).
    pub whatsapp_id: String,
    /// WhatsApp's stamp, whole seconds; none where it cannot be read: the time of receipt stands in.
    pub at: Option<Timestamp>,
    /// Who wrote it.
    pub author: Author,
    /// How it was seen.
    pub via: Via,
    /// The customer of this chat, whoever wrote.
    pub customer: Party,
    /// What it says.
    pub content: Content,
    /// WhatsApp's id of the message that it answers.
    pub reply_to: Option<String>,
    /// Forwarded, or forwarded many times.
    pub forwarded: bool,
    /// Of the history: its last known state.
    pub status: Option<ReportedStatus>,
}

/// A status of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusSeen {
    /// The message.
    pub whatsapp_id: String,
    /// What became of it.
    pub status: ReportedStatus,
    /// When.
    pub at: Option<Timestamp>,
    /// The recipient, where told.
    pub customer: Party,
    /// Why it failed.
    pub error: Option<ReportedError>,
    /// What it costs, where told.
    pub pricing: Option<ReportedPricing>,
    /// The correlation id that was sent along (`biz_opaque_callback_data`).
    pub callback_data: Option<String>,
}

/// An edit of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EditSeen {
    /// The edited message.
    pub target: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Who edited.
    pub by: Author,
    /// The customer of this chat.
    pub customer: Party,
    /// The new content. A caption edit may lack the media's id: then only the caption changes.
    pub content: Content,
    /// Seen live or in the history.
    pub via: Via,
}

/// A deletion for everyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteSeen {
    /// The deleted message.
    pub target: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Who deleted.
    pub by: Author,
    /// The customer of this chat.
    pub customer: Party,
    /// Seen live or in the history.
    pub via: Via,
}

/// A reaction, or the end of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionSeen {
    /// The message reacted to.
    pub target: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Who reacted.
    pub by: Author,
    /// The customer of this chat.
    pub customer: Party,
    /// The emoji; none takes the reaction away.
    pub emoji: Option<String>,
    /// Seen live or in the history.
    pub via: Via,
}

/// A change of the phone book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneBookSeen {
    /// The person.
    pub party: Party,
    /// `false`: taken out of the phone book.
    pub present: bool,
    /// The full name in the phone book.
    pub full_name: Option<String>,
    /// The first name in the phone book.
    pub first_name: Option<String>,
    /// When it was changed on the phone.
    pub at: Option<Timestamp>,
}

/// A person's names in WhatsApp changed: `system` messages and `user_id_update`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySeen {
    /// As known before.
    pub before: Party,
    /// As known from now on.
    pub after: Party,
    /// When.
    pub at: Option<Timestamp>,
}

/// What somebody wants to get from the business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferenceSeen {
    /// Who.
    pub customer: Party,
    /// No marketing messages any more; false: again.
    pub stopped: bool,
    /// When they said so.
    pub at: Option<Timestamp>,
}

/// What became of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSeen {
    /// The upstream's id of it.
    pub upstream_id: String,
    /// Its name, where told.
    pub name: Option<String>,
    /// Its language code, where told.
    pub language: Option<String>,
    /// What.
    pub news: TemplateNews,
    /// `entry.time`.
    pub at: Option<Timestamp>,
}

/// News of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateNews {
    /// It has another status; none where the word says no more than `reason` (FLAGGED, LOCKED).
    Status {
        /// `APPROVED`, `REJECTED`, `PAUSED` …
        status: Option<String>,
        /// Its category, where told.
        category: Option<String>,
        /// Why, for people.
        reason: Option<String>,
    },
    /// Customers like it more, or less: `GREEN`, `YELLOW`, `RED`, `UNKNOWN`.
    Quality(String),
    /// It has another category.
    Category(String),
    /// It will have another category.
    NextCategory {
        /// Which.
        category: String,
        /// From when on, where told.
        from: Option<Timestamp>,
    },
    /// Its words were changed. What the webhook says of them is not the whole.
    Components,
}

/// A chunk of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryChunk {
    /// 0: the last day, 1: days 1 to 90, 2: days 90 to 180.
    pub phase: i32,
    /// Place of the chunk in its phase; chunks arrive in any order.
    pub chunk_order: Option<i32>,
    /// 0 to 100 over the whole import.
    pub progress: i32,
}

/// Something that happened to the account.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountSeen {
    /// What.
    pub event: AccountEvent,
    /// `entry.time`.
    pub at: Option<Timestamp>,
}

/// The events of Meta's `account_update`, and what else concerns the number itself.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountEvent {
    /// A signup ended: the account is shared with us.
    PartnerAdded,
    /// The connection ended. `reason` and `initiated_by` in WhatsApp's words, where told.
    PartnerRemoved {
        /// `disconnection_info.reason`.
        reason: Option<String>,
        /// `USER` or `SYSTEM`.
        initiated_by: Option<String>,
    },
    /// The phone was changed or the app reinstalled: sending pauses.
    Offboarded,
    /// The companion is back: sending resumes.
    Reconnected,
    /// The account was deleted.
    Deleted,
    /// The account was restricted: each kind of restriction with its end, where told.
    Restricted {
        /// `restriction_info[]`.
        restrictions: Vec<Restriction>,
    },
    /// `DISABLED_UPDATE`: `DISABLE`, `REINSTATE`, `SCHEDULE_FOR_DISABLE`.
    Ban {
        /// `ban_info.waba_ban_state`.
        state: String,
    },
    /// The display name was decided upon (`phone_number_name_update`).
    DisplayName {
        /// `APPROVED`, `DECLINED` …
        decision: String,
        /// The name that was asked for.
        name: Option<String>,
    },
}

/// Something that the account may not do for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    /// `RESTRICTED_BIZ_INITIATED_MESSAGING` …
    pub kind: String,
    /// Until when, where told.
    pub until: Option<Timestamp>,
}

/// Something known without an effect of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What it is about, in the upstream's word: the field, or `account_update.EVENT`.
    pub topic: String,
    /// When, where told.
    pub at: Option<Timestamp>,
    /// What it said, for whoever needs it later. No message text.
    pub detail: Value,
}

/// Left out on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The message, if it was one.
    pub whatsapp_id: Option<String>,
    /// Why.
    pub reason: IgnoreReason,
}

/// Why something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IgnoreReason {
    /// R7: groups stay in the app.
    Group,
    /// Nothing in it to act on: an empty list, a field without content.
    Empty,
}
