//! How a subscription's cursor gets from its resolver to the transport.

use std::sync::{Arc, Mutex, PoisonError};

/// Carries the cursor of the item that a subscription is about to yield. The transport puts one into the data of each
/// subscription's request; the resolver sets it just before it yields an item, and the transport takes it for the
/// response that comes out, as `extensions.cursor`. The engine executes the items of a subscription one after
/// another, so the two always meet.
#[derive(Clone, Debug, Default)]
pub struct CursorTap(Arc<Mutex<Option<String>>>);

impl CursorTap {
    /// Sets the cursor of the next item.
    pub fn set(&self, cursor: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor.into());
    }

    /// Takes the cursor of the item that came out.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
