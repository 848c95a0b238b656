//! What the database holds, table by table. Knows neither GraphQL nor HTTP, and has no behaviour.
#![expect(missing_docs, reason = "SeaORM's derives make public items that cannot carry docs; tables and columns do")]

pub mod partner;
pub mod event_head;
pub mod installation;
pub mod api_key;
pub mod client;
pub mod onboarding;
pub mod onboarding_step;
pub mod sync;
pub mod sync_chunk;
pub mod contact;
pub mod contact_key;
pub mod conversation;
pub mod message;
pub mod message_key;
pub mod message_status;
pub mod reaction;
pub mod pending;
pub mod event;
pub mod alias;
pub mod lane;
pub mod lane_entry;
pub mod send_key;
pub mod inbound;
pub mod inbound_unknown;

mod enums;
mod ids;
mod timestamp;

pub use enums::*;
pub use ids::*;
pub use timestamp::Timestamp;
