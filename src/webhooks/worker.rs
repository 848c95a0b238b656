//! The rounds of one endpoint. A round hears what became of posts, turns entries of the log into deliveries, takes what
//! is due, makes the bodies that are missing, writes all of it in one transaction, and only then sends what it took.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use chrono::SecondsFormat;
use entity::{
    ClientId, EventType, Timestamp, WebhookDeliveryId, WebhookDeliveryStatus, WebhookDisabledReason, client,
    event, webhook_attempt, webhook_delivery, webhook_endpoint, webhook_replay,
};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::record::{Health, Made, Standing, Writes, Written};
use super::sender::{Answer, Post, Sender};
use super::window::{Item, Run, Slot, Window};
use super::{Place, RENDERED_AT_ONCE, Render, schedule, signing};
use crate::app::App;
use crate::auth::{Permission, Scope};
use crate::clock::{Clock, to_datetime};
use crate::db::SelectExt;
use crate::events::filter::Filter;
use crate::events::queries::Search;
use crate::ids::{EventId, PublicId};
use crate::lookup;
use crate::partners::{NewKey, draw_key};

/// Deliveries that a round takes.
const ROUND: usize = 200;
/// Entries of a replay that are turned into deliveries at once.
const READ_REPLAY: usize = 500;
/// Entries passed over before the place in the log is written although there is nothing else to write.
const LAG: i64 = 1000;
/// Rows read with one statement.
const READ: u64 = 500;
/// How often the clock is looked at while something waits: it can be moved.
const LOOK: Duration = Duration::from_secs(1);
/// Pause after the database refused.
const PAUSE: Duration = Duration::from_millis(500);
/// When an event whose data could not be made is tried again, seconds.
const SPOILED: i64 = 3600;
/// How long answers are waited for when the process ends.
const GRACE: Duration = Duration::from_secs(3);
/// Longest time for which an endpoint that asks to be left alone gets nothing at all, seconds.
const LONGEST_REST: i64 = 3600;
/// What the client's key may do.
const CLIENT_KEY: [Permission; 2] = [Permission::Read, Permission::Send];

/// What all workers of the process share.
pub(super) struct Shared {
    pub(super) app: Arc<App>,
    pub(super) render: Arc<dyn Render>,
    pub(super) sender: Sender,
    /// Posts of the whole process.
    pub(super) wire: Semaphore,
    pub(super) owner: Uuid,
}

/// What a sender needs to know of the endpoint.
struct Target {
    url: Url,
    secrets: Vec<(SecretString, Option<Timestamp>)>,
}

/// A part of the log that is gone through once more.
struct Replay {
    row: webhook_replay::Model,
    filter: Filter,
    search: Search,
}

/// A delivery with its body, ready to be sent.
struct Ready {
    item: Item,
    body: Vec<u8>,
}

/// What a sender reports.
enum Report {
    Taken { item: Item, at: Timestamp, answer: Answer },
    Over { slot: Slot, failed: Option<(Item, Timestamp, Answer)>, rest: Vec<Item> },
}

