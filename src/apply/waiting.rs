//! Changes that wait: for the message that they are about, or for the outcome of a send that an echo may be of.

use std::collections::BTreeSet;

use entity::{ClientId, ConversationId, message, message_key, pending};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::engine::{CHANGES, all};
use super::messages::Waiting;
use super::{ApplyError, Routed, Span, apply};
use crate::app::App;
use crate::clock::Clock;
use crate::db::{SelectExt, Tx, WriteExt};
use crate::failure::{Failure, Outcome};
use crate::upstream::change::{Account, Change, ChangeKind};

/// Changes wait so long for their message, seconds: as long as WhatsApp may still deliver it.
const WAITING_ENDS: i64 = 30 * 86_400;

/// Echoes that wait for the outcome of a send, of these clients or of all: those whose send is settled are taken for what
/// they look like, and so are those that waited long enough. The others wait on.
pub(super) async fn echoes(app: &App, of: Option<BTreeSet<ClientId>>) -> Result<(), ApplyError> {
    let now = Clock::real_now();
    #[expect(clippy::disallowed_methods, reason = "the engine's own queue of echoes")]
    let mut waiting = pending::Entity::find().filter(pending::Column::RetryAt.is_not_null());
    if let Some(clients) = of {
        waiting = waiting.filter(pending::Column::ClientId.is_in(clients));
    }
    let (due, early): (Vec<_>, Vec<_>) = waiting
        .order_by_asc(pending::Column::RetryAt)
        .limit(u64::try_from(CHANGES).unwrap_or(u64::MAX))
        .rows(&app.db.reads())
        .await?
        .into_iter()
        .partition(|row| row.retry_at.is_some_and(|at| at <= now));
    let mut changes = early.iter().map(as_change).collect::<Result<Vec<_>, _>>()?;
    for row in &due {
        changes.push(Routed { waited: true, ..as_change(row)? });
    }
    all(app, &changes).await?;
    // Of the early ones those that were applied are gone already.
    forget(app, due).await
}

/// A WhatsApp id that a message just got, by the answer to its send.
#[derive(Clone, Debug)]
pub struct Named {
    /// Whose.
    pub client: ClientId,
    /// Its id.
    pub whatsapp_id: String,
}

/// Applies what waits for these ids, because it came before the answer did, and echoes that need wait no longer.
///
/// # Errors
/// When the database refuses or is away: then changes go on waiting.
pub async fn settle_named(app: &App, named: Vec<Named>) -> Result<(), ApplyError> {
    if named.is_empty() {
        return Ok(());
    }
    apply(app, &[], &named, &mut Span::default()).await?;
    echoes(app, Some(named.iter().map(|one| one.client).collect())).await
}

/// A change that waited, as it came.
pub(super) fn as_change(row: &pending::Model) -> Result<Routed, serde_json::Error> {
    let (kind, at) = match serde_json::from_value(row.change.clone())? {
        Waiting::Status { seen, at } => (ChangeKind::Status(Box::new(seen)), at),
        Waiting::Edit { seen, at } => (ChangeKind::Edit(Box::new(seen)), at),
        Waiting::Delete { seen, at } => (ChangeKind::Delete(seen), at),
        Waiting::Reaction { seen, at } => (ChangeKind::Reaction(seen), at),
        Waiting::Seen { seen, at } => (ChangeKind::Message(seen), at),
    };
    let change = Change { account: Account::default(), kind };
    Ok(Routed { client: row.client_id, change, received_at: at, waited: false })
}

/// What waits under an id of a message of this conversation, whose contact goes by more names now: it may fit.
/// Taken out; what still does not fit waits again.
#[expect(clippy::disallowed_methods, reason = "the engine's own queue, of one client")]
pub(super) async fn take_up(
    tx: &Tx,
    client: ClientId,
    conversation: ConversationId,
) -> Result<Vec<Routed>, ApplyError> {
    let waiting = pending::Entity::find()
        .filter(pending::Column::ClientId.eq(client))
        .filter(pending::Column::RetryAt.is_null())
        .limit(1)
        .row(tx)
        .await?;
    if waiting.is_none() {
        return Ok(Vec::new());
    }
    let of_conversation = Query::select()
        .column((message_key::Entity, message_key::Column::Token))
        .from(message_key::Entity)
        .inner_join(
            message::Entity,
            Expr::col((message::Entity, message::Column::Id))
                .equals((message_key::Entity, message_key::Column::MessageId)),
        )
        .and_where(message::Column::ConversationId.eq(conversation))
        .to_owned();
    let rows = pending::Entity::find()
        .filter(pending::Column::ClientId.eq(client))
        .filter(pending::Column::RetryAt.is_null())
        .filter(pending::Column::Token.in_subquery(of_conversation))
        .rows(tx)
        .await?;
    let changes = rows.iter().map(as_change).collect::<Result<Vec<_>, _>>()?;
    for row in rows {
        pending::Entity::delete_by_id((row.client_id, row.target, row.hash)).put(tx).await?;
    }
    Ok(changes)
}

/// Changes that were applied wait no longer.
async fn forget(app: &App, rows: Vec<pending::Model>) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let tx = app.db.begin_write().await?;
    for row in rows {
        #[expect(clippy::disallowed_methods, reason = "the row that was just applied, by its key")]
        pending::Entity::delete_by_id((row.client_id, row.target, row.hash)).put(&tx).await?;
    }
    Ok(tx.commit().await?)
}

/// Drops changes whose message never came; a bounded number at a time. Says how many.
///
/// # Errors
/// When the database is away.
pub async fn give_up(app: &App) -> Outcome<usize> {
    #[expect(clippy::disallowed_methods, reason = "the engine's own queue, by age")]
    let old = pending::Entity::find()
        .filter(pending::Column::ReceivedAt.lt(app.now().plus_seconds(-WAITING_ENDS)))
        .limit(500)
        .rows(&app.db.reads())
        .await?;
    let count = old.len();
    forget(app, old).await.map_err(|error| Failure::Internal(error.into()))?;
    Ok(count)
}
