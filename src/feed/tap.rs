//! How a subscription's places in the stream get from its resolver to the transport, and one place the other way.

use std::sync::{Arc, Mutex, PoisonError};

/// Ties a subscription's resolver to its transport. The transport puts one into the data of each subscription's request.
///
/// The resolver sets the cursor of an item just before it yields it, and the transport takes it for the response that
/// comes out, as `extensions.cursor`. The engine executes the items of a subscription one after another, and asks for the
/// next when the last one is with the transport, so the two always meet. Before the resolver waits, with all it had to
/// tell yielded, it says up to which place that is: the transport tells it in its heartbeats.
#[derive(Clone, Debug, Default)]
pub struct CursorTap(Arc<Tap>);

#[derive(Debug, Default)]
struct Tap {
    resumes_after: Option<String>,
    continues: bool,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    item: Option<String>,
    complete: Option<String>,
    live: bool,
}

impl CursorTap {
    /// For a subscription that goes on after the place that the transport was told (`Last-Event-ID`), if it was.
    #[must_use]
    pub fn new(resumes_after: Option<String>) -> Self {
        Self(Arc::new(Tap { resumes_after, ..Tap::default() }))
    }

    /// For a subscription that goes on after a place.
    #[must_use]
    pub fn resuming(after: &str) -> Self {
        Self::new(Some(after.to_owned()))
    }

    /// The same, for a subscriber that was told already that it caught up.
    #[must_use]
    pub fn continuing(after: String) -> Self {
        Self(Arc::new(Tap { resumes_after: Some(after), continues: true, ..Tap::default() }))
    }

    /// Whether the subscriber was told already that it caught up.
    #[must_use]
    pub fn continues(&self) -> bool {
        self.0.continues
    }

    /// The place that the transport was told to go on after: it wins over the subscription's own argument.
    #[must_use]
    pub fn resumes_after(&self) -> Option<&str> {
        self.0.resumes_after.as_deref()
    }

    /// Sets the cursor of the next item.
    pub fn set(&self, cursor: impl Into<String>) {
        let mut places = self.places();
        places.item = Some(cursor.into());
        places.complete = None;
    }

    /// Says that everything up to here was yielded or is not for this subscription; `live`: from here on it tells what
    /// happens, and nothing of the past. To be called only while nothing
    /// that was read is left to yield.
    pub fn complete(&self, cursor: impl Into<String>, live: bool) {
        let mut places = self.places();
        places.complete = Some(cursor.into());
        places.live = live;
    }

    /// Whether nothing of the past is left to tell, by the last word.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.places().live
    }

    /// Takes the cursor of the item that came out.
    #[must_use]
    pub fn take(&self) -> Option<String> {
        self.places().item.take()
    }

    /// Takes the place up to which all was told, if it is newer than what was taken before.
    #[must_use]
    pub fn take_complete(&self) -> Option<String> {
        self.places().complete.take()
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
