//! Rows that are read once for many: what a page needs for its items, with one look-up for all of them instead of a task
//! for each field (measured: half the time of a page); and what an event is about, for all who are told of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, Lookahead};
use entity::{ClientId, ContactId, ConversationId, client, contact, conversation, message};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::context::ContextExt;
use super::error::{ApiError, Result};
use super::loaders::Rows;
use crate::feed::about::About;
use crate::ids::PublicId;
use crate::lookup::{self, Identified};

/// What was read beside an item; whatever was not is loaded when it is asked for.
#[derive(Clone, Default)]
pub enum Beside {
    /// Nothing.
    #[default]
    Nothing,
    /// What the items of a page belong to.
    Page(Arc<Known>),
    /// What an event is about: read by whoever asks for it first.
    Event(Arc<About>),
}

/// Rows of a page.
#[derive(Default)]
pub struct Known {
    clients: HashMap<ClientId, Arc<client::Model>>,
    conversations: HashMap<ConversationId, Arc<conversation::Model>>,
    contacts: HashMap<ContactId, Arc<contact::Model>>,
}

impl Beside {
    /// What the selection asks of the items of a list of messages; with the client of all of them, if it is known.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn messages(
        ctx: &Context<'_>,
        rows: &[message::Model],
        client: Option<Arc<client::Model>>,
    ) -> Result<Self> {
        let items = Items::of(ctx);
        let ends = items.ask("from") || items.ask("to");
        let mut known = Known::default();
        if ends || items.ask("conversation") {
            known.conversations =
                read::<_, conversation::Entity>(ctx, rows.iter().map(|row| row.conversation_id)).await?;
        }
        if ends || items.ask_within("conversation", "contact") {
            known.contacts =
                read::<_, contact::Entity>(ctx, known.conversations.values().map(|row| row.contact_id))
                    .await?;
        }
        let within = items.ask_within("conversation", "client") || items.ask_within("conversation", "window");
        if let Some(client) = client {
            known.clients.insert(client.id, client);
        } else if ends || within || items.ask("client") {
            known.clients = read::<_, client::Entity>(ctx, rows.iter().map(|row| row.client_id)).await?;
        }
        Ok(Self::Page(Arc::new(known)))
    }

    /// What the selection asks of the items of a list of conversations.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn conversations(ctx: &Context<'_>, rows: &[conversation::Model]) -> Result<Self> {
        let items = Items::of(ctx);
        let mut known = Known::default();
        if items.ask("contact") {
            known.contacts = read::<_, contact::Entity>(ctx, rows.iter().map(|row| row.contact_id)).await?;
        }
        if items.ask("client") || items.ask("window") {
            known.clients = read::<_, client::Entity>(ctx, rows.iter().map(|row| row.client_id)).await?;
        }
        Ok(Self::Page(Arc::new(known)))
    }

    /// A client.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn client(&self, ctx: &Context<'_>, id: ClientId) -> Result<Option<Arc<client::Model>>> {
        match self {
            Self::Page(known) if known.clients.contains_key(&id) => Ok(known.clients.get(&id).cloned()),
            Self::Event(about) => Box::pin(shared(ctx, &about.client, id, |row| (row.id, row.id))).await,
            Self::Page(_) | Self::Nothing => ctx.load(id).await,
        }
    }

    /// A conversation.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn conversation(
        &self,
        ctx: &Context<'_>,
        id: ConversationId,
    ) -> Result<Option<Arc<conversation::Model>>> {
        match self {
            Self::Page(known) if known.conversations.contains_key(&id) => {
                Ok(known.conversations.get(&id).cloned())
            }
            Self::Event(about) => {
                Box::pin(shared(ctx, &about.conversation, id, |row| (row.id, row.client_id))).await
            }
            Self::Page(_) | Self::Nothing => ctx.load(id).await,
        }
    }

    /// A contact.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn contact(&self, ctx: &Context<'_>, id: ContactId) -> Result<Option<Arc<contact::Model>>> {
        match self {
            Self::Page(known) if known.contacts.contains_key(&id) => Ok(known.contacts.get(&id).cloned()),
            Self::Event(about) => {
                Box::pin(shared(ctx, &about.contact, id, |row| (row.id, row.client_id))).await
            }
            Self::Page(_) | Self::Nothing => ctx.load(id).await,
        }
    }
}

/// A row that an event is about, if it is the one that is asked for and the caller may see its client.
async fn shared<I, M>(
    ctx: &Context<'_>,
    cell: &OnceCell<Arc<M>>,
    id: I,
    of: impl Fn(&M) -> (I, ClientId),
) -> Result<Option<Arc<M>>>
where
    I: Copy + Eq + Hash + Send + Sync + 'static,
    Rows: Loader<I, Value = Arc<M>, Error = ApiError>,
{
    let read = async {
        let row = ctx.load(id).await.map_err(Some)?;
        row.ok_or(None)
    };
    let row = match cell.get_or_try_init(|| read).await {
        Ok(row) => row.clone(),
        Err(None) => return Ok(None),
        Err(Some(error)) => return Err(error),
    };
    let (its_id, client) = of(&row);
    if its_id == id && ctx.scope().admits(client) { Ok(Some(row)) } else { ctx.load(id).await }
}

/// The selections of a list's items: under `edges { node }`, under `nodes`, or both.
struct Items<'a>([Lookahead<'a>; 2]);

impl<'a> Items<'a> {
    fn of(ctx: &'a Context<'a>) -> Self {
        let list = ctx.look_ahead();
        Self([list.field("edges").field("node"), list.field("nodes")])
    }

    fn ask(&self, field: &str) -> bool {
        self.0.iter().any(|item| item.field(field).exists())
    }

    fn ask_within(&self, field: &str, part: &str) -> bool {
        self.0.iter().any(|item| item.field(field).field(part).exists())
    }
}

async fn read<I, E>(ctx: &Context<'_>, ids: impl Iterator<Item = I>) -> Result<HashMap<I, Arc<E::Model>>>
where
    I: PublicId + Eq + Ord + Hash,
    E: Identified,
    E::Model: DeserializeOwned + Send + Sync + 'static,
{
    let mut ids: Vec<Uuid> = ids.map(|id| id.uuid()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = lookup::by_ids::<E>(&ctx.app().db, ctx.reader()?, &ids).await?;
    Ok(rows.into_iter().map(|(id, row)| (I::from_uuid(id), row)).collect())
}
