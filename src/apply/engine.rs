//! What turns the disk's bodies into rows: live traffic first, imports in small steps behind it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use entity::{ClientId, InboundId, InboundState, Timestamp, inbound};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use sea_orm::{ColumnTrait, DatabaseBackend, DbErr, EntityTrait, QueryFilter, QuerySelect};
use tokio::task::coop::unconstrained;

use super::leader::Leader;
use super::route::Routes;
use super::waiting::echoes;
use super::{ApplyError, Routed, Span, apply, apply_holding};
use crate::app::App;
use crate::db;
use crate::failure::chain;
use crate::inbound::store::{self, Verdict};
use crate::upstream::change::{Account, Change, ChangeKind, Decoded};
use crate::upstream::meta::webhook::decode;

/// Live bodies taken at once: two transactions' worth, since most bring one change.
const BODIES: usize = 2 * CHANGES;
/// Batches under way.
const BATCHES: usize = 2;
/// Changes in one transaction: few enough that nobody waits long for the one writer.
pub(super) const CHANGES: usize = 300;
/// A body above this size is decoded beside the runtime's threads.
const LARGE: usize = 64 * 1024;
/// Pause after the database was away.
const PAUSE: Duration = Duration::from_millis(200);
/// By how much the count of what waits may be off: what is on its way while it is counted.
const DRIFT: u64 = 1_000;
/// How often echoes that wait for a send are looked at, at least.
pub(super) const LOOK: Duration = Duration::from_secs(1);

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
    let mut leader = Leader::default();
    let mut under_way = UnderWay::new();
    while !app.tasks.stopping().is_cancelled() {
        if !leader.holds(&app.db).await {
            // Whatever this process remembers, another one may have applied.
            under_way.clear();
            app.inbox.forget().await;
            // Another process applies what this one accepts: only the database knows how much waits.
            if let Ok(waiting) = store::count_pending(&app.inbound_db).await {
                app.inbox.counted(waiting);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = app.tasks.stopping().cancelled() => {}
            }
            continue;
        }
        let looks = looked.elapsed() >= LOOK;
        if looks {
            looked = tokio::time::Instant::now();
            // What other processes accepted, or an operator wants tried again, is on the disk alone.
            app.inbox.look_again();
            if under_way.is_empty() {
                recount(&app).await;
            }
        }
        match Box::pin(turn(&app, looks, &mut import, &mut under_way)).await {
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
                under_way.clear();
                app.inbox.forget().await;
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = app.tasks.stopping().cancelled() => {}
                }
            }
        }
    }
    leader.resign().await;
}

/// Of several processes each accepts, and only the database knows how much waits in all.
async fn recount(app: &App) {
    if app.db.backend() != DatabaseBackend::Postgres {
        return;
    }
    if let Ok(waiting) = store::count_pending(&app.inbound_db).await
        && waiting.abs_diff(app.inbox.backlog()) > DRIFT
    {
        app.inbox.counted(waiting);
    }
}

