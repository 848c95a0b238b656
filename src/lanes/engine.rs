//! The rounds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use entity::{ClientId, ClientMode, ClientStatus, LaneEntryId, Timestamp, client, lane_entry};
use futures_util::FutureExt;
use sea_orm::DbErr;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::claim::Look;
use super::record::{self, Done, Judged};
use super::slots::{LONG_REST, REST, Slots};
use super::turns::{Head, Turns};
use super::verdict::{Outcome, Verdict};
use super::{backoff, claim, lease};
use crate::app::App;
use crate::apply::waiting::{Named, settle_named};
use crate::clients::Access;
use crate::conversations::window;
use crate::db::{HeldClients, Reader};
use crate::events;
use crate::ids::PublicId;
use crate::upstream::meta::client::CallError;

/// How often the queue is looked at without a hint.
const LOOK: Duration = Duration::from_secs(1);
/// How often a queue is looked at again while there is something of it in memory.
const LOOKS_A_SECOND: usize = 2;
/// Sends on the wire, of all clients.
const MOST_FLYING: usize = 2000;
/// Lanes in memory.
const MOST_LANES: usize = 10_000;
/// How long answers are waited for when the process ends.
const GRACE: Duration = Duration::from_secs(10);
/// How long a client may be passed over because somebody else holds it.
const PATIENCE: Duration = Duration::from_millis(100);
/// Pause after the database refused.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the lanes until the process ends.
pub async fn run(app: Arc<App>) {
    Engine::new(app).run().await;
}

/// A client's lane, as this process knows it.
struct Lane {
    slots: Slots,
    turns: Turns,
    urgent: Heads,
    others: Heads,
    /// As many as may start in a second.
    limit: usize,
    lease: Option<Lease>,
    /// Something may be ready to go.
    due: bool,
    /// Something of a former owner's may be marked.
    check: bool,
    /// Nothing starts before: the lane was taken over, or is somebody else's.
    ready_at: Instant,
    /// Pauses in a row, because the upstream was away or asked to slow down.
    pauses: u32,
    paused_until: Instant,
    /// Something that was put back is due again.
    wake_at: Option<Instant>,
}

/// What a look found and did not go yet. Where more waits than may go, a look is dearer than what it is for; what it found
/// does not go stale soon, and is checked again when it is taken.
struct Heads {
    next: Vec<Head>,
    /// Looked at again then, if something is left: others may have come whose turn is sooner.
    until: Instant,
}

impl Heads {
    fn new(now: Instant) -> Self {
        Self { next: Vec::new(), until: now }
    }
}

#[derive(Clone, Copy)]
struct Lease {
    fence: i64,
    renew_at: Instant,
}

/// A send that was answered, or given up.
struct Answer {
    done: Done,
    at: Instant,
}

/// Clients whose turn it was while somebody else held them, and since when.
#[derive(Default)]
struct PassedOver(HashMap<ClientId, Instant>);

impl PassedOver {
    /// Takes in whose turn it is, and who of them is free. Gives those that were passed over for too long: where webhooks of a
    /// client never end, it goes from one batch to the next, and is free only for who stands in its line.
    fn too_long(
        &mut self,
        concerned: &BTreeSet<ClientId>,
        is_free: impl Fn(ClientId) -> bool,
        now: Instant,
    ) -> BTreeSet<ClientId> {
        self.0.retain(|client, _| concerned.contains(client) && !is_free(*client));
        for client in concerned.iter().filter(|client| !is_free(**client)) {
            self.0.entry(*client).or_insert(now);
        }
        self.0.iter().filter(|(_, since)| now - **since >= PATIENCE).map(|(client, _)| *client).collect()
    }
}

