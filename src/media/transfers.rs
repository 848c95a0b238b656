//! The engine that moves files: a few at a time, live ones before those of imports, each again later if it fails. What is to
//! be moved is in the database alone, so nothing is forgotten by a process that ends.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use entity::{MediaId, MediaState, Timestamp, media};
use futures_util::FutureExt;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseBackend, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Statement,
};
use tokio::sync::mpsc;

use super::{deliver, fetch};
use crate::app::App;
use crate::db::{UpdateExt, WriteExt, clock};
use crate::ids::PublicId;
use crate::upstream::meta::client::{CallError, Class};

/// How often is looked without a hint.
const LOOK: Duration = Duration::from_secs(1);
/// How much longer than the longest transfer nobody else begins the same one, seconds.
const GRACE: i64 = 30;
/// First wait after a try in vain, seconds; it doubles.
const FIRST_WAIT: i64 = 5;
/// Longest wait, seconds.
const LONGEST_WAIT: i64 = 3_600;
/// Tries after which a refusal that may pass is believed.
const MOST_REFUSALS: i32 = 5;

/// A file to move.
#[derive(Clone, Debug)]
enum Job {
    Fetch(media::Model),
    Deliver(media::Model),
}

impl Job {
    fn id(&self) -> MediaId {
        let (Job::Fetch(row) | Job::Deliver(row)) = self;
        row.id
    }
}

/// Why a file was not moved.
#[derive(Debug)]
pub(super) enum Miss {
    /// Another time.
    Later(String),
    /// Another time, but not for ever: so WhatsApp says it.
    Refused(CallError),
    /// Never.
    Never(String),
    /// Nothing of this client, until somebody does something: for people, what and why.
    Stopped(String),
}

impl From<DbErr> for Miss {
    fn from(error: DbErr) -> Self {
        Miss::Later(format!("the database: {error}"))
    }
}

impl From<CallError> for Miss {
    fn from(error: CallError) -> Self {
        match error.refusal().map(crate::upstream::meta::client::GraphError::class) {
            None | Some(Class::Token | Class::Retry | Class::SlowDown) => Miss::Later(error.to_string()),
            Some(_) => Miss::Refused(error),
        }
    }
}

impl From<super::store::StoreError> for Miss {
    fn from(error: super::store::StoreError) -> Self {
        Miss::Later(format!("the store of files: {error}"))
    }
}

impl Miss {
    /// What to write down, and whether to try again after this many tries.
    pub(super) fn settle(self, attempts: i32) -> (String, bool) {
        match self {
            Miss::Later(why) | Miss::Stopped(why) => (why, true),
            Miss::Refused(error) => (error.to_string(), attempts < MOST_REFUSALS),
            Miss::Never(why) => (why, false),
        }
    }
}

/// When the next try is due, after so many in vain.
pub(super) fn next_try(now: Timestamp, attempts: i32) -> Timestamp {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0);
    let wait = 2_i64.checked_pow(doublings).and_then(|times| times.checked_mul(FIRST_WAIT));
    now.plus_seconds(Ord::min(wait.unwrap_or(LONGEST_WAIT), LONGEST_WAIT))
}

/// Moves files until the process ends.
pub async fn run(app: Arc<App>) {
    // On SQLite there is one process: whoever was at it before is gone.
    if app.db.backend() == DatabaseBackend::Sqlite
        && let Err(error) = release(&app, None).await
    {
        tracing::warn!(%error, "files that were on their way are moved when their time is over");
    }
    let stopping = app.tasks.stopping().clone();
    // Each in a task of its own: one that holds the database's writer must never wait for the look for others.
    let (ended, mut over) = mpsc::unbounded_channel();
    let mut moving: HashSet<MediaId> = HashSet::new();
    while !stopping.is_cancelled() {
        while let Ok(id) = over.try_recv() {
            moving.remove(&id);
        }
        let room = app.config.media.transfers.saturating_sub(moving.len());
        match claim(&app, room).await {
            Ok(jobs) => {
                for job in jobs {
                    moving.insert(job.id());
                    start(&app, job, ended.clone());
                }
            }
            Err(error) => tracing::warn!(%error, "files that are to be moved cannot be looked for right now"),
        }
        tokio::select! {
            Some(id) = over.recv() => {
                moving.remove(&id);
            }
            () = app.media.wake.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stopping.cancelled() => {}
        }
    }
    drop(ended);
    while over.recv().await.is_some() {}
    if !moving.is_empty()
        && let Err(error) = release(&app, Some(moving)).await
    {
        tracing::debug!(%error, "files that were on their way are moved when their time is over");
    }
}

fn start(app: &Arc<App>, job: Job, ended: mpsc::UnboundedSender<MediaId>) {
    let app = app.clone();
    app.tasks.clone().spawn(async move {
        let id = job.id();
        tokio::select! {
            () = work(&app, &job) => {}
            () = app.tasks.stopping().cancelled() => {}
        }
        app.media.over.send_modify(|count| *count += 1);
        // The engine outlives its transfers.
        let _ = ended.send(id);
    });
}