fn report(error: &ApplyError) {
    let error: &(dyn std::error::Error + 'static) = error;
    tracing::warn!(error, "webhooks cannot be applied right now; they wait on the disk");
}

/// A look at the echoes that wait, if it is time, and some work. Says whether there was any.
async fn turn(
    app: &Arc<App>,
    looks: bool,
    import: &mut Option<Import>,
    under_way: &mut UnderWay,
) -> Result<bool, ApplyError> {
    if looks && let Err(error) = Box::pin(beside(under_way, echoes(app, None))).await? {
        report(&error);
    }
    step(app, import, under_way).await
}

/// Some work: a batch of live bodies, or a step of an import. Says whether there was any.
async fn step(
    app: &Arc<App>,
    import: &mut Option<Import>,
    under_way: &mut UnderWay,
) -> Result<bool, ApplyError> {
    while under_way.len() < BATCHES {
        let live = beside(under_way, app.inbox.live(&app.inbound_db, BODIES)).await??;
        if live.is_empty() {
            break;
        }
        begin(app, under_way, live).await?;
    }
    if let Some(done) = under_way.next().await {
        done?;
        return Ok(true);
    }
    if import.is_none() {
        let Some(next) = app.inbox.import(&app.inbound_db).await? else { return Ok(false) };
        let Some(mut taken) = take(app, vec![next]).await?.pop() else { return Ok(false) };
        let rest = std::mem::take(&mut taken.changes).into();
        *import = Some(Import { taken, rest, span: Span::default() });
    }
    let Some(current) = import else { return Ok(false) };
    let count = current.rest.len().min(CHANGES);
    let changes: Vec<Routed> = current.rest.drain(..count).collect();
    if let Err(error) = apply(app, &changes, &[], &mut current.span).await {
        if is_away(&error) {
            return Err(error);
        }
        current.taken.verdict = failed(current.taken.id, &error);
        current.rest.clear();
    }
    if current.rest.is_empty()
        && let Some(done) = import.take()
    {
        app.inbox.settle(vec![done.taken.verdict]).await;
    }
    Ok(true)
}

/// Batches that are being applied, at most [`BATCHES`]: while one is written, the other one reads and reckons. Whoever began first
/// holds its clients first, so that each client's changes keep their order.
type UnderWay = FuturesUnordered<BoxFuture<'static, Result<(), ApplyError>>>;

/// Waits for something while what is under way goes on. A batch that nobody drives keeps its clients and its transaction:
/// whoever waits for one of these meanwhile, instead of in here, waits forever.
///
/// # Errors
/// When a batch fails; then what was waited for is given up.
async fn beside<T>(under_way: &mut UnderWay, waited_for: impl Future<Output = T>) -> Result<T, ApplyError> {
    let mut waited_for = pin!(waited_for);
    loop {
        tokio::select! {
            over = &mut waited_for => return Ok(over),
            Some(done) = under_way.next() => done?,
        }
    }
}

/// Decodes bodies and begins to apply them.
async fn begin(
    app: &Arc<App>,
    under_way: &mut UnderWay,
    live: Vec<inbound::Model>,
) -> Result<(), ApplyError> {
    let taken = beside(under_way, take(app, live)).await??;
    let mut applying = bodies(app.clone(), taken).boxed();
    // As far as it goes now: it stands first in the line for its clients. Without tokio's budget: a task that has done
    // enough would not even get in line.
    let first = poll_fn(|context| Poll::Ready(pin!(unconstrained(&mut applying)).poll(context)));
    if let Poll::Ready(done) = first.await {
        return done;
    }
    under_way.push(applying);
    Ok(())
}

/// Applies live bodies together; if that fails, one by one, so that only the one at fault is left behind.
///
/// In two halves, of different clients: while one half is written, the other one reads and reckons.
async fn bodies(app: Arc<App>, mut taken: Vec<Taken>) -> Result<(), ApplyError> {
    let app = &*app;
    let mut changes: Vec<(usize, Routed)> = Vec::new();
    for (body, one) in taken.iter_mut().enumerate() {
        changes.extend(one.changes.drain(..).map(|routed| (body, routed)));
    }
    let halves = halves(&changes);
    // Stable: what concerns one client keeps its order.
    changes.sort_by_key(|(_, routed)| halves.get(&routed.client).copied());
    let (of_body, changes): (Vec<usize>, Vec<Routed>) = changes.into_iter().unzip();
    let middle = changes.partition_point(|routed| halves.get(&routed.client) == Some(&Half::First));
    let (first, second) = tokio::join!(all(app, &changes[..middle]), all(app, &changes[middle..]));
    if let Err(error) = first.and(second) {
        if is_away(&error) {
            return Err(error);
        }
        for (body, one) in taken.iter_mut().enumerate() {
            let its = of_body.iter().zip(&changes).filter(|(of, _)| **of == body);
            let its: Vec<Routed> = its.map(|(_, routed)| routed.clone()).collect();
            if let Err(error) = all(app, &its).await {
                if is_away(&error) {
                    return Err(error);
                }
                one.verdict = failed(one.id, &error);
            }
        }
    }
    app.inbox.settle(taken.into_iter().map(|body| body.verdict).collect()).await;
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Half {
    First,
    Second,
}

/// Which client belongs to which half: by turns, in the order of their ids, so that batches of the same clients are cut the
/// same way and wait for each other half by half.
fn halves(changes: &[(usize, Routed)]) -> HashMap<ClientId, Half> {
    let clients: BTreeSet<ClientId> = changes.iter().map(|(_, routed)| routed.client).collect();
    clients.into_iter().zip([Half::First, Half::Second].into_iter().cycle()).collect()
}

/// Applies changes in as many transactions as it takes; nobody else's come between.
pub(super) async fn all(app: &App, changes: &[Routed]) -> Result<(), ApplyError> {
    let held = app.db.hold(changes.iter().map(|routed| routed.client)).await;
    let mut span = Span::default();
    for chunk in changes.chunks(CHANGES) {
        apply_holding(app, &held, chunk, &[], &mut span).await?;
    }
    Ok(())
}

fn failed(id: InboundId, error: &ApplyError) -> Verdict {
    let error = chain(error);
    tracing::error!(body = ?id, %error, "a webhook body cannot be applied; `tandem inbound list` shows it");
    Verdict { id, state: InboundState::Failed, error: Some(error), partly_unknown: false }
}

/// The database is away, locked or full: no fault of the body.
fn is_away(error: &ApplyError) -> bool {
    match error {
        ApplyError::Database(error) => db::is_away(error),
        ApplyError::Document(_) => false,
    }
}

/// Decodes bodies and finds out whom they concern.
async fn take(app: &App, rows: Vec<inbound::Model>) -> Result<Vec<Taken>, ApplyError> {
    let mut decoded = Vec::with_capacity(rows.len());
    let mut unknown = Vec::new();
    for row in rows {
        let (id, received_at) = (row.id, row.received_at);
        let content = if row.body.len() > LARGE {
            let beside = tokio::task::spawn_blocking(move || decode(&row.body)).await;
            beside.unwrap_or_else(|error| Decoded {
                error: Some(format!("decoding failed: {error}")),
                ..Decoded::default()
            })
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
    let routes = Routes::load(&app.db.reads(), &accounts).await?;
    let discards = discards(app, &routes, &decoded).await?;
    Ok(decoded
        .into_iter()
        .map(|(id, received_at, content)| route(&routes, &discards, id, received_at, content))
        .collect())
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
            content
                .changes
                .iter()
                .filter(|change| is_history(change))
                .flat_map(|change| routes.of(change, *received_at))
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
        ChangeKind::Edit(seen) => seen.via == Via::History,
        ChangeKind::Delete(seen) => seen.via == Via::History,
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
    let mut verdict = Verdict {
        id,
        state: InboundState::Applied,
        error: None,
        partly_unknown: !content.unknown.is_empty(),
    };
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
        let mut heard =
            clients.into_iter().filter(|client| !(is_history(&change) && discards.contains(client)));
        let Some(first) = heard.next() else { continue };
        changes.extend(heard.map(|client| Routed {
            client,
            change: change.clone(),
            received_at,
            waited: false,
        }));
        changes.push(Routed { client: first, change, received_at, waited: false });
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

#[cfg(test)]
mod tests {
    use tokio::sync::Mutex;

    use super::*;

    /// What is waited for may need what a batch that is under way has: here the same client.
    #[tokio::test]
    async fn what_is_under_way_goes_on_while_something_else_is_waited_for() {
        let client = Arc::new(Mutex::new(()));
        let mut under_way = UnderWay::new();
        let held = client.clone().lock_owned().await;
        under_way.push(
            async move {
                tokio::task::yield_now().await;
                drop(held);
                Ok(())
            }
            .boxed(),
        );
        let patience = Duration::from_secs(10);
        let waited = tokio::time::timeout(patience, beside(&mut under_way, client.lock())).await;
        assert!(waited.is_ok_and(|over| over.is_ok()));
    }

    /// The bodies of a batch that failed are to be read again: nobody may overlook it.
    #[tokio::test]
    async fn a_batch_that_fails_is_heard_of_at_once() {
        let mut under_way = UnderWay::new();
        under_way.push(async { Err(DbErr::Custom("away".to_owned()).into()) }.boxed());
        assert!(beside(&mut under_way, std::future::pending::<()>()).await.is_err());
    }
}
