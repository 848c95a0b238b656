//! The estimate itself: a pure function of the last sign of life.

use entity::{AppPresenceBasis, ClientMode, Timestamp, client};

use crate::config::Config;

const DAY: i64 = 24 * 60 * 60;

/// How near the connection is to being lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppPresenceRisk {
    /// A sign of life was seen lately.
    None,
    /// The app should be opened soon.
    DueSoon,
    /// The time is over: the connection may be lost any moment.
    Overdue,
}

/// What is known of the app on the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppPresence {
    /// The last sign of life.
    pub last_seen_at: Timestamp,
    /// What it was.
    pub basis: AppPresenceBasis,
    /// By when the app must be opened.
    pub visit_due_at: Timestamp,
    /// How near that is.
    pub risk: AppPresenceRisk,
    /// Whole days until then; 0 when they are over.
    pub days_left: i64,
    /// The same by Meta's own figure.
    pub days_left_meta: i64,
}

/// The estimate for a client; none without an app, or before the first connection.
pub fn of(row: &client::Model, config: &Config, now: Timestamp) -> Option<AppPresence> {
    if row.mode != ClientMode::Coexistence {
        return None;
    }
    let last_seen_at = row.last_seen_at?;
    let days = (now.seconds() - last_seen_at.seconds()).max(0) / DAY;
    let most = config.meta.app_visit_days;
    let first_due = config.presence.due_days.iter().copied().min().unwrap_or(most);
    let risk = if days >= most {
        AppPresenceRisk::Overdue
    } else if days >= first_due {
        AppPresenceRisk::DueSoon
    } else {
        AppPresenceRisk::None
    };
    Some(AppPresence {
        last_seen_at,
        basis: row.last_seen_basis.unwrap_or(AppPresenceBasis::Connection),
        visit_due_at: last_seen_at.plus_seconds(most.saturating_mul(DAY)),
        risk,
        days_left: (most - days).max(0),
        days_left_meta: (config.meta.app_visit_days_meta - days).max(0),
    })
}
