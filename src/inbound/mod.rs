//! Webhook bodies, from the socket to the disk (invariant 1): a body is answered 200 only after its bytes are committed.
//!
//! Concurrent requests share a transaction. While one commit runs, requests queue up; the next commit takes whatever
//! waits, bounded in count and bytes, so that the disk's pace, not the number of senders, sets the number of commits. What
//! became of earlier bodies is written with the next ones: it costs no commit of its own under load.

mod fresh;
pub mod store;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use entity::{InboundId, InboundState, Timestamp, inbound};
use sea_orm::DbErr;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use fresh::{Ask, Fresh};
use store::Verdict;

use crate::app::App;
use crate::db::Db;
use crate::ids::PublicId;

/// Requests that may wait for the disk at once.
const QUEUE: usize = 4096;

const HOUR: i64 = 3_600;
/// In which room for bodies is counted.
const KILOBYTE: usize = 1024;
/// How often the log tells that bodies are refused.
const REFUSALS_TOLD: Duration = Duration::from_secs(60);

/// A body on its way to the disk.
struct Waiting {
    row: inbound::Model,
    done: oneshot::Sender<bool>,
}

/// What the disk has to take.
enum Job {
    Body(Waiting),
    Settled(Vec<Verdict>),
}

/// Why a body was not accepted: the sender shall try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// More bodies wait to be applied than `inbound.backlog` allows.
    #[error("too many bodies wait to be applied")]
    Overloaded,
    /// It could not be committed.
    #[error("the body could not be stored")]
    Unavailable,
}

/// The door to the disk.
pub struct Inbox {
    queue: mpsc::Sender<Job>,
    fresh: Fresh,
    /// Verdicts that are on their way to the disk.
    settling: watch::Sender<usize>,
    backlog: watch::Sender<i64>,
    most: i64,
    /// Bodies with a wrong or missing signature.
    pub refused: AtomicU64,
    /// Bodies that were committed.
    pub accepted: AtomicU64,
    /// Bodies that were applied.
    pub applied: AtomicU64,
    /// Kilobytes of bodies that may be in memory before they are on the disk.
    room: Arc<Semaphore>,
    /// When the log told of a refusal last.
    refusal_told: Mutex<Option<Instant>>,
}

/// The other end of an [`Inbox`]: what writes.
pub struct Committer {
    queue: mpsc::Receiver<Job>,
    batch: usize,
    batch_bytes: usize,
}

impl Inbox {
    /// Both ends. Counts what a former process left.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn open(db: &Db, config: &crate::config::InboundConfig) -> Result<(Self, Committer), DbErr> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let inbox = Self {
            queue: sender,
            fresh: Fresh::default(),
            settling: watch::Sender::new(0),
            backlog: watch::Sender::new(store::count_pending(db).await?),
            most: config.backlog,
            refused: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(config.buffer_bytes.div_ceil(KILOBYTE))),
            refusal_told: Mutex::default(),
        };
        Ok((inbox, Committer { queue: receiver, batch: config.batch, batch_bytes: config.batch_bytes }))
    }

    /// Room for so many bytes of a body that is being read, beyond what it has taken, until it is on the disk; none if others
    /// take it all.
    pub fn room(&self, bytes: usize, taken: usize) -> Option<OwnedSemaphorePermit> {
        let kilobytes = u32::try_from(bytes.div_ceil(KILOBYTE).saturating_sub(taken)).ok()?;
        self.room.clone().try_acquire_many_owned(kilobytes).ok()
    }

    /// Whether it is time to tell of a refused body in the log once more.
    pub fn tells_of_refusal(&self) -> bool {
        let mut told = self.refusal_told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = told.is_none_or(|told| told.elapsed() >= REFUSALS_TOLD);
        if is_time {
            *told = Some(Instant::now());
        }
        is_time
    }

    /// Bodies that wait to be applied.
    pub fn backlog(&self) -> i64 {
        *self.backlog.borrow()
    }

    /// So many bodies wait more (or fewer). Never below none: what another process accepted may be settled here.
    pub fn waits(&self, more: i64) {
        self.backlog.send_modify(|backlog| *backlog = (*backlog + more).max(0));
    }

    /// So many bodies wait in all, as the database says.
    pub fn counted(&self, waiting: i64) {
        self.backlog.send_replace(waiting);
    }

    /// The oldest live bodies that wait and were not taken yet: from memory, or from the disk where memory does not hold them.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn live(&self, db: &Db, most: usize) -> Result<Vec<inbound::Model>, DbErr> {
        while let Some(ask) = self.fresh.ask(most) {
            match self.read(db, ask).await {
                Ok(bodies) => self.fresh.was_read(bodies),
                Err(error) => {
                    self.fresh.missed(ask);
                    return Err(error);
                }
            }
        }
        Ok(self.fresh.take(most))
    }

    async fn read(&self, db: &Db, ask: Ask) -> Result<Vec<inbound::Model>, DbErr> {
        let waiting = store::waiting(db, ask.from, ask.most).await?;
        let chosen = self.fresh.choose(ask, &waiting);
        if chosen.is_empty() { Ok(Vec::new()) } else { store::bodies(db, chosen).await }
    }

    /// The oldest import that waits.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn import(&self, db: &Db) -> Result<Option<inbound::Model>, DbErr> {
        drop(self.settling.subscribe().wait_for(|settling| *settling == 0).await);
        store::import(db).await
    }

    /// More may wait on the disk than this process knows of: another one wrote it, or somebody wants it tried again.
    pub fn look_again(&self) {
        self.fresh.look_again();
    }

    /// What was taken and not handed over as settled comes again: applying it failed, or another process does it.
    pub async fn forget(&self) {
        // Else what was applied a moment ago would be read, and applied, once more.
        drop(self.settling.subscribe().wait_for(|settling| *settling == 0).await);
        self.fresh.forget();
    }

    /// Hands over what became of bodies; it is on the disk with the next commit. Should that fail, the bodies wait still, and
    /// are applied once more, which changes nothing.
    pub async fn settle(&self, verdicts: Vec<Verdict>) {
        if verdicts.is_empty() {
            return;
        }
        // The process ends: the next one applies them once more.
        let Ok(place) = self.queue.reserve().await else { return };
        // Not before: whoever is dropped while it waits for a place would never be taken off the count.
        self.settling.send_modify(|settling| *settling += verdicts.len());
        place.send(Job::Settled(verdicts));
    }

    /// Resolves when nothing waits to be applied.
    pub async fn idle(&self) {
        // The sender lives as long as this borrow: waiting cannot fail.
        drop(self.backlog.subscribe().wait_for(|backlog| *backlog <= 0).await);
    }

    /// Puts a body on the disk; returns when it is there.
    ///
    /// # Errors
    /// When it is not, and shall be sent again.
    pub async fn accept(&self, body: Bytes, received_at: Timestamp) -> Result<(), NotAccepted> {
        if self.backlog() >= self.most {
            return Err(NotAccepted::Overloaded);
        }
        let (done, committed) = oneshot::channel();
        let row = inbound::Model {
            id: InboundId::generate(),
            received_at,
            history: holds_history(&body),
            state: InboundState::Pending,
            body: body.into(),
            error: None,
            partly_unknown: false,
            settled_at: None,
        };
        self.queue.send(Job::Body(Waiting { row, done })).await.map_err(|_| NotAccepted::Unavailable)?;
        match committed.await {
            Ok(true) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(false) | Err(_) => Err(NotAccepted::Unavailable),
        }
    }
}

