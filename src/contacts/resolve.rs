//! From how a caller names a person to the conversation with them.

use entity::{
    ClientId, ContactId, ContactKeyKind, ConversationId, Timestamp, client, contact, contact_key,
    conversation,
};
use sea_orm::sea_query::Query;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
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
    fn keys(&self) -> (&str, &[ContactKeyKind]) {
        match self {
            Named::Phone(number) => (number, &[ContactKeyKind::Phone]),
            Named::UserId(id) => (id, &[ContactKeyKind::UserId, ContactKeyKind::ParentUserId]),
        }
    }
}

/// The conversation with a person, if there is one.
///
/// # Errors
/// When the database is away.
#[expect(
    clippy::disallowed_methods,
    reason = "by a client that came through Scope, and the names of its own people"
)]
pub async fn conversation_with<C: ConnectionTrait>(
    connection: &C,
    client: ClientId,
    person: &Named,
) -> Result<Option<conversation::Model>, DbErr> {
    let (value, kinds) = person.keys();
    let contacts = Query::select()
        .column(contact_key::Column::ContactId)
        .from(contact_key::Entity)
        .and_where(contact_key::Column::Value.eq(value))
        .and_where(contact_key::Column::Kind.is_in(kinds.iter().copied()))
        .and_where(contact_key::Column::ClientId.eq(client))
        .to_owned();
    conversation::Entity::find()
        .filter(conversation::Column::ContactId.in_subquery(contacts))
        .filter(conversation::Column::ClientId.eq(client))
        .one(connection)
        .await
}

/// A conversation that there shall be.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// Not in the database yet.
    pub conversation: conversation::Model,
    /// The person, if nothing was known of them.
    contact: Option<(contact::Model, contact_key::Model)>,
}

/// Prepares a conversation where there is none. Somebody who is known by number alone may be new; a user id that is
/// not known cannot be written to: then none.
///
/// # Errors
/// When the database is away.
#[expect(
    clippy::disallowed_methods,
    reason = "by a client that came through Scope, and the names of its own people"
)]
pub async fn begin_with<C: ConnectionTrait>(
    connection: &C,
    client: &client::Model,
    person: &Named,
    now: Timestamp,
) -> Result<Option<Fresh>, DbErr> {
    let (value, kinds) = person.keys();
    let known = contact_key::Entity::find()
        .filter(contact_key::Column::Value.eq(value))
        .filter(contact_key::Column::Kind.is_in(kinds.iter().copied()))
        .filter(contact_key::Column::ClientId.eq(client.id))
        .one(connection)
        .await?;
    let contact = match (known, person) {
        (Some(key), _) => {
            return Ok(Some(Fresh { conversation: blank(client, key.contact_id, now), contact: None }));
        }
        (None, Named::UserId(_)) => return Ok(None),
        (None, Named::Phone(number)) => stranger(client, number, now),
    };
    Ok(Some(Fresh { conversation: blank(client, contact.0.id, now), contact: Some(contact) }))
}

impl Fresh {
    /// Writes the person, if they are new. The conversation is the caller's to write.
    ///
    /// # Errors
    /// When the database refuses or is away.
    pub async fn write_contact<C: ConnectionTrait>(&self, connection: &C) -> Result<(), DbErr> {
        if let Some((contact, key)) = &self.contact {
            let contact = contact.clone().into_active_model().reset_all();
            contact::Entity::insert(contact).exec_without_returning(connection).await?;
            let key = key.clone().into_active_model().reset_all();
            contact_key::Entity::insert(key).exec_without_returning(connection).await?;
        }
        Ok(())
    }
}

/// Somebody of whom only a number is known, and that from us: what WhatsApp tells of them later holds.
fn stranger(client: &client::Model, number: &str, now: Timestamp) -> (contact::Model, contact_key::Model) {
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

fn blank(client: &client::Model, contact: ContactId, now: Timestamp) -> conversation::Model {
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
