//! Messages: one row each, whatever came first and under however many WhatsApp ids.

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
