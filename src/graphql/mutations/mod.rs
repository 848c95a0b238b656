//! Inputs and payloads: one of each for a mutation.

pub mod client;
pub mod message;
pub mod onboarding;
pub mod webhook;
