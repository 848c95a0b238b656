//! What goes next: found without a lock, taken in the round's transaction, marked before its first byte leaves.

use std::collections::{BTreeSet, HashMap, HashSet};

use entity::{
    ClientId, ConversationId, LaneEntryId, LaneEntryKind, MediaId, MessageId, MessageStatus, Timestamp,
    client, conversation, lane_entry, media, message,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, Statement, Value};
use serde::Deserialize;
use uuid::Uuid;

use super::turns::Head;
use crate::db::{self, SelectExt, Sql, UpdateExt, WriteExt};
use crate::messages::uploads;

/// Clients found at one look.
const MOST_CLIENTS: u64 = 1000;
/// Values in one list.
pub(super) const IN_LIST: usize = 1000;

/// Clients for whom something can be done: something is due and they are connected, or something is marked as sending
/// and nobody holds the lane. Walks from client to client, not over the whole queue.
pub(super) async fn clients<C: Sql>(
    connection: &C,
    owner: Uuid,
    now: Timestamp,
) -> Result<Vec<ClientId>, DbErr> {
    let backend = connection.backend();
    let sql = format!(
        "WITH RECURSIVE queued(client_id) AS (\
           SELECT * FROM (SELECT client_id FROM lane_entry ORDER BY client_id LIMIT 1) AS lowest \
           UNION ALL \
           SELECT (SELECT e.client_id FROM lane_entry e WHERE e.client_id > q.client_id ORDER BY e.client_id LIMIT 1) \
           FROM queued q WHERE q.client_id IS NOT NULL) \
         SELECT q.client_id FROM queued q JOIN client c ON c.id = q.client_id \
         WHERE NOT EXISTS (SELECT 1 FROM lane l WHERE l.client_id = q.client_id AND l.owner <> $1 AND l.until > {clock}) \
           AND (EXISTS (SELECT 1 FROM lane_entry e WHERE e.client_id = q.client_id AND e.sending) \
             OR (c.status = 'CONNECTED' AND EXISTS (SELECT 1 FROM lane_entry e WHERE e.client_id = q.client_id \
               AND e.urgent IN (TRUE, FALSE) AND e.due_at <= $2 AND e.not_before <= $2))) \
         LIMIT {MOST_CLIENTS}",
        clock = crate::db::clock(backend),
    );
    let statement = Statement::from_sql_and_values(backend, sql, [owner.into(), now.0.into()]);
    let rows: Vec<Queued> = connection.read(statement).await?;
    Ok(rows.into_iter().map(|row| row.client_id).collect())
}

#[derive(Deserialize)]
struct Queued {
    client_id: ClientId,
}

/// An entry that could go next.
#[derive(Deserialize)]
struct Next {
    client_id: ClientId,
    urgent: bool,
    id: LaneEntryId,
    conversation_id: ConversationId,
    due_at: Timestamp,
    more: bool,
}

/// A look at one class of a client's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) client: ClientId,
    pub(super) urgent: bool,
    /// How many entries.
    pub(super) most: usize,
}

/// Looks in one statement: SQLite joins at most 500 selects.
const LOOKS: usize = 128;

/// Entries of clients that could go next: of each recipient the first one, if it may go now, nothing of that
/// recipient is on the wire, and WhatsApp has the file that it sends.
pub(super) async fn heads<C: Sql>(
    connection: &C,
    looks: &[Look],
    now: Timestamp,
) -> Result<HashMap<(ClientId, bool), Vec<Head>>, DbErr> {
    let backend = connection.backend();
    let mut found: HashMap<(ClientId, bool), Vec<Head>> = HashMap::new();
    for chunk in looks.chunks(LOOKS) {
        let (mut queues, mut values) = (Vec::with_capacity(chunk.len()), vec![Value::from(now.0)]);
        // In few different statements.
        for look in db::padded(chunk.iter().copied().map(Some).chain([None])) {
            let Look { client, urgent, most } = look.unwrap_or(NOBODY);
            let first = values.len() + 1;
            values.extend([client.0.into(), urgent.into(), i64::try_from(most).unwrap_or(i64::MAX).into()]);
            queues.push(format!("SELECT * FROM ({}) AS heads", queue(first)));
        }
        let statement = Statement::from_sql_and_values(backend, queues.join(" UNION ALL "), values);
        for row in connection.read::<Next>(statement).await? {
            found.entry((row.client_id, row.urgent)).or_default().push(Head {
                id: row.id,
                conversation: row.conversation_id,
                due_at: row.due_at,
                more: row.more,
            });
        }
    }
    Ok(found)
}

/// Finds nothing.
const NOBODY: Look = Look { client: ClientId(Uuid::nil()), urgent: false, most: 0 };

/// What a look asks, by the number of the first of its three parameters: client, class, how many.
fn queue(first: usize) -> String {
    format!(
        "SELECT e.client_id, e.urgent, e.id, e.conversation_id, e.due_at, EXISTS (SELECT 1 FROM lane_entry m \
             WHERE m.conversation_id = e.conversation_id AND m.id <> e.id) AS more \
         FROM lane_entry e \
         WHERE e.client_id = ${first} AND e.urgent = ${} AND e.due_at <= $1 AND e.not_before <= $1 AND NOT e.sending \
           AND {FIRST_OF_RECIPIENT} \
           AND (e.media_id IS NULL OR EXISTS (SELECT 1 FROM media m WHERE m.id = e.media_id AND m.upstream_until > $1)) \
         ORDER BY e.due_at, e.id LIMIT ${}",
        first + 1,
        first + 2,
    )
}

