//! How a caller names a person, and the rows of somebody who is written to for the first time.

use entity::{
    ContactId, ContactKeyKind, ConversationId, Timestamp, client, contact, contact_key, conversation,
};

use crate::ids::PublicId;

/// A person, as a caller names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By number, E.164 with plus.
    Phone(String),
    /// By WhatsApp user id.
    UserId(String),
}

impl Named {
    /// The name, and as what it may be known.
    pub fn keys(&self) -> (&str, &[ContactKeyKind]) {
        match self {
            Named::Phone(number) => (number, &[ContactKeyKind::Phone]),
            Named::UserId(id) => (id, &[ContactKeyKind::UserId, ContactKeyKind::ParentUserId]),
        }
    }
}

/// Somebody of whom only a number is known, and that from us: what WhatsApp tells of them later holds.
pub fn stranger(
    client: &client::Model,
    number: &str,
    now: Timestamp,
) -> (contact::Model, contact_key::Model) {
    let never = Timestamp(0);
    let contact = contact::Model {
        id: ContactId::generate(),
        partner_id: client.partner_id,
        client_id: client.id,
        phone_number: Some(number.to_owned()),
        phone_at: never,
        wa_user_id: None,
        user_id_at: never,
        username: None,
        username_at: never,
        profile_name: None,
        profile_name_at: never,
        full_name: None,
        first_name: None,
        in_phone_book: false,
        book_at: never,
        marketing_stopped: false,
        marketing_at: never,
        ambiguous: false,
        announced: false,
        search: number.to_owned(),
        changed_at: now,
        created_at: now,
    };
    let key = contact_key::Model {
        value: number.to_owned(),
        kind: ContactKeyKind::Phone,
        client_id: client.id,
        contact_id: contact.id,
        seen_at: never,
    };
    (contact, key)
}

/// A conversation in which nothing was said yet.
pub fn blank(client: &client::Model, contact: ContactId, now: Timestamp) -> conversation::Model {
    conversation::Model {
        id: ConversationId::generate(),
        partner_id: client.partner_id,
        client_id: client.id,
        contact_id: contact,
        last_activity_at: Timestamp(0),
        last_message_id: None,
        window_opened_at: None,
        window_message_id: None,
        window_refused_at: None,
        read_at: Timestamp(0),
        unread_count: 0,
        created_at: now,
    }
}