pub(super) struct Engine {
    app: Arc<App>,
    owner: Uuid,
    lanes: HashMap<ClientId, Lane>,
    passed_over: PassedOver,
    /// On the wire, or answered and not recorded. At most [`MOST_FLYING`], which bounds the channel too.
    flying: BTreeSet<LaneEntryId>,
    /// Answered and not recorded.
    over: Vec<Judged>,
    answered: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// Gives up all that is on the wire.
    abort: CancellationToken,
    look_at: Instant,
    /// The database refused: no round before.
    not_before: Instant,
}

/// What a round decided, to be carried out when it is committed.
struct Round {
    held: HashMap<ClientId, lease::Held>,
    clients: HashMap<ClientId, client::Model>,
    /// To be sent now.
    leaving: Vec<lane_entry::Model>,
    named: Vec<Named>,
}

impl Lane {
    fn new(limit: usize, now: Instant) -> Self {
        Self {
            slots: Slots::default(),
            turns: Turns::default(),
            urgent: Heads::new(now),
            others: Heads::new(now),
            limit,
            lease: None,
            due: false,
            check: false,
            ready_at: now,
            pauses: 0,
            paused_until: now,
            wake_at: None,
        }
    }

    /// How many may start now.
    fn room(&mut self, now: Instant) -> usize {
        if self.due && now >= self.ready_at && now >= self.paused_until {
            self.slots.free(self.limit, now)
        } else {
            0
        }
    }

    /// Forgets what was found: the queue has to be looked at again.
    fn look_anew(&mut self) {
        self.due = true;
        self.urgent.next.clear();
        self.others.next.clear();
    }

    fn renews(&self, now: Instant) -> bool {
        (self.due || self.slots.held() > 0) && self.lease.is_some_and(|lease| lease.renew_at <= now)
    }

    /// When something is to be done here without anything being heard.
    fn next(&mut self, now: Instant) -> Option<Instant> {
        let mut next = self.wake_at;
        let mut at_latest = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        if self.due {
            let ready_at = self.ready_at.max(self.paused_until);
            if self.slots.free(self.limit, now) > 0 {
                at_latest(ready_at);
            } else if let Some(free_at) = self.slots.next() {
                at_latest(ready_at.max(free_at));
            }
        }
        if self.check {
            at_latest(self.ready_at);
        }
        if (self.due || self.slots.held() > 0)
            && let Some(lease) = self.lease
        {
            at_latest(lease.renew_at);
        }
        next
    }

    fn wake_by(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |other| other.min(at)));
    }

    fn is_over(&mut self, now: Instant) -> bool {
        !self.due
            && !self.check
            && self.wake_at.is_none()
            && self.paused_until <= now
            && self.slots.is_idle(now)
    }
}

impl Engine {
    pub(super) fn new(app: Arc<App>) -> Self {
        let (answered, answers) = mpsc::unbounded_channel();
        Self {
            app,
            owner: Uuid::from_u128(rand::random()),
            lanes: HashMap::new(),
            passed_over: PassedOver::default(),
            flying: BTreeSet::new(),
            over: Vec::new(),
            answered,
            answers,
            abort: CancellationToken::new(),
            look_at: Instant::now(),
            not_before: Instant::now(),
        }
    }

    #[cfg(test)]
    pub(super) fn owner(&self) -> Uuid {
        self.owner
    }

    pub(super) async fn run(mut self) {
        let stopping = self.app.tasks.stopping().clone();
        while !stopping.is_cancelled() {
            self.hear();
            self.look().await;
            self.round(true).await;
            let next = self.next();
            tokio::select! {
                answer = self.answers.recv() => self.absorb(answer),
                () = self.app.lanes_wake.woken() => {}
                () = tokio::time::sleep_until(next) => {}
                () = stopping.cancelled() => {}
            }
        }
        self.finish().await;
    }

