//! Lists that several fields give, and their filters. Each is read in a box of its own, and the larger filters are given in one:
//! the engine makes room for the largest of a type's fields whenever it resolves the smallest.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, InputObject};
use entity::{ConversationId, client};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::enums::{MessageDirection, MessageOrigin};
use super::{Contact, Conversation, Message};
use crate::db::Joined;
use crate::graphql::beside::{self, Beside, Items};
use crate::graphql::context::ContextExt;
use crate::graphql::error::Result;
use crate::graphql::pagination::{Asked, Connection};
use crate::graphql::scalars::{DateTime, Given, PhoneNumber};
use crate::messages::queries::Of;
use crate::{contacts, conversations, messages};

/// Which messages. All conditions hold at once.
#[derive(Debug, Default, InputObject)]
pub struct HistoryFilter {
    /// With this number only. Null: with anybody.
    pub with: Option<PhoneNumber>,
    /// Of this conversation only. Null: of any.
    pub conversation_id: Option<Given<ConversationId>>,
    /// Sent at this instant or later. Null: from the beginning.
    pub since: Option<DateTime>,
    /// Sent before this instant. Null: to the end.
    pub until: Option<DateTime>,
    /// Made by one of these. Null: by anybody.
    pub origin: Option<Vec<MessageOrigin>>,
    /// Only this way. Null: both.
    pub direction: Option<MessageDirection>,
    /// Words that `text` contains, in capitals or not. Looks at every message of the list: narrow it by `with`,
    /// `conversationId` or `since` where there are many. Null: all.
    pub search: Option<String>,
}

impl From<HistoryFilter> for messages::queries::Filter {
    fn from(filter: HistoryFilter) -> Self {
        let HistoryFilter { with, conversation_id, since, until, origin, direction, search } = filter;
        Self {
            with: with.map(|number| number.0),
            // What is no id names no conversation.
            conversation: conversation_id.map(|given| given.id().unwrap_or(ConversationId(Uuid::nil()))),
            since: since.map(|at| at.0),
            until: until.map(|at| at.0),
            origin: origin.map(|origins| origins.into_iter().map(Into::into).collect()),
            direction: direction.map(Into::into),
            search,
        }
    }
}

/// Which contacts. All conditions hold at once.
#[derive(Debug, Default, InputObject)]
pub struct ContactFilter {
    /// Words that a name or the number contains, in capitals or not. Null: all.
    pub search: Option<String>,
    /// true: entries of the phone book only; false: all others only. Null: both.
    pub in_phone_book: Option<bool>,
}

impl From<ContactFilter> for contacts::queries::Filter {
    fn from(filter: ContactFilter) -> Self {
        let ContactFilter { search, in_phone_book } = filter;
        Self { search, in_phone_book }
    }
}

/// Which conversations. All conditions hold at once.
#[derive(Debug, Default, InputObject)]
pub struct ConversationFilter {
    /// true: with unread messages only; false: all others only. Null: both.
    pub unread: Option<bool>,
    /// true: with an open window only; false: all others only. Null: both.
    pub window_open: Option<bool>,
    /// Words that a name or the number of the contact contains, in capitals or not. Null: all.
    pub search: Option<String>,
    /// With activity at this instant or later. Null: all.
    pub active_since: Option<DateTime>,
}

impl From<ConversationFilter> for conversations::queries::Filter {
    fn from(filter: ConversationFilter) -> Self {
        let ConversationFilter { unread, window_open, search, active_since } = filter;
        Self { unread, window_open, search, active_since: active_since.map(|at| at.0) }
    }
}

/// A page of messages. A client whose messages they are need not be read again: of its row there is what
/// [`Items::clients_of_messages`] says, or all.
///
/// # Errors
/// FORBIDDEN, BAD_USER_INPUT.
pub fn messages<'a>(
    ctx: &'a Context<'_>,
    of: Of,
    filter: Option<Box<HistoryFilter>>,
    asked: Asked,
) -> BoxFuture<'a, Result<Connection<Message>>> {
    Box::pin(async move {
        let scope = ctx.reader()?;
        let args = asked.page::<Message>()?;
        let filter = (*filter.unwrap_or_default()).into();
        let items = Items::of(ctx);
        let db = &ctx.app().db;
        let page = messages::queries::history(db, scope, &of, &filter, &items.messages(), args).await?;
        let clients = match of {
            Of::Client(client) => HashMap::from([(client.id, client)]),
            Of::Conversation(_) => {
                let ids = page.rows.iter().map(|Joined(row, _)| row.client_id);
                beside::clients(ctx, ids, items.clients_of_messages()).await?
            }
        };
        Ok(Connection::new(page, |Joined(row, conversation)| {
            let beside = Beside::of_message(clients.get(&row.client_id).cloned(), conversation);
            Message(row, beside)
        }))
    })
}

/// A page of contacts.
///
/// # Errors
/// FORBIDDEN, BAD_USER_INPUT.
pub fn contacts<'a>(
    ctx: &'a Context<'_>,
    client: Arc<client::Model>,
    filter: Option<ContactFilter>,
    asked: Asked,
) -> BoxFuture<'a, Result<Connection<Contact>>> {
    Box::pin(async move {
        let scope = ctx.reader()?;
        let args = asked.page::<Contact>()?;
        let filter = filter.unwrap_or_default().into();
        let columns = Items::of(ctx).columns::<Contact>();
        let page = contacts::queries::list(&ctx.app().db, scope, &client, &filter, &columns, args).await?;
        Ok(Connection::new(page, |row| Contact(Arc::new(row))))
    })
}

/// A page of conversations.
///
/// # Errors
/// FORBIDDEN, BAD_USER_INPUT.
pub fn conversations<'a>(
    ctx: &'a Context<'_>,
    clients: Option<Vec<Arc<client::Model>>>,
    filter: Option<Box<ConversationFilter>>,
    asked: Asked,
) -> BoxFuture<'a, Result<Connection<Conversation>>> {
    Box::pin(async move {
        let scope = ctx.reader()?;
        let args = asked.page::<Conversation>()?;
        let filter = (*filter.unwrap_or_default()).into();
        let app = ctx.app();
        let items = Items::of(ctx);
        let (db, now, wanted) = (&app.db, app.now(), items.conversations(false));
        let page =
            conversations::queries::list(db, scope, clients.as_deref(), &filter, now, &wanted, args).await?;
        let ids = page.rows.iter().map(|Joined(row, _)| row.client_id);
        let clients = beside::clients(ctx, ids, items.clients_of_conversations()).await?;
        Ok(Connection::new(page, |Joined(row, contact)| {
            let beside = Beside::of_conversation(clients.get(&row.client_id).cloned(), contact);
            Conversation(row, beside)
        }))
    })
}