/// How many deliveries of the endpoint wait, counted among those of the process as long as it works for the endpoint.
struct Pending {
    app: Arc<App>,
    count: u64,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.app.deliveries.pending.fetch_sub(self.count, Ordering::Relaxed);
    }
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    app: Arc<App>,
    scope: Scope,
    endpoint: webhook_endpoint::Model,
    target: Arc<Target>,
    filter: Filter,
    replays: VecDeque<Replay>,
    window: Window,
    /// What waited when the worker began and is not in the window yet: after the first of these, up to the last.
    unread: Option<(WebhookDeliveryId, WebhookDeliveryId)>,
    writes: Writes,
    health: Health,
    /// As far as it was written.
    written_position: i64,
    pending: Pending,
    reports: mpsc::UnboundedSender<Report>,
    heard: mpsc::UnboundedReceiver<Report>,
    running: usize,
    rests_until: Timestamp,
    /// It was switched off, and that is written.
    disabled: bool,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl Worker {
    /// Reads what waits.
    pub(super) async fn load(
        shared: &Arc<Shared>,
        endpoint: webhook_endpoint::Model,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let app = shared.app.clone();
        let scope = Scope::of_webhooks(endpoint.partner_id);
        let filter = filter(&app, &scope, &endpoint).await?;
        let open = |sealed: &[u8]| app.key.open(endpoint.id.0.as_bytes(), sealed);
        let mut secrets = vec![(open(&endpoint.secret_sealed)?, None)];
        if let (Some(sealed), Some(until)) = (&endpoint.former_secret_sealed, endpoint.former_secret_until) {
            secrets.push((open(sealed)?, Some(until)));
        }
        let target = Target { url: Url::parse(&endpoint.url)?, secrets };
        let last: Option<WebhookDeliveryId> = waiting(&endpoint)
            .select_only()
            .column(webhook_delivery::Column::Id)
            .order_by_desc(webhook_delivery::Column::Id)
            .limit(1)
            .into_tuple()
            .one(app.db.read())
            .await?;
        let count = waiting(&endpoint).count(app.db.read()).await?;
        app.deliveries.pending.fetch_add(count, Ordering::Relaxed);
        let pending = Pending { app: app.clone(), count };
        #[expect(clippy::disallowed_methods, reason = "the engine's own replays, by their endpoint")]
        let rows = webhook_replay::Entity::find()
            .filter(webhook_replay::Column::EndpointId.eq(endpoint.id))
            .order_by_asc(webhook_replay::Column::Id)
            .rows(&app.db.reads())
            .await?;
        let mut replays = VecDeque::with_capacity(rows.len());
        for row in rows {
            let mut filter = filter.clone();
            if let Some(types) = row.event_types.clone() {
                let mut types: HashSet<EventType> = serde_json::from_value(types)?;
                types.retain(|kind| filter.types.as_ref().is_none_or(|wanted| wanted.contains(kind)));
                filter.types = Some(types);
            }
            replays.push_back(Replay { filter, search: Search::after(row.position), row });
        }
        let (reports, heard) = mpsc::unbounded_channel();
        Ok(Self {
            scope,
            target: Arc::new(target),
            filter,
            replays,
            window: Window::new(endpoint.parallel),
            unread: last.map(|last| (WebhookDeliveryId(Uuid::nil()), last)),
            writes: Writes { position: endpoint.position, ..Writes::default() },
            health: Health {
                last_success_at: endpoint.last_success_at,
                failing_since: endpoint.failing_since,
            },
            written_position: endpoint.position,
            pending,
            reports,
            heard,
            running: 0,
            rests_until: Timestamp(0),
            disabled: false,
            abort: CancellationToken::new(),
            shared: shared.clone(),
            app,
            endpoint,
            stop,
        })
    }

    /// Works until it is told to stop, or somebody else works for the endpoint.
    pub(super) async fn run(mut self) {
        let feed = loop {
            match self.app.hub.feed(self.endpoint.partner_id).await {
                Ok(feed) => break feed,
                Err(error) => tracing::warn!(%error, "the log cannot be read for webhooks right now"),
            }
            if self.pause().await {
                return;
            }
        };
        let mut head = feed.watch();
        while !self.stop.is_cancelled() {
            head.borrow_and_update();
            let behind = match self.round(&feed).await {
                Ok(Some(behind)) => behind,
                Ok(None) => return self.abort.cancel(),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "webhooks cannot be delivered right now");
                    if self.pause().await {
                        break;
                    }
                    continue;
                }
            };
            if self.disabled {
                break;
            }
            if behind && self.running < self.app.config.webhooks.concurrency {
                continue;
            }
            let wait = self.wait();
            tokio::select! {
                Some(report) = self.heard.recv() => self.hear(report),
                changed = head.changed(), if !behind => if changed.is_err() { break },
                () = wait => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.finish().await;
    }

    /// One round. True: there is more to be done at once. None: the endpoint is somebody else's.
    async fn round(&mut self, feed: &crate::feed::Feed) -> anyhow::Result<Option<bool>> {
        while let Ok(report) = self.heard.try_recv() {
            self.hear(report);
        }
        let now = self.app.now();
        if self.writes.disable.is_some() {
            return Ok(if self.write().await? == Written::Yes { Some(false) } else { None });
        }
        let behind = self.gather(feed, now).await?;
        let runs = if now >= self.rests_until {
            let free = self.app.config.webhooks.concurrency.saturating_sub(self.running);
            self.window.take(now, free, ROUND)
        } else {
            Vec::new()
        };
        let taken: Vec<(Slot, Vec<Item>)> = runs.iter().map(|run| (run.slot, run.items.clone())).collect();
        let ready = match self.prepare(runs, now).await {
            Ok(ready) => ready,
            Err(error) => {
                taken.into_iter().for_each(|(slot, items)| self.window.give_back(slot, None, items));
                return Err(error);
            }
        };
        if !self.writes.is_empty() || self.writes.position - self.written_position >= LAG {
            // What was taken must wait for it: nothing leaves that is not on the disk.
            loop {
                match self.write().await {
                    Ok(Written::Yes) => break,
                    Ok(Written::Lost) => return Ok(None),
                    Err(error) => {
                        tracing::warn!(%error, "webhooks cannot be recorded right now");
                        if self.pause().await {
                            return Ok(Some(false));
                        }
                    }
                }
            }
        }
        for run in ready {
            self.launch(run);
        }
        let more = self.window.next_due().is_some_and(|due| due <= now) && now >= self.rests_until;
        Ok(Some(behind || more))
    }

    /// Turns entries of the log into deliveries, as long as there is room. True: there are more.
    async fn gather(&mut self, feed: &crate::feed::Feed, now: Timestamp) -> anyhow::Result<bool> {
        if !self.has_room() {
            return Ok(false);
        }
        if let Some((after, last)) = self.unread {
            // What waits goes before what comes.
            self.unread = self.read_waiting(after, last).await?;
            return Ok(true);
        }
        let position = self.writes.position;
        let rows = feed.after(&self.app.db, position).await?;
        if let Some(first) = rows.first().filter(|first| first.position > position + 1) {
            self.lost(first.position - position - 1);
        }
        for row in &rows {
            self.filter.follow(row);
            if self.wants(row) {
                self.deliver(row, false, now);
            }
            self.writes.position = row.position;
        }
        if rows.is_empty() && feed.head() > position {
            // Everything after the place is gone: it was too old to be kept.
            let floor = self.app.hub.bounds(self.endpoint.partner_id).await?.floor;
            self.lost(floor - position);
            self.writes.position = floor.max(position);
        }
        // What did not move on is looked at again when the log does.
        let behind = feed.head() > self.writes.position && self.writes.position > position;
        if !behind && rows.is_empty() {
            return self.gather_replay(now).await;
        }
        Ok(behind || !self.replays.is_empty())
    }

    fn lost(&self, count: i64) {
        tracing::warn!(
            endpoint = self.endpoint.id.public(),
            count,
            "an endpoint was behind by more than the stream is kept; what was cut off is lost to it"
        );
    }

    /// Brings what waits into the window, some of it. What is left.
    async fn read_waiting(
        &mut self,
        after: WebhookDeliveryId,
        last: WebhookDeliveryId,
    ) -> anyhow::Result<Option<(WebhookDeliveryId, WebhookDeliveryId)>> {
        let rows = waiting(&self.endpoint)
            .filter(webhook_delivery::Column::Id.gt(after))
            .filter(webhook_delivery::Column::Id.lte(last))
            .order_by_asc(webhook_delivery::Column::Id)
            .limit(READ)
            .rows(&self.app.db.reads())
            .await?;
        rows.iter().for_each(|row| self.window.push(row.into()));
        Ok(rows.last().map(|row| (row.id, last)).filter(|(read, last)| read < last))
    }

    fn has_room(&self) -> bool {
        self.window.flowing() < ROUND && self.window.waiting() < self.app.config.webhooks.backlog
    }

    /// The same from a part of the log that was asked for again. True: there is more.
    async fn gather_replay(&mut self, now: Timestamp) -> anyhow::Result<bool> {
        let Some(Replay { row: replay, filter, search }) = self.replays.front_mut() else { return Ok(false) };
        let (id, since, until) = (replay.id, replay.since, replay.until);
        let rows = search.next(&self.app.db, &self.scope, filter, replay.until_position, READ_REPLAY).await?;
        let (end, is_over) = (search.position, search.position >= replay.until_position);
        for row in rows.iter().filter(|row| row.kind != EventType::Test) {
            if since.is_none_or(|since| row.occurred_at >= since)
                && until.is_none_or(|until| row.occurred_at < until)
            {
                self.deliver(row, true, now);
            }
        }
        self.writes.replays.retain(|(other, _)| *other != id);
        if is_over {
            self.writes.replays_over.push(id);
            self.replays.pop_front();
        } else {
            self.writes.replays.push((id, end));
        }
        Ok(!self.replays.is_empty())
    }

    /// Whether the endpoint asked for this entry. A test is for the endpoint that it names, whatever else that wants.
    fn wants(&self, row: &event::Model) -> bool {
        match row.kind {
            EventType::Test => row.subject_id == Some(self.endpoint.id.0),
            _ => self.filter.admits(row),
        }
    }

    fn deliver(&mut self, row: &event::Model, replay: bool, now: Timestamp) {
        let delivery = webhook_delivery::Model {
            id: WebhookDeliveryId::generate(),
            partner_id: self.endpoint.partner_id,
            endpoint_id: self.endpoint.id,
            position: row.position,
            kind: row.kind,
            occurred_at: row.occurred_at,
            client_id: row.client_id,
            subject_id: row.subject_id,
            replay,
            status: WebhookDeliveryStatus::Pending,
            alone: false,
            attempts: 0,
            first_attempt_at: None,
            next_attempt_at: now,
            settled_at: None,
            data: None,
            client_key_sealed: None,
        };
        self.window.push(Item::from(&delivery));
        self.writes.new.push(delivery);
    }

    /// Brings the bodies: those that are kept, and those that are made now. What has none any more is over.
    async fn prepare(&mut self, runs: Vec<Run>, now: Timestamp) -> anyhow::Result<Vec<Run<Ready>>> {
        let items = || runs.iter().flat_map(|run| &run.items);
        let kept: Vec<WebhookDeliveryId> = items().filter(|item| item.has_body).map(|item| item.id).collect();
        let mut bodies = self.kept_bodies(kept).await?;
        let missing: Vec<Place> = items()
            .filter(|item| item.attempts == 0 && !bodies.contains_key(&item.id))
            .map(|item| Place { position: item.position, kind: item.kind })
            .collect();
        let (rendered, spoiled) = self.render(&missing).await?;
        let mut made: HashMap<WebhookDeliveryId, Made> = HashMap::new();
        for item in items() {
            if item.attempts > 0 || bodies.contains_key(&item.id) {
                continue;
            }
            let Some(data) = rendered.get(&item.position) else { continue };
            let key = self.client_key(item)?;
            let sealed = key.as_ref().map(|key| self.app.key.seal(item.id.0.as_bytes(), key)).transpose()?;
            made.insert(item.id, Made { id: item.id, data: data.clone(), client_key_sealed: sealed });
            bodies.insert(item.id, body(item, data, key.as_ref()));
        }
        // Nothing can fail from here on.
        for row in &mut self.writes.new {
            if let Some(one) = made.remove(&row.id) {
                (row.data, row.client_key_sealed) = (Some(one.data), one.client_key_sealed);
            }
        }
        self.writes.made.extend(made.into_values());
        let mut ready = Vec::with_capacity(runs.len());
        for run in runs {
            let mut run_ready = Run { slot: run.slot, items: Vec::with_capacity(run.items.len()) };
            for mut item in run.items {
                match bodies.remove(&item.id) {
                    Some(body) => {
                        item.has_body = true;
                        run_ready.items.push(Ready { item, body });
                    }
                    None if spoiled.contains(&item.position) => {
                        item.alone = true;
                        item.next_attempt_at = now.plus_seconds(SPOILED);
                        self.stands(&item, WebhookDeliveryStatus::Pending, None);
                        self.window.push(item);
                    }
                    None => self.stands(&item, WebhookDeliveryStatus::Canceled, Some(now)),
                }
            }
            if run_ready.items.is_empty() {
                self.window.give_back(run.slot, None, Vec::new());
            } else {
                ready.push(run_ready);
            }
        }
        Ok(ready)
    }

    /// Makes `data` of entries; and those of which it cannot be made, which is our mistake and must not hold up the others.
    async fn render(&self, entries: &[Place]) -> anyhow::Result<(HashMap<i64, String>, HashSet<i64>)> {
        let partner = self.endpoint.partner_id;
        let (mut rendered, mut spoiled) = (HashMap::with_capacity(entries.len()), HashSet::new());
        for chunk in entries.chunks(RENDERED_AT_ONCE) {
            match self.shared.render.render(&self.app, partner, chunk.to_vec()).await {
                Ok(made) => rendered.extend(made),
                Err(error) if chunk.len() == 1 => return Err(error),
                Err(_) => {
                    for entry in chunk {
                        match self.shared.render.render(&self.app, partner, vec![*entry]).await {
                            Ok(made) => rendered.extend(made),
                            Err(error) => {
                                let (position, error) = (entry.position, format!("{error:#}"));
                                tracing::error!(position, error, "an event cannot be told by webhook");
                                spoiled.insert(position);
                            }
                        }
                    }
                }
            }
        }
        // Nothing at all: the database is away.
        anyhow::ensure!(!rendered.is_empty() || spoiled.is_empty(), "events cannot be rendered");
        Ok((rendered, spoiled))
    }

    async fn kept_bodies(
        &self,
        ids: Vec<WebhookDeliveryId>,
    ) -> anyhow::Result<HashMap<WebhookDeliveryId, Vec<u8>>> {
        let mut bodies = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(bodies);
        }
        #[expect(clippy::disallowed_methods, reason = "the engine's own deliveries, by their ids")]
        let rows = webhook_delivery::Entity::find()
            .filter(webhook_delivery::Column::Id.is_in(ids))
            .rows(&self.app.db.reads())
            .await?;
        for row in rows {
            let Some(data) = &row.data else { continue };
            let key = row.client_key_sealed.as_deref();
            let key = key.map(|sealed| self.app.key.open(row.id.0.as_bytes(), sealed)).transpose()?;
            bodies.insert(row.id, body(&Item::from(&row), data, key.as_ref()));
        }
        Ok(bodies)
    }

    /// A key of the client that was connected, for the endpoint that asked for it (S5).
    fn client_key(&mut self, item: &Item) -> anyhow::Result<Option<SecretString>> {
        let Some(client) = item.client.filter(|_| item.kind == EventType::ClientConnected && !item.replay)
        else {
            return Ok(None);
        };
        if self.endpoint.client_key_of.is_none() {
            return Ok(None);
        }
        let new = NewKey {
            name: "sent with CLIENT_CONNECTED",
            clients: Some(vec![client]),
            permissions: CLIENT_KEY.to_vec(),
            expires_at: None,
        };
        let (row, secret) = draw_key(&self.app.key, self.endpoint.partner_id, new)?;
        self.writes.keys.push(row);
        Ok(Some(SecretString::from(secret)))
    }

    /// Sends a run, one after another, until one fails.
    fn launch(&mut self, run: Run<Ready>) {
        self.running += 1;
        let (shared, target) = (self.shared.clone(), self.target.clone());
        let (reports, abort) = (self.reports.clone(), self.abort.clone());
        let partner = self.endpoint.partner_id;
        self.app.tasks.spawn(async move {
            let slot = run.slot;
            let mut items = run.items.into_iter();
            let mut failed = None;
            for Ready { item, body } in items.by_ref() {
                let post = async {
                    let _permit = shared.wire.acquire().await.ok();
                    let at = shared.app.now();
                    (at, send(&shared, &target, EventId { partner, position: item.position }, body, at).await)
                };
                let (at, answer) = tokio::select! {
                    answered = post => answered,
                    // Not known whether it arrived: it is sent again, under the same id.
                    () = abort.cancelled() => return,
                };
                if answer.error.is_some() {
                    failed = Some((item, at, answer));
                    break;
                }
                // The worker outlives its senders.
                let _ = reports.send(Report::Taken { item, at, answer });
            }
            let rest = items.map(|ready| ready.item).collect();
            let _ = reports.send(Report::Over { slot, failed, rest });
        });
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Taken { mut item, at, answer } => {
                item.attempts = item.attempts.saturating_add(1);
                item.first_attempt_at.get_or_insert(at);
                self.tried(&item, at, &answer);
                self.stands(&item, WebhookDeliveryStatus::Delivered, Some(at));
                let last_success_at = self.health.last_success_at.max(Some(at));
                self.health = Health { last_success_at, failing_since: None };
                self.writes.health = Some(self.health);
            }
            Report::Over { slot, failed, mut rest } => {
                self.running -= 1;
                // What was not tried is made anew when its turn comes; a client's key is not drawn twice.
                let stale = |item: &&mut Item| {
                    item.attempts == 0 && !item.may_have_left && item.kind != EventType::ClientConnected
                };
                rest.iter_mut().filter(stale).for_each(|item| item.has_body = false);
                let mut again = None;
                if let Some((mut item, at, answer)) = failed {
                    self.failed(&mut item, at, &answer);
                    let is_tried_again = item.fail(at, answer.retry_after, rand::random());
                    self.tried(&item, at, &answer);
                    if is_tried_again {
                        self.stands(&item, WebhookDeliveryStatus::Pending, None);
                        again = Some(item);
                    } else {
                        self.stands(&item, WebhookDeliveryStatus::Failed, Some(at));
                    }
                }
                self.window.give_back(slot, again, rest);
            }
        }
    }

    /// What a failure means for the endpoint.
    fn failed(&mut self, item: &mut Item, at: Timestamp, answer: &Answer) {
        let since = *self.health.failing_since.get_or_insert(at);
        self.writes.health = Some(self.health);
        if answer.http_status == Some(410) && !self.disabled {
            self.writes.disable = Some(WebhookDisabledReason::Gone);
        } else if at >= since.plus_seconds(schedule::WHOLE) && !self.disabled {
            self.writes.disable.get_or_insert(WebhookDisabledReason::Failing);
        }
        if let Some(asked) = answer.retry_after
            && matches!(answer.http_status, Some(429 | 503))
        {
            self.rests_until = self.rests_until.max(at.plus_seconds(asked.min(LONGEST_REST)));
        }
        item.has_body = true;
    }

    fn tried(&mut self, item: &Item, at: Timestamp, answer: &Answer) {
        self.writes.attempts.push(webhook_attempt::Model {
            delivery_id: item.id,
            number: item.attempts,
            at,
            duration_ms: i32::try_from(answer.duration.as_millis()).unwrap_or(i32::MAX),
            http_status: answer.http_status.map(i32::from),
            error: answer.error.clone(),
        });
    }

    fn stands(&mut self, item: &Item, status: WebhookDeliveryStatus, settled_at: Option<Timestamp>) {
        self.writes.standings.push(Standing {
            id: item.id,
            status,
            attempts: item.attempts,
            alone: item.alone,
            first_attempt_at: item.first_attempt_at,
            next_attempt_at: item.next_attempt_at,
            settled_at,
        });
    }

    async fn write(&mut self) -> Result<Written, sea_orm::DbErr> {
        let (partner, endpoint) = (self.endpoint.partner_id, self.endpoint.id);
        let written = self.writes.write(&self.app, partner, endpoint, self.shared.owner).await?;
        if written == Written::Yes {
            self.writes.count(&self.app.deliveries, &mut self.pending.count);
            self.written_position = self.writes.position;
            self.disabled |= self.writes.disable.is_some();
            self.writes = Writes { position: self.writes.position, ..Writes::default() };
        }
        Ok(written)
    }

    /// Until something is due. Nothing waits: for ever.
    fn wait(&self) -> impl Future<Output = ()> + use<> {
        // With everything on the wire the next answer decides.
        let is_free = self.running < self.app.config.webhooks.concurrency;
        let due = self.window.next_due().filter(|_| is_free).map(|due| {
            let until = due.max(self.rests_until).0.saturating_sub(self.app.now().0);
            Duration::from_micros(u64::try_from(until).unwrap_or(0)).clamp(Duration::from_millis(1), LOOK)
        });
        async move {
            match due {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    /// True: it was told to stop.
    async fn pause(&self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => false,
            () = self.stop.cancelled() => true,
        }
    }

    /// What is on the wire is given a while to be answered; whoever comes next would have to send it again.
    async fn finish(mut self) {
        let deadline = tokio::time::Instant::now() + GRACE;
        while self.running > 0 {
            match tokio::time::timeout_at(deadline, self.heard.recv()).await {
                Ok(Some(report)) => self.hear(report),
                Ok(None) | Err(_) => break,
            }
        }
        self.abort.cancel();
        if let Err(error) = self.write().await {
            tracing::warn!(%error, "the last webhooks cannot be recorded; they will be sent again");
        }
    }
}

/// What an endpoint asked for: its clients under all ids that they ever had.
async fn filter(app: &App, scope: &Scope, endpoint: &webhook_endpoint::Model) -> anyhow::Result<Filter> {
    let types = endpoint.event_types.clone().map(serde_json::from_value).transpose()?;
    let mut filter = Filter { types, ..Filter::default() };
    if let Some(ids) = endpoint.client_ids.clone() {
        let ids: Vec<ClientId> = serde_json::from_value(ids)?;
        let rows = lookup::by_ids::<client::Entity>(&app.db, scope, &ids).await?;
        filter.clients = Some(Filter::clients(app, scope, rows.values().map(|row| row.id)).await?);
    }
    Ok(filter)
}

/// The deliveries of an endpoint that wait.
fn waiting(endpoint: &webhook_endpoint::Model) -> sea_orm::Select<webhook_delivery::Entity> {
    #[expect(clippy::disallowed_methods, reason = "the engine's own deliveries, by their endpoint")]
    webhook_delivery::Entity::find()
        .filter(webhook_delivery::Column::EndpointId.eq(endpoint.id))
        .filter(webhook_delivery::Column::Status.eq(WebhookDeliveryStatus::Pending))
}

/// Signs and posts.
async fn send(shared: &Shared, target: &Target, event: EventId, body: Vec<u8>, now: Timestamp) -> Answer {
    let id = event.public();
    // Real time, whatever the simulator says: the receiver compares it with its own clock.
    let timestamp = Clock::real_now().seconds();
    let holding = target.secrets.iter().filter(|(_, until)| until.is_none_or(|until| now < until));
    let secrets: Vec<SecretString> = holding.map(|(secret, _)| secret.clone()).collect();
    match signing::sign(&secrets, &id, timestamp, &body).context("cannot sign") {
        Ok(signature) => {
            let post = Post { url: &target.url, id: &id, timestamp, signature: &signature, body };
            shared.sender.post(post, now).await
        }
        Err(error) => Answer {
            http_status: None,
            error: Some(format!("{error:#}")),
            retry_after: None,
            duration: Duration::ZERO,
        },
    }
}

/// The bytes of a body: the same whenever they are put together.
fn body(item: &Item, data: &str, client_key: Option<&SecretString>) -> Vec<u8> {
    let timestamp = to_datetime(item.occurred_at).to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let key =
        client_key.map_or_else(String::new, |key| format!("\"clientKey\":\"{}\",", key.expose_secret()));
    let data = data.strip_prefix('{').unwrap_or(data);
    format!("{{\"type\":\"{}\",\"timestamp\":\"{timestamp}\",\"data\":{{{key}{data}}}", item.kind.word())
        .into_bytes()
}
