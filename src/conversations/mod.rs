//! One client with one contact.

pub mod queries;

use entity::{Timestamp, conversation};

/// How long a window stays open, in seconds.
pub const WINDOW_SECONDS: i64 = 24 * 60 * 60;

/// The customer service window of a conversation at some instant (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Anything may be sent, not only templates.
    pub is_open: bool,
    /// When it closes, or closed. None: there was none since the client was connected, or WhatsApp said that there is
    /// none.
    pub closes_at: Option<Timestamp>,
}

/// Works the window out. It counts from the newest live customer message since the client's latest connection, unless
/// WhatsApp refused a send for want of a window after that message. WhatsApp's stamps are whole seconds: a message of
/// the second of the connection counts.
pub fn window(row: &conversation::Model, connected_at: Option<Timestamp>, now: Timestamp) -> Window {
    let opened = row
        .window_opened_at
        .filter(|opened| connected_at.is_some_and(|connected| *opened >= connected.floor_second()))
        .filter(|opened| row.window_refused_at.is_none_or(|refused| *opened > refused));
    let closes_at = opened.map(|opened| opened.plus_seconds(WINDOW_SECONDS));
    Window { is_open: closes_at.is_some_and(|closes| now < closes), closes_at }
}

#[cfg(test)]
mod tests {
    use entity::{ClientId, ContactId, ConversationId, PartnerId};
    use uuid::Uuid;

    use super::*;

    fn conversation(opened: Option<i64>, refused: Option<i64>) -> conversation::Model {
        conversation::Model {
            id: ConversationId(Uuid::nil()),
            partner_id: PartnerId(Uuid::nil()),
            client_id: ClientId(Uuid::nil()),
            contact_id: ContactId(Uuid::nil()),
            last_activity_at: Timestamp(0),
            last_message_id: None,
            window_opened_at: opened.map(Timestamp::from_seconds),
            window_message_id: None,
            window_refused_at: refused.map(Timestamp::from_seconds),
            read_at: Timestamp(0),
            unread_count: 0,
            created_at: Timestamp(0),
        }
    }

    #[test]
    fn r09_only_a_message_since_the_connection_opens_it_for_24_hours() {
        let connected = Some(Timestamp(100_700_000));
        let open = |row: &conversation::Model, now| window(row, connected, Timestamp::from_seconds(now)).is_open;
        assert!(!open(&conversation(None, None), 200));
        assert!(!open(&conversation(Some(99), None), 200));
        assert!(open(&conversation(Some(100), None), 200));
        assert!(open(&conversation(Some(150), None), 150 + WINDOW_SECONDS - 1));
        assert!(!open(&conversation(Some(150), None), 150 + WINDOW_SECONDS));
        assert!(!open(&conversation(Some(150), Some(150)), 200));
        assert!(open(&conversation(Some(150), Some(149)), 200));
        assert!(!window(&conversation(Some(150), None), None, Timestamp::from_seconds(200)).is_open);
    }
}
