//! `sendMessage`: checks what can be checked before the money is spent, then queues.

use entity::{ClientId, MessageId, Timestamp, message};
use serde_json::Value;

use crate::app::App;
use crate::auth::Scope;
use crate::failure::{Failure, Outcome};

/// What to send.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// Words, at most 4096 characters.
    Text {
        /// The words.
        body: String,
        /// Show a preview of the first link.
        preview_url: bool,
    },
    /// An approved template.
    Template {
        /// Its name.
        name: String,
        /// Its language code, such as `de` or `en_US`.
        language: String,
        /// Components as on Meta's wire, a JSON array.
        components: Option<Value>,
    },
    /// A reaction to a message; without emoji it is taken away.
    Reaction {
        /// The message.
        message: MessageId,
        /// One emoji.
        emoji: Option<String>,
    },
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Send {
    /// From whom.
    pub client: ClientId,
    /// A phone number, or a contact's WhatsApp user id when the number is hidden.
    pub to: String,
    /// What.
    pub content: Outgoing,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// Sending twice with one key sends once. 1 to 256 characters.
    pub idempotency_key: String,
    /// Not before; at most 30 days ahead.
    pub send_at: Option<Timestamp>,
}

/// A queued message, and the place in the stream at which that is visible.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The message; a reaction has no row of its own: then the message reacted to.
    pub message: message::Model,
    /// Place in the stream.
    pub position: i64,
}

/// Queues a message.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED, INVALID, GROUPS_NOT_SUPPORTED, WINDOW_CLOSED, IDEMPOTENCY_CONFLICT.
pub async fn send(app: &App, scope: &Scope, input: Send) -> Outcome<Sent> {
    let _ = (app, scope, input);
    Err(Failure::Internal(anyhow::anyhow!("not there yet")))
}

/// Marks a customer's message and all before it as read, in WhatsApp and here; `typing` shows the typing indicator.
///
/// # Errors
/// NOT_FOUND, INVALID (not a customer's message), CLIENT_NOT_CONNECTED, UPSTREAM_REJECTED.
pub async fn mark_as_read(app: &App, scope: &Scope, message: MessageId, typing: bool) -> Outcome<Sent> {
    let _ = (app, scope, message, typing);
    Err(Failure::Internal(anyhow::anyhow!("not there yet")))
}
