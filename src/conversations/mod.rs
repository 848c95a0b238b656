//! One client with one contact: window, unread, latest activity.

pub mod window;
