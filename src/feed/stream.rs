//! A reader of the feed: first what came after its cursor, then one sign that it caught up, then live. It holds a place
//! in the log and a few events read ahead, whatever its consumer does.

use std::collections::VecDeque;
use std::sync::Arc;

use entity::event;
use sea_orm::DbErr;
use tokio::sync::watch;

use super::Feed;
use super::about::About;
use crate::app::App;
use crate::auth::Scope;
use crate::events::filter::Filter;
use crate::events::queries::{self, CursorError, Search};

/// Events that a search brings at once.
const FOUND: usize = 500;

/// Events between a reader and the head that may be told together with those who are live: less than a group keeps for members
/// that are a little late.
const NEAR: i64 = 128;

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Item {
    /// Something happened; and what it is about, for all readers.
    Event(Arc<event::Model>, Arc<About>),
    /// All that had happened when the reader came was told; from here on it is live.
    CaughtUp(i64),
}

/// A place at the head of a partner's stream, taken before anything else is asked: what happens from here on will be
/// told, however long the rest of the preparations takes.
pub struct Joined {
    app: Arc<App>,
    scope: Scope,
    feed: Arc<Feed>,
    watch: watch::Receiver<i64>,
    head: i64,
}

impl Joined {
    /// Joins the feed of the scope's partner.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn new(app: &Arc<App>, scope: &Scope) -> Result<Self, DbErr> {
        let feed = app.hub.feed(scope.partner()).await?;
        let watch = feed.watch();
        let head = feed.head();
        Ok(Self { app: app.clone(), scope: scope.clone(), feed, watch, head })
    }

    /// Reads: with a cursor everything after it, without one what happened since joining. The filter's clients were looked
    /// up after joining. `quiet`: it is not told that it caught up, since it was before.
    ///
    /// # Errors
    /// When the cursor is of no use, or the database is away.
    pub async fn read(self, after: Option<&str>, filter: Filter, quiet: bool) -> Result<Reader, CursorError> {
        let Self { app, scope, feed, watch, head } = self;
        let (position, catch_up_at) = match after {
            Some(cursor) => {
                let position = queries::resume(&app, &scope, Some(cursor)).await?;
                (position, (!quiet).then(|| head.max(position)))
            }
            None => (head, None),
        };
        queries::note_reader(&app, &scope).await?;
        let narrow = filter.is_narrow() || scope.clients().is_some();
        let search = (narrow && head - position > feed.ring()).then(|| Search::after(position));
        let ahead = VecDeque::new();
        Ok(Reader {
            app,
            scope,
            feed,
            watch,
            filter,
            position,
            head,
            search,
            catch_up_at,
            ahead,
            ended: false,
        })
    }
}

/// Reads one partner's stream for one subscriber.
pub struct Reader {
    app: Arc<App>,
    scope: Scope,
    feed: Arc<Feed>,
    watch: watch::Receiver<i64>,
    filter: Filter,
    /// Everything up to here was told or passed over.
    position: i64,
    /// Where the stream stood when the reader joined. Up to here a narrow filter is searched for; beyond, every entry is
    /// looked at, since a client of the filter may go on under another id.
    head: i64,
    /// Searches while far from the head.
    search: Option<Search>,
    catch_up_at: Option<i64>,
    /// Read from the log, not yet told.
    ahead: VecDeque<Arc<event::Model>>,
    ended: bool,
}

impl Reader {
    /// The next items, at most `most` and at least one: those that are ready together. Before it waits for any, it tells
    /// `idle` up to which place everything was told or passed over, and whether it is live from there on; all that it gave
    /// before must have been told on by then. None after an error. It ends by itself only then: whoever reads stops reading
    /// when the process ends.
    pub async fn next(
        &mut self,
        most: usize,
        idle: &(dyn Fn(i64, bool) + Send + Sync),
    ) -> Option<Vec<Result<Item, CursorError>>> {
        if self.ended {
            return None;
        }
        let mut items = Vec::new();
        while items.len() < most {
            if let Some(place) = self.catch_up_at.filter(|place| self.position >= *place) {
                self.catch_up_at = None;
                items.push(Ok(Item::CaughtUp(place)));
                continue;
            }
            match self.step() {
                Step::Told(row) => {
                    let about = self.feed.about(row.position);
                    items.push(Ok(Item::Event(row, about)));
                }
                Step::PassedOver => {}
                // What is in hand goes first.
                Step::Dry if !items.is_empty() => break,
                Step::Dry => {
                    idle(self.position, self.is_live());
                    if let Err(error) = self.fill().await {
                        self.ended = true;
                        items.push(Err(error));
                        break;
                    }
                }
                Step::Gap => {
                    self.ended = true;
                    items.push(Err(self.expired().await));
                    break;
                }
            }
        }
        Some(items)
    }

    /// Whether nothing of the past is left to tell, but for what just came. Who is far behind reads alone, at the pace of the
    /// own consumer: a group's stream waits for nobody.
    fn is_live(&self) -> bool {
        self.catch_up_at.is_none() && self.search.is_none() && self.feed.head() - self.position < NEAR
    }

    /// Takes one event that was read ahead.
    fn step(&mut self) -> Step {
        let Some(row) = self.ahead.pop_front() else {
            let Some(search) = &self.search else { return Step::Dry };
            let looked_through = search.position;
            if looked_through >= self.head {
                self.search = None;
            }
            // No further than the last entry that it found, or not yet begun.
            if looked_through <= self.position {
                return Step::Dry;
            }
            self.position = looked_through;
            return Step::PassedOver;
        };
        // The stream has no gaps: what is missing was too old to be kept.
        if self.search.is_none() && row.position != self.position + 1 {
            return Step::Gap;
        }
        self.position = row.position;
        self.filter.follow(&row);
        if queries::admits(&self.scope, &row) && self.filter.admits(&row) {
            Step::Told(row)
        } else {
            Step::PassedOver
        }
    }

    /// Reads ahead; waits while there is nothing.
    async fn fill(&mut self) -> Result<(), CursorError> {
        if let Some(search) = &mut self.search {
            let rows = search.next(&self.app.db, &self.scope, &self.filter, self.head, FOUND).await?;
            queries::is_kept(&self.app, &self.scope, self.position).await?;
            self.ahead.extend(rows.into_iter().map(Arc::new));
            return Ok(());
        }
        // Marked as seen before reading: what comes in between wakes at once, and is no gap.
        let head = *self.watch.borrow_and_update();
        let rows = self.feed.after(&self.app.db, self.position).await?;
        if !rows.is_empty() {
            self.ahead.extend(rows);
        } else if head > self.position {
            // The log was cut off between what is known of its head and what was read of it.
            return Err(self.expired().await);
        } else if self.watch.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn expired(&self) -> CursorError {
        match queries::is_kept(&self.app, &self.scope, self.position).await {
            Err(error) => error,
            Ok(()) => {
                let gap = format!("the log has a gap after position {}", self.position);
                CursorError::Database(DbErr::RecordNotFound(gap))
            }
        }
    }
}

enum Step {
    Told(Arc<event::Model>),
    PassedOver,
    Dry,
    Gap,
}
