//! Inputs and payloads: one of each for a mutation.

pub mod client;
pub mod content;
pub mod message;
pub mod onboarding;
pub mod template;
pub mod webhook;
