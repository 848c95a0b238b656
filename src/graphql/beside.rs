//! Rows that are read once for many: what a page needs for its items, read with them instead of by a task for each field
//! (measured: half the time of a page); and what an event is about, for all who are told of it.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use async_graphql::{Context, Lookahead};
use entity::{ClientId, ContactId, ConversationId, client, contact, conversation};
use sea_orm::EntityTrait;
use tokio::sync::OnceCell;

use super::context::ContextExt;
use super::error::{ApiError, Result};
use super::loaders::Rows;
use super::types::{Client, Contact, Conversation, Message};
use crate::db::{Columns, Joined, Shared};
use crate::feed::about::About;
use crate::lookup;
use crate::{conversations, messages};

/// What was read beside an item; whatever was not is loaded when it is asked for.
#[derive(Clone, Default)]
pub enum Beside {
    /// Nothing.
    #[default]
    Nothing,
    /// What the item of a list belongs to.
    Item(Arc<Known>),
    /// What an event is about: read by whoever asks for it first.
    Event(Arc<About>),
}

/// Rows that an item belongs to, as far as they were asked for.
pub struct Known {
    client: Option<Arc<client::Model>>,
    conversation: Option<Arc<conversation::Model>>,
    contact: Option<Arc<contact::Model>>,
}

impl Beside {
    /// What a message belongs to.
    pub fn of_message(client: Option<Arc<client::Model>>, rest: Option<conversations::queries::Row>) -> Self {
        let (conversation, contact) = rest.map_or((None, None), |Joined(row, contact)| (Some(row), contact));
        Self::Item(Arc::new(Known { client, conversation, contact: contact.map(|Shared(row)| row) }))
    }

    /// What a conversation belongs to.
    pub fn of_conversation(
        client: Option<Arc<client::Model>>,
        contact: Option<Shared<contact::Model>>,
    ) -> Self {
        Self::Item(Arc::new(Known { client, conversation: None, contact: contact.map(|Shared(row)| row) }))
    }

    /// A client.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn client(&self, ctx: &Context<'_>, id: ClientId) -> Result<Option<Arc<client::Model>>> {
        match self {
            Self::Item(known) if let Some(row) = known.client.as_ref().filter(|row| row.id == id) => {
                Ok(Some(row.clone()))
            }
            Self::Event(about) => Box::pin(shared(ctx, &about.client, id, |row| (row.id, row.id))).await,
            Self::Item(_) | Self::Nothing => ctx.load(id).await,
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
            Self::Item(known) if let Some(row) = known.conversation.as_ref().filter(|row| row.id == id) => {
                Ok(Some(row.clone()))
            }
            Self::Event(about) => {
                Box::pin(shared(ctx, &about.conversation, id, |row| (row.id, row.client_id))).await
            }
            Self::Item(_) | Self::Nothing => ctx.load(id).await,
        }
    }

    /// A contact.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn contact(&self, ctx: &Context<'_>, id: ContactId) -> Result<Option<Arc<contact::Model>>> {
        match self {
            Self::Item(known) if let Some(row) = known.contact.as_ref().filter(|row| row.id == id) => {
                Ok(Some(row.clone()))
            }
            Self::Event(about) => {
                Box::pin(shared(ctx, &about.contact, id, |row| (row.id, row.client_id))).await
            }
            Self::Item(_) | Self::Nothing => ctx.load(id).await,
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

    /// What to read of messages, if that is what they are.
    pub fn messages(&self) -> messages::queries::Wanted {
        let ends = self.ask("from") || self.ask("to");
        let within = self.within("conversation");
        let conversation = (ends || self.ask("conversation")).then(|| within.conversations(ends));
        messages::queries::Wanted { columns: self.columns::<Message>(), conversation }
    }

    /// What to read of conversations, if that is what they are; of their contacts whatever is asked, or always something.
    pub fn conversations(&self, always_contact: bool) -> conversations::queries::Wanted {
        let ask = always_contact || self.ask("contact");
        let contact = ask.then(|| self.within("contact").columns::<Contact>());
        conversations::queries::Wanted { columns: self.columns::<Conversation>(), contact }
    }

    /// What to read of the clients of messages. None: nothing.
    pub fn clients_of_messages(&self) -> Option<Columns<client::Entity>> {
        let ends = self.ask("from") || self.ask("to");
        let number = ends.then(|| Columns::Some(vec![client::Column::PhoneNumber]));
        let others = self.within("conversation").clients_of_conversations();
        [self.client(), number, others].into_iter().flatten().reduce(Columns::and)
    }

    /// What to read of the clients of conversations. None: nothing.
    pub fn clients_of_conversations(&self) -> Option<Columns<client::Entity>> {
        // A window is open since the client was connected, if at all.
        let window = self.ask("window").then(|| Columns::Some(vec![client::Column::ConnectedAt]));
        [self.client(), window].into_iter().flatten().reduce(Columns::and)
    }

    fn client(&self) -> Option<Columns<client::Entity>> {
        self.ask("client").then(|| self.within("client").columns::<Client>())
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

/// Rows of clients.
pub type Clients = HashMap<ClientId, Arc<client::Model>>;

/// The clients of a list's items, as far as they are asked for.
///
/// # Errors
/// When the database is away.
pub async fn clients(
    ctx: &Context<'_>,
    ids: impl Iterator<Item = ClientId>,
    columns: Option<Columns<client::Entity>>,
) -> Result<Clients> {
    let Some(columns) = columns else { return Ok(Clients::new()) };
    let ids: Vec<ClientId> = ids.collect::<BTreeSet<ClientId>>().into_iter().collect();
    if ids.is_empty() {
        return Ok(Clients::new());
    }
    Ok(lookup::by_ids_with(&ctx.app().db, ctx.reader()?, &ids, columns).await?)
}
