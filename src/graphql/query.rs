use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object};
use entity::{ClientId, OnboardingId, WebhookEndpointId, client};
use futures_util::future::try_join_all;

use super::beside::Items;
use super::context::ContextExt;
use super::error::{ApiError, Result};
use super::pagination::{Asked, Connection, cost, size};
use super::scalars::{EventCursor, Given};
use super::types::client::ClientFilter;
use super::types::enums::{EventType, WebhookDeliveryStatus};
use super::types::event::EventConnection;
use super::types::lists::{self, ContactFilter, ConversationFilter, HistoryFilter};
use super::types::onboarding::OnboardingFilter;
use super::types::{
    Client, Contact, Conversation, Message, Node, Onboarding, Template, Viewer, WebhookDelivery,
    WebhookEndpoint, node,
};
use crate::db::Columns;
use crate::db::page::{DEFAULT, MOST, Page};
use crate::events::filter::Filter;
use crate::messages::queries::Of;
use crate::{clients, conversations, events, lookup, onboarding, templates, webhooks};

/// Where reading begins.
pub struct Query;

/// What can be read. Needs the scope READ, but for `viewer`.
#[Object]
impl Query {
    /// What an id names. Null: nothing that you may see.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "An id of any type.")] id: ID,
    ) -> Option<Result<Node>> {
        node::resolve(ctx, &id).await.transpose()
    }

    /// What some ids name, in their order; null in place of one that names nothing that you may see.
    #[graphql(complexity = "ids.len().saturating_mul(child_complexity).saturating_add(1)")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most 100 ids of any types.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > MOST {
            return Err(ApiError::bad_input(format!("`ids` has {} entries; it may have {MOST}.", ids.len())));
        }
        try_join_all(ids.iter().map(|id| node::resolve(ctx, id))).await
    }

    /// Who is asking, and what they may do. Needs no scope.
    async fn viewer(&self) -> Viewer {
        Viewer
    }

    /// A client. Null: there is none with this id that you may see.
    async fn client(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The client's id.")] id: Given<ClientId>,
    ) -> Option<Result<Client>> {
        let load = async {
            ctx.reader()?;
            let Some(id) = id.id() else { return Ok(None) };
            Ok(ctx.load(id).await?.map(Client))
        };
        load.await.transpose()
    }

    /// The clients, oldest first.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn clients(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which clients. Null: all.")] filter: Option<ClientFilter>,
        #[graphql(desc = "How many from the beginning, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> Result<Connection<Client>> {
        let scope = ctx.reader()?;
        let args = Asked { first, after, last, before }.page::<Client>()?;
        let ClientFilter { status, mode, search } = filter.unwrap_or_default();
        let filter = clients::queries::Filter {
            status: status.map(|statuses| statuses.into_iter().map(Into::into).collect()),
            mode: mode.map(Into::into),
            search,
        };
        let columns = Items::of(ctx).columns::<Client>();
        let page = clients::queries::list(&ctx.app().db, scope, &filter, &columns, args).await?;
        Ok(Connection::new(page, |row| Client(Arc::new(row))))
    }

    /// An onboarding. Null: there is none with this id that you may see.
    async fn onboarding(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The onboarding's id.")] id: Given<OnboardingId>,
    ) -> Option<Result<Onboarding>> {
        let load = async {
            ctx.reader()?;
            let Some(id) = id.id() else { return Ok(None) };
            Ok(ctx.load(id).await?.map(Onboarding))
        };
        load.await.transpose()
    }

    /// The onboardings, oldest first.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn onboardings(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which onboardings. Null: all.")] filter: Option<OnboardingFilter>,
        #[graphql(desc = "How many from the beginning, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> Result<Connection<Onboarding>> {
        let scope = ctx.reader()?;
        let args = Asked { first, after, last, before }.page::<Onboarding>()?;
        let OnboardingFilter { status, reference } = filter.unwrap_or_default();
        let filter = onboarding::queries::Filter {
            status: status.map(|statuses| statuses.into_iter().map(Into::into).collect()),
            reference,
        };
        let page = onboarding::queries::list(&ctx.app().db, scope, &filter, args).await?;
        Ok(Connection::new(page, |row| Onboarding(Arc::new(row))))
    }

    /// Messages of one client, newest first: imported history and live traffic alike (the provider's getHistory). Null,
    /// with NOT_FOUND, where there is no such client that you may see.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose messages.")] client_id: Given<ClientId>,
        #[graphql(desc = "Which messages. Null: all.")] filter: Option<Box<HistoryFilter>>,
        #[graphql(desc = "How many from the beginning, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> Option<Result<Connection<Message>>> {
        let load = async {
            let of_client = Items::of(ctx).clients_of_messages().unwrap_or_else(Columns::none);
            let client = named_client(ctx, client_id, of_client).await?;
            let asked = Asked { first, after, last, before };
            lists::messages(ctx, Of::Client(client), filter, asked).await
        };
        Some(load.await)
    }

    /// One client's contacts, oldest first: its phone book, as the phone reports it (the provider's getContacts), and
    /// customers who wrote. Null, with NOT_FOUND, where there is no such client that you may see.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn contacts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose contacts.")] client_id: Given<ClientId>,
        #[graphql(desc = "Which contacts. Null: all.")] filter: Option<ContactFilter>,
        #[graphql(desc = "How many from the beginning, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> Option<Result<Connection<Contact>>> {
        let load = async {
            let client = named_client(ctx, client_id, Columns::none()).await?;
            lists::contacts(ctx, client, filter, Asked { first, after, last, before }).await
        };
        Some(load.await)
    }

    /// One client's conversation with a phone number or WhatsApp user id. Null: nothing was written yet; with NOT_FOUND
    /// where there is no such client that you may see.
    async fn conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose conversation.")] client_id: Given<ClientId>,
        #[graphql(
            desc = "A phone number with its plus sign (spaces, dashes and brackets do not matter), or a \
                          WhatsApp user id."
        )]
        with: String,
    ) -> Option<Result<Conversation>> {
        let load = async {
            let client = named_client(ctx, client_id, Columns::none()).await?;
            let row = conversations::queries::with(&ctx.app().db, ctx.reader()?, client.id, &with).await?;
            Ok(row.map(Conversation::alone))
        };
        load.await.transpose()
    }

    /// Conversations, latest activity first; over all clients that you may see when `clientIds` is null. One that moves
    /// while you page may be seen twice. Null, with NOT_FOUND, where one of the clients is not there.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn conversations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose conversations, at most 100 clients. Null: of all that you may see.")]
        client_ids: Option<Vec<Given<ClientId>>>,
        #[graphql(desc = "Which conversations. Null: all.")] filter: Option<Box<ConversationFilter>>,
        #[graphql(desc = "How many from the beginning, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> Option<Result<Connection<Conversation>>> {
        let load = async {
            let clients = named_clients(ctx, client_ids).await?;
            lists::conversations(ctx, clients, filter, Asked { first, after, last, before }).await
        };
        Some(load.await)
    }

    /// The templates of one client's account, in the order in which they were seen first; those that are gone are left out.
    /// They are kept in step with WhatsApp; the first one who asks after a connection may wait until WhatsApp has told them.
    /// Null, with NOT_FOUND, where there is no such client that you may see.
    #[graphql(complexity = "cost(first, None, child_complexity)")]
    async fn templates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose templates.")] client_id: Given<ClientId>,
        #[graphql(desc = "How many, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
    ) -> Option<Result<Connection<Template>>> {
        let load = async {
            let client = named_client(ctx, client_id, Columns::All).await?;
            let args = Asked { first, after, ..Asked::default() }.page::<Template>()?;
            let app = ctx.app();
            Box::pin(templates::refresh::ensure(app, &client)).await?;
            let page = templates::queries::list(&app.db, ctx.reader()?, &client, args).await?;
            Ok(Connection::new(page, |row| Template(Arc::new(row))))
        };
        Some(load.await)
    }

    /// The event stream, oldest first from `after`; the same items, in the same order, as `subscription events`. Null,
    /// with an error, where the cursor is of no use (CURSOR_EXPIRED) or a client of the filter is not there (NOT_FOUND).
    #[graphql(complexity = "cost(first, None, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only what follows this place. Null: from the oldest entry kept.")] after: Option<
            EventCursor,
        >,
        #[graphql(desc = "Which entries. Null: all that you may see.")] filter: Option<EventFilter>,
        #[graphql(desc = "How many, 1 to 100. Null: 50.")] first: Option<i32>,
    ) -> Option<Result<EventConnection>> {
        let load = async {
            let scope = ctx.reader()?;
            let size = first.map_or(Ok(DEFAULT), |first| size("first", first))?;
            let app = ctx.app();
            let position =
                events::queries::resume(app, scope, after.as_ref().map(|cursor| cursor.0.as_str())).await?;
            events::queries::note_reader(app, scope).await?;
            let EventFilter { client_ids, types } = filter.unwrap_or_default();
            let clients = match named_clients(ctx, client_ids).await? {
                None => None,
                Some(clients) => {
                    Some(Filter::clients(app, scope, clients.iter().map(|client| client.id)).await?)
                }
            };
            let types = types.map(|types| types.into_iter().map(Into::into).collect());
            let filter = Filter { clients, types, ..Filter::default() };
            let page = events::queries::page(app, scope, position, &filter, size).await?;
            EventConnection::new(ctx, page, after.is_some()).await
        };
        Some(load.await)
    }

    /// Your webhook endpoints, oldest first. Needs the scope ADMIN.
    #[graphql(complexity = "cost(first, None, child_complexity)")]
    async fn webhook_endpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
    ) -> Result<Connection<WebhookEndpoint>> {
        let scope = ctx.admin()?;
        let args = Asked { first, after, ..Asked::default() }.page::<WebhookEndpoint>()?;
        let mut rows = webhooks::queries::all(&ctx.app().db, scope).await?;
        rows.retain(|row| args.after.is_none_or(|after| row.id.0 > after.id));
        let has_next = rows.len() > args.size;
        rows.truncate(args.size);
        let page = Page { rows, has_next, has_previous: args.after.is_some() };
        Ok(Connection::new(page, |row| WebhookEndpoint(Arc::new(row))))
    }

    /// What became of the events for one endpoint, newest first. Null, with NOT_FOUND, where there is no such endpoint.
    /// Needs the scope ADMIN.
    #[graphql(complexity = "cost(first, None, child_complexity)")]
    async fn webhook_deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "To which endpoint.")] endpoint_id: Given<WebhookEndpointId>,
        #[graphql(desc = "Only those that stand so. Null: all.")] status: Option<WebhookDeliveryStatus>,
        #[graphql(desc = "How many, 1 to 100. Null: 50.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
    ) -> Option<Result<Connection<WebhookDelivery>>> {
        let load = async {
            ctx.admin()?;
            let endpoint = match endpoint_id.id() {
                Some(id) => ctx.load(id).await?,
                None => None,
            };
            let endpoint = endpoint.ok_or_else(|| ApiError::not_found("endpoint"))?;
            let args = Asked { first, after, ..Asked::default() }.page::<WebhookDelivery>()?;
            let status = status.map(Into::into);
            let page = webhooks::queries::deliveries(&ctx.app().db, &endpoint, status, args).await?;
            Ok(Connection::new(page, |row| WebhookDelivery(Arc::new(row))))
        };
        Some(load.await)
    }
}

