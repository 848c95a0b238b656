//! The life of the process: every task is known, every one hears of the end, one that dies ends all.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::{Failure, Outcome};

/// The tasks of the process.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: Arc<AtomicBool>,
}

impl Tasks {
    /// Cancelled when the process shall end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Knows when all tasks have ended.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Runs an engine: it ends when it sees [`Tasks::stopping`]. If it ends otherwise (or panics), the process ends and
    /// says so, rather than go on with an engine missing.
    pub fn engine(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        self.tracker.spawn(async move {
            let ended = AssertUnwindSafe(future).catch_unwind().await;
            if ended.is_err() || !tasks.stop.is_cancelled() {
                tracing::error!(engine = name, "the engine {name} ended by itself; the process stops");
                tasks.failed.store(true, Ordering::Relaxed);
                tasks.stop.cancel();
            }
        });
    }

    /// Waits so long, or until the process shall end.
    pub async fn rest(&self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Runs something short-lived, such as one send.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(future);
    }

    /// Does something to its end, although whoever waits for it may stop waiting: callers hang up, and requests have a
    /// time-out. For what would otherwise stop half-way, with WhatsApp told and the database not.
    ///
    /// # Errors
    /// What it fails with; internal when it panics.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        let done = self.tracker.spawn(work).await;
        done.unwrap_or_else(|error| Err(Failure::Internal(error.into())))
    }

    /// Whether an engine died.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Tells all tasks to end and waits for them.
    pub async fn finish(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Resolves at the first SIGINT or SIGTERM.
///
/// # Errors
/// When signals cannot be heard.
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
