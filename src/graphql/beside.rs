//! Rows that are read once for many: what a page needs for its items, with one look-up for all of them instead of a task
//! for each field (measured: half the time of a page); and what an event is about, for all who are told of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, Lookahead};
use entity::{ClientId, ContactId, ConversationId, client, contact, conversation, message};
use sea_orm::EntityTrait;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::context::ContextExt;
use super::error::{ApiError, Result};
use super::loaders::Rows;
use super::types::Contact;
use crate::db::Columns;
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
    /// What is asked of the items of a list of messages; with the client of all of them, if it is known.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn messages(
        ctx: &Context<'_>,
        items: &Items<'_>,
        rows: &[message::Model],
        client: Option<Arc<client::Model>>,
    ) -> Result<Self> {
        let ends = items.ask("from") || items.ask("to");
        let mut known = Known::default();
        if ends || items.ask("conversation") {
            let ids = rows.iter().map(|row| row.conversation_id);
            known.conversations = read::<_, conversation::Entity>(ctx, ids, &Columns::All).await?;
        }
        let conversation = items.within("conversation");
        if ends || conversation.ask("contact") {
            let columns = conversation.within("contact").columns::<Contact>();
            let contacts = known.conversations.values().map(|row| row.contact_id);
            known.contacts = read(ctx, contacts, &columns).await?;
        }
        let within = conversation.ask("client") || conversation.ask("window");
        if let Some(client) = client {
            known.clients.insert(client.id, client);
        } else if ends || within || items.ask("client") {
            let ids = rows.iter().map(|row| row.client_id);
            known.clients = read::<_, client::Entity>(ctx, ids, &Columns::All).await?;
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
            let columns = items.within("contact").columns::<Contact>();
            known.contacts = read(ctx, rows.iter().map(|row| row.contact_id), &columns).await?;
        }
        if items.ask("client") || items.ask("window") {
            let ids = rows.iter().map(|row| row.client_id);
            known.clients = read::<_, client::Entity>(ctx, ids, &Columns::All).await?;
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

/// A type whose fields are made of columns of its row, so that a list need not read those that nobody asks for.
pub trait MadeOf {
    /// Where its rows are.
    type Table: EntityTrait;

    /// What is looked at whatever is asked.
    const ALWAYS: &'static [<Self::Table as EntityTrait>::Column];

    /// What a field is made of beside that; none: it is not known, so all columns are read.
    fn columns(field: &str) -> Option<&'static [<Self::Table as EntityTrait>::Column]>;
}

/// What is asked of a list's items: under `edges { node }`, under `nodes`, or both.
pub struct Items<'a>([Lookahead<'a>; 2]);

impl<'a> Items<'a> {
    /// Of the list that is being resolved.
    pub fn of(ctx: &'a Context<'a>) -> Self {
        let list = ctx.look_ahead();
        Self([list.field("edges").field("node"), list.field("nodes")])
    }

    /// The columns that all of it is made of.
    pub fn columns<T: MadeOf>(&self) -> Columns<T::Table> {
        let mut columns = T::ALWAYS.to_vec();
        for item in self.0.iter().flat_map(Lookahead::selection_fields) {
            for field in item.selection_set() {
                let Some(its) = T::columns(field.name()) else { return Columns::All };
                columns.extend_from_slice(its);
            }
        }
        Columns::Some(columns)
    }

    fn ask(&self, field: &str) -> bool {
        self.0.iter().any(|item| item.field(field).exists())
    }

    fn within(&self, field: &str) -> Self {
        Self(self.0.each_ref().map(|item| item.field(field)))
    }
}

async fn read<I, E>(
    ctx: &Context<'_>,
    ids: impl Iterator<Item = I>,
    columns: &Columns<E>,
) -> Result<HashMap<I, Arc<E::Model>>>
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
    let rows = lookup::by_ids_with(&ctx.app().db, ctx.reader()?, &ids, columns).await?;
    Ok(rows.into_iter().map(|(id, row)| (I::from_uuid(id), row)).collect())
}
