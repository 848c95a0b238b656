//! The feed: one per partner and process, shared by all its readers. A hint says how far the log goes; the events
//! themselves always come from the log, through a bounded ring of recent ones. A reader holds a cursor, not a queue:
//! however slow it is, memory stays the same (invariant 6).

pub mod about;
pub mod stream;
mod tap;

pub use tap::CursorTap;

use crate::db::{Db, SelectExt};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use entity::{PartnerId, event, event_head};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::watch;

use self::about::About;

/// Events read from the log at once.
const READ: usize = 500;

/// All feeds of the process.
pub struct Hub {
    db: Db,
    ring: usize,
    feeds: Mutex<HashMap<PartnerId, Arc<Feed>>>,
    /// Results of subscriptions that were executed, for one subscriber or for many.
    pub executed: AtomicU64,
    /// Results of subscriptions that were told to a subscriber.
    pub told: AtomicU64,
}

/// Between which places a log lies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Everything after this place is kept, nothing up to it.
    pub floor: i64,
    /// The newest entry's place; 0: there never was one.
    pub head: i64,
}

impl Bounds {
    /// Of a partner's log, now.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn of(db: &Db, partner: PartnerId) -> Result<Self, DbErr> {
        #[expect(clippy::disallowed_methods, reason = "asked for by the partner's own id")]
        let row = event_head::Entity::find_by_id(partner).row(&db.reads()).await?;
        Ok(row.map_or(Self::default(), |row| Self { floor: row.floor, head: row.head }))
    }
}

/// One partner's feed.
pub struct Feed {
    partner: PartnerId,
    head: watch::Sender<i64>,
    ring: RwLock<VecDeque<Arc<event::Model>>>,
    most: usize,
    filling: tokio::sync::Mutex<()>,
    about: about::Held,
}

impl Hub {
    /// No feed yet; they come with their first reader.
    pub fn new(db: Db, ring: usize) -> Self {
        Self { db, ring, feeds: Mutex::default(), executed: AtomicU64::new(0), told: AtomicU64::new(0) }
    }

    /// The log of this partner goes up to `head` now. May be doubled, late or lost: a feed that is read also asks the
    /// log now and then.
    pub fn hint(&self, partner: PartnerId, head: i64) {
        let feed = self.feeds.lock().unwrap_or_else(PoisonError::into_inner).get(&partner).cloned();
        if let Some(feed) = feed {
            feed.advance(head);
        }
    }

    /// The feed of a partner.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn feed(&self, partner: PartnerId) -> Result<Arc<Feed>, DbErr> {
        let feed = {
            let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || {
                Arc::new(Feed {
                    partner,
                    head: watch::Sender::new(0),
                    ring: RwLock::default(),
                    most: self.ring,
                    filling: tokio::sync::Mutex::default(),
                    about: about::Held::default(),
                })
            };
            feeds.entry(partner).or_insert_with(fresh).clone()
        };
        // After it is in the map: a commit from here on is hinted, one before it is read here.
        feed.advance(self.head(partner).await?);
        Ok(feed)
    }

    /// Between which places a partner's log lies now.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn bounds(&self, partner: PartnerId) -> Result<Bounds, DbErr> {
        Bounds::of(&self.db, partner).await
    }

    /// The position of a partner's newest event, as the log says.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn head(&self, partner: PartnerId) -> Result<i64, DbErr> {
        Ok(self.bounds(partner).await?.head)
    }

    /// Asks the log for the heads of all feeds that have readers: what makes a lost hint harmless.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn catch_up(&self) -> Result<(), DbErr> {
        let partners: Vec<PartnerId> = {
            let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
            feeds.retain(|_, feed| feed.head.receiver_count() > 0 || Arc::strong_count(feed) > 1);
            feeds.values().for_each(|feed| feed.about.forget());
            feeds.keys().copied().collect()
        };
        if partners.is_empty() {
            return Ok(());
        }
        #[expect(clippy::disallowed_methods, reason = "the engine's own look at all heads")]
        let rows = event_head::Entity::find()
            .filter(event_head::Column::PartnerId.is_in(partners))
            .rows(&self.db.reads())
            .await?;
        for row in rows {
            self.hint(row.partner_id, row.head);
        }
        Ok(())
    }
}

impl Feed {
    fn advance(&self, head: i64) {
        self.head.send_if_modified(|known| {
            let newer = head > *known;
            *known = head.max(*known);
            newer
        });
    }

    /// What the event at this place is about, as far as somebody read it already.
    pub fn about(&self, position: i64) -> Arc<About> {
        self.about.of(position, self.head())
    }

    /// How many of the newest events memory holds for readers that are nearly live.
    pub fn ring(&self) -> i64 {
        i64::try_from(self.most).unwrap_or(i64::MAX)
    }

    /// How far the log goes, as far as this process knows.
    pub fn head(&self) -> i64 {
        *self.head.borrow()
    }

    /// To wait for `head` to move.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.head.subscribe()
    }

    /// The events after `position`, at most 500, in order and without a gap; empty when there is none yet.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn after(&self, db: &Db, position: i64) -> Result<Vec<Arc<event::Model>>, DbErr> {
        if position >= self.head() {
            return Ok(Vec::new());
        }
        if let Some(events) = self.recent(position) {
            return Ok(events);
        }
        let near_head = self.head() - position <= self.ring();
        if !near_head {
            return self.read(db, position, READ).await.map(|rows| rows.into_iter().map(Arc::new).collect());
        }
        // One reader fills the ring for all.
        let _filling = self.filling.lock().await;
        if let Some(events) = self.recent(position) {
            return Ok(events);
        }
        let last = self.ring_end().filter(|last| *last >= position).unwrap_or(position);
        let rows = self.read(db, last, READ).await?;
        self.extend(rows);
        match self.recent(position) {
            Some(events) => Ok(events),
            None => self.read(db, position, READ).await.map(|rows| rows.into_iter().map(Arc::new).collect()),
        }
    }

    async fn read(&self, db: &Db, position: i64, most: usize) -> Result<Vec<event::Model>, DbErr> {
        #[expect(clippy::disallowed_methods, reason = "one partner's log, by the partner's own id")]
        db.rows(
            event::Entity::find()
                .filter(event::Column::PartnerId.eq(self.partner))
                .filter(event::Column::Position.gt(position))
                .order_by_asc(event::Column::Position)
                .limit(u64::try_from(most).unwrap_or(u64::MAX)),
        )
        .await
    }

    fn ring_end(&self) -> Option<i64> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).back().map(|event| event.position)
    }

    /// From the ring, if it reaches back to `position` and beyond it.
    fn recent(&self, position: i64) -> Option<Vec<Arc<event::Model>>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let first = ring.front()?.position;
        let skip = usize::try_from(position + 1 - first).ok()?;
        (skip < ring.len()).then(|| ring.iter().skip(skip).take(READ).cloned().collect())
    }

    fn extend(&self, rows: Vec<event::Model>) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            if ring.back().is_some_and(|last| last.position + 1 != row.position) {
                ring.clear();
            }
            ring.push_back(Arc::new(row));
            if ring.len() > self.most {
                ring.pop_front();
            }
        }
    }
}