/// How far back bodies for numbers that nobody had are tried once more.
pub fn unmatched_since(app: &App) -> Timestamp {
    app.now().plus_seconds(-app.config.inbound.unmatched_hours * HOUR)
}

/// Tries bodies once more that came since then for numbers that nobody had.
///
/// # Errors
/// When the database is away.
pub async fn try_unmatched(app: &App, since: Timestamp) -> Result<(), DbErr> {
    let waiting = store::again(app.inbound_db.write(), &[InboundState::Unmatched], since).await?;
    app.inbox.waits(i64::try_from(waiting).unwrap_or(0));
    app.inbox.look_again();
    app.apply_wake.notify_one();
    Ok(())
}

/// Whether a body belongs to an import, told without parsing it: imports are applied behind live traffic. A customer who
/// writes the very word `"threads":` waits a little longer; nothing else depends on it.
fn holds_history(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"threads\"").is_some()
}

/// Writes what waits, until the process ends; then what is still queued.
pub async fn commit(app: Arc<App>, mut committer: Committer) {
    let mut stopping = false;
    loop {
        let first = tokio::select! {
            biased;
            job = committer.queue.recv() => job,
            () = app.tasks.stopping().cancelled(), if !stopping => {
                stopping = true;
                committer.queue.close();
                continue;
            }
        };
        let Some(first) = first else { return };
        let mut batch = Batch::default();
        batch.add(first);
        while batch.bodies.len() < committer.batch && batch.bytes < committer.batch_bytes {
            let Ok(next) = committer.queue.try_recv() else { break };
            batch.add(next);
        }
        batch.commit(&app).await;
    }
}

/// What one commit takes to the disk.
#[derive(Default)]
struct Batch {
    bodies: Vec<inbound::Model>,
    bytes: usize,
    senders: Vec<oneshot::Sender<bool>>,
    verdicts: Vec<Verdict>,
}

impl Batch {
    fn add(&mut self, job: Job) {
        match job {
            Job::Body(Waiting { row, done }) => {
                self.bytes += row.body.len();
                self.bodies.push(row);
                self.senders.push(done);
            }
            Job::Settled(verdicts) => self.verdicts.extend(verdicts),
        }
    }

    async fn commit(self, app: &App) {
        let inbox = &app.inbox;
        let (came, settled) = (self.bodies.len(), self.verdicts.len());
        let ids: Vec<InboundId> = self.verdicts.iter().map(|verdict| verdict.id).collect();
        let written = write(&app.inbound_db, &self.bodies, self.verdicts, app.now()).await;
        let whole = written.is_ok();
        match written {
            Ok(()) => {
                inbox.waits(signed(came) - signed(settled));
                inbox.applied.fetch_add(settled as u64, Ordering::Relaxed);
                inbox.fresh.push(self.bodies);
            }
            Err(error) => {
                tracing::error!(%error, bodies = came, "{came} webhook bodies could not be stored; their senders will try again");
                // What was settled waits on the disk still: applied once more, it changes nothing.
                inbox.look_again();
            }
        }
        inbox.fresh.settled(&ids);
        for sender in self.senders {
            // Who went away will send it again: a duplicate is harmless.
            let _ = sender.send(whole);
        }
        if settled > 0 {
            inbox.settling.send_modify(|settling| *settling = settling.saturating_sub(settled));
        }
        if came > 0 {
            app.apply_wake.notify_one();
        }
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

async fn write(
    db: &Db,
    bodies: &[inbound::Model],
    verdicts: Vec<Verdict>,
    now: Timestamp,
) -> Result<(), DbErr> {
    let tx = db.begin_write().await?;
    store::insert(&tx, bodies).await?;
    store::settle(&tx, verdicts, now).await?;
    tx.commit().await
}
