//! Meta's Cloud API: the wire of WhatsApp itself. The simulator speaks it too.

pub mod client;

pub use client::{Meta, Settings};
