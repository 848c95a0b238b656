//! Conversations and their windows.

use std::sync::Arc;

use async_graphql::{Context, ID, Object};
use entity::conversation::{self, Column};
use entity::{MessageId, Timestamp};

use super::lists::{self, HistoryFilter};
use super::{Client, Contact, Message, required};
use crate::conversations::window;
use crate::db::page::Place;
use crate::graphql::beside::{Beside, MadeOf};
use crate::graphql::context::ContextExt;
use crate::graphql::error::Result;
use crate::graphql::pagination::{Asked, Connection, Listed, cost};
use crate::graphql::scalars::{DateTime, public};
use crate::messages::queries::Of;

/// One client with one contact.
#[derive(Clone)]
pub struct Conversation(pub Arc<conversation::Model>, pub Beside);

impl Conversation {
    /// One that is not an item of a list, and of none.
    pub fn alone(row: Arc<conversation::Model>) -> Self {
        Self(row, Beside::default())
    }
}

impl MadeOf for Conversation {
    type Table = conversation::Entity;

    // The contact is also where a message came from, or went.
    const ALWAYS: &'static [conversation::Column] =
        &[Column::Id, Column::ClientId, Column::ContactId, Column::LastActivityAt];

    fn columns(field: &str) -> Option<&'static [conversation::Column]> {
        Some(match field {
            "__typename" | "id" | "client" | "contact" | "lastActivityAt" => &[],
            "messages" => &[Column::PartnerId],
            "lastMessage" => &[Column::LastMessageId],
            "window" => &[Column::WindowOpenedAt, Column::WindowMessageId, Column::WindowRefusedAt],
            "unreadCount" => &[Column::UnreadCount],
            _ => return None,
        })
    }
}

impl Listed for Conversation {
    const KIND: u8 = b'v';

    fn place(&self) -> Place {
        Place { key: self.0.last_activity_at.0, id: self.0.id.0 }
    }
}

/// One client with one contact.
#[Object]
impl Conversation {
    /// Begins with `cnv_`.
    pub async fn id(&self) -> ID {
        public(self.0.id)
    }

    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        ctx.reader()?;
        required(self.1.client(ctx, self.0.client_id).await?, "client").map(Client)
    }

    /// The other side.
    async fn contact(&self, ctx: &Context<'_>) -> Result<Contact> {
        ctx.reader()?;
        required(self.1.contact(ctx, self.0.contact_id).await?, "contact").map(Contact)
    }

    /// The newest message. Null: there is none.
    async fn last_message(&self, ctx: &Context<'_>) -> Option<Result<Message>> {
        let load = async {
            ctx.reader()?;
            let Some(id) = self.0.last_message_id else { return Ok(None) };
            Ok(ctx.load(id).await?.map(Message::alone))
        };
        Box::pin(load).await.transpose()
    }

    /// The customer service window: 24 hours from the customer's last live message. Imported history and messages sent in
    /// the app never open it.
    async fn window(&self, ctx: &Context<'_>) -> Result<ServiceWindow> {
        let client = required(self.1.client(ctx, self.0.client_id).await?, "client")?;
        let closes_at = window::closes_at(&self.0, &client);
        Ok(ServiceWindow {
            is_open: window::is_open(&self.0, &client, ctx.app().now()),
            closes_at,
            opened_by: self.0.window_message_id.filter(|_| closes_at.is_some()),
        })
    }

    /// Live customer messages since the last `markAsRead`, API message or app message. Reading in the app is not told by
    /// WhatsApp; imports count nothing.
    fn unread_count(&self) -> i32 {
        self.0.unread_count.max(0)
    }

    /// When its newest message was sent.
    fn last_activity_at(&self) -> DateTime {
        self.0.last_activity_at.into()
    }

    /// Its messages, newest first.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which messages. Null: all. `with` and `conversationId` are of no use here.")]
        filter: Option<Box<HistoryFilter>>,
        #[graphql(desc = "How many from the beginning, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> Result<Connection<Message>> {
        let asked = Asked { first, after, last, before };
        lists::messages(ctx, Of::Conversation(self.0.clone()), filter, asked).await
    }
}

/// The customer service window of a conversation at this moment.
pub struct ServiceWindow {
    is_open: bool,
    closes_at: Option<Timestamp>,
    opened_by: Option<MessageId>,
}

/// The customer service window of a conversation. While it is open the API may send anything; while it is closed,
/// templates only. The app on the phone knows no window.
#[Object]
impl ServiceWindow {
    /// Whether it is open now.
    fn is_open(&self) -> bool {
        self.is_open
    }

    /// When it closes, or did close. Null: none was opened since the client was connected, or WhatsApp said that there is
    /// none.
    fn closes_at(&self) -> Option<DateTime> {
        self.closes_at.map(DateTime)
    }

    /// The message that opened it. Null: `closesAt` is null.
    async fn opened_by(&self, ctx: &Context<'_>) -> Option<Result<Message>> {
        let load = async {
            ctx.reader()?;
            let Some(id) = self.opened_by else { return Ok(None) };
            Ok(ctx.load(id).await?.map(Message::alone))
        };
        Box::pin(load).await.transpose()
    }
}
