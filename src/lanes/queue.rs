//! What is put into the queue, and what is taken back before it leaves: one message, or all that waits for a client that is
//! gone. What stops it.

use std::collections::BTreeSet;

use entity::{
    ClientId, ClientStatus, ConversationId, EventType, LaneEntryKind, MediaId, MessageStatus, PartnerId,
    Timestamp, client, lane_entry, message, message_status,
};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter};
use serde_json::json;

use super::claim::IN_LIST;
use super::record::{disconnected, insert_rungs};
use crate::db::{self, Sql, Tx, UpdateExt, WriteExt};
use crate::events::NewEvent;
use crate::ids::PublicId;
use crate::upstream::change::ReportedError;

/// The fence of an owner that there never is: they begin with 1.
const NOBODY: i64 = -1;

/// Takes back everything of a client that has not left: for its disconnection, in that transaction. What is on the wire
/// runs to its end.
///
/// # Errors
/// When the database refuses or is away.
pub async fn cancel_all<C: Sql>(tx: &C, client: ClientId, now: Timestamp) -> Result<Vec<NewEvent>, DbErr> {
    let all = Condition::all().add(lane_entry::Column::ClientId.eq(client));
    end(tx, all, MessageStatus::Canceled, &disconnected(), now).await
}

/// Stops all sends of a client: what waits goes on waiting. Gives the event that tells it; none if it does not send anyway.
///
/// # Errors
/// When the database refuses or is away.
pub async fn pause<C: Sql>(
    tx: &C,
    partner: PartnerId,
    client: ClientId,
    reason: &str,
    now: Timestamp,
) -> Result<Option<NewEvent>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the client whose sends the engines move, by its id")]
    let done = client::Entity::update_many()
        .col_expr(client::Column::Status, Expr::value(ClientStatus::Paused))
        .col_expr(client::Column::PauseReason, Expr::value(reason))
        .filter(client::Column::Id.eq(client))
        .filter(client::Column::Status.eq(ClientStatus::Connected))
        .write(tx)
        .await?;
    if done == 0 {
        return Ok(None);
    }
    tracing::warn!(client.id = %client.public(), reason, "a client's lane pauses: {reason}");
    Ok(Some(NewEvent {
        partner,
        kind: EventType::ClientPaused,
        occurred_at: now,
        client: Some(client),
        subject: None,
        data: Some(json!({ "reason": reason })),
    }))
}

/// Calls all that was due before now sent, perhaps: for a database that is a copy, or was restored from a backup. In its
/// other life the queue went on, and nobody sends what may have left (invariant 7): its status becomes UNKNOWN. What is for
/// later has not left in any life. Says how many.
///
/// # Errors
/// When the database refuses or is away.
pub async fn doubt(tx: &Tx, now: Timestamp) -> Result<u64, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the queues of all clients, of which none is sent from")]
    lane_entry::Entity::update_many()
        .col_expr(lane_entry::Column::Sending, Expr::value(true))
        .col_expr(lane_entry::Column::Fence, Expr::value(NOBODY))
        .filter(lane_entry::Column::Sending.eq(false))
        .filter(lane_entry::Column::DueAt.lte(now))
        .write(tx)
        .await
}

/// Gives up all that waits for a file that WhatsApp does not take.
///
/// # Errors
/// When the database refuses or is away.
pub async fn fail_waiting_for<C: Sql>(
    tx: &C,
    client: ClientId,
    media: MediaId,
    error: &ReportedError,
    now: Timestamp,
) -> Result<Vec<NewEvent>, DbErr> {
    let those = Condition::all()
        .add(lane_entry::Column::ClientId.eq(client))
        .add(lane_entry::Column::MediaId.eq(media));
    end(tx, those, MessageStatus::Failed, error, now).await
}

