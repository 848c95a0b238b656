//! Tandem: a self-hosted GraphQL backend for WhatsApp coexistence. Data goes one way: `inbound` → `apply` → `events`
//! (the log) → `feed`; sends go the other way, through `lanes`. Doors (`graphql`, `http`) are thin; the domain knows
//! neither.

// What a process is made of.
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod failure;
pub mod ids;
pub mod lifecycle;
pub mod secrets;
pub mod serve;
pub mod tail;
pub mod telemetry;
pub mod upkeep;

// Who may see what.
pub mod auth;
pub mod partners;

// The domain.
pub mod clients;
pub mod contacts;
pub mod conversations;
pub mod lookup;
pub mod media;
pub mod messages;
pub mod onboarding;
pub mod presence;
pub mod sync;
pub mod templates;

// The engines.
pub mod apply;
pub mod events;
pub mod feed;
pub mod inbound;
pub mod lanes;
pub mod upstream;
pub mod webhooks;

// The doors.
pub mod graphql;
pub mod http;
