//! Webhooks: what they say ([`bodies`], [`history`]), how they are made worse on purpose ([`spoil`]), the order in
//! which they wait ([`queue`]), and how they are posted until somebody takes them ([`delivery`]).

pub(crate) mod bodies;
pub(crate) mod delivery;
pub(crate) mod history;
pub(crate) mod queue;
pub(crate) mod signature;
pub(crate) mod spoil;
