//! Webhook bodies, from the socket to the disk (invariant 1): a body is answered 200 only after its bytes are committed.
//!
//! Concurrent requests share a transaction. While one commit runs, requests queue up; the next commit takes whatever
//! waits, bounded in count and bytes, so that the disk's pace, not the number of senders, sets the number of commits.

pub mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use entity::{InboundId, InboundState, Timestamp, inbound};
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait};
use tokio::sync::{mpsc, oneshot, watch};

use crate::app::App;
use crate::db::Db;
use crate::ids::PublicId;

/// Requests that may wait for the disk at once.
const QUEUE: usize = 4096;

/// A body on its way to the disk.
struct Waiting {
    row: inbound::ActiveModel,
    bytes: usize,
    done: oneshot::Sender<bool>,
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
    queue: mpsc::Sender<Waiting>,
    backlog: watch::Sender<i64>,
    most: i64,
    /// Bodies with a wrong or missing signature.
    pub refused: AtomicU64,
    /// Bodies that were committed.
    pub accepted: AtomicU64,
    /// Bodies that were applied.
    pub applied: AtomicU64,
}

/// The other end of an [`Inbox`]: what writes.
pub struct Committer {
    queue: mpsc::Receiver<Waiting>,
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
            backlog: watch::Sender::new(store::count_pending(db).await?),
            most: config.backlog,
            refused: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            applied: AtomicU64::new(0),
        };
        Ok((inbox, Committer { queue: receiver, batch: config.batch, batch_bytes: config.batch_bytes }))
    }

    /// Bodies that wait to be applied.
    pub fn backlog(&self) -> i64 {
        *self.backlog.borrow()
    }

    /// So many bodies wait more (or fewer).
    pub fn waits(&self, more: i64) {
        self.backlog.send_modify(|backlog| *backlog += more);
    }

    /// So many bodies wait in all, as the database says.
    pub fn counted(&self, waiting: i64) {
        self.backlog.send_replace(waiting);
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
        let bytes = body.len();
        let row = inbound::ActiveModel {
            id: Set(InboundId::generate()),
            received_at: Set(received_at),
            history: Set(holds_history(&body)),
            state: Set(InboundState::Pending),
            body: Set(body.into()),
            error: Set(None),
            partly_unknown: Set(false),
            settled_at: Set(None),
        };
        self.queue.send(Waiting { row, bytes, done }).await.map_err(|_| NotAccepted::Unavailable)?;
        match committed.await {
            Ok(true) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(false) | Err(_) => Err(NotAccepted::Unavailable),
        }
    }
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
            waiting = committer.queue.recv() => waiting,
            () = app.tasks.stopping().cancelled(), if !stopping => {
                stopping = true;
                committer.queue.close();
                continue;
            }
        };
        let Some(first) = first else { return };
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while batch.len() < committer.batch && bytes < committer.batch_bytes {
            let Ok(next) = committer.queue.try_recv() else { break };
            bytes += next.bytes;
            batch.push(next);
        }
        let (rows, waiters): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.row, waiting.done)).unzip();
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let written = write(&app.inbound_db, rows).await;
        if let Err(error) = &written {
            tracing::error!(%error, bodies = count, "{count} webhook bodies could not be stored; their senders will try again");
        } else {
            app.inbox.waits(count);
        }
        for waiter in waiters {
            // A sender that went away will send it again: a duplicate is harmless.
            let _ = waiter.send(written.is_ok());
        }
        app.apply_wake.notify_one();
    }
}

async fn write(db: &Db, rows: Vec<inbound::ActiveModel>) -> Result<(), DbErr> {
    let tx = db.begin_write().await?;
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        inbound::Entity::insert_many(rows.by_ref().take(500)).exec_without_returning(&tx).await?;
    }
    tx.commit().await
}
