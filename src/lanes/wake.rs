//! Wakes the lanes. A hint: whatever it misses, the lanes' own look at the queue finds within a second.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use entity::ClientId;
use tokio::sync::Notify;

/// Clients named between two looks; beyond that the lanes look for themselves.
const MOST_NAMED: usize = 10_000;

/// Tells the lanes that there is something to do.
#[derive(Default)]
pub struct Wake {
    notify: Notify,
    named: Mutex<Named>,
}

/// For whom.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) clients: BTreeSet<ClientId>,
    /// For somebody who was not named.
    pub(super) others: bool,
}

impl Wake {
    /// Something was queued for this client.
    pub fn client(&self, id: ClientId) {
        {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            if named.clients.len() < MOST_NAMED {
                named.clients.insert(id);
            } else {
                named.others = true;
            }
        }
        self.notify.notify_one();
    }

    /// Something changed, such as that a client may send again.
    pub fn notify_one(&self) {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).others = true;
        self.notify.notify_one();
    }

    /// Waits for the next hint. One that came before the call counts.
    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// The hints since the last call.
    pub(super) fn take(&self) -> Named {
        std::mem::take(&mut self.named.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
