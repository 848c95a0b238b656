//! Imports after connection: contacts, then history. Each can be asked for once, in 24 hours, so the wish is recorded
//! before WhatsApp is asked and the outcome after; a wish without outcome is asked again, a known outcome never.

pub mod queries;

use std::sync::Arc;
use std::time::Duration;

use entity::{
    ClientId, ClientMode, ClientStatus, EventType, HistoryImport, SyncKind, SyncState, Timestamp, client,
    sync,
};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use crate::app::App;
use crate::apply::{Span, progress, settles};
use crate::auth::{Permission, Scope};
use crate::clients::{self, Access};
use crate::db::SelectExt;
use crate::events::{self, NewEvent};
use crate::failure::{Failure, Outcome, Refusal, RefusalCode, chain};
use crate::ids::PublicId;
use crate::upstream::meta::client::{CallError, SYNC_ALREADY_REQUESTED, SYNC_DEADLINE_PASSED, SYNC_DECLINED};

/// How often timers are looked at, at least.
const LOOK: Duration = Duration::from_millis(500);
/// Imports looked at in one round.
const ROUND: u64 = 100;
/// Longest pause between two tries.
const LONGEST_PAUSE: i64 = 3600;

/// Asks WhatsApp for an import: records the wish, then asks; if that fails, the engine asks again.
///
/// # Errors
/// NOT_FOUND, CLIENT_NOT_CONNECTED, SYNC_ALREADY_REQUESTED, SYNC_DEADLINE_PASSED, INVALID (history: NEVER).
pub async fn request(
    app: &App,
    scope: &Scope,
    client: ClientId,
    kind: SyncKind,
) -> Outcome<(client::Model, i64)> {
    scope.require(Permission::Admin)?;
    let client = clients::named(app, scope, client).await?;
    clients::require_connected(&client)?;
    if client.mode == ClientMode::ApiOnly {
        let why = "this number lives on the API alone: there is no app to import from";
        return Err(Refusal::new(RefusalCode::Invalid, "clientId", why).into());
    }
    if kind == SyncKind::History && client.history_import == HistoryImport::Never {
        let why = "this client was onboarded with history: NEVER; a new onboarding can choose otherwise";
        return Err(Refusal::new(RefusalCode::Invalid, "clientId", why).into());
    }
    let now = app.now();
    let held = app.db.hold([client.id]).await;
    let tx = app.db.begin_for(&held).await?;
    #[expect(clippy::disallowed_methods, reason = "its client's id came through Scope")]
    let row = sync::Entity::find_by_id((client.id, kind)).row(&tx).await?;
    let Some(mut row) = row else {
        return Err(Failure::Internal(anyhow::anyhow!("a connected client has no row for its import")));
    };
    if row.intent_at.is_some() {
        let why = match row.requested_at {
            None if row.refusal.is_none() => {
                "the request is on record: WhatsApp did not take it yet, and is asked again by itself until deadlineAt"
            }
            _ => {
                "WhatsApp was asked already, and takes one request for each connection; historySync and contactSync tell how \
                 it stands"
            }
        };
        return Err(Refusal::new(RefusalCode::SyncAlreadyRequested, "clientId", why).into());
    }
    if row.deadline_at.is_some_and(|deadline| now >= deadline) {
        let why = "WhatsApp accepts a request for 24 hours after connection; the client has to disconnect in the app and \
                   connect again";
        return Err(Refusal::new(RefusalCode::SyncDeadlinePassed, "clientId", why).into());
    }
    row.intent_at = Some(now);
    row.next_attempt_at = Some(now.plus_seconds(app.config.sync.retry_seconds));
    crate::db::upsert::<sync::Entity, _>(&tx, vec![row]).await?;
    events::commit(&app.hub, tx, Vec::new()).await?;
    drop(held);
    ask_now(app, client.id).await?;
    let position = app.hub.head(client.partner_id).await?;
    Ok((client, position))
}

/// Asks for what is wished, and watches what was asked for, until the process ends.
pub async fn run(app: Arc<App>) {
    while !app.tasks.stopping().is_cancelled() {
        for round in [ask(&app).await, watch(&app).await] {
            if let Err(Failure::Internal(error) | Failure::Unavailable(error)) = round {
                tracing::warn!(%error, "imports cannot be looked after right now");
            }
        }
        app.tasks.rest(LOOK).await;
    }
}

