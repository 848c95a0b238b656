//! The simulator from outside, through its two doors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chats;
mod guards;
mod harness;
mod lasting;
mod sends;
mod signups;
mod syncs;
mod templates;
mod troubles;
