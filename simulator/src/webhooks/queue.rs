//! The webhooks of one phone that are due, in the order of their causes. Chunks of history wait in a line of their
//! own, out of order, so that live traffic goes on meanwhile.

use super::history::Chunk;
use super::spoil;
use crate::chance::Chance;
use crate::number::Number;
use crate::store::Kind;
use crate::world::{Ledger, World, ordered, real_ms};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Time between two chunks of history while nobody has opened the app.
const TICK: Duration = Duration::from_secs(2);
/// How long shuffled webhooks are held back at most, so that later ones can overtake them.
const HOLD_BACK_MS: usize = 300;
/// Updates in one POST, and about how many bytes.
const UPDATES_PER_POST: usize = 1_000;
const BYTES_PER_POST: usize = 2_500_000;

/// Whose subscription decides whether a webhook is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The app's alone.
    App,
    /// The app's and that of the WhatsApp Business Account.
    Account,
}

/// Something to be told.
pub(crate) struct Notice {
    pub(crate) field: &'static str,
    /// The id of the envelope's entry.
    pub(crate) entry: String,
    /// The time of the envelope's entry, which account fields have.
    pub(crate) time: Option<i64>,
    pub(crate) value: Value,
    pub(crate) reach: Reach,
}

/// What a due webhook holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payload {
    /// One change, ready as JSON text.
    Change { entry: String, time: Option<i64>, change: String },
    /// A body without the envelope.
    Bare(String),
    /// A piece of history, written out when it is posted.
    Chunk(Chunk),
}

/// A webhook that has not been taken yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Due {
    pub(crate) id: u64,
    /// Not to be posted before this instant of real time, in milliseconds.
    pub(crate) not_before: i64,
    /// Where it goes, if not to the app's callback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    pub(crate) payload: Payload,
    /// The change of the world that caused it; it is posted once that is on disk.
    #[serde(skip)]
    pub(crate) sequence: u64,
}

/// The lines of one phone.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    live: VecDeque<Due>,
    chunks: VecDeque<Due>,
    last_chunk: Option<Instant>,
    chunk_last: bool,
    failures: u32,
    retry_at: Option<Instant>,
}

/// What is to be posted in one body.
pub(crate) struct Parcel {
    pub(crate) ids: Vec<u64>,
    pub(crate) url: String,
    pub(crate) body: Vec<u8>,
}

/// What to do next.
pub(crate) enum Next {
    Post(Parcel),
    WaitUntil(Instant),
    Wait,
}

impl Queue {
    /// Takes in what a file remembers, or what has just become due.
    pub(crate) fn take_in(&mut self, due: Due) {
        match due.payload {
            Payload::Chunk(_) => {
                self.chunks.push_back(due);
                // A file gives them in the order of their ids; they are sent in the order that was drawn for them.
                self.chunks.make_contiguous().sort_by_key(|due| match &due.payload {
                    Payload::Chunk(chunk) => (chunk.asked, chunk.turn),
                    _ => (0, 0),
                });
            }
            _ => self.live.push_back(due),
        }
    }

    /// All has been taken that has these ids.
    pub(crate) fn taken(&mut self, ids: &[u64]) {
        let ids: HashSet<u64> = ids.iter().copied().collect();
        let gone = |due: &Due| ids.contains(&due.id);
        if self.chunks.front().is_some_and(gone) {
            self.chunks.pop_front();
            self.last_chunk = Some(Instant::now());
            self.chunk_last = true;
        } else {
            self.chunk_last = false;
            let before = self.live.len();
            while self.live.front().is_some_and(gone) {
                self.live.pop_front();
            }
            // Shuffled ones were taken from the middle.
            if before - self.live.len() < ids.len() {
                self.live.retain(|due| !gone(due));
            }
        }
        self.forgive();
    }

    /// Refusals are forgotten: the next attempt is made at once.
    pub(crate) fn forgive(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    /// It was refused: the same again after 1 s, doubling to 60 s.
    pub(crate) fn refused(&mut self) {
        let wait = 1_u64 << self.failures.min(6);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + Duration::from_secs(wait.min(60)));
    }
}

