//! Lanes: the ordered, rate-limited queue of each client's API sends (R8, invariants 7 and 12).
//!
//! `sendMessage` writes a message and its entry; the engine here sends it. It works in rounds. A round is one
//! transaction, which records all that was answered since the last one and marks what goes next as sending, for all
//! clients that nobody else writes to; only when it is committed do the marked ones leave. So the queue in the database always tells the
//! truth: what is not marked never left, what is marked may have left and is never sent again by anybody.
//!
//! * [`mod@queue`]: what is put in, taken back, and stopped.
//! * [`claim`]: what goes next. Of each recipient the first entry only, so that an answer is recorded before the next
//!   message to the same person starts; replies before templates. [`turns`]: fair between recipients.
//! * [`slots`]: the rate. [`backoff`]: waits after tries in vain.
//! * [`lease`]: who sends for a client, when several processes run.
//! * [`verdict`]: what an answer means. [`record`]: what is written of it. [`lessons`]: what it says of messages to come.
//! * [`engine`]: the rounds.

mod backoff;
mod claim;
mod engine;
mod lease;
mod lessons;
mod queue;
mod record;
mod slots;
mod turns;
mod verdict;
mod wake;

#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;

pub use engine::run;
pub use lease::inherit;
pub use queue::{Canceled, cancel_all, cancel_one, doubt, fail_waiting_for, pause, queue};
pub use wake::Wake;

/// What became of sends since the process began.
#[derive(Debug, Default)]
pub struct Counters {
    /// WhatsApp took them.
    pub accepted: AtomicU64,
    /// They failed for good.
    pub failed: AtomicU64,
    /// Nobody knows whether they left.
    pub unknown: AtomicU64,
    /// Tries in vain, after which they went back into the queue.
    pub put_back: AtomicU64,
}
