//! The customer service window (R9): 24 hours from the customer's last live message.

use entity::{Timestamp, client, conversation};

/// How long a window stays open, seconds.
pub(super) const OPEN_FOR: i64 = 24 * 3600;

/// When the window closes, or closed; none if no message opened one since the number was connected. What a message
/// before the connection opened was with somebody else; what WhatsApp refused (131047), it knows better than we do.
pub fn closes_at(conversation: &conversation::Model, client: &client::Model) -> Option<Timestamp> {
    let opened_at = opened_at(conversation, client)?;
    (!was_refused(conversation, opened_at)).then(|| opened_at.plus_seconds(OPEN_FOR))
}

/// Whether a message of the customer opened one, and WhatsApp knows better.
pub fn is_refused(conversation: &conversation::Model, client: &client::Model) -> bool {
    opened_at(conversation, client).is_some_and(|opened_at| was_refused(conversation, opened_at))
}

fn opened_at(conversation: &conversation::Model, client: &client::Model) -> Option<Timestamp> {
    let connected_at = client.connected_at?.floor_second();
    conversation.window_opened_at.filter(|opened_at| *opened_at >= connected_at)
}

fn was_refused(conversation: &conversation::Model, opened_at: Timestamp) -> bool {
    conversation.window_refused_at.is_some_and(|refused_at| opened_at <= refused_at)
}

/// Whether anything but a template can be sent at this instant.
pub fn is_open(conversation: &conversation::Model, client: &client::Model, now: Timestamp) -> bool {
    closes_at(conversation, client).is_some_and(|closes_at| now < closes_at)
}
