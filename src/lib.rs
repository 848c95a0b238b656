//! Tandem: a self-hosted GraphQL backend for WhatsApp coexistence.

pub mod clock;
pub mod config;
pub mod db;
pub mod ids;
pub mod messages;
pub mod upstream;
pub mod auth;
pub mod events;
pub mod failure;
pub mod feed;
pub mod secrets;
pub mod app;
pub mod lifecycle;
pub mod partners;
pub mod clients;
pub mod contacts;
pub mod conversations;
pub mod graphql;
pub mod lookup;
pub mod onboarding;
pub mod presence;
pub mod sync;
