//! What everything hangs on: the installation (files, databases, keys) and, while it serves, the engines.

use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use anyhow::Context;
use entity::Timestamp;
use migration::{InboundMigrator, Migrator};

use crate::auth::Keys;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, Purpose};
use crate::events::cursor::Cursor;
use crate::events::epoch;
use crate::feed::Hub;
use crate::inbound::Inbox;
use crate::lifecycle::Tasks;
use crate::media::Files;
use crate::secrets::InstallationKey;
use crate::upstream::meta::Meta;

/// What every command has: settings, databases, clock, key.
#[derive(Clone)]
pub struct Installation {
    /// The settings.
    pub config: Arc<Config>,
    /// Everything but raw bodies.
    pub db: Db,
    /// Raw bodies; on SQLite a file of its own, so that accepting never waits for applying.
    pub inbound_db: Db,
    /// What "now" is.
    pub clock: Clock,
    /// Seals and hashes.
    pub key: Arc<InstallationKey>,
    /// Of the event log; see [`crate::events::epoch`].
    pub epoch: Arc<AtomicI64>,
}

impl Installation {
    /// Makes the data directory if it is missing, opens the databases and brings them up to date.
    ///
    /// # Errors
    /// When a file cannot be made or a database not be reached.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        // People's words are in it: nobody else on this machine reads them. One that is there already is its owner's affair.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.data_dir)
            .with_context(|| format!("cannot make the data directory {}", config.data_dir.display()))?;
        let key = InstallationKey::load(&config)?;
        let db = Db::open::<Migrator>(&config.database_url(), Purpose::Rows).await.context(
            "cannot open the database and bring it up to date: see the setting database_url (DATABASE_URL)",
        )?;
        let inbound_db = Db::open::<InboundMigrator>(&config.inbound_url(), Purpose::Queue)
            .await
            .context("cannot open the database of raw bodies and bring it up to date")?;
        let epoch = epoch::read(&db, &config).await.context("cannot read which log this database holds")?;
        Ok(Self {
            config: Arc::new(config),
            db,
            inbound_db,
            clock: Clock::default(),
            key: Arc::new(key),
            epoch: Arc::new(AtomicI64::new(epoch)),
        })
    }

    /// The cursor of a place in a partner's stream.
    pub fn cursor(&self, partner: entity::PartnerId, position: i64) -> String {
        Cursor { epoch: self.epoch.load(Ordering::Relaxed), partner, position }.encode()
    }
}

/// A serving process: the installation, and what serves it. What needs no more than the installation takes that, so that
/// commands can call it too.
pub struct App {
    installation: Installation,
    /// Checks API keys.
    pub keys: Keys,
    /// The feeds.
    pub hub: Arc<Hub>,
    /// Where messages come from and go to.
    pub upstream: Meta,
    /// The tasks of the process.
    pub tasks: Tasks,
    /// The address that others reach us by, without a slash at its end.
    pub public_url: String,
    /// Everything is up.
    pub ready: AtomicBool,
    /// Accepts webhook bodies.
    pub inbox: Inbox,
    /// Signups that are under way.
    pub signups: crate::onboarding::Signups,
    /// Where messages to be sent are handed in.
    pub acceptor: crate::messages::accept::Acceptor,
    /// What became of sends.
    pub sends: crate::lanes::Counters,
    /// Wakes the lanes: something was queued, or a client may send again.
    pub lanes_wake: crate::lanes::Wake,
    /// Tells who delivers webhooks that an endpoint came or changed.
    pub webhooks_wake: tokio::sync::Notify,
    /// Files of messages.
    pub media: Files,
    /// Bounds the lists of templates that callers make us read.
    pub template_reads: crate::templates::Reads,
    /// What became of webhooks to partners.
    pub deliveries: crate::webhooks::Counters,
    /// Wakes the applier: bodies were accepted, or a number was connected.
    pub apply_wake: tokio::sync::Notify,
}

impl Deref for App {
    type Target = Installation;

    fn deref(&self) -> &Installation {
        &self.installation
    }
}

impl App {
    /// Puts the parts together. Starts nothing.
    pub fn new(
        installation: Installation,
        upstream: Meta,
        inbox: Inbox,
        media: Files,
        public_url: String,
        tasks: Tasks,
    ) -> Self {
        let hub = Arc::new(Hub::new(installation.db.clone(), installation.config.events.ring));
        Self {
            installation,
            keys: Keys::default(),
            hub,
            upstream,
            tasks,
            public_url,
            ready: AtomicBool::new(false),
            inbox,
            signups: crate::onboarding::Signups::default(),
            acceptor: crate::messages::accept::Acceptor::default(),
            sends: crate::lanes::Counters::default(),
            lanes_wake: crate::lanes::Wake::default(),
            webhooks_wake: tokio::sync::Notify::new(),
            media,
            template_reads: crate::templates::Reads::default(),
            deliveries: crate::webhooks::Counters::default(),
            apply_wake: tokio::sync::Notify::new(),
        }
    }

    /// What the domain calls now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Where webhooks may go.
    pub fn webhook_policy(&self) -> crate::webhooks::address::Policy {
        crate::webhooks::address::Policy {
            subnets: self.config.webhooks.allowed_subnets.clone(),
            development: self.config.is_development(),
        }
    }
}
