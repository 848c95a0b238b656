use std::collections::HashSet;
use std::sync::Arc;

use async_graphql::{Context, Subscription};
use entity::{ClientId, OnboardingId};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::Loaders;
use super::context::ContextExt;
use super::error::{ApiError, Result};
use super::query::{EventFilter, named_client, named_clients};
use super::scalars::{EventCursor, Given};
use super::types::StreamItem;
use super::types::enums::MessageStatus;
use super::types::event::{
    self, CaughtUp, ClientEvent, ContactEvent, IncomingMessageEvent, MessageStatusEvent, OnboardingEvent,
    OutgoingMessageEvent, SyncEvent,
};
use crate::app::App;
use crate::auth::Scope;
use crate::db::Columns;
use crate::events::filter::Filter;
use crate::events::queries::CursorError;
use crate::feed::CursorTap;
use crate::feed::stream::{Item, Joined};

/// Events of a replay that are made together. Live, each is told at once.
const TOGETHER: usize = 64;

/// Where following begins.
pub struct Subscription;

/// What can be followed, live and without gaps. Each result carries its cursor in `extensions.cursor`: subscribe again
/// with `after` the last one, and nothing is missed or told twice. Needs the scope READ.
#[Subscription]
impl Subscription {
    /// Everything: first what came after `after`, then one CaughtUp, then live. Without `after`: live only.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only what follows this place. Null: from now on.")] after: Option<EventCursor>,
        #[graphql(desc = "Which entries. Null: all that you may see.")] filter: Option<EventFilter>,
    ) -> Result<BoxStream<'static, Result<StreamItem>>> {
        let joined = join(ctx).await?;
        let EventFilter { client_ids, types } = filter.unwrap_or_default();
        let types = types.map(|types| types.into_iter().map(Into::into).collect());
        let filter = Filter { clients: clients(ctx, client_ids).await?, types, ..Filter::default() };
        follow(ctx, joined, after, filter, Some).await
    }

    /// Messages that clients send from the app on the phone or from a linked device: the provider's *outgoing* webhook.
    async fn outgoing_messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of these clients, at most 100. Null: of all that you may see.")] client_ids: Option<
            Vec<Given<ClientId>>,
        >,
        #[graphql(desc = "Only what follows this place. Null: from now on.")] after: Option<EventCursor>,
    ) -> Result<BoxStream<'static, Result<OutgoingMessageEvent>>> {
        let joined = join(ctx).await?;
        let filter = of_types(ctx, client_ids, &[entity::EventType::MessageOutgoing]).await?;
        follow(ctx, joined, after, filter, |item| {
            if let StreamItem::Outgoing(event) = item { Some(event) } else { None }
        })
        .await
    }

    /// Messages that customers send.
    async fn incoming_messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "To these clients, at most 100. Null: to all that you may see.")] client_ids: Option<
            Vec<Given<ClientId>>,
        >,
        #[graphql(desc = "Only what follows this place. Null: from now on.")] after: Option<EventCursor>,
    ) -> Result<BoxStream<'static, Result<IncomingMessageEvent>>> {
        let joined = join(ctx).await?;
        let filter = of_types(ctx, client_ids, &[entity::EventType::MessageIncoming]).await?;
        follow(ctx, joined, after, filter, |item| {
            if let StreamItem::Incoming(event) = item { Some(event) } else { None }
        })
        .await
    }

    /// Sent, delivered, read, failed: of messages from the API and of messages from the app (the provider's *read status*
    /// webhook: `statuses: [READ]`).
    async fn message_statuses(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of these clients, at most 100. Null: of all that you may see.")] client_ids: Option<
            Vec<Given<ClientId>>,
        >,
        #[graphql(desc = "Only these statuses. Null: all.")] statuses: Option<Vec<MessageStatus>>,
        #[graphql(desc = "Only what follows this place. Null: from now on.")] after: Option<EventCursor>,
    ) -> Result<BoxStream<'static, Result<MessageStatusEvent>>> {
        let joined = join(ctx).await?;
        let filter = of_types(ctx, client_ids, &[entity::EventType::MessageStatus]).await?;
        let statuses = statuses.map(|statuses| statuses.into_iter().map(Into::into).collect());
        let filter = Filter { statuses, ..filter };
        follow(ctx, joined, after, filter, |item| {
            if let StreamItem::Status(event) = item { Some(event) } else { None }
        })
        .await
    }

    /// The phone book as it changes, and customers who write for the first time: the provider's *contact* webhook.
    async fn contact_changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of these clients, at most 100. Null: of all that you may see.")] client_ids: Option<
            Vec<Given<ClientId>>,
        >,
        #[graphql(desc = "Only what follows this place. Null: from now on.")] after: Option<EventCursor>,
    ) -> Result<BoxStream<'static, Result<ContactEvent>>> {
        use entity::EventType::{ContactAdded, ContactMerged, ContactRemoved, ContactUpdated};
        let types = [ContactAdded, ContactUpdated, ContactRemoved, ContactMerged];
        let joined = join(ctx).await?;
        let filter = of_types(ctx, client_ids, &types).await?;
        follow(ctx, joined, after, filter, |item| {
            if let StreamItem::Contact(event) = item { Some(event) } else { None }
        })
        .await
    }

    /// The steps of one onboarding.
    async fn onboarding_progress(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which onboarding.")] onboarding_id: Given<OnboardingId>,
        #[graphql(desc = "Only what follows this place. Null: from now on.")] after: Option<EventCursor>,
    ) -> Result<BoxStream<'static, Result<OnboardingEvent>>> {
        let joined = join(ctx).await?;
        let row = match onboarding_id.id() {
            Some(id) => ctx.load(id).await?,
            None => None,
        };
        let onboarding = row.ok_or_else(|| ApiError::not_found("onboarding"))?;
        let filter = Filter {
            types: Some(HashSet::from([entity::EventType::OnboardingChanged])),
            subject: Some(onboarding.id.0),
            ..Filter::default()
        };
        follow(ctx, joined, after, filter, |item| {
            if let StreamItem::Onboarding(event) = item { Some(event) } else { None }
        })
        .await
    }

    /// The imports of one client.
    async fn sync_progress(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which client.")] client_id: Given<ClientId>,
        #[graphql(desc = "Only what follows this place. Null: from now on.")] after: Option<EventCursor>,
    ) -> Result<BoxStream<'static, Result<SyncEvent>>> {
        let joined = join(ctx).await?;
        named_client(ctx, client_id, Columns::none()).await?;
        let filter = of_types(ctx, Some(vec![client_id]), &[entity::EventType::SyncProgress]).await?;
        follow(ctx, joined, after, filter, |item| {
            if let StreamItem::Sync(event) = item { Some(event) } else { None }
        })
        .await
    }

    /// Clients that are connected, paused, resumed, disconnected, renamed or merged, and visits of the app that are due.
    async fn client_changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of these clients, at most 100. Null: of all that you may see.")] client_ids: Option<
            Vec<Given<ClientId>>,
        >,
        #[graphql(desc = "Only what follows this place. Null: from now on.")] after: Option<EventCursor>,
    ) -> Result<BoxStream<'static, Result<ClientEvent>>> {
        use entity::EventType as Type;
        let types = [
            Type::ClientConnected,
            Type::ClientPaused,
            Type::ClientResumed,
            Type::ClientDisconnected,
            Type::ClientProfileChanged,
            Type::ClientMerged,
            Type::AppVisitDue,
        ];
        let joined = join(ctx).await?;
        let filter = of_types(ctx, client_ids, &types).await?;
        follow(ctx, joined, after, filter, |item| {
            if let StreamItem::Client(event) = item { Some(event) } else { None }
        })
        .await
    }
}

