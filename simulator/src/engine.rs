//! The world behind a lock, with everything that keeps it going: the writer of its file, the deliveries of its
//! webhooks, and who waits for them.

use crate::number::Number;
use crate::store::Submission;
use crate::webhooks::delivery;
use crate::world::phone::Phone;
use crate::world::{Ledger, Refusal, World};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The running simulator.
pub(crate) struct Engine {
    world: Mutex<World>,
    submissions: mpsc::UnboundedSender<Submission>,
    committed: watch::Receiver<u64>,
    /// Changes whenever a webhook has been taken.
    taken: watch::Sender<u64>,
    pub(crate) http: reqwest::Client,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Engine {
    pub(crate) fn new(
        world: World,
        submissions: mpsc::UnboundedSender<Submission>,
        committed: watch::Receiver<u64>,
        http: reqwest::Client,
    ) -> Self {
        Self {
            world: Mutex::new(world),
            submissions,
            committed,
            taken: watch::Sender::new(0),
            http,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the world.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Up to which change the file has everything.
    pub(crate) fn committed(&self) -> u64 {
        *self.committed.borrow()
    }

    /// Changes the world without waiting for the file.
    pub(crate) fn note<T>(&self, change: impl FnOnce(&mut World, &mut Ledger) -> T) -> (T, u64) {
        let mut world = self.lock();
        world.last_sequence += 1;
        let sequence = world.last_sequence;
        let mut ledger = Ledger { sequence, now_ms: world.now_ms(), rows: Vec::new(), wake: Vec::new() };
        let result = change(&mut world, &mut ledger);
        if ledger.rows.is_empty() {
            // Nothing to wait for but what others wrote before.
            return (result, 0);
        }
        let submission = Submission { sequence, rows: ledger.rows, wake: ledger.wake };
        // Sent under the lock, so that the file sees changes in their order. Only a stopped writer does not take it.
        if self.submissions.send(submission).is_err() {
            tracing::debug!("a change came after the simulator's file was closed");
        }
        (result, sequence)
    }

    /// Changes the world and waits until the file has it.
    pub(crate) async fn change<T>(
        &self,
        change: impl FnOnce(&mut World, &mut Ledger) -> T,
    ) -> Result<T, Refusal> {
        let (result, sequence) = self.note(change);
        let mut committed = self.committed.clone();
        match committed.wait_for(|done| *done >= sequence).await {
            Ok(_) => Ok(result),
            Err(_) => Err(Refusal::new("the simulator is stopping; start it again")),
        }
    }

    /// Takes a phone into the world that was made outside of it.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        phone: Phone,
        rows: Vec<crate::store::Row>,
    ) -> Result<Number, Refusal> {
        let number = phone.card.number;
        let wake = phone.wake.clone();
        self.change(|world, ledger| {
            if world.phones.contains_key(&number) {
                return Err(Refusal(format!("there is already a phone {number}; choose another number")));
            }
            ledger.rows.extend(rows);
            world.admit(phone);
            Ok(number)
        })
        .await??;
        self.tasks.spawn(delivery::run(self.clone(), number, wake));
        Ok(number)
    }

    /// Starts the deliveries of all phones that the file remembers.
    pub(crate) fn start_deliveries(self: &Arc<Self>) {
        let phones: Vec<_> = self
            .read(|world| world.phones.iter().map(|(number, phone)| (*number, phone.wake.clone())).collect());
        for (number, wake) in phones {
            self.tasks.spawn(delivery::run(self.clone(), number, wake));
        }
    }

    /// The service took these webhooks.
    pub(crate) fn taken(&self, number: Number, ids: &[u64]) {
        self.note(|world, ledger| world.taken(ledger, number, ids));
        self.taken.send_modify(|count| *count += 1);
    }

    /// The service refused what was posted for this phone.
    pub(crate) fn refused(&self, number: Number) {
        if let Some(phone) = self.lock().phones.get_mut(&number) {
            phone.queue.refused();
        }
    }

    /// Waits until every webhook that is due now has been taken, at most for `patience`. Answers how many are left.
    pub(crate) async fn settle(&self, patience: Duration) -> usize {
        let mut changes = self.taken.subscribe();
        let last = self.read(|world| world.last_id);
        let left = || self.read(|world| world.pending.range(..=last).count());
        let all = async { while left() > 0 && changes.changed().await.is_ok() {} };
        tokio::select! {
            () = all => {}
            () = tokio::time::sleep(patience) => {}
            () = self.stop.cancelled() => {}
        }
        left()
    }

    /// Waits until one webhook has been taken, at most for `patience`.
    pub(crate) async fn wait_taken(&self, id: u64, patience: Duration) {
        let mut changes = self.taken.subscribe();
        let all = async {
            while self.read(|world| world.pending.contains(&id)) && changes.changed().await.is_ok() {}
        };
        tokio::select! {
            () = all => {}
            () = tokio::time::sleep(patience) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Lets time pass, but not beyond the simulator's own end.
    pub(crate) async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Keeps what a new world begins with.
    pub(crate) async fn keep_beginnings(&self) -> Result<(), Refusal> {
        self.change(|world, ledger| {
            world.keep_development(ledger);
            world.keep_settings(ledger);
        })
        .await
    }
}
