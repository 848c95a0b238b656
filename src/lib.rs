//! Tandem: a self-hosted GraphQL backend for WhatsApp coexistence.

pub mod http;
pub mod messages;
pub mod upstream;
