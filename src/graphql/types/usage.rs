//! What was sent and received.

use async_graphql::SimpleObject;

use super::clamp;
use super::enums::MessageOrigin;
use crate::graphql::scalars::Date;
use crate::messages::usage::{self, Count};

/// How many messages a client sent and received, by who made them, what WhatsApp counts them as, and whether they cost
/// anything. What the history import brought is no traffic and not counted, unless it was seen live too. Of messages of the
/// API only those count that WhatsApp took: not those that wait, were taken back, failed, or of which nobody knows. What was
/// sent in the app is always free, and so is what customers write. What WhatsApp charges for a message it does not tell.
#[derive(Clone, Debug, SimpleObject)]
pub struct Usage {
    /// Over the whole time.
    total: Vec<UsageCount>,
    /// Day by day, UTC, oldest first, by `Message.sentAt`; days without messages are left out.
    by_day: Vec<UsageCount>,
}

impl Usage {
    /// Of the counts of each day.
    pub fn new(by_day: Vec<Count>) -> Self {
        let total = usage::total(&by_day).into_iter().map(|count| UsageCount::new(count, false)).collect();
        Self { total, by_day: by_day.into_iter().map(|count| UsageCount::new(count, true)).collect() }
    }
}

/// So many messages of one kind.
#[derive(Clone, Debug, SimpleObject)]
pub struct UsageCount {
    /// The day, UTC. Null in `total`.
    day: Option<Date>,
    /// Who made them.
    origin: MessageOrigin,
    /// WhatsApp's word: `marketing`, `utility`, `authentication`, `service` or a newer one. Null: not told, or not yet; always
    /// of what customers write.
    category: Option<String>,
    /// Whether they cost anything. Null: WhatsApp did not tell, or not yet. Of the app's messages always false.
    billable: Option<bool>,
    /// How many.
    count: i32,
}

impl UsageCount {
    fn new(count: Count, of_a_day: bool) -> Self {
        let Count { day, origin, category, billable, count } = count;
        Self {
            day: of_a_day.then(|| Date::of_days(day)).flatten(),
            origin: origin.into(),
            category,
            billable,
            count: clamp(count),
        }
    }
}
