//! Meta's Cloud API: the wire of WhatsApp itself. The simulator speaks it too.

pub mod check;
pub mod client;
pub mod signature;
pub mod wamid;
pub mod webhook;

pub use client::{Meta, Settings};
