//! The simulator from outside, through its two doors.

mod chats;
mod guards;
mod harness;
mod lasting;
mod sends;
mod signups;
mod syncs;
mod troubles;
