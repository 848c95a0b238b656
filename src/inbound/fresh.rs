//! Bodies that were just committed, still in memory: what applies them need not read them back from the disk. The disk
//! stays the truth: whenever memory may not hold all that waits, everything is read from there again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use entity::{InboundId, inbound};

/// Bodies kept at most.
const BODIES: usize = 4096;
/// Bytes kept at most.
const BYTES: usize = 4 * 1024 * 1024;

/// The bodies that wait, as far as memory holds them.
#[derive(Default)]
pub(super) struct Fresh {
    inner: Mutex<Inner>,
}

struct Inner {
    bodies: VecDeque<inbound::Model>,
    bytes: usize,
    /// More may wait on the disk than is here.
    behind: bool,
    /// What the disk gave last. A body may be read there before its commit is heard of here: it must not come twice.
    read: HashSet<InboundId>,
}

impl Default for Inner {
    fn default() -> Self {
        // What a former process left is on the disk alone.
        Self { bodies: VecDeque::new(), bytes: 0, behind: true, read: HashSet::new() }
    }
}

impl Fresh {
    /// Remembers what was committed. An import stays on the disk: it is large, and waits for live traffic anyway.
    pub(super) fn push(&self, committed: Vec<inbound::Model>) {
        let mut inner = self.lock();
        for body in committed {
            if inner.behind || body.history || inner.read.contains(&body.id) {
                continue;
            }
            inner.bytes += body.body.len();
            inner.bodies.push_back(body);
            if inner.bytes > BYTES || inner.bodies.len() > BODIES {
                inner.forget();
            }
        }
    }

    /// The oldest bodies; None if the disk has to be asked.
    pub(super) fn take(&self, most: usize) -> Option<Vec<inbound::Model>> {
        let mut inner = self.lock();
        if inner.behind {
            return None;
        }
        let count = inner.bodies.len().min(most);
        let taken: Vec<_> = inner.bodies.drain(..count).collect();
        inner.bytes -= taken.iter().map(|body| body.body.len()).sum::<usize>();
        Some(taken)
    }

    /// The disk is asked next: what it does not give is here from now on.
    pub(super) fn begin_reading(&self) {
        let mut inner = self.lock();
        inner.forget();
        inner.behind = false;
    }

    /// The disk gave these; `all`: nothing else waits there that was committed before.
    pub(super) fn was_read(&self, rows: &[inbound::Model], all: bool) {
        let mut inner = self.lock();
        inner.read = rows.iter().map(|row| row.id).collect();
        if !all {
            inner.forget();
            return;
        }
        let Inner { bodies, read, .. } = &mut *inner;
        bodies.retain(|body| !read.contains(&body.id));
        inner.bytes = inner.bodies.iter().map(|body| body.body.len()).sum();
    }

    /// The disk may hold more than is here.
    pub(super) fn look_again(&self) {
        self.lock().forget();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self) {
        self.bodies = VecDeque::new();
        self.bytes = 0;
        self.behind = true;
    }
}

#[cfg(test)]
mod tests {
    use entity::{InboundState, Timestamp};

    use super::*;
    use crate::ids::PublicId;

    fn body(size: usize) -> inbound::Model {
        inbound::Model {
            id: InboundId::generate(),
            received_at: Timestamp(0),
            history: false,
            state: InboundState::Pending,
            body: vec![0; size],
            error: None,
            partly_unknown: false,
            settled_at: None,
        }
    }

    fn ids(bodies: &[inbound::Model]) -> Vec<InboundId> {
        bodies.iter().map(|body| body.id).collect()
    }

    /// Nothing waits on the disk that is not here.
    fn level() -> Fresh {
        let fresh = Fresh::default();
        assert!(fresh.take(1).is_none(), "what a former process left is on the disk");
        fresh.begin_reading();
        fresh.was_read(&[], true);
        fresh
    }

    #[test]
    fn bodies_come_in_the_order_of_their_commits() {
        let fresh = level();
        let (one, two, three) = (body(1), body(1), body(1));
        fresh.push(vec![one.clone(), two.clone()]);
        fresh.push(vec![three.clone()]);
        assert_eq!(ids(&fresh.take(2).unwrap()), ids(&[one, two]));
        assert_eq!(ids(&fresh.take(2).unwrap()), ids(&[three]));
        assert_eq!(fresh.take(2).unwrap(), []);
    }

    #[test]
    fn what_the_disk_gave_does_not_come_once_more() {
        let fresh = Fresh::default();
        let (early, late, new) = (body(1), body(1), body(1));
        fresh.begin_reading();
        fresh.push(vec![early.clone()]);
        fresh.was_read(&[early, late.clone()], true);
        // Its commit is heard of after it was read.
        fresh.push(vec![late, new.clone()]);
        assert_eq!(ids(&fresh.take(9).unwrap()), ids(&[new]));
    }

    #[test]
    fn what_memory_does_not_hold_is_asked_of_the_disk() {
        let fresh = level();
        fresh.push(vec![body(BYTES), body(1)]);
        assert!(fresh.take(1).is_none(), "too many bytes");
        let fresh = level();
        fresh.push((0..=BODIES).map(|_| body(0)).collect());
        assert!(fresh.take(1).is_none(), "too many bodies");
        let fresh = level();
        fresh.begin_reading();
        fresh.was_read(&[body(1)], false);
        assert!(fresh.take(1).is_none(), "the disk holds more");
    }
}
