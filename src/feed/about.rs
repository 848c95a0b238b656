//! What live events are about, read once for all who follow a stream: each event that just happened is executed for
//! every group of subscribers, at about the same time, and all of them ask for the same few rows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use entity::{client, contact, conversation, message, onboarding, template};
use tokio::sync::OnceCell;

/// Newest events whose rows are held.
const HELD: i64 = 64;

/// Rows that one event is about, each read by whoever asks for it first. They belong to the event's client; whoever uses
/// them checks whether the own scope admits that.
#[derive(Debug, Default)]
pub struct About {
    /// The event's message.
    pub message: OnceCell<Arc<message::Model>>,
    /// The event's contact, or its message's.
    pub contact: OnceCell<Arc<contact::Model>>,
    /// The event's onboarding.
    pub onboarding: OnceCell<Arc<onboarding::Model>>,
    /// The event's template.
    pub template: OnceCell<Arc<template::Model>>,
    /// The conversation that its message belongs to.
    pub conversation: OnceCell<Arc<conversation::Model>>,
    /// The event's client.
    pub client: OnceCell<Arc<client::Model>>,
}

/// What a partner's newest events are about.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<VecDeque<(i64, Arc<About>)>>);

impl Held {
    /// Of the event at this place, shared while it is among the newest; its own where it is not.
    pub(super) fn of(&self, position: i64, head: i64) -> Arc<About> {
        if head - position >= HELD {
            return Arc::default();
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, about)) = held.iter().rev().find(|(other, _)| *other == position) {
            return about.clone();
        }
        let about = Arc::<About>::default();
        held.push_back((position, about.clone()));
        if held.len() > usize::try_from(HELD).unwrap_or(usize::MAX) {
            held.pop_front();
        }
        about
    }

    /// Gives the memory back. Who comes later reads anew, and sees what was changed or erased since.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = VecDeque::new();
    }
}