/// Nothing of the recipient of `e` is on the wire, nothing waits before it. Two questions, since an index answers each at
/// once, however much waits for that recipient.
const FIRST_OF_RECIPIENT: &str = "NOT EXISTS (SELECT 1 FROM lane_entry p WHERE p.conversation_id = e.conversation_id \
     AND p.sending) \
     AND NOT EXISTS (SELECT 1 FROM lane_entry p WHERE p.conversation_id = e.conversation_id \
     AND (p.due_at, p.id) < (e.due_at, e.id))";

/// Entries that are taken: marked, and nobody's but ours to send.
pub(super) struct Taken {
    pub(super) entries: Vec<lane_entry::Model>,
    pub(super) conversations: HashMap<ConversationId, conversation::Model>,
}

/// Marks entries as sending, and their messages with them. What is not queued any more is left alone.
#[expect(clippy::disallowed_methods, reason = "the engine's own entries, by ids that it selected")]
pub(super) async fn take<C: Sql>(
    tx: &C,
    wanted: &HashMap<ClientId, Vec<LaneEntryId>>,
    fences: &HashMap<ClientId, i64>,
    now: Timestamp,
) -> Result<Taken, DbErr> {
    let mut by_fence: HashMap<i64, Vec<LaneEntryId>> = HashMap::new();
    for (client, ids) in wanted {
        if let Some(fence) = fences.get(client) {
            by_fence.entry(*fence).or_default().extend(ids);
        }
    }
    let mut entries = Vec::new();
    for (fence, ids) in by_fence {
        for chunk in ids.chunks(IN_LIST) {
            let marked = lane_entry::Entity::update_many()
                .col_expr(lane_entry::Column::Sending, Expr::value(true))
                .col_expr(lane_entry::Column::Fence, Expr::value(fence))
                .filter(lane_entry::Column::Id.is_in(chunk.iter().copied()))
                .filter(lane_entry::Column::Sending.eq(false))
                // Again: since the look two people may have proved to be one.
                .filter(Expr::cust(FIRST_OF_RECIPIENT.replace("e.", "lane_entry.")))
                .write_and_tell(tx)
                .await?;
            entries.extend(marked);
        }
    }
    let messages: Vec<MessageId> = entries
        .iter()
        .filter(|entry| entry.kind == LaneEntryKind::Message)
        .map(|entry| entry.message_id)
        .collect();
    let mut marked: HashSet<MessageId> = HashSet::new();
    for chunk in messages.chunks(IN_LIST) {
        let rows = message::Entity::update_many()
            .col_expr(message::Column::Status, Expr::value(MessageStatus::Sending))
            .col_expr(message::Column::StatusAt, Expr::value(now))
            .filter(message::Column::Id.is_in(chunk.iter().copied()))
            .filter(message::Column::Status.eq(MessageStatus::Queued))
            .write_and_tell(tx)
            .await?;
        marked.extend(rows.into_iter().map(|row| row.id));
    }
    // An entry whose message is not queued has nothing to send: it was erased, or something else made it final.
    let (mut entries, void): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|entry| entry.kind == LaneEntryKind::Reaction || marked.contains(&entry.message_id));
    forget(tx, void.iter().map(|entry| entry.id).collect()).await?;
    entries.sort_by_key(|entry| (entry.due_at, entry.id));
    name_files(tx, &mut entries).await?;

    let ids: BTreeSet<ConversationId> = entries.iter().map(|entry| entry.conversation_id).collect();
    let ids: Vec<ConversationId> = ids.into_iter().collect();
    let mut conversations = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(IN_LIST) {
        let rows = conversation::Entity::find().filter(conversation::Column::Id.is_in(chunk.iter().copied()));
        conversations.extend(rows.rows(tx).await?.into_iter().map(|row| (row.id, row)));
    }
    Ok(Taken { entries, conversations })
}

/// What is sent names files as WhatsApp does. Not in the database: an id there may have ended when the entry's turn comes.
async fn name_files<C: Sql>(tx: &C, entries: &mut [lane_entry::Model]) -> Result<(), DbErr> {
    let ids: BTreeSet<MediaId> = entries.iter().filter_map(|entry| entry.media_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    #[expect(clippy::disallowed_methods, reason = "the files of the engine's own entries, by their ids")]
    let files = media::Entity::find().filter(media::Column::Id.is_in(ids)).rows(tx).await?;
    let files: HashMap<MediaId, Option<String>> =
        files.into_iter().map(|row| (row.id, row.upstream_id)).collect();
    for entry in entries {
        let Some(id) = entry.media_id else { continue };
        if let Some(Some(upstream_id)) = files.get(&id) {
            uploads::name(&mut entry.request, id, upstream_id);
        }
    }
    Ok(())
}

/// Takes entries out of the queue.
pub(super) async fn forget<C: Sql>(tx: &C, ids: Vec<LaneEntryId>) -> Result<(), DbErr> {
    for chunk in ids.chunks(IN_LIST) {
        #[expect(clippy::disallowed_methods, reason = "the engine's own entries, by their ids")]
        lane_entry::Entity::delete_many()
            .filter(lane_entry::Column::Id.is_in(chunk.iter().copied()))
            .put(tx)
            .await?;
    }
    Ok(())
}

/// The clients of a round, as they are now.
pub(super) async fn read_clients<C: Sql>(
    tx: &C,
    ids: &BTreeSet<ClientId>,
) -> Result<HashMap<ClientId, client::Model>, DbErr> {
    let ids: Vec<ClientId> = ids.iter().copied().collect();
    let mut clients = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(IN_LIST) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine's own look at the clients whose lanes it holds"
        )]
        let rows =
            client::Entity::find().filter(client::Column::Id.is_in(chunk.iter().copied())).rows(tx).await?;
        clients.extend(rows.into_iter().map(|row| (row.id, row)));
    }
    Ok(clients)
}
