//! What is put into the queue, and what is taken back before it leaves: one message, or all that waits for a client that is
//! gone.

use entity::{
    ClientId, EventType, LaneEntryKind, MessageStatus, Timestamp, lane_entry, message, message_status,
};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
};
use serde_json::json;

use super::record::{disconnected, insert_rungs};
use crate::events::NewEvent;
use crate::ids::PublicId;

/// Takes back everything of a client that has not left: for its disconnection, in that transaction. What is on the wire
/// runs to its end.
///
/// # Errors
/// When the database refuses or is away.
#[expect(clippy::disallowed_methods, reason = "the queue of the one client that the caller names")]
pub async fn cancel_all<C: ConnectionTrait>(
    tx: &C,
    client: ClientId,
    now: Timestamp,
) -> Result<Vec<NewEvent>, DbErr> {
    let error = serde_json::to_value(disconnected()).map_err(|error| DbErr::Json(error.to_string()))?;
    let waiting = Query::select()
        .column(lane_entry::Column::MessageId)
        .from(lane_entry::Entity)
        .and_where(lane_entry::Column::ClientId.eq(client))
        .and_where(lane_entry::Column::Sending.eq(false))
        .and_where(lane_entry::Column::Kind.eq(LaneEntryKind::Message))
        .to_owned();
    let canceled = message::Entity::update_many()
        .col_expr(message::Column::Status, Expr::value(MessageStatus::Canceled))
        .col_expr(message::Column::StatusAt, Expr::value(now))
        .col_expr(message::Column::Error, Expr::value(error.clone()))
        .filter(message::Column::Id.in_subquery(waiting))
        .filter(message::Column::Status.eq(MessageStatus::Queued))
        .exec_with_returning(tx)
        .await?;
    lane_entry::Entity::delete_many()
        .filter(lane_entry::Column::ClientId.eq(client))
        .filter(lane_entry::Column::Sending.eq(false))
        .exec(tx)
        .await?;
    let rung = |row: &message::Model| message_status::Model {
        message_id: row.id,
        status: MessageStatus::Canceled,
        at: now,
        error: Some(error.clone()),
    };
    insert_rungs(tx, canceled.iter().map(rung).collect()).await?;
    let mut canceled = canceled;
    canceled.sort_unstable_by_key(|row| row.id);
    let told = |row: message::Model| NewEvent {
        partner: row.partner_id,
        kind: EventType::MessageStatus,
        occurred_at: now,
        client: Some(client),
        subject: Some(row.id.uuid()),
        data: Some(json!({ "status": MessageStatus::Canceled.word(), "error": error })),
    };
    Ok(canceled.into_iter().map(told).collect())
}

/// Puts an entry into the queue, in the caller's transaction, which holds the client. Templates that an urgent one has to
/// wait behind, since they are for the same person, have no time any more either.
///
/// # Errors
/// When the database refuses or is away.
#[expect(clippy::disallowed_methods, reason = "the queue of a conversation that came through Scope")]
pub async fn queue<C: ConnectionTrait>(tx: &C, entry: lane_entry::Model) -> Result<(), DbErr> {
    if entry.urgent {
        lane_entry::Entity::update_many()
            .col_expr(lane_entry::Column::Urgent, Expr::value(true))
            .filter(lane_entry::Column::ConversationId.eq(entry.conversation_id))
            .filter(lane_entry::Column::DueAt.lte(entry.due_at))
            .filter(lane_entry::Column::Urgent.eq(false))
            .exec(tx)
            .await?;
    }
    lane_entry::Entity::insert(entry.into_active_model().reset_all()).exec_without_returning(tx).await?;
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
pub async fn cancel_one<C: ConnectionTrait>(
    tx: &C,
    message: &message::Model,
    now: Timestamp,
) -> Result<Option<Canceled>, DbErr> {
    let taken = lane_entry::Entity::delete_many()
        .filter(lane_entry::Column::MessageId.eq(message.id))
        .filter(lane_entry::Column::Sending.eq(false))
        .exec(tx)
        .await?;
    if taken.rows_affected == 0 {
        return Ok(None);
    }
    let canceled = message::Entity::update_many()
        .col_expr(message::Column::Status, Expr::value(MessageStatus::Canceled))
        .col_expr(message::Column::StatusAt, Expr::value(now))
        .filter(message::Column::Id.eq(message.id))
        .filter(message::Column::Status.eq(MessageStatus::Queued))
        .exec_with_returning(tx)
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
