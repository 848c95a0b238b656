//! What the database holds, table by table. Knows neither GraphQL nor HTTP, and has no behaviour.
#![expect(
    missing_docs,
    reason = "SeaORM's derives make public items that cannot carry docs; tables and columns do"
)]

pub mod alias;
pub mod api_key;
pub mod blob;
pub mod client;
pub mod contact;
pub mod contact_key;
pub mod conversation;
pub mod event;
pub mod event_head;
pub mod event_mark;
pub mod inbound;
pub mod inbound_unknown;
pub mod installation;
pub mod lane;
pub mod lane_entry;
pub mod media;
pub mod message;
pub mod message_key;
pub mod message_status;
pub mod onboarding;
pub mod onboarding_step;
pub mod partner;
pub mod pending;
pub mod reaction;
pub mod send_key;
pub mod sync;
pub mod sync_chunk;
pub mod template;
pub mod webhook_attempt;
pub mod webhook_delivery;
pub mod webhook_endpoint;
pub mod webhook_replay;

mod enums;
mod ids;
mod timestamp;

pub use enums::*;
pub use ids::*;
pub use timestamp::Timestamp;
