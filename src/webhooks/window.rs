//! What waits for an endpoint, in order. A slot is what must go one after another: the deliveries of one client, or one
//! delivery that is on its own.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::schedule;
use entity::{ClientId, EventType, Timestamp, WebhookDeliveryId, webhook_delivery};

/// Deliveries of one slot that are taken together: they are sent one after another, and recorded together.
const RUN: usize = 50;

/// A delivery without its body.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: WebhookDeliveryId,
    pub(super) position: i64,
    pub(super) kind: EventType,
    pub(super) occurred_at: Timestamp,
    pub(super) client: Option<ClientId>,
    pub(super) replay: bool,
    pub(super) alone: bool,
    pub(super) attempts: i32,
    pub(super) first_attempt_at: Option<Timestamp>,
    pub(super) next_attempt_at: Timestamp,
    /// Its body is in the database.
    pub(super) has_body: bool,
    /// It was there when this process came upon it: one that was killed may have sent it, and it stays what it is.
    pub(super) may_have_left: bool,
}

impl From<&webhook_delivery::Model> for Item {
    fn from(row: &webhook_delivery::Model) -> Self {
        Self {
            id: row.id,
            position: row.position,
            kind: row.kind,
            occurred_at: row.occurred_at,
            client: row.client_id,
            replay: row.replay,
            alone: row.alone,
            attempts: row.attempts,
            first_attempt_at: row.first_attempt_at,
            next_attempt_at: row.next_attempt_at,
            has_body: row.data.is_some(),
            may_have_left: row.data.is_some(),
        }
    }
}

/// What goes one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Slot {
    /// Of one client, or of the partner itself.
    Client(Option<ClientId>),
    /// One delivery.
    Alone(WebhookDeliveryId),
}

/// Deliveries that were taken out of their slot, which is busy until they come back.
#[derive(Clone, Debug)]
pub(super) struct Run<T = Item> {
    pub(super) slot: Slot,
    pub(super) items: Vec<T>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    busy: bool,
}

/// What waits.
pub(super) struct Window {
    parallel: bool,
    slots: HashMap<Slot, Queue>,
    /// Slots that are not busy, by when their first delivery is due.
    due: BTreeSet<(Timestamp, Slot)>,
    waiting: usize,
    /// Of them, in slots whose first delivery failed.
    blocked: usize,
}

impl Window {
    pub(super) fn new(parallel: bool) -> Self {
        Self { parallel, slots: HashMap::new(), due: BTreeSet::new(), waiting: 0, blocked: 0 }
    }

    /// How many wait; those that are taken do not count.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many of them wait for nothing but their turn.
    pub(super) fn flowing(&self) -> usize {
        self.waiting - self.blocked
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Behind all others of its slot.
    pub(super) fn push(&mut self, item: Item) {
        let slot = self.slot(&item);
        self.change(slot, |queue| queue.items.push_back(item));
    }

    /// What is due, of as many slots and not many more deliveries than that.
    pub(super) fn take(&mut self, now: Timestamp, slots: usize, items: usize) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut taken = 0;
        while runs.len() < slots && taken < items {
            let Some((at, slot)) = self.due.first().copied() else { break };
            if at > now {
                break;
            }
            let mut run = Run { slot, items: Vec::new() };
            self.change(slot, |queue| {
                queue.busy = true;
                // One that failed before goes first and alone: the others wait for what becomes of it.
                let retried = queue.items.front().is_some_and(|item| item.attempts > 0);
                let most = if retried { 1 } else { RUN };
                while run.items.len() < most
                    && queue.items.front().is_some_and(|item| item.next_attempt_at <= now)
                {
                    run.items.extend(queue.items.pop_front());
                }
            });
            taken += run.items.len();
            runs.push(run);
        }
        runs
    }

    /// A run is over: `rest` was not tried, behind `failed`, which was tried in vain and is tried again.
    pub(super) fn give_back(&mut self, slot: Slot, failed: Option<Item>, rest: Vec<Item>) {
        let alone = failed.as_ref().is_some_and(|item| item.alone);
        let (apart, failed) =
            if alone && matches!(slot, Slot::Client(_)) { (failed, None) } else { (None, failed) };
        self.change(slot, |queue| {
            queue.busy = false;
            for item in rest.into_iter().rev() {
                queue.items.push_front(item);
            }
            if let Some(item) = failed {
                queue.items.push_front(item);
            }
        });
        if let Some(item) = apart {
            self.push(item);
        }
    }

    fn slot(&self, item: &Item) -> Slot {
        if self.parallel || item.alone { Slot::Alone(item.id) } else { Slot::Client(item.client) }
    }

