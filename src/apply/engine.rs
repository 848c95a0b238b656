//! What turns the disk's bodies into rows: live traffic first, imports in small steps behind it.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use entity::{ClientId, InboundId, InboundState, MessageId, Timestamp, inbound, message_key, pending};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};

use super::messages::Waiting;
use super::route::Routes;
use super::{ApplyError, Routed, Span, apply, merge};
use crate::app::App;
use crate::clock::Clock;
use crate::events;
use crate::failure::{Failure, Outcome, is_busy};
use crate::inbound::store::{self, Verdict};
use crate::upstream::change::{Account, Change, ChangeKind, Decoded};
use crate::upstream::meta::webhook::decode;

/// Bodies taken from the disk at once.
const BODIES: u64 = 500;
/// Changes in one transaction (invariant 5).
const CHANGES: usize = 200;
/// A body above this size is decoded beside the runtime's threads.
const LARGE: usize = 64 * 1024;
/// Pause after the database was away.
const PAUSE: Duration = Duration::from_millis(200);
/// How often echoes that wait for a send are looked at, at least.
const LOOK: Duration = Duration::from_secs(1);

/// A body, decoded and routed.
struct Taken {
    id: InboundId,
    changes: Vec<Routed>,
    verdict: Verdict,
}

/// An import that is being applied, step by step.
struct Import {
    taken: Taken,
    rest: VecDeque<Routed>,
    span: Span,
}

/// Applies what waits, until the process ends.
pub async fn run(app: Arc<App>) {
    let mut import = None;
    let mut looked = tokio::time::Instant::now();
    while !app.tasks.stopping().is_cancelled() {
        if looked.elapsed() >= LOOK {
            looked = tokio::time::Instant::now();
            if let Err(error) = echoes(&app).await {
                report(&error);
            }
        }
        match step(&app, &mut import).await {
            Ok(true) => {}
            Ok(false) => {
                tokio::select! {
                    () = app.apply_wake.notified() => {}
                    () = app.tasks.stopping().cancelled() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
            Err(error) => {
                report(&error);
                // What was not committed is still on the disk; an import begins anew.
                import = None;
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = app.tasks.stopping().cancelled() => {}
                }
            }
        }
    }
}

fn report(error: &ApplyError) {
    let error: &(dyn std::error::Error + 'static) = error;
    tracing::warn!(error, "webhooks cannot be applied right now; they wait on the disk");
}

/// One transaction's worth of work. Says whether there was any.
async fn step(app: &Arc<App>, import: &mut Option<Import>) -> Result<bool, ApplyError> {
    let live = store::pending(&app.inbound_db, false, BODIES).await?;
    if !live.is_empty() {
        bodies(app, live).await?;
        return Ok(true);
    }
    if import.is_none() {
        let next = store::pending(&app.inbound_db, true, 1).await?;
        let Some(taken) = take(app, next).await?.pop() else { return Ok(false) };
        let rest = taken.changes.iter().cloned().collect();
        *import = Some(Import { taken: Taken { changes: Vec::new(), ..taken }, rest, span: Span::default() });
    }
    let Some(current) = import else { return Ok(false) };
    let count = current.rest.len().min(CHANGES);
    let changes: Vec<Routed> = current.rest.drain(..count).collect();
    if let Err(error) = apply(app, &changes, &mut current.span).await {
        if is_away(&error) {
            return Err(error);
        }
        current.taken.verdict = failed(current.taken.id, &error);
        current.rest.clear();
    }
    if current.rest.is_empty()
        && let Some(done) = import.take()
    {
        settle(app, vec![done.taken.verdict]).await?;
    }
    Ok(true)
}

/// Applies live bodies together; if that fails, one by one, so that only the one at fault is left behind.
async fn bodies(app: &Arc<App>, rows: Vec<inbound::Model>) -> Result<(), ApplyError> {
    let mut taken = take(app, rows).await?;
    let changes: Vec<Routed> = taken.iter_mut().flat_map(|body| body.changes.iter().cloned()).collect();
    if let Err(error) = all(app, &changes).await {
        if is_away(&error) {
            return Err(error);
        }
        for body in &mut taken {
            if let Err(error) = all(app, &body.changes).await {
                if is_away(&error) {
                    return Err(error);
                }
                body.verdict = failed(body.id, &error);
            }
        }
    }
    settle(app, taken.into_iter().map(|body| body.verdict).collect()).await
}

async fn all(app: &App, changes: &[Routed]) -> Result<(), ApplyError> {
    let mut span = Span::default();
    for chunk in changes.chunks(CHANGES) {
        apply(app, chunk, &mut span).await?;
    }
    Ok(())
}

fn failed(id: InboundId, error: &ApplyError) -> Verdict {
    let error = format!("{:#}", anyhow::anyhow!(error.to_string()));
    tracing::error!(body = ?id, %error, "a webhook body cannot be applied; `tandem inbound list` shows it");
    Verdict { id, state: InboundState::Failed, error: Some(error), partly_unknown: false }
}

/// The database is away, locked or full: no fault of the body.
fn is_away(error: &ApplyError) -> bool {
    match error {
        ApplyError::Database(error) => {
            matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_)) || is_busy(error)
        }
        ApplyError::Document(_) => false,
    }
}