/// Makes the first try of what was just wished for a client.
///
/// # Errors
/// When the database is away. That WhatsApp does not answer is no error: it is asked again.
pub async fn ask_now(app: &App, client: ClientId) -> Outcome<()> {
    for wish in wished().filter(sync::Column::ClientId.eq(client)).rows(&app.db.reads()).await? {
        ask_one(app, &wish).await?;
    }
    Ok(())
}

/// Wishes without an outcome: contacts before history, as Meta wants it.
fn wished() -> Select<sync::Entity> {
    #[expect(
        clippy::disallowed_methods,
        reason = "upkeep over all partners; a caller's client came through Scope"
    )]
    sync::Entity::find()
        .filter(sync::Column::IntentAt.is_not_null())
        .filter(sync::Column::RequestedAt.is_null())
        .filter(sync::Column::Refusal.is_null())
        .order_by_asc(sync::Column::ClientId)
        .order_by_asc(sync::Column::Kind) // CONTACTS before HISTORY
        .limit(ROUND)
}

async fn ask(app: &App) -> Outcome<()> {
    for wish in wished().filter(sync::Column::NextAttemptAt.lte(app.now())).rows(&app.db.reads()).await? {
        ask_one(app, &wish).await?;
    }
    Ok(())
}

async fn ask_one(app: &App, wish: &sync::Model) -> Outcome<()> {
    #[expect(clippy::disallowed_methods, reason = "the client whose import is due")]
    let client = client::Entity::find_by_id(wish.client_id).row(&app.db.reads()).await?;
    let Some(client) = client.filter(|client| client.status == ClientStatus::Connected) else {
        return put_off(app, wish, "the client is not connected").await;
    };
    if wish.deadline_at.is_some_and(|deadline| app.now() >= deadline) {
        return outcome(
            app,
            wish,
            Answer::Refused("WhatsApp did not take the request within 24 hours".to_owned()),
        )
        .await;
    }
    let access = match Access::of(&app.key, &client) {
        Ok(access) => access,
        Err(error) => return put_off(app, wish, &error.to_string()).await,
    };
    let answer = match app.upstream.request_sync(&access.number, &access.token, wish.kind).await {
        Ok(request_id) => Answer::Accepted(Some(request_id)),
        Err(CallError::Refused(error)) if error.is(SYNC_ALREADY_REQUESTED) => Answer::Accepted(None),
        Err(CallError::Refused(error)) if error.is(SYNC_DECLINED) => Answer::Declined(error.to_string()),
        Err(CallError::Refused(error)) if error.is(SYNC_DEADLINE_PASSED) => {
            Answer::Refused(error.to_string())
        }
        Err(error) => return put_off(app, wish, &chain(&error)).await,
    };
    outcome(app, wish, answer).await
}

enum Answer {
    Accepted(Option<String>),
    Declined(String),
    Refused(String),
}

/// Not now: asked again after a pause that doubles, until the deadline. A request that was asked again after a time-out
/// may already have been taken: 2593107 says so, and counts as success.
async fn put_off(app: &App, wish: &sync::Model, why: &str) -> Outcome<()> {
    tracing::info!(client = %wish.client_id.public(), kind = wish.kind.word(), why, "an import is asked for again later");
    let pause =
        app.config.sync.retry_seconds.saturating_mul(1 << wish.attempts.clamp(0, 10)).min(LONGEST_PAUSE);
    edit(app, wish, |row, now| {
        row.attempts = row.attempts.saturating_add(1);
        row.next_attempt_at = Some(now.plus_seconds(pause));
        let is_news = row.last_failure.as_deref() != Some(why);
        row.last_failure = Some(why.to_owned());
        is_news
    })
    .await
}

