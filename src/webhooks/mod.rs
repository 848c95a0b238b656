//! Webhooks to partners: each endpoint reads its partner's log by a cursor of its own, as subscribers do, so that nothing
//! is missed whatever happens in between. (Webhooks from WhatsApp are [`crate::inbound`].)
//!
//! An entry of the log that an endpoint wants becomes a delivery; the delivery and the endpoint's place in the log are
//! written in one transaction. A delivery's body is made before its first attempt, committed before its first byte
//! leaves, and the same on every attempt. Delivered at least once: a process that dies between an answer and its record
//! delivers again, under the same `webhook-id`.
//!
//! * [`endpoints`]: what partners do with their endpoints. [`queries`]: what they read of them.
//! * [`address`]: where a webhook may go. [`signing`]: how one knows it. [`schedule`]: when it is tried again.
//! * `window`: what waits, in order per client. `worker`: the rounds of one endpoint; `record`: what a round writes;
//!   `sender`: the posts. `engine`: who works for which endpoint.
//! * [`keep`]: for how long deliveries are kept, and what is erased.

pub mod address;
pub mod endpoints;
mod engine;
pub mod keep;
pub mod queries;
mod record;
pub mod schedule;
mod sender;
pub mod signing;
mod window;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use entity::{EventType, PartnerId};
use futures_util::future::BoxFuture;

use crate::app::App;

pub use engine::run;

/// Entries rendered at once.
pub const RENDERED_AT_ONCE: usize = 100;

/// What became of webhooks since the process began, and what waits.
#[derive(Debug, Default)]
pub struct Counters {
    /// Deliveries that their receivers took.
    pub taken: AtomicU64,
    /// Attempts that failed.
    pub failed_attempts: AtomicU64,
    /// Deliveries that are over without having been taken: `FAILED`.
    pub given_up: AtomicU64,
    /// Deliveries that wait, of the endpoints that this process works for.
    pub pending: AtomicU64,
}

/// An entry of a partner's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it stands.
    pub position: i64,
    /// What happened.
    pub kind: EventType,
}

/// Makes `data` of the bodies: the same fields as in the API, since the API makes them.
pub trait Render: Send + Sync + 'static {
    /// The entries as JSON objects, by their positions. One whose message, contact or onboarding is gone is left out. At
    /// most [`RENDERED_AT_ONCE`].
    ///
    /// # Errors
    /// When the database is away.
    fn render<'a>(
        &'a self,
        app: &'a Arc<App>,
        partner: PartnerId,
        entries: Vec<Place>,
    ) -> BoxFuture<'a, anyhow::Result<HashMap<i64, String>>>;
}
