//! Time (invariant 11): what the domain calls "now", and real time for what must not follow a simulated clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use entity::Timestamp;

/// The service's clock: real time and an offset, which is 0 but with the simulator as upstream.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_micros: Arc<AtomicI64>,
}

impl Clock {
    /// What the domain calls now: stamps, windows, deadlines, presence.
    pub fn now(&self) -> Timestamp {
        Timestamp(Self::real_now().0.saturating_add(self.offset_micros.load(Ordering::Relaxed)))
    }

    /// The wall clock, whatever the simulator says: leases, rates, time-outs, expiry of credentials.
    pub fn real_now() -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        Timestamp(Utc::now().timestamp_micros())
    }

    /// Follows the simulator's clock.
    pub fn set_offset_millis(&self, millis: i64) {
        self.offset_micros.store(millis.saturating_mul(1000), Ordering::Relaxed);
    }

    /// The same, but never back: for what was told at an unknown time and may be overtaken.
    pub fn raise_offset_millis(&self, millis: i64) {
        self.offset_micros.fetch_max(millis.saturating_mul(1000), Ordering::Relaxed);
    }
}

/// An instant as RFC 3339 knows it. Instants outside chrono's range (a quarter of a million years) become 1970.
pub fn to_datetime(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.0).unwrap_or_default()
}

/// The other way.
pub fn from_datetime(at: DateTime<Utc>) -> Timestamp {
    Timestamp(at.timestamp_micros())
}
