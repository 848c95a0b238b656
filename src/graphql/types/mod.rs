//! Output types, one file each: wrappers around rows with explicit fields, so that a new column is not public by
//! itself.

pub mod client;
pub mod contact;
pub mod content;
pub mod conversation;
pub mod enums;
pub mod event;
pub mod lists;
pub mod message;
pub mod node;
pub mod onboarding;
pub mod sync;
pub mod template;
pub mod usage;
pub mod viewer;
pub mod webhook;

pub use client::Client;
pub use contact::Contact;
pub use conversation::Conversation;
pub use event::{Event, StreamItem};
pub use message::Message;
pub use node::Node;
pub use onboarding::Onboarding;
pub use sync::SyncProgress;
pub use template::Template;
pub use usage::Usage;
pub use viewer::Viewer;
pub use webhook::{WebhookDelivery, WebhookEndpoint};

use super::error::{ApiError, Result};

/// What must be there, since a row that the caller may see points to it.
fn required<T>(found: Option<T>, what: &str) -> Result<T> {
    found.ok_or_else(|| ApiError::not_found(what))
}

/// A count as GraphQL's 32 bits hold it.
fn clamp(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(if count < 0 { i32::MIN } else { i32::MAX })
}
