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
}

impl Default for Inner {
    fn default() -> Self {
        // What a former process left is on the disk alone.
        Self { bodies: VecDeque::new(), bytes: 0, behind: true }
    }
}

impl Fresh {
    /// Remembers what was committed. An import stays on the disk: it is large, and waits for live traffic anyway.
    pub(super) fn push(&self, committed: Vec<inbound::Model>) {
        let mut inner = self.lock();
        for body in committed {
            if inner.behind || body.history {
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
        if !all {
            inner.forget();
            return;
        }
        let read: HashSet<InboundId> = rows.iter().map(|row| row.id).collect();
        inner.bodies.retain(|body| !read.contains(&body.id));
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