async fn settle(app: &App, verdicts: Vec<Verdict>) -> Result<(), ApplyError> {
    let count = verdicts.len();
    store::settle(&app.inbound_db, verdicts, app.now()).await?;
    app.inbox.waits(-i64::try_from(count).unwrap_or(0));
    app.inbox.applied.fetch_add(u64::try_from(count).unwrap_or(0), std::sync::atomic::Ordering::Relaxed);
    Ok(())
}

/// Decodes bodies and finds out whom they concern.
async fn take(app: &App, rows: Vec<inbound::Model>) -> Result<Vec<Taken>, ApplyError> {
    let mut decoded = Vec::with_capacity(rows.len());
    let mut unknown = Vec::new();
    for row in rows {
        let (id, received_at) = (row.id, row.received_at);
        let content = if row.body.len() > LARGE {
            let beside = tokio::task::spawn_blocking(move || decode(&row.body)).await;
            beside.unwrap_or_else(|error| Decoded { error: Some(format!("decoding failed: {error}")), ..Decoded::default() })
        } else {
            decode(&row.body)
        };
        unknown.extend(content.unknown.iter().cloned());
        decoded.push((id, received_at, content));
    }
    if !unknown.is_empty() {
        store::count_unknown(&app.inbound_db, unknown, app.now()).await?;
    }
    let mut accounts = HashSet::new();
    for (_, _, content) in &decoded {
        accounts.extend(content.changes.iter().map(|change| change.account.clone()));
    }
    let routes = Routes::load(app.db.read(), &accounts).await?;
    let discards = discards(app, &routes, &decoded).await?;
    Ok(decoded.into_iter().map(|(id, received_at, content)| route(&routes, &discards, id, received_at, content)).collect())
}

/// Clients whose history is discarded unread (R3: the partner chose NEVER).
async fn discards(
    app: &App,
    routes: &Routes,
    decoded: &[(InboundId, Timestamp, Decoded)],
) -> Result<Vec<ClientId>, DbErr> {
    let named: BTreeSet<ClientId> = decoded
        .iter()
        .flat_map(|(_, received_at, content)| {
            content.changes.iter().filter(|change| is_history(change)).flat_map(|change| routes.of(change, *received_at))
        })
        .collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    #[expect(clippy::disallowed_methods, reason = "the engine asks for the clients that its bodies concern")]
    entity::client::Entity::find()
        .select_only()
        .column(entity::client::Column::Id)
        .filter(entity::client::Column::Id.is_in(named))
        .filter(entity::client::Column::HistoryImport.eq(entity::HistoryImport::Never))
        .into_tuple()
        .all(app.db.read())
        .await
}

fn is_history(change: &Change) -> bool {
    use crate::upstream::change::Via;
    match &change.kind {
        ChangeKind::Message(seen) => seen.via == Via::History,
        ChangeKind::Reaction(seen) => seen.via == Via::History,
        ChangeKind::HistoryChunk(_) | ChangeKind::HistoryDeclined(_) => true,
        _ => false,
    }
}

fn route(
    routes: &Routes,
    discards: &[ClientId],
    id: InboundId,
    received_at: Timestamp,
    content: Decoded,
) -> Taken {
    let mut verdict =
        Verdict { id, state: InboundState::Applied, error: None, partly_unknown: !content.unknown.is_empty() };
    if let Some(error) = content.error {
        verdict.state = InboundState::Rejected;
        verdict.error = Some(error);
    }
    let mut changes = Vec::new();
    for change in content.changes {
        if matches!(change.kind, ChangeKind::Notice(_) | ChangeKind::Ignored(_)) {
            continue;
        }
        let clients = routes.of(&change, received_at);
        if clients.is_empty() && awaits_a_holder(&change.account, &change.kind) {
            verdict.state = InboundState::Unmatched;
            verdict.error = Some("no connected client has this number or account".to_owned());
        }
        for client in clients {
            if is_history(&change) && discards.contains(&client) {
                continue;
            }
            changes.push(Routed { client, change: change.clone(), received_at, waited: false });
        }
    }
    Taken { id, changes, verdict }
}

/// Whether a change for an unknown number is worth keeping for the onboarding that may be under way. That an account was
/// shared with us is told before each onboarding ends, and means nothing more.
fn awaits_a_holder(account: &Account, kind: &ChangeKind) -> bool {
    use crate::upstream::change::AccountEvent;
    let added = matches!(kind, ChangeKind::Account(seen) if seen.event == AccountEvent::PartnerAdded);
    *account != Account::default() && !added
}

