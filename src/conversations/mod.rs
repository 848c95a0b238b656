//! One client with one contact: window, unread, latest activity.

pub mod queries;
pub mod window;