async fn work(app: &App, job: &Job) {
    let done = async {
        match job {
            Job::Fetch(row) => fetch::one(app, row).await,
            Job::Deliver(row) => deliver::one(app, row).await,
        }
    };
    let why = match AssertUnwindSafe(done).catch_unwind().await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("what became of it cannot be written: {error}"),
        Err(_) => "the transfer broke off".to_owned(),
    };
    let (Job::Fetch(row) | Job::Deliver(row)) = job;
    tracing::error!(media.id = %row.id.public(), "a file cannot be moved: {why}");
    // If that fails too, it is tried again when the claim is over.
    let _ = fetch::put_off(app.db.write(), row, next_try(app.now(), row.attempts), &why).await;
}

/// Files that are due, taken: nobody else begins them while we are at it.
async fn claim(app: &App, room: usize) -> Result<Vec<Job>, DbErr> {
    if room == 0 {
        return Ok(Vec::new());
    }
    let mut jobs: Vec<Job> =
        take(app, wanted(app, room).await?).await?.into_iter().map(Job::Deliver).collect();
    let room = room.saturating_sub(jobs.len());
    jobs.extend(take(app, pending(app, room).await?).await?.into_iter().map(Job::Fetch));
    Ok(jobs)
}

async fn pending(app: &App, room: usize) -> Result<Vec<MediaId>, DbErr> {
    if room == 0 {
        return Ok(Vec::new());
    }
    #[expect(clippy::disallowed_methods, reason = "the engine's own queue")]
    media::Entity::find()
        .select_only()
        .column(media::Column::Id)
        .filter(media::Column::State.eq(MediaState::Pending))
        .filter(media::Column::NextTryAt.lte(app.now()))
        .filter(Expr::col(media::Column::ClaimedUntil).lte(Expr::cust(clock(app.db.backend()))))
        .order_by_asc(media::Column::Imported)
        .order_by_asc(media::Column::NextTryAt)
        .order_by_asc(media::Column::Id)
        .limit(room as u64)
        .into_tuple()
        .all(app.db.read())
        .await
}

/// Uploads that messages wait for, and the upstream does not have.
async fn wanted(app: &App, room: usize) -> Result<Vec<MediaId>, DbErr> {
    let backend = app.db.backend();
    let sql = format!(
        "SELECT DISTINCT m.id FROM lane_entry e JOIN media m ON m.id = e.media_id JOIN client c ON c.id = e.client_id \
         WHERE e.media_id IS NOT NULL AND NOT e.sending AND e.not_before <= $1 AND c.status = 'CONNECTED' \
           AND m.upstream_until <= $1 AND m.next_try_at <= $1 AND m.claimed_until <= {} LIMIT $2",
        clock(backend)
    );
    let values = [app.now().0.into(), i64::try_from(room).unwrap_or(i64::MAX).into()];
    let rows = app.db.read().query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.into_iter().map(|row| Ok(MediaId(row.try_get("", "id")?))).collect()
}

#[expect(clippy::disallowed_methods, reason = "the engine's own queue, by ids that it selected")]
async fn take(app: &App, ids: Vec<MediaId>) -> Result<Vec<media::Model>, DbErr> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let now = clock(app.db.backend());
    let longest = i64::try_from(app.config.media.timeout_seconds).unwrap_or(i64::MAX).saturating_add(GRACE);
    let until = Expr::cust(format!("{now} + {}", longest.saturating_mul(1_000_000)));
    media::Entity::update_many()
        .col_expr(media::Column::ClaimedUntil, until)
        .col_expr(media::Column::Attempts, Expr::col(media::Column::Attempts).add(1))
        .filter(media::Column::Id.is_in(ids))
        .filter(Expr::col(media::Column::ClaimedUntil).lte(Expr::cust(now)))
        .write_and_tell(app.db.write())
        .await
}

#[expect(clippy::disallowed_methods, reason = "the engine's own claims")]
async fn release(app: &App, ids: Option<HashSet<MediaId>>) -> Result<(), DbErr> {
    let mut update = media::Entity::update_many()
        .col_expr(media::Column::ClaimedUntil, Expr::value(0_i64))
        .filter(media::Column::ClaimedUntil.gt(0_i64));
    if let Some(ids) = ids {
        update = update.filter(media::Column::Id.is_in(ids));
    }
    update.put(app.db.write()).await?;
    Ok(())
}

/// Waits until nothing is due any more: for tests, and whoever wants to see everything there.
///
/// # Errors
/// When the database is away.
pub async fn idle(app: &App) -> Result<(), DbErr> {
    let mut over = app.media.over.subscribe();
    loop {
        over.borrow_and_update();
        #[expect(clippy::disallowed_methods, reason = "the engine's own queue")]
        let due: Option<MediaId> = media::Entity::find()
            .select_only()
            .column(media::Column::Id)
            .filter(media::Column::State.eq(MediaState::Pending))
            .filter(media::Column::NextTryAt.lte(app.now()))
            .into_tuple()
            .one(app.db.read())
            .await?;
        if due.is_none() {
            return Ok(());
        }
        app.media.wake.notify_one();
        if over.changed().await.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_further_and_further_apart_up_to_an_hour() {
        let waits: Vec<i64> =
            [1, 2, 3, 10, 11, i32::MAX].into_iter().map(|n| next_try(Timestamp(0), n).seconds()).collect();
        assert_eq!(waits, [5, 10, 20, 2560, 3600, 3600]);
    }
}