/// Takes the subscription's place in the stream: first of all.
async fn join(ctx: &Context<'_>) -> Result<Joined> {
    Ok(Joined::new(ctx.app(), ctx.reader()?).await?)
}

async fn clients(
    ctx: &Context<'_>,
    given: Option<Vec<Given<ClientId>>>,
) -> Result<Option<HashSet<ClientId>>> {
    match named_clients(ctx, given).await? {
        None => Ok(None),
        Some(clients) => {
            let ids = clients.iter().map(|client| client.id);
            Ok(Some(Filter::clients(ctx.app(), ctx.scope(), ids).await?))
        }
    }
}

async fn of_types(
    ctx: &Context<'_>,
    client_ids: Option<Vec<Given<ClientId>>>,
    types: &[entity::EventType],
) -> Result<Filter> {
    let clients = clients(ctx, client_ids).await?;
    Ok(Filter { clients, types: Some(types.iter().copied().collect()), ..Filter::default() })
}

/// Follows the stream, keeping what `pick` picks. What the transport was told to go on after (`Last-Event-ID`) wins over
/// the argument.
async fn follow<T: Send + 'static>(
    ctx: &Context<'_>,
    joined: Joined,
    after: Option<EventCursor>,
    filter: Filter,
    pick: fn(StreamItem) -> Option<T>,
) -> Result<BoxStream<'static, Result<T>>> {
    let app = ctx.app().clone();
    let partner = ctx.scope().partner();
    let tap = ctx.cursor_tap();
    let resumes_after = tap.as_ref().and_then(|tap| tap.resumes_after());
    let after = resumes_after.or(after.as_ref().map(|cursor| cursor.0.as_str()));
    let quiet = tap.as_ref().is_some_and(CursorTap::continues);
    let reader = joined.read(after, filter, quiet).await?;
    let (scope, loaders) = (ctx.scope().clone(), ctx.rows().clone());
    let idle = {
        let (app, tap) = (app.clone(), tap.clone());
        move |position, live| {
            if let Some(tap) = &tap {
                tap.complete(app.cursor(partner, position), live);
            }
        }
    };
    // Asked for more only when all that it gave was told: that is what makes `idle` right.
    let chunks = stream::unfold((reader, idle), |(mut reader, idle)| async move {
        let chunk = reader.next(TOGETHER, &idle).await?;
        Some((chunk, (reader, idle)))
    });
    let told = chunks
        .then(move |chunk| {
            let (app, scope, loaders) = (app.clone(), scope.clone(), loaders.clone());
            async move { stream::iter(tell(&app, &scope, &loaders, chunk).await) }
        })
        .flatten()
        .filter_map(move |told| {
            let item = match told {
                Ok((cursor, item)) => pick(item).map(|item| Ok((cursor, item))),
                Err(error) => Some(Err(error)),
            };
            std::future::ready(item)
        })
        .map(move |told| {
            let (cursor, item) = told?;
            if let Some(tap) = &tap {
                tap.set(cursor);
            }
            Ok(item)
        });
    Ok(told.boxed())
}

