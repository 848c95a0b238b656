//! Reads of messages.

use std::collections::HashMap;
use std::sync::Arc;

use entity::{
    ClientId, ConversationId, MessageDirection, MessageId, MessageOrigin, Timestamp, client, conversation,
    message, message_key, message_status, reaction,
};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use crate::auth::Scope;
use crate::conversations;
use crate::db::page::{Ordering, Page, PageArgs, page_with};
use crate::db::{Columns, Db, Join, Joined, padded, search};
use crate::lookup;
use crate::upstream::meta::{common_part, message_token};

/// Whose messages. Both say whose they are: see [`Scope::of_client`].
#[derive(Clone, Debug)]
pub enum Of {
    /// Of a client.
    Client(Arc<client::Model>),
    /// Of a conversation.
    Conversation(Arc<conversation::Model>),
}

/// Which messages.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// With this number, E.164.
    pub with: Option<String>,
    /// Of this conversation.
    pub conversation: Option<ConversationId>,
    /// Sent at or after this instant.
    pub since: Option<Timestamp>,
    /// Sent before this instant.
    pub until: Option<Timestamp>,
    /// Made by one of these.
    pub origin: Option<Vec<MessageOrigin>>,
    /// Only this way.
    pub direction: Option<MessageDirection>,
    /// Words that its text contains.
    pub search: Option<String>,
}

/// A message, and its conversation if that is wanted and there.
pub type Row = Joined<message::Model, conversations::queries::Row>;

/// What is read of messages.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of their columns, the id and the instant among them.
    pub columns: Columns<message::Entity>,
    /// Of their conversations. None: nothing.
    pub conversation: Option<conversations::queries::Wanted>,
}

impl Wanted {
    fn joins(&self) -> Vec<Join> {
        let Some(wanted) = &self.conversation else { return Vec::new() };
        let (from, id) = (message::Column::ConversationId, conversation::Column::Id);
        let mut joins = vec![Join::new::<conversation::Entity>(from, id, &wanted.columns)];
        joins.extend(wanted.joins());
        joins
    }
}

/// Messages, newest first.
///
/// # Errors
/// When the database is away.
pub async fn history(
    db: &Db,
    scope: &Scope,
    of: &Of,
    filter: &Filter,
    wanted: &Wanted,
    args: PageArgs,
) -> Result<Page<Row>, DbErr> {
    use message::Column;
    let Some(of) = narrowed(db, scope, of, filter).await? else {
        return Ok(Page { rows: Vec::new(), has_next: false, has_previous: false });
    };
    let mut select = match &of {
        Of::Client(client) => scope.of_client::<message::Entity>(client),
        Of::Conversation(conversation) => scope.of_conversation(conversation),
    };
    if let Some(since) = filter.since {
        select = select.filter(Column::SentAt.gte(since));
    }
    if let Some(until) = filter.until {
        select = select.filter(Column::SentAt.lt(until));
    }
    if let Some(origins) = &filter.origin {
        select = select.filter(Column::Origin.is_in(origins.iter().copied()));
    }
    if let Some(direction) = filter.direction {
        select = select.filter(Column::Direction.eq(direction));
    }
    if let Some(words) = &filter.search {
        select = select.filter(search::contains(&[Column::Text], words));
    }
    let ordering = Ordering { key: Some(Column::SentAt), id: Column::Id, descending: true };
    page_with(db, select, &wanted.columns, wanted.joins(), ordering, args).await
}

/// A filter that names one conversation makes a list of that conversation, whose own index then gives it in order.
/// None: no message can fit.
async fn narrowed(db: &Db, scope: &Scope, of: &Of, filter: &Filter) -> Result<Option<Of>, DbErr> {
    let Of::Client(client) = of else { return Ok(Some(of.clone())) };
    let mut named: Option<Arc<conversation::Model>> = None;
    if let Some(id) = filter.conversation {
        match lookup::by_id::<conversation::Entity>(db, scope, id).await? {
            Some(row) if row.client_id == client.id => named = Some(row),
            _ => return Ok(None),
        }
    }
    if let Some(number) = &filter.with {
        match conversations::queries::with(db, scope, client.id, number).await? {
            Some(row) if named.as_ref().is_none_or(|other| other.id == row.id) => named = Some(row),
            _ => return Ok(None),
        }
    }
    Ok(Some(named.map_or_else(|| of.clone(), Of::Conversation)))
}