/// Which entries of the stream. All conditions hold at once.
#[derive(Debug, Default, InputObject)]
pub(super) struct EventFilter {
    /// What happened to these clients, at most 100. Null: whatever you may see.
    pub client_ids: Option<Vec<Given<ClientId>>>,
    /// Of these types. Null: of any.
    pub types: Option<Vec<EventType>>,
}

/// The client that an argument names, by the id that it has now; of its columns these, and whose it is.
///
/// # Errors
/// FORBIDDEN, NOT_FOUND.
pub(super) async fn named_client(
    ctx: &Context<'_>,
    given: Given<ClientId>,
    columns: Columns<client::Entity>,
) -> Result<Arc<client::Model>> {
    let scope = ctx.reader()?;
    let columns = columns.and(Columns::Some(vec![client::Column::PartnerId]));
    let row = match given.id() {
        Some(id) => lookup::by_ids_with(&ctx.app().db, scope, &[id], columns).await?.remove(&id),
        None => None,
    };
    row.ok_or_else(|| ApiError::not_found("client"))
}

/// The clients that an argument names, with what says whose they are; none: it names no clients in particular.
///
/// # Errors
/// FORBIDDEN, BAD_USER_INPUT, NOT_FOUND.
pub(super) async fn named_clients(
    ctx: &Context<'_>,
    given: Option<Vec<Given<ClientId>>>,
) -> Result<Option<Vec<Arc<client::Model>>>> {
    let scope = ctx.reader()?;
    let Some(given) = given else { return Ok(None) };
    if given.len() > MOST {
        return Err(ApiError::bad_input(format!(
            "`clientIds` has {} entries; it may have {MOST}.",
            given.len()
        )));
    }
    let ids: Option<Vec<ClientId>> = given.into_iter().map(Given::id).collect();
    let known = match ids {
        Some(ids) => clients::queries::all(&ctx.app().db, scope, &ids).await?,
        None => None,
    };
    known.map(Some).ok_or_else(|| ApiError::not_found("client"))
}
