//! Messages: one row each, whatever came first and under however many WhatsApp ids.

use entity::message::Column;

pub mod accept;
mod batch;
pub mod content;
pub mod errors;
pub mod outgoing;
pub mod queries;
pub mod queue;
pub mod send;
pub mod uploads;
pub mod usage;

/// What orders a message among others, and is in its indexes: little that happens to a message touches it.
pub(crate) const PLACE: [Column; 3] = [Column::ClientId, Column::ConversationId, Column::SentAt];
