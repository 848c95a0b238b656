//! Webhooks to others: how one knows them.

pub mod signing;
