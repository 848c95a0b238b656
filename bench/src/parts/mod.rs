//! One measurement each.

pub(crate) mod accept;
pub(crate) mod bare;
pub(crate) mod deliveries;
pub(crate) mod disk;
mod floor;
pub(crate) mod import;
pub(crate) mod ingest;
pub(crate) mod lanes;
pub(crate) mod live;
pub(crate) mod many;
pub(crate) mod memory;
pub(crate) mod page;
pub(crate) mod send;
mod subscriber;

/// Connected numbers that the webhooks are for.
const SHOPS: u32 = 4;
/// Customers who write to them.
const CUSTOMERS: u64 = 500;
