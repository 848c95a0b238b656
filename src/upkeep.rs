//! What must be looked at now and then: deadlines of links, visits of the app, lost hints, what is too old to be kept, the
//! epoch of the log; and the simulator's clock. None of it waits for anybody but the database.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use entity::Timestamp;

use crate::app::App;
use crate::clock::Clock;
use crate::events::{epoch, retention};
use crate::failure::Failure;
use crate::inbound::store;
use crate::messages::send;
use crate::{apply, onboarding, presence, webhooks};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Looks after everything with a deadline, until the process ends.
pub async fn run(app: Arc<App>) {
    let every = Duration::from_secs(app.config.upkeep.interval_seconds);
    let mut marked = None;
    while !app.tasks.stopping().is_cancelled() {
        round("links that are too late", onboarding::expire(&app)).await;
        round("visits that are due", presence::raise_due(&app)).await;
        round("lost hints", async { Ok(app.hub.catch_up().await.map(|()| 0)?) }).await;
        round("old bodies", prune(&app)).await;
        round("old deliveries", webhooks::keep::prune(&app)).await;
        round("old events", prune_events(&app, &mut marked)).await;
        round("old idempotency keys", prune_keys(&app)).await;
        round("changes whose message never came", apply::waiting::give_up(&app)).await;
        match epoch::settle(&app).await {
            Ok(false) => {}
            Ok(true) => {
                // A failover: what this process remembers of queues and of readers may be of another life. It begins anew.
                tracing::error!(
                    "the database is another one than before; the process ends, to begin with it anew"
                );
                return;
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "the epoch of the log cannot be looked after right now");
            }
        }
        app.tasks.rest(every).await;
    }
}

/// Follows the simulator's clock, which can move without any traffic (invariant 11).
pub async fn follow_clock(app: Arc<App>) {
    while !app.tasks.stopping().is_cancelled() {
        if let Err(error) = app.upstream.simulator_clock().await {
            tracing::warn!(%error, "the simulator's clock cannot be read right now");
        }
        app.tasks.rest(SECOND).await;
    }
}

async fn round(what: &'static str, job: impl Future<Output = Result<usize, Failure>>) {
    match job.await {
        Ok(_) => {}
        Err(Failure::Internal(error) | Failure::Unavailable(error)) => {
            tracing::warn!(error = format!("{error:#}"), "{what} cannot be looked after right now");
        }
        // Closed, revoked or gone meanwhile: somebody else was quicker.
        Err(Failure::Refused(_) | Failure::Forbidden(_)) => {}
    }
}

async fn prune(app: &App) -> Result<usize, Failure> {
    let now = app.now();
    let applied_before = now.plus_seconds(-app.config.inbound.keep_applied_days * DAY);
    let others_before = now.plus_seconds(-app.config.inbound.keep_other_days * DAY);
    let gone = store::prune(&app.inbound_db, applied_before, others_before).await?;
    Ok(usize::try_from(gone).unwrap_or(0))
}

async fn prune_events(app: &App, marked: &mut Option<Timestamp>) -> Result<usize, Failure> {
    let now = app.now();
    if marked.is_none_or(|at: Timestamp| now.0 >= at.plus_seconds(HOUR).0) {
        retention::mark(app, now).await?;
        *marked = Some(now);
    }
    Ok(retention::prune(app, now).await?)
}

async fn prune_keys(app: &App) -> Result<usize, Failure> {
    let before = Clock::real_now().plus_seconds(-app.config.lanes.keep_keys_hours * HOUR);
    Ok(send::forget_keys(&app.db, before).await?)
}