/// What these messages became, rung by rung. They came through the scope.
///
/// # Errors
/// When the database is away.
pub async fn statuses(
    db: &Db,
    messages: &[MessageId],
) -> Result<HashMap<MessageId, Vec<message_status::Model>>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "parts of messages that came through the scope")]
    let rows = db
        .rows(
            message_status::Entity::find()
                .filter(message_status::Column::MessageId.is_in(padded(messages.iter().copied()))),
        )
        .await?;
    let mut by_message: HashMap<MessageId, Vec<message_status::Model>> = HashMap::new();
    for row in rows {
        by_message.entry(row.message_id).or_default().push(row);
    }
    Ok(by_message)
}

/// The reactions to these messages, those taken away left out. The messages came through the scope.
///
/// # Errors
/// When the database is away.
pub async fn reactions(
    db: &Db,
    messages: &[MessageId],
) -> Result<HashMap<MessageId, Vec<reaction::Model>>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "parts of messages that came through the scope")]
    let rows = db
        .rows(
            reaction::Entity::find()
                .filter(reaction::Column::MessageId.is_in(padded(messages.iter().copied())))
                .filter(reaction::Column::Emoji.is_not_null()),
        )
        .await?;
    let mut by_message: HashMap<MessageId, Vec<reaction::Model>> = HashMap::new();
    for row in rows {
        by_message.entry(row.message_id).or_default().push(row);
    }
    for rows in by_message.values_mut() {
        rows.sort_by_key(|row| (row.at, row.by));
    }
    Ok(by_message)
}

/// A message of a client by one of its WhatsApp ids, as another message of the same conversation names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WhatsappId {
    /// The client, which came through the scope.
    pub client: ClientId,
    /// The conversation in which it is named.
    pub conversation: ConversationId,
    /// The id.
    pub id: String,
}

/// The messages under these WhatsApp ids, as far as they are known: by the exact id, else by its trailing part inside the
/// conversation, if exactly one fits (invariant 2). What is answered may be named by an id that was never seen.
///
/// # Errors
/// When the database is away.
pub async fn by_whatsapp_ids(
    db: &Db,
    scope: &Scope,
    ids: &[WhatsappId],
) -> Result<HashMap<WhatsappId, Arc<message::Model>>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "leads to messages that are then read through the scope")]
    let keys = db
        .rows(
            message_key::Entity::find()
                .filter(message_key::Column::Token.is_in(padded(ids.iter().map(|id| common_part(&id.id)))))
                .filter(message_key::Column::ClientId.is_in(padded(ids.iter().map(|id| id.client)))),
        )
        .await?;
    let messages: Vec<MessageId> = keys.iter().map(|key| key.message_id).collect();
    if messages.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = lookup::by_ids::<message::Entity>(db, scope, &messages).await?;
    let row =
        |key: &message_key::Model| rows.get(&key.message_id).filter(|row| row.client_id == key.client_id);
    let found = ids.iter().filter_map(|asked| {
        let mine = || keys.iter().filter(|key| key.client_id == asked.client);
        if let Some(exact) = mine().find(|key| key.whatsapp_id == asked.id) {
            return Some((asked.clone(), row(exact)?.clone()));
        }
        let token = message_token(&asked.id)?;
        let mut fitting: Vec<_> = mine()
            .filter(|key| key.token == token)
            .filter_map(row)
            .filter(|row| row.conversation_id == asked.conversation)
            .collect();
        fitting.sort_unstable_by_key(|row| row.id);
        fitting.dedup_by_key(|row| row.id);
        match fitting.as_slice() {
            [one] => Some((asked.clone(), (*one).clone())),
            _ => None,
        }
    });
    Ok(found.collect())
}