async fn outcome(app: &App, wish: &sync::Model, answer: Answer) -> Outcome<()> {
    edit(app, wish, |row, now| {
        row.next_attempt_at = None;
        row.last_failure = None;
        match answer {
            // What is there is there, whatever WhatsApp says of asking for it.
            Answer::Declined(why) | Answer::Refused(why) if row.state == SyncState::Done => {
                row.refusal = Some(why);
                false
            }
            Answer::Accepted(request_id) => {
                row.requested_at = Some(now);
                row.request_id = request_id;
                // Its webhooks may have been quicker than its answer.
                let heard = row.started_at.is_some() || row.state != SyncState::NotRequested;
                if !heard {
                    row.state = SyncState::Requested;
                }
                !heard
            }
            Answer::Declined(why) => {
                row.state = SyncState::Declined;
                row.finished_at = Some(now);
                row.refusal = Some(why);
                true
            }
            Answer::Refused(why) => {
                row.state = SyncState::Stalled;
                row.refusal = Some(why);
                true
            }
        }
    })
    .await
}

/// Imports that fell silent, or are over although a chunk seems missing.
async fn watch(app: &App) -> Outcome<()> {
    let now = app.now();
    let since = |column: sync::Column, seconds: i64| column.lte(now.plus_seconds(-seconds));
    let silent = |column: sync::Column| {
        Condition::any().add(column.is_null()).add(since(column, app.config.sync.stalled_seconds))
    };
    // What `verdict` says, so that those for which it is too early do not hide those that are due.
    let settled = Condition::all()
        .add(sync::Column::CompleteSeen.eq(true))
        .add(since(sync::Column::LastChunkAt, app.config.sync.settle_seconds));
    let stalled =
        Condition::all().add(silent(sync::Column::LastChunkAt)).add(silent(sync::Column::RequestedAt));
    #[expect(clippy::disallowed_methods, reason = "upkeep over all partners")]
    let due = sync::Entity::find()
        .filter(sync::Column::State.is_in([SyncState::Requested, SyncState::Running]))
        .filter(Condition::any().add(settled).add(stalled))
        .order_by_asc(sync::Column::RequestedAt)
        .limit(ROUND)
        .rows(&app.db.reads())
        .await?;
    for row in due {
        edit(app, &row, |row, now| {
            let Some(state) = verdict(app, row, now) else { return false };
            row.state = state;
            if state == SyncState::Done {
                row.percent = 100;
                row.finished_at = Some(now);
            }
            true
        })
        .await?;
    }
    Ok(())
}

fn verdict(app: &App, row: &sync::Model, now: Timestamp) -> Option<SyncState> {
    if settles(row, now, app.config.sync.settle_seconds) {
        return Some(SyncState::Done);
    }
    let heard = row.last_chunk_at.max(row.requested_at)?;
    let open = matches!(row.state, SyncState::Requested | SyncState::Running);
    (open && now >= heard.plus_seconds(app.config.sync.stalled_seconds)).then_some(SyncState::Stalled)
}

/// Changes an import's row as it is now; tells it if `edit` says so.
async fn edit(
    app: &App,
    of: &sync::Model,
    edit: impl FnOnce(&mut sync::Model, Timestamp) -> bool + Send,
) -> Outcome<()> {
    let now = app.now();
    let held = app.db.hold([of.client_id]).await;
    let tx = app.db.begin_for(&held).await?;
    #[expect(clippy::disallowed_methods, reason = "the row that is due, read again under its lock")]
    let row = sync::Entity::find_by_id((of.client_id, of.kind)).row(&tx).await?;
    #[expect(clippy::disallowed_methods, reason = "the client of that row")]
    let client = client::Entity::find_by_id(of.client_id).row(&tx).await?;
    // A new connection began its imports anew meanwhile.
    let (Some(mut row), Some(client)) = (row.filter(|row| row.intent_at == of.intent_at), client) else {
        return Ok(());
    };
    let mut events = Vec::new();
    if edit(&mut row, now) {
        events.push(NewEvent {
            partner: client.partner_id,
            kind: EventType::SyncProgress,
            occurred_at: now,
            client: Some(client.id),
            subject: None,
            data: Some(progress(&row, &Span::default())),
        });
    }
    crate::db::upsert::<sync::Entity, _>(&tx, vec![row]).await?;
    events::commit(&app.hub, tx, events).await?;
    Ok(())
}