/// Makes what a subscription yields of what the feed gives, each with its cursor.
async fn tell(
    app: &Arc<App>,
    scope: &Scope,
    loaders: &Loaders,
    chunk: Vec<Result<Item, CursorError>>,
) -> Vec<Result<(String, StreamItem)>> {
    let rows = chunk.iter().filter_map(|item| match item {
        Ok(Item::Event(row, about)) => Some((row.clone(), about.clone())),
        Ok(Item::CaughtUp(_)) | Err(_) => None,
    });
    let mut events = match event::events(app, scope, loaders, rows.collect()).await {
        Ok(events) => events.into_iter().peekable(),
        Err(error) => return vec![Err(error)],
    };
    let partner = scope.partner();
    let mut told = Vec::with_capacity(chunk.len());
    for item in chunk {
        match item {
            Ok(Item::Event(row, _)) => {
                // An entry whose row is gone was left out.
                let cursor = app.cursor(partner, row.position);
                if let Some(event) = events.next_if(|event| event.place() == cursor) {
                    told.push(Ok((cursor, event.into())));
                }
            }
            Ok(Item::CaughtUp(position)) => {
                let cursor = app.cursor(partner, position);
                told.push(Ok((
                    cursor.clone(),
                    StreamItem::CaughtUp(CaughtUp { cursor: EventCursor(cursor) }),
                )));
            }
            Err(error) => told.push(Err(error.into())),
        }
    }
    told
}