impl World {
    /// Puts a notice into its phone's line, if anybody is subscribed to it. Answers its id.
    pub(crate) fn tell(&mut self, ledger: &mut Ledger, number: Number, notice: Notice) -> Option<u64> {
        if !self.is_heard(number, notice.field, notice.reach) {
            return None;
        }
        let trouble = &self.settings.trouble;
        let mut chance = Chance::fresh();
        let Notice { field, entry, time, mut value, .. } = notice;
        let mut bare = false;
        if chance.hits(trouble.drop_optional_fields) {
            bare = spoil::drop_optional(field, &mut value);
        }
        let extra = if chance.hits(trouble.unknown_fields) {
            spoil::add_unknown(field, &mut value, &mut chance)
        } else {
            None
        };
        let payload = if bare {
            Payload::Bare(value.to_string())
        } else {
            Payload::Change {
                entry: entry.clone(),
                time,
                change: json!({ "field": field, "value": value }).to_string(),
            }
        };
        let target = self
            .phones
            .get(&number)
            .and_then(|p| p.card.override_url.clone())
            .filter(|_| field == "messages");
        let id = self.queue(ledger, number, payload, target.clone());
        if let Some(change) = extra {
            let change = change.to_string();
            self.queue(ledger, number, Payload::Change { entry, time: None, change }, target);
        }
        id
    }

    /// Whether a webhook of this field leaves at all.
    pub(crate) fn is_heard(&self, number: Number, field: &str, reach: Reach) -> bool {
        self.settings.callback.is_some()
            && self.settings.fields.contains(field)
            && (reach == Reach::App || self.phones.get(&number).is_some_and(|phone| phone.card.subscribed))
    }

    /// Puts a payload into the phone's line.
    pub(crate) fn queue(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        payload: Payload,
        target: Option<String>,
    ) -> Option<u64> {
        let id = self.fresh_id();
        let trouble = &self.settings.trouble;
        let mut hold = trouble.delay_webhooks_ms.max(0);
        if trouble.shuffle_webhooks {
            hold += Chance::fresh().below(HOLD_BACK_MS) as i64;
        }
        let not_before = if hold == 0 { 0 } else { real_ms() + hold };
        let phone = self.phones.get_mut(&number)?;
        let due = Due { id, not_before, target, payload, sequence: ledger.sequence };
        ledger.put(Kind::Due, number.digits(), ordered(id), &due);
        ledger.wake.push(phone.wake.clone());
        phone.queue.take_in(due);
        self.pending.insert(id);
        Some(id)
    }

    /// The webhooks with these ids have been taken by the service.
    pub(crate) fn taken(&mut self, ledger: &mut Ledger, number: Number, ids: &[u64]) {
        if let Some(phone) = self.phones.get_mut(&number) {
            phone.queue.taken(ids);
        }
        for id in ids {
            self.pending.remove(id);
            ledger.erase(Kind::Due, number.digits(), ordered(*id));
        }
    }

    /// What to post next for this phone. Only what is on disk, up to the change `committed`, may leave.
    pub(crate) fn next_parcel(&self, number: Number, committed: u64) -> Next {
        let (Some(phone), Some(callback)) = (self.phones.get(&number), &self.settings.callback) else {
            return Next::Wait;
        };
        let queue = &phone.queue;
        let now = Instant::now();
        if let Some(retry_at) = queue.retry_at.filter(|at| *at > now) {
            return Next::WaitUntil(retry_at);
        }
        let now_ms = real_ms();
        let ready = |due: &Due| due.sequence <= committed && due.not_before <= now_ms;
        let mut until: Option<Instant> = None;
        let mut later = |at: Instant| until = Some(until.map_or(at, |u| u.min(at)));

        let mut chunk = None;
        if let Some(first) = queue.chunks.front() {
            let tick =
                queue.last_chunk.filter(|_| !phone.card.opened).map(|last| last + TICK).filter(|t| *t > now);
            // What was caused before the request for history goes before it.
            let waits = queue.live.front().is_some_and(|live| live.id < asked(first));
            match tick {
                _ if waits => {}
                Some(tick) => later(tick),
                None if ready(first) => chunk = Some(first),
                None => later(due_at(first, now, now_ms)),
            }
        }
        let live = self.live_batch(queue, ready);
        if live.is_empty() {
            let looked_at = if self.settings.trouble.shuffle_webhooks { usize::MAX } else { 1 };
            queue.live.iter().take(looked_at).for_each(|due| later(due_at(due, now, now_ms)));
        }
        if let Some(due) = chunk.filter(|_| live.is_empty() || !queue.chunk_last) {
            return Next::Post(self.parcel(number, &[due], &callback.url));
        }
        if !live.is_empty() {
            return Next::Post(self.parcel(number, &live, &callback.url));
        }
        until.map_or(Next::Wait, Next::WaitUntil)
    }

