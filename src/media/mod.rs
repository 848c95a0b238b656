//! Files of messages: fetched from WhatsApp as soon as they are told of, uploaded by partners, kept once however many
//! messages have them, served for a while under signed addresses, and removed when they are too old or too much.
//!
//! A row of `media` is a file of a client, and the job of fetching it; a row of `blob` names an object in the [`store`] from
//! before its first byte until after its last, so that nothing in the store is ever unknown to the database.
//!
//! * [`kinds`]: what WhatsApp takes, and what a file really is.
//! * [`store`]: the bytes, on the disk or in an S3-compatible store. In pieces, never a whole file in memory.
//! * [`keep`]: rows of files and bytes; what is to go.
//! * [`transfers`]: the engine that moves files, [`fetch`] one from WhatsApp, [`deliver`] one to it.
//! * [`upload`]: a partner's file. [`links`]: signed addresses. [`queries`]: what readers see.

pub mod deliver;
pub mod fetch;
pub mod keep;
pub mod kinds;
pub mod links;
pub mod queries;
pub mod store;
pub mod transfers;
pub mod upload;

use std::sync::atomic::AtomicU64;

use tokio::sync::{Notify, watch};

use crate::config::MediaConfig;
use store::Store;

/// What the process has for files.
pub struct Files {
    /// The bytes.
    pub store: Store,
    /// Wakes the engine: there is a file to move.
    pub wake: Notify,
    /// Files that were fetched from WhatsApp.
    pub fetched: AtomicU64,
    /// Files that WhatsApp was given.
    pub delivered: AtomicU64,
    /// Files that could not be had, or not be given.
    pub given_up: AtomicU64,
    /// Places for uploads of partners.
    pub(crate) uploads: upload::Places,
    /// Changes whenever a transfer is over.
    pub(crate) over: watch::Sender<u64>,
}

impl Files {
    /// With this store.
    pub fn new(store: Store, config: &MediaConfig) -> Self {
        Self {
            store,
            wake: Notify::new(),
            fetched: AtomicU64::default(),
            delivered: AtomicU64::default(),
            given_up: AtomicU64::default(),
            uploads: upload::Places::new(config.uploads, config.uploads_per_partner),
            over: watch::Sender::new(0),
        }
    }
}