    /// What is on the wire is given a while to be answered; whoever comes next would have to call it unknown.
    async fn finish(&mut self) {
        let deadline = Instant::now() + GRACE;
        while !self.flying.is_empty() && Instant::now() < deadline {
            self.hear();
            self.round(false).await;
            if self.flying.is_empty() {
                break;
            }
            tokio::select! {
                answer = self.answers.recv() => self.absorb(answer),
                () = tokio::time::sleep_until(self.not_before.max(Instant::now() + Duration::from_millis(100))) => {}
            }
        }
        self.abort.cancel();
        while self.flying.len() > self.over.len() {
            let answer = self.answers.recv().await;
            self.absorb(answer);
        }
        self.not_before = Instant::now();
        self.round(false).await;
        if let Err(error) = lease::release(self.app.db.write(), self.owner).await {
            tracing::warn!(%error, "the lanes could not be given back; the next owner waits until their leases end");
        }
    }

    /// Takes in all hints and answers that are there.
    fn hear(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.absorb(Some(answer));
        }
        let named = self.app.lanes_wake.take();
        if named.others {
            self.look_at = Instant::now();
        }
        for client in named.clients {
            self.activate(client, false);
        }
    }

    fn activate(&mut self, client: ClientId, check: bool) {
        if self.lanes.len() >= MOST_LANES && !self.lanes.contains_key(&client) {
            return; // The next look finds it again.
        }
        let limit = self.limit(ClientMode::Coexistence);
        let lane = self.lanes.entry(client).or_insert_with(|| Lane::new(limit, Instant::now()));
        lane.due = true;
        lane.check |= check;
    }

    fn limit(&self, mode: ClientMode) -> usize {
        let lanes = &self.app.config.lanes;
        let limit = match mode {
            ClientMode::Coexistence => lanes.coexistence_per_second,
            ClientMode::ApiOnly => lanes.api_only_per_second,
        };
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    fn absorb(&mut self, answer: Option<Answer>) {
        let Some(Answer { done, at }) = answer else { return };
        let client = done.entry.client_id;
        let judged = Judged::from(done);
        if let Some(lane) = self.lanes.get_mut(&client) {
            let too_fast = matches!(judged.verdict, Verdict::Again { slows_lane: true, .. });
            lane.slots.rest(at, if too_fast { LONG_REST } else { REST });
        }
        self.judge(judged, at);
    }

    /// Takes a verdict in, and what it means for its lane.
    fn judge(&mut self, judged: Judged, at: Instant) {
        let counters = &self.app.sends;
        let counter = match &judged.verdict {
            Verdict::Accepted(_) => &counters.accepted,
            Verdict::Failed { .. } => &counters.failed,
            Verdict::Unknown { .. } => &counters.unknown,
            Verdict::Again { .. } | Verdict::Pause { .. } => &counters.put_back,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(lane) = self.lanes.get_mut(&judged.entry.client_id) {
            lane.due = true;
            match &judged.verdict {
                Verdict::Accepted(_) => lane.pauses = 0,
                Verdict::Again { after, slows_lane } => {
                    lane.wake_by(at + Duration::from_secs(u64::try_from(*after).unwrap_or(0)));
                    // All that was on the wire fails together: that is one pause.
                    if *slows_lane && at >= lane.paused_until {
                        // Once: what follows is the same trouble until something is accepted again.
                        if lane.pauses == 0 {
                            let client = judged.entry.client_id.public();
                            tracing::warn!(%client, "WhatsApp cannot be reached, or takes less: the client's lane waits");
                        }
                        lane.paused_until = at + backoff::of_lane(lane.pauses);
                        lane.pauses = lane.pauses.saturating_add(1);
                    }
                }
                Verdict::Pause { .. } | Verdict::Failed { .. } | Verdict::Unknown { .. } => {}
            }
        }
        self.over.push(judged);
    }

    /// Asks the queue itself, once a second: what hints missed, what is due by now, what others left behind.
    async fn look(&mut self) {
        let now = Instant::now();
        if now < self.look_at {
            return;
        }
        self.look_at = now + LOOK;
        match claim::clients(&self.app.db.reads(), self.owner, self.app.now()).await {
            Ok(clients) => {
                for client in clients {
                    let known = self.lanes.contains_key(&client);
                    self.activate(client, !known);
                }
            }
            Err(error) => tracing::warn!(%error, "the queue cannot be read; it is tried again"),
        }
    }

    fn next(&mut self) -> Instant {
        let now = Instant::now();
        let full = self.flying.len() >= MOST_FLYING;
        let lanes = self.lanes.values_mut().filter_map(|lane| lane.next(now)).min();
        let next = lanes.map_or(self.look_at, |at| at.min(self.look_at));
        let unrecorded = if self.over.is_empty() { None } else { Some(self.not_before) };
        let next = unrecorded.map_or(next, |at| at.min(next)).max(self.not_before);
        // Nothing can start before something is answered, which is heard.
        if full { next.max(now + Duration::from_millis(100)) } else { next }
    }

    /// One round. A refusal of the database leaves everything as it was, to be tried again.
    async fn round(&mut self, starts: bool) {
        let now = Instant::now();
        if now < self.not_before {
            return;
        }
        for lane in self.lanes.values_mut() {
            if lane.wake_at.is_some_and(|at| at <= now) {
                lane.wake_at = None;
                lane.due = true;
            }
        }
        let mut budget = if starts { MOST_FLYING.saturating_sub(self.flying.len()) } else { 0 };
        let mut rooms: BTreeMap<ClientId, usize> = BTreeMap::new();
        let mut concerned: BTreeSet<ClientId> = self.over.iter().map(|one| one.entry.client_id).collect();
        for (client, lane) in &mut self.lanes {
            let room = if budget > 0 { lane.room(now).min(budget) } else { 0 };
            if room > 0 {
                budget -= room;
                rooms.insert(*client, room);
            }
            if room > 0 || lane.renews(now) || (lane.check && lane.ready_at <= now) {
                concerned.insert(*client);
            }
        }
        if !concerned.is_empty() {
            let surveyed = match self.survey(&rooms).await {
                Ok(surveyed) => surveyed,
                Err(error) => return self.refused(&error, &concerned),
            };
            // A client whose webhooks are being applied does not keep the others waiting: its turn is the next round.
            let mut clients_held = self.app.db.hold_free(concerned.iter().copied());
            let is_free = |client| clients_held.holds(client);
            let overdue = self.passed_over.too_long(&concerned, is_free, now);
            if !overdue.is_empty() || clients_held.is_empty() {
                let waited_for = if overdue.is_empty() { concerned.clone() } else { overdue };
                // First: whoever holds those may be waiting for one of these.
                drop(clients_held);
                clients_held = self.app.db.hold(waited_for).await;
            }
            concerned.retain(|client| clients_held.holds(*client));
            rooms.retain(|client, _| clients_held.holds(*client));
            let (over, left) = self.over.drain(..).partition(|one| clients_held.holds(one.entry.client_id));
            self.over = over;
            let wanted = self.wanted(rooms, &surveyed);
            let written = self.write(&clients_held, &concerned, wanted, now).await;
            drop(clients_held);
            match written {
                Ok(Some(round)) => self.carry_out(round, &concerned, now),
                Ok(None) => {}
                Err(error) => self.refused(&error, &concerned),
            }
            self.over.extend::<Vec<Judged>>(left);
        }
        let now = Instant::now();
        self.lanes.retain(|_, lane| !lane.is_over(now));
    }

    fn refused(&mut self, error: &DbErr, concerned: &BTreeSet<ClientId>) {
        tracing::warn!(%error, "a round of the lanes could not be written; it is tried again");
        self.not_before = Instant::now() + PAUSE;
        for client in concerned {
            if let Some(lane) = self.lanes.get_mut(client) {
                // It may have been committed all the same: then entries are marked that never left.
                lane.check = true;
                lane.look_anew();
            }
        }
    }

    /// Looks at the queues of which too little is known. Nobody is kept from them meanwhile: what is found is checked again
    /// when it is taken. Gives the lanes of which all is known now.
    async fn survey(&mut self, rooms: &BTreeMap<ClientId, usize>) -> Result<HashSet<ClientId>, DbErr> {
        let (now, at) = (Instant::now(), self.app.now());
        let looks: Vec<Look> = rooms
            .iter()
            .filter_map(|(client, room)| Some((*client, *room, self.lanes.get(client)?)))
            .flat_map(|(client, room, lane)| {
                let most = room.max(lane.limit / LOOKS_A_SECOND) + lane.turns.known();
                let stale = [(true, &lane.urgent), (false, &lane.others)].into_iter();
                let stale = stale.filter(move |(_, heads)| heads.next.is_empty() || heads.until <= now);
                stale.map(move |(urgent, _)| Look { client, urgent, most })
            })
            .collect();
        if looks.is_empty() {
            return Ok(HashSet::new());
        }
        let mut found = claim::heads(&self.app.db.reads(), &looks, at).await?;
        let mut looked: HashMap<ClientId, usize> = HashMap::new();
        for look in looks {
            *looked.entry(look.client).or_default() += 1;
            let Some(lane) = self.lanes.get_mut(&look.client) else { continue };
            let heads = if look.urgent { &mut lane.urgent } else { &mut lane.others };
            heads.next = found.remove(&(look.client, look.urgent)).unwrap_or_default();
            heads.until = now + Duration::from_secs(1) / LOOKS_A_SECOND as u32;
        }
        Ok(looked.into_iter().filter(|(_, classes)| *classes == 2).map(|(client, _)| client).collect())
    }

    /// What goes now, of what was found.
    fn wanted(
        &mut self,
        rooms: BTreeMap<ClientId, usize>,
        surveyed: &HashSet<ClientId>,
    ) -> HashMap<ClientId, Vec<LaneEntryId>> {
        let at = self.app.now();
        let mut wanted = HashMap::new();
        for (client, room) in rooms {
            let Some(lane) = self.lanes.get_mut(&client) else { continue };
            let mut next = lane.turns.take(&mut lane.urgent.next, room, at);
            let left = room - next.len();
            next.extend(lane.turns.take(&mut lane.others.next, left, at));
            // What comes next is heard of, or found by the next look; but what was found before this round is not all.
            lane.due = next.len() == room || !surveyed.contains(&client);
            if !next.is_empty() {
                wanted.insert(client, next.into_iter().map(|head| head.id).collect());
            }
        }
        wanted
    }

    /// The round's transaction; none if there is nothing to write.
    async fn write(
        &mut self,
        clients_held: &HeldClients,
        concerned: &BTreeSet<ClientId>,
        mut wanted: HashMap<ClientId, Vec<LaneEntryId>>,
        now: Instant,
    ) -> Result<Option<Round>, DbErr> {
        let app = self.app.clone();
        let at = app.now();
        let waits = |lane: &Lane| lane.renews(now) || (lane.check && lane.ready_at <= now);
        if wanted.is_empty()
            && self.over.is_empty()
            && !concerned.iter().any(|client| self.lanes.get(client).is_some_and(waits))
        {
            return Ok(None);
        }
        let tx = app.db.begin_for(clients_held).await?;
        let ids: Vec<ClientId> = concerned.iter().copied().collect();
        let before = app.db.beside(&tx);
        let clients = claim::read_clients(&before, concerned).await?;
        let held = lease::hold(&tx, &before, self.owner, &ids).await?;
        let fences: HashMap<ClientId, i64> =
            held.iter().map(|(client, held)| (*client, held.fence)).collect();

        let unsure: HashMap<ClientId, i64> = fences
            .iter()
            .filter(|(client, fence)| {
                self.lanes
                    .get(client)
                    .is_some_and(|lane| lane.check || lane.lease.is_none_or(|lease| lease.fence != **fence))
            })
            .map(|(client, fence)| (*client, *fence))
            .collect();
        let mut recorded = record::Recorded::default();
        if !unsure.is_empty() {
            recorded = record::abandoned(&tx, &unsure, &self.flying, &clients, at).await?;
        }
        let reads = if unsure.is_empty() { before } else { Reader::Within(&tx) };
        let outcomes = record::outcomes(&tx, &reads, &self.over, &clients).await?;
        recorded.events.extend(outcomes.events);
        recorded.named.extend(outcomes.named);

        let stopped: HashSet<ClientId> = self
            .over
            .iter()
            .filter(|judged| matches!(judged.verdict, Verdict::Pause { .. }))
            .map(|judged| judged.entry.client_id)
            .collect();
        wanted.retain(|id, _| {
            let connected = clients.get(id).is_some_and(|client| client.status == ClientStatus::Connected);
            let waits = held.get(id).is_none_or(|held| held.taken_over);
            connected && !waits && !stopped.contains(id)
        });
        for (id, entries) in &mut wanted {
            if let (Some(client), limit) =
                (clients.get(id), clients.get(id).map(|client| self.limit(client.mode)))
                && let Some(lane) = self.lanes.get_mut(&client.id)
            {
                lane.limit = limit.unwrap_or(lane.limit);
                let free = lane.slots.free(lane.limit, now);
                if free < entries.len() {
                    entries.truncate(free);
                    lane.look_anew();
                }
            }
        }
        let taken = claim::take(&tx, &wanted, &fences, at).await?;
        let (late, leaving): (Vec<_>, Vec<_>) = taken
            .entries
            .into_iter()
            .map(|entry| (is_late(&entry, &taken.conversations, &clients, at), entry))
            .partition(|(late, _)| late.is_some());
        let late: Vec<Judged> = late
            .into_iter()
            .filter_map(|(outcome, entry)| Some(Judged::from(Done { entry, outcome: outcome?, at })))
            .collect();
        recorded.events.extend(record::outcomes(&tx, &Reader::Within(&tx), &late, &clients).await?.events);

        events::commit(&app.hub, tx, recorded.events).await?;
        let leaving = leaving.into_iter().map(|(_, entry)| entry).collect();
        Ok(Some(Round { held, clients, leaving, named: recorded.named }))
    }

    /// The round is committed: what was recorded is over, what was marked leaves.
    fn carry_out(&mut self, round: Round, concerned: &BTreeSet<ClientId>, now: Instant) {
        for judged in self.over.drain(..) {
            self.flying.remove(&judged.entry.id);
            // What waits for the same recipient may go now; the look before this round could not find it.
            if let Some(lane) = self.lanes.get_mut(&judged.entry.client_id) {
                lane.due = true;
            }
        }
        for client in concerned {
            let Some(lane) = self.lanes.get_mut(client) else { continue };
            lane.check = false;
            match round.held.get(client) {
                Some(held) => {
                    if held.taken_over {
                        lane.ready_at = now + REST;
                        lane.look_anew();
                    }
                    lane.lease = Some(Lease { fence: held.fence, renew_at: now + lease::RENEW });
                }
                // Somebody else's. What we have on the wire we still record.
                None => {
                    lane.lease = None;
                    lane.ready_at = now + LOOK;
                    lane.look_anew();
                }
            }
            let connected =
                round.clients.get(client).is_some_and(|client| client.status == ClientStatus::Connected);
            if !connected {
                lane.look_anew();
                lane.due = false;
            }
        }
        let mut tokens: BTreeMap<ClientId, Option<(String, SecretString)>> = BTreeMap::new();
        for entry in round.leaving {
            let client = entry.client_id;
            let way = tokens
                .entry(client)
                .or_insert_with(|| round.clients.get(&client).and_then(|client| self.way_of(client)))
                .clone();
            self.flying.insert(entry.id);
            match way {
                Some((number, token)) => self.launch(entry, number, token),
                None => {
                    let done = Done { entry, outcome: Outcome::NoToken, at: self.app.now() };
                    self.judge(Judged::from(done), now);
                }
            }
        }
        self.settle(round.named);
    }

    /// Changes may wait for the ids that messages just got: an edit or an echo that overtook the answer. Beside the
    /// rounds, which must not wait for it.
    fn settle(&self, named: Vec<Named>) {
        if named.is_empty() {
            return;
        }
        let app = self.app.clone();
        self.app.tasks.spawn(async move {
            if let Err(error) = settle_named(&app, named).await {
                // They wait on; an echo is taken up again by itself.
                tracing::warn!(%error, "changes that waited for a send cannot be applied right now");
            }
        });
    }

    /// The number's id and the client's token.
    fn way_of(&self, client: &client::Model) -> Option<(String, SecretString)> {
        Access::of(&self.app.key, client).ok().map(|access| (access.number, access.token))
    }

    fn launch(&mut self, entry: lane_entry::Model, number: String, token: SecretString) {
        if let Some(lane) = self.lanes.get_mut(&entry.client_id) {
            lane.slots.take();
        }
        let (app, answered, abort) = (self.app.clone(), self.answered.clone(), self.abort.clone());
        self.app.tasks.spawn(async move {
            let sending = AssertUnwindSafe(app.upstream.send(&number, &token, &entry.request)).catch_unwind();
            let outcome = tokio::select! {
                sent = sending => match sent {
                    Ok(Ok(accepted)) => Outcome::Accepted(accepted),
                    Ok(Err(error)) => Outcome::Failed(error),
                    Err(_) => Outcome::Failed(CallError::Unclear("the send broke off".to_owned())),
                },
                () = abort.cancelled() => {
                    Outcome::Failed(CallError::Unclear("the process ended before the answer came".to_owned()))
                }
            };
            let done = Done { entry, outcome, at: app.now() };
            // The engine outlives its sends.
            let _ = answered.send(Answer { done, at: Instant::now() });
        });
    }
}

/// Whether the window closed while a message waited. Templates need none.
fn is_late(
    entry: &lane_entry::Model,
    conversations: &HashMap<entity::ConversationId, entity::conversation::Model>,
    clients: &HashMap<ClientId, client::Model>,
    now: Timestamp,
) -> Option<Outcome> {
    if entry.request.get("type").and_then(serde_json::Value::as_str) == Some("template") {
        return None;
    }
    let (conversation, client) = (conversations.get(&entry.conversation_id)?, clients.get(&entry.client_id)?);
    let closed_at = window::closes_at(conversation, client);
    closed_at.is_none_or(|at| at <= now).then_some(Outcome::Late { closed_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_passed_over_for_too_long_is_waited_for() {
        let (held, free) = (ClientId::generate(), ClientId::generate());
        let both = BTreeSet::from([held, free]);
        let start = Instant::now();
        let mut passed_over = PassedOver::default();
        let mut at = |concerned: &BTreeSet<ClientId>, frees: &[ClientId], now| {
            passed_over.too_long(concerned, |client| frees.contains(&client), now)
        };
        assert!(at(&both, &[free], start).is_empty());
        assert!(at(&both, &[free], start + PATIENCE / 2).is_empty());
        assert_eq!(at(&both, &[free], start + PATIENCE), BTreeSet::from([held]));
        // Free once, or not concerned: it begins anew.
        assert!(at(&both, &[held, free], start + PATIENCE).is_empty());
        assert!(at(&both, &[free], start + 2 * PATIENCE).is_empty());
        assert!(at(&BTreeSet::from([free]), &[free], start + 3 * PATIENCE).is_empty());
        assert!(at(&both, &[free], start + 4 * PATIENCE).is_empty());
        assert_eq!(at(&both, &[free], start + 5 * PATIENCE), BTreeSet::from([held]));
    }
}
