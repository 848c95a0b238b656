//! What the database holds, table by table. Knows neither GraphQL nor HTTP, and has no behaviour.

mod timestamp;

pub use timestamp::Timestamp;
