//! Contacts.

use std::sync::Arc;

use async_graphql::{Context, ID, Object};
use entity::contact::{self, Column};

use super::{Client, Conversation, required};
use crate::db::page::Place;
use crate::graphql::beside::MadeOf;
use crate::graphql::context::ContextExt;
use crate::graphql::error::Result;
use crate::graphql::loaders::ConversationOf;
use crate::graphql::pagination::Listed;
use crate::graphql::scalars::{DateTime, PhoneNumber, public};

/// A person, as one client knows them.
#[derive(Clone)]
pub struct Contact(pub Arc<contact::Model>);

impl Listed for Contact {
    const KIND: u8 = b'p';

    fn place(&self) -> Place {
        Place { key: 0, id: self.0.id.0 }
    }
}

impl MadeOf for Contact {
    type Table = contact::Entity;

    // The number is also where a message came from, or went.
    const ALWAYS: &'static [contact::Column] = &[Column::Id, Column::PhoneNumber];

    fn columns(field: &str) -> Option<&'static [contact::Column]> {
        Some(match field {
            "__typename" | "id" | "phoneNumber" | "conversation" => &[],
            "client" => &[Column::ClientId],
            "waUserId" => &[Column::WaUserId],
            "username" => &[Column::Username],
            "fullName" => &[Column::FullName],
            "firstName" => &[Column::FirstName],
            "profileName" => &[Column::ProfileName],
            "inPhoneBook" => &[Column::InPhoneBook],
            "marketingStoppedAt" => &[Column::MarketingStopped, Column::MarketingAt],
            "changedAt" => &[Column::ChangedAt],
            _ => return None,
        })
    }
}

/// A person, as one client knows them: an entry of its phone book, or a customer who wrote.
#[Object]
impl Contact {
    /// Begins with `con_`.
    pub async fn id(&self) -> ID {
        public(self.0.id)
    }

    /// The client who knows them.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        ctx.reader()?;
        required(ctx.load(self.0.client_id).await?, "client").map(Client)
    }

    /// Null where WhatsApp hides it.
    fn phone_number(&self) -> Option<PhoneNumber> {
        self.0.phone_number.clone().map(PhoneNumber)
    }

    /// WhatsApp's id of the person, by which they can be written to while the number is hidden. Null: not known.
    fn wa_user_id(&self) -> Option<&str> {
        self.0.wa_user_id.as_deref()
    }

    /// Their WhatsApp user name, without `@`. Null: not known.
    fn username(&self) -> Option<&str> {
        self.0.username.as_deref()
    }

    /// As the phone book calls them. Null: not in it, or without a name.
    fn full_name(&self) -> Option<&str> {
        self.0.full_name.as_deref()
    }

    /// The first name in the phone book. Null: not in it, or without one.
    fn first_name(&self) -> Option<&str> {
        self.0.first_name.as_deref()
    }

    /// As they call themselves in WhatsApp. Null: not known.
    fn profile_name(&self) -> Option<&str> {
        self.0.profile_name.as_deref()
    }

    /// Whether they are in the client's phone book now.
    fn in_phone_book(&self) -> bool {
        self.0.in_phone_book
    }

    /// When they stopped marketing messages of this client: templates of the category MARKETING do not reach them
    /// (`RECIPIENT_OPTED_OUT`), all else does. Null: they did not, or want them again.
    fn marketing_stopped_at(&self) -> Option<DateTime> {
        self.0.marketing_stopped.then(|| self.0.marketing_at.into())
    }

    /// When any of this changed last.
    fn changed_at(&self) -> DateTime {
        self.0.changed_at.into()
    }

    /// What was written with them. Null: nothing yet.
    async fn conversation(&self, ctx: &Context<'_>) -> Option<Result<Conversation>> {
        let load = async {
            ctx.reader()?;
            Ok(ctx.load(ConversationOf(self.0.id)).await?.map(Conversation::alone))
        };
        Box::pin(load).await.transpose()
    }
}