    /// The one way to change a slot: keeps the counts and the order of what is due.
    fn change(&mut self, slot: Slot, change: impl FnOnce(&mut Queue)) {
        let queue = self.slots.entry(slot).or_default();
        if let Some(first) = queue.items.front().filter(|_| !queue.busy) {
            self.due.remove(&(first.next_attempt_at, slot));
        }
        self.waiting -= queue.items.len();
        self.blocked -= blocked(queue);
        change(queue);
        self.waiting += queue.items.len();
        self.blocked += blocked(queue);
        match queue.items.front() {
            Some(first) if !queue.busy => {
                self.due.insert((first.next_attempt_at, slot));
            }
            None if !queue.busy => {
                self.slots.remove(&slot);
            }
            _ => {}
        }
    }
}

fn blocked(queue: &Queue) -> usize {
    if queue.items.front().is_some_and(|item| item.attempts > 0) { queue.items.len() } else { 0 }
}

impl Item {
    /// Notes an attempt in vain. True: it is tried again.
    pub(super) fn fail(&mut self, at: Timestamp, asked: Option<i64>, random: f64) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        let first = *self.first_attempt_at.get_or_insert(at);
        self.alone |= at >= first.plus_seconds(schedule::IN_ORDER);
        match schedule::next(self.attempts, first, at, asked, random) {
            Some(next) => {
                self.next_attempt_at = next;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn item(id: u128, client: u128) -> Item {
        Item {
            id: WebhookDeliveryId(Uuid::from_u128(id)),
            position: i64::try_from(id).unwrap(),
            kind: EventType::MessageIncoming,
            occurred_at: at(0),
            client: Some(ClientId(Uuid::from_u128(client))),
            replay: false,
            alone: false,
            attempts: 0,
            first_attempt_at: None,
            next_attempt_at: at(0),
            has_body: false,
            may_have_left: false,
        }
    }

    fn positions(run: &Run) -> Vec<i64> {
        run.items.iter().map(|item| item.position).collect()
    }

    #[test]
    fn a_client_waits_for_its_failed_one_and_others_do_not() {
        let mut window = Window::new(false);
        for (id, client) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
            window.push(item(id, client));
        }
        let mut runs = window.take(at(1), 16, 100);
        assert_eq!(runs.iter().map(positions).collect::<Vec<_>>(), [vec![1, 2, 4], vec![3]]);
        window.push(item(5, 1));
        assert!(window.take(at(1), 16, 100).is_empty(), "the slot is busy");
        // The first one fails.
        let run = runs.remove(0);
        let mut rest = run.items;
        let mut failed = rest.remove(0);
        assert!(failed.fail(at(1), None, 0.5));
        window.give_back(run.slot, Some(failed), rest);
        assert_eq!((window.waiting(), window.flowing()), (4, 0));
        assert!(window.take(at(5), 16, 100).is_empty());
        // It is tried again alone, and then the others go in order.
        let runs = window.take(at(6), 16, 100);
        assert_eq!(positions(&runs[0]), [1]);
        window.give_back(runs[0].slot, None, Vec::new());
        assert_eq!(window.flowing(), 3);
        assert_eq!(positions(&window.take(at(6), 16, 100)[0]), [2, 4, 5]);
    }

    #[test]
    fn after_an_hour_of_failures_later_ones_pass() {
        let mut window = Window::new(false);
        window.push(item(1, 1));
        window.push(item(2, 1));
        let mut now = at(0);
        loop {
            let mut run = window.take(now, 1, 1).remove(0);
            let mut failed = run.items.remove(0);
            assert!(failed.fail(now, None, 0.5));
            let (alone, next) = (failed.alone, failed.next_attempt_at);
            assert_eq!(alone, now >= at(3600));
            window.give_back(run.slot, Some(failed), run.items);
            if alone {
                break;
            }
            assert!(window.take(now, 1, 1).is_empty());
            now = next;
        }
        assert_eq!(positions(&window.take(now, 1, 1)[0]), [2]);
        assert_eq!(window.waiting(), 1);
    }

    #[test]
    fn in_parallel_nothing_waits_for_anything() {
        let mut window = Window::new(true);
        for id in 1..=20 {
            window.push(item(id, 1));
        }
        assert_eq!(window.take(at(0), 16, 100).len(), 16);
        assert_eq!(window.flowing(), 4);
    }

    #[test]
    fn a_run_is_bounded_and_its_slot_goes_on_afterwards() {
        let mut window = Window::new(false);
        for id in 1..=120 {
            window.push(item(id, 1));
        }
        let mut seen = 0;
        while let Some(run) = window.take(at(0), 16, 1000).pop() {
            assert!(run.items.len() <= RUN);
            seen += run.items.len();
            window.give_back(run.slot, None, Vec::new());
        }
        assert_eq!((seen, window.waiting(), window.slots.len()), (120, 0, 0));
    }
}