/// Echoes that waited long enough for the outcome of a send, or whose send is settled: taken for what they look like.
async fn echoes(app: &Arc<App>) -> Result<(), ApplyError> {
    #[expect(clippy::disallowed_methods, reason = "the engine's own queue of echoes")]
    let due = pending::Entity::find()
        .filter(pending::Column::RetryAt.lte(Clock::real_now()))
        .limit(u64::try_from(CHANGES).unwrap_or(u64::MAX))
        .all(app.db.read())
        .await?;
    if due.is_empty() {
        return Ok(());
    }
    let mut changes = Vec::new();
    for row in &due {
        if let Waiting::Echo { seen, at } = serde_json::from_value(row.change.clone())? {
            let change = Change { account: Account::default(), kind: ChangeKind::Message(seen) };
            changes.push(Routed { client: row.client_id, change, received_at: at, waited: true });
        }
    }
    all(app, &changes).await?;
    forget(app, due).await
}

/// A message that just got its WhatsApp id, by the answer to its send.
#[derive(Clone, Debug)]
pub struct Named {
    /// Whose.
    pub client: ClientId,
    /// The message (or the one reacted to).
    pub message: MessageId,
    /// Its id.
    pub whatsapp_id: String,
}

/// Joins what came under these ids before the answer did: a row that an echo made, and changes that wait.
///
/// # Errors
/// When the database refuses or is away: then changes go on waiting.
pub async fn settle_named(app: &App, named: Vec<Named>) -> Result<(), ApplyError> {
    if named.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = named.iter().map(|one| one.whatsapp_id.clone()).collect();
    #[expect(clippy::disallowed_methods, reason = "the engine's own sends, by client and id")]
    let keys = message_key::Entity::find()
        .filter(message_key::Column::WhatsappId.is_in(ids.clone()))
        .all(app.db.read())
        .await?;
    for one in &named {
        let other = keys.iter().find(|key| {
            key.client_id == one.client && key.whatsapp_id == one.whatsapp_id && key.message_id != one.message
        });
        let Some(other) = other else { continue };
        let tx = app.db.begin_write().await?;
        crate::db::lock_clients(&tx, &BTreeSet::from([one.client])).await?;
        let mut events = Vec::new();
        merge::messages(&tx, one.client, one.message, other.message_id, &mut events).await?;
        events::commit(&app.hub, tx, events).await?;
    }
    #[expect(clippy::disallowed_methods, reason = "the engine's own queue, by id")]
    let due = pending::Entity::find().filter(pending::Column::Target.is_in(ids)).all(app.db.read()).await?;
    let due: Vec<pending::Model> =
        due.into_iter().filter(|row| named.iter().any(|one| one.client == row.client_id)).collect();
    let mut changes = Vec::new();
    for row in &due {
        let (kind, at) = match serde_json::from_value(row.change.clone())? {
            Waiting::Status { seen, at } => (ChangeKind::Status(Box::new(seen)), at),
            Waiting::Edit { seen, at } => (ChangeKind::Edit(Box::new(seen)), at),
            Waiting::Delete { seen, at } => (ChangeKind::Delete(seen), at),
            Waiting::Reaction { seen, at } => (ChangeKind::Reaction(seen), at),
            Waiting::Echo { seen, at } => (ChangeKind::Message(seen), at),
        };
        let change = Change { account: Account::default(), kind };
        changes.push(Routed { client: row.client_id, change, received_at: at, waited: false });
    }
    all(app, &changes).await?;
    forget(app, due).await
}

/// Changes that were applied wait no longer.
async fn forget(app: &App, rows: Vec<pending::Model>) -> Result<(), ApplyError> {
    for row in rows {
        #[expect(clippy::disallowed_methods, reason = "the row that was just applied, by its key")]
        pending::Entity::delete_by_id((row.client_id, row.target, row.hash)).exec(app.db.write()).await?;
    }
    Ok(())
}

/// Changes wait so long for their message, seconds: as long as WhatsApp may still deliver it.
const WAITING_ENDS: i64 = 30 * 86_400;

/// Drops changes whose message never came; a bounded number at a time. Says how many.
///
/// # Errors
/// When the database is away.
pub async fn give_up(app: &App) -> Outcome<usize> {
    #[expect(clippy::disallowed_methods, reason = "the engine's own queue, by age")]
    let old = pending::Entity::find()
        .filter(pending::Column::ReceivedAt.lt(app.now().plus_seconds(-WAITING_ENDS)))
        .limit(500)
        .all(app.db.read())
        .await?;
    let count = old.len();
    forget(app, old).await.map_err(|error| Failure::Internal(error.into()))?;
    Ok(count)
}
