//! Instants as the database keeps them.

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z.
///
/// An integer on both databases, so that what was written compares equal to what is read (SQLite would keep
/// nanoseconds as text, Postgres microseconds), sorts as numbers do, and binds without formatting.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Microseconds in a second.
const SECOND: i64 = 1_000_000;

impl Timestamp {
    /// An instant given in whole seconds since 1970, as WhatsApp's stamps are. Saturates.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND))
    }

    /// Whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// The same instant cut to its whole second: what WhatsApp's stamps can be compared with.
    pub fn floor_second(self) -> Self {
        Self::from_seconds(self.seconds())
    }

    /// This instant and `seconds` more (negative: less). Saturates.
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(SECOND)))
    }

    /// Whole milliseconds since 1970, rounded down.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}