    fn live_batch<'a>(&self, queue: &'a Queue, ready: impl Fn(&Due) -> bool) -> Vec<&'a Due> {
        let mut batch: Vec<&Due> = Vec::new();
        if self.settings.trouble.shuffle_webhooks {
            let mut all: Vec<&Due> =
                queue.live.iter().filter(|due| ready(due)).take(UPDATES_PER_POST).collect();
            let mut chance = Chance::fresh();
            chance.shuffle(&mut all);
            let some = 1 + chance.below(all.len());
            all.truncate(some);
            let Some(first) = all.first().copied() else { return batch };
            if matches!(first.payload, Payload::Bare(_)) {
                return vec![first];
            }
            all.retain(|due| due.target == first.target && !matches!(due.payload, Payload::Bare(_)));
            return all;
        }
        let mut bytes = 0;
        for due in queue.live.iter().take_while(|due| ready(due)).take(UPDATES_PER_POST) {
            let alone = matches!(due.payload, Payload::Bare(_));
            if let Some(first) = batch.first()
                && (alone || first.target != due.target)
            {
                break;
            }
            bytes += match &due.payload {
                Payload::Change { change, .. } => change.len(),
                _ => 0,
            };
            if bytes > BYTES_PER_POST && !batch.is_empty() {
                break;
            }
            batch.push(due);
            if alone {
                break;
            }
        }
        batch
    }

    fn parcel(&self, number: Number, batch: &[&Due], callback: &str) -> Parcel {
        let mut entries: Vec<(String, Option<i64>, Vec<String>)> = Vec::new();
        let mut bare = None;
        for due in batch {
            match &due.payload {
                Payload::Bare(body) => bare = Some(body.clone()),
                Payload::Chunk(chunk) => {
                    let (entry, changes) = self.chunk_changes(number, chunk, due.id);
                    entries.push((entry, None, changes));
                }
                Payload::Change { entry, time, change } => match entries.last_mut() {
                    Some(last) if last.0 == *entry && last.1 == *time => last.2.push(change.clone()),
                    _ => entries.push((entry.clone(), *time, vec![change.clone()])),
                },
            }
        }
        Parcel {
            ids: batch.iter().map(|due| due.id).collect(),
            url: batch.first().and_then(|due| due.target.clone()).unwrap_or_else(|| callback.to_owned()),
            body: bare.unwrap_or_else(|| envelope(&entries)).into_bytes(),
        }
    }
}

fn asked(due: &Due) -> u64 {
    match &due.payload {
        Payload::Chunk(chunk) => chunk.asked,
        _ => due.id,
    }
}

/// When this one may leave. What is not on disk yet wakes the delivery by itself.
fn due_at(due: &Due, now: Instant, now_ms: i64) -> Instant {
    let wait = due.not_before.saturating_sub(now_ms).clamp(0, 3_600_000);
    now + if wait == 0 { Duration::from_millis(50) } else { Duration::from_millis(wait as u64) }
}

fn envelope(entries: &[(String, Option<i64>, Vec<String>)]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(id, time, changes)| {
            let time = time.map_or_else(String::new, |time| format!("\"time\":{time},"));
            format!("{{\"id\":\"{id}\",{time}\"changes\":[{}]}}", changes.join(","))
        })
        .collect();
    format!("{{\"object\":\"whatsapp_business_account\",\"entry\":[{}]}}", entries.join(","))
}