/// Takes entries that have not left out of the queue; their messages end so.
#[expect(clippy::disallowed_methods, reason = "the queue of the one client that the callers name")]
async fn end<C: Sql>(
    tx: &C,
    entries: Condition,
    status: MessageStatus,
    error: &ReportedError,
    now: Timestamp,
) -> Result<Vec<NewEvent>, DbErr> {
    let error = serde_json::to_value(error).map_err(|error| DbErr::Json(error.to_string()))?;
    let entries = entries.add(lane_entry::Column::Sending.eq(false));
    let waiting = Query::select()
        .column(lane_entry::Column::MessageId)
        .from(lane_entry::Entity)
        .cond_where(entries.clone())
        .and_where(lane_entry::Column::Kind.eq(LaneEntryKind::Message))
        .to_owned();
    let mut ended = message::Entity::update_many()
        .col_expr(message::Column::Status, Expr::value(status))
        .col_expr(message::Column::StatusAt, Expr::value(now))
        .col_expr(message::Column::Error, Expr::value(error.clone()))
        .filter(message::Column::Id.in_subquery(waiting))
        .filter(message::Column::Status.eq(MessageStatus::Queued))
        .write_and_tell(tx)
        .await?;
    lane_entry::Entity::delete_many().filter(entries).put(tx).await?;
    let rung = |row: &message::Model| message_status::Model {
        message_id: row.id,
        status,
        at: now,
        error: Some(error.clone()),
    };
    insert_rungs(tx, ended.iter().map(rung).collect()).await?;
    ended.sort_unstable_by_key(|row| row.id);
    let told = |row: message::Model| NewEvent {
        partner: row.partner_id,
        kind: EventType::MessageStatus,
        occurred_at: now,
        client: Some(row.client_id),
        subject: Some(row.id.uuid()),
        data: Some(json!({ "status": status.word(), "error": error })),
    };
    Ok(ended.into_iter().map(told).collect())
}

/// Puts entries into the queue, in the caller's transaction, which holds their clients. Templates that an urgent one has to
/// wait behind, since they are for the same person, have no time any more either.
///
/// # Errors
/// When the database refuses or is away.
#[expect(clippy::disallowed_methods, reason = "the queue of conversations that came through Scope")]
pub async fn queue<C: Sql>(tx: &C, entries: Vec<lane_entry::Model>) -> Result<(), DbErr> {
    let hurried = entries.iter().filter(|entry| entry.urgent).map(|entry| entry.conversation_id);
    let hurried: Vec<ConversationId> = hurried.collect::<BTreeSet<_>>().into_iter().collect();
    db::insert::<lane_entry::Entity, _>(tx, entries).await?;
    let behind = "EXISTS (SELECT 1 FROM lane_entry later WHERE later.conversation_id = lane_entry.conversation_id \
                  AND later.urgent AND later.due_at >= lane_entry.due_at)";
    for chunk in hurried.chunks(IN_LIST) {
        lane_entry::Entity::update_many()
            .col_expr(lane_entry::Column::Urgent, Expr::value(true))
            .filter(lane_entry::Column::ConversationId.is_in(db::padded(chunk.iter().copied())))
            .filter(lane_entry::Column::Urgent.eq(false))
            .filter(Expr::cust(behind))
            .put(tx)
            .await?;
    }
    Ok(())
}

/// What was taken back.
pub enum Canceled {
    /// The message itself, as it is then.
    Message(Box<message::Model>),
    /// Our reactions to it that waited.
    Reactions,
}

/// Takes a message back that has not left, or the reactions to it that have not, in the caller's transaction. None: there is
/// nothing that waits.
///
/// # Errors
/// When the database refuses or is away.
#[expect(clippy::disallowed_methods, reason = "the queue's entries of a message that came through Scope")]
pub async fn cancel_one<C: Sql>(
    tx: &C,
    message: &message::Model,
    now: Timestamp,
) -> Result<Option<Canceled>, DbErr> {
    let taken = lane_entry::Entity::delete_many()
        .filter(lane_entry::Column::MessageId.eq(message.id))
        .filter(lane_entry::Column::Sending.eq(false))
        .write(tx)
        .await?;
    if taken == 0 {
        return Ok(None);
    }
    let canceled = message::Entity::update_many()
        .col_expr(message::Column::Status, Expr::value(MessageStatus::Canceled))
        .col_expr(message::Column::StatusAt, Expr::value(now))
        .filter(message::Column::Id.eq(message.id))
        .filter(message::Column::Status.eq(MessageStatus::Queued))
        .write_and_tell(tx)
        .await?;
    let rung = message_status::Model {
        message_id: message.id,
        status: MessageStatus::Canceled,
        at: now,
        error: None,
    };
    // What waits for itself has no WhatsApp id yet, so that nobody can have reacted to it: it is one or the other.
    let Some(canceled) = canceled.into_iter().next() else { return Ok(Some(Canceled::Reactions)) };
    insert_rungs(tx, vec![rung]).await?;
    Ok(Some(Canceled::Message(Box::new(canceled))))
}
