//! History and contact sync: what the service asks for once, within a day of the signup.
//!
//! The last 180 days of the chats with single persons are cut into chunks, phase by phase, newest phase first. Each
//! chunk is numbered within its phase and knows how much has been told when it has been; then the chunks are drawn in
//! another order. Pictures and sounds are placeholders there; those of the last 14 days come by themselves after the
//! chunks.

use super::bodies;
use super::queue::{Notice, Payload, Reach};
use crate::chance::Chance;
use crate::number::Number;
use crate::world::message::{MadeBy, Message};
use crate::world::people::Person;
use crate::world::phone::Phone;
use crate::world::{Ledger, World};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

const DAY_MS: i64 = 86_400_000;
/// Messages older than this never leave the phone.
const REACHES_BACK_MS: i64 = 180 * DAY_MS;
/// Files newer than this follow their placeholders.
const MEDIA_REACH_BACK_MS: i64 = 14 * DAY_MS;
const MESSAGES_PER_CHUNK: usize = 1_000;
const BYTES_PER_CHUNK: usize = 1_500_000;
const MEDIA_PER_WEBHOOK: usize = 50;
const CONTACTS_PER_WEBHOOK: usize = 500;
const FEWEST_CHUNKS: usize = 3;
/// From how many messages on there are at least that many chunks.
const FEWEST_CHUNKS_FROM: usize = 30;

/// A piece of history. Its words are looked up when it is posted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// The id of the request's first chunk: what was caused before it is posted before it.
    pub(crate) asked: u64,
    /// Its place in the order in which the chunks are posted.
    pub(crate) turn: usize,
    pub(crate) phase: u8,
    pub(crate) chunk_order: usize,
    pub(crate) progress: usize,
    /// This one brings files that follow their placeholders.
    #[serde(default)]
    pub(crate) files: bool,
    /// Places of its messages on the phone.
    pub(crate) messages: Vec<u32>,
}

/// Why a sync is refused, with Meta's code.
pub(crate) enum SyncRefusal {
    AlreadyAsked,
    TooLate,
}

fn phase(age_ms: i64) -> u8 {
    match age_ms.div_euclid(DAY_MS) {
        i64::MIN..=0 => 0,
        1..=89 => 1,
        _ => 2,
    }
}

impl World {
    /// The service asks for the phone book.
    pub(crate) fn sync_contacts(&mut self, ledger: &mut Ledger, number: Number) -> Result<(), SyncRefusal> {
        self.may_sync(ledger, number, |phone| phone.card.contacts_asked)?;
        let Some(phone) = self.phones.get_mut(&number) else { return Ok(()) };
        phone.card.contacts_asked = true;
        let people: Vec<&Person> = phone.people.values().filter(|p| p.full_name.is_some()).collect();
        let values: Vec<Value> =
            people.chunks(CONTACTS_PER_WEBHOOK).map(|some| bodies::state_sync(phone, some)).collect();
        let entry = phone.card.waba_id.clone();
        self.keep_card(ledger, number);
        for value in values {
            let notice = Notice {
                field: "smb_app_state_sync",
                entry: entry.clone(),
                time: None,
                value,
                reach: Reach::Account,
            };
            self.tell(ledger, number, notice);
        }
        Ok(())
    }

    /// The service asks for the chats.
    pub(crate) fn sync_history(&mut self, ledger: &mut Ledger, number: Number) -> Result<(), SyncRefusal> {
        self.may_sync(ledger, number, |phone| phone.card.history_asked)?;
        let Some(phone) = self.phones.get_mut(&number) else { return Ok(()) };
        phone.card.history_asked = true;
        let shares = phone.card.shares_history == Some(true);
        self.keep_card(ledger, number);
        if !shares {
            self.decline(ledger, number);
        } else if self.is_heard(number, "history", Reach::Account) {
            self.queue_history(ledger, number);
        }
        Ok(())
    }

    fn may_sync(
        &self,
        ledger: &Ledger,
        number: Number,
        asked: impl Fn(&Phone) -> bool,
    ) -> Result<(), SyncRefusal> {
        let Some(phone) = self.phones.get(&number) else { return Err(SyncRefusal::TooLate) };
        if asked(phone) {
            return Err(SyncRefusal::AlreadyAsked);
        }
        match phone.card.signed_up_at {
            Some(at) if ledger.now_ms - at <= DAY_MS => Ok(()),
            _ => Err(SyncRefusal::TooLate),
        }
    }

    fn decline(&mut self, ledger: &mut Ledger, number: Number) {
        let Some(phone) = self.phones.get(&number) else { return };
        let title = "The business has turned off sharing of its chat history in the WhatsApp Business app";
        let mut value = bodies::value(&phone.card);
        value["history"] = json!([{ "errors": [{
            "code": 2_593_109, "title": title, "message": title,
            "error_data": { "details": "Chat history is not shared by the business" },
        }] }]);
        let entry = phone.card.waba_id.clone();
        self.tell(
            ledger,
            number,
            Notice { field: "history", entry, time: None, value, reach: Reach::Account },
        );
    }

    fn queue_history(&mut self, ledger: &mut Ledger, number: Number) {
        let Some(phone) = self.phones.get(&number) else { return };
        let since = phone.card.signed_up_at.unwrap_or(ledger.now_ms);
        let mut files = Vec::new();
        let mut chunks = cut(phone, since, &mut files);
        Chance::of(&[number.0, phone.card.seed, 0x6f72_6465]).shuffle(&mut chunks);
        if chunks.len() > 1 && chunks.is_sorted_by_key(|chunk| (chunk.phase, chunk.chunk_order)) {
            chunks.rotate_left(1);
        }
        for some in files.chunks(MEDIA_PER_WEBHOOK) {
            chunks.push(Chunk {
                asked: 0,
                turn: 0,
                phase: 0,
                chunk_order: 0,
                progress: 100,
                files: true,
                messages: some.to_vec(),
            });
        }
        for place in files {
            self.provide_file(ledger, number, place);
        }
        let asked = self.last_id + 1;
        for (turn, mut chunk) in chunks.into_iter().enumerate() {
            chunk.asked = asked;
            chunk.turn = turn;
            self.queue(ledger, number, Payload::Chunk(chunk), None);
        }
    }

    /// Makes the file of a message that has none, or none that can still be fetched.
    fn provide_file(&mut self, ledger: &mut Ledger, number: Number, place: u32) {
        let message = self.phones.get(&number).and_then(|phone| phone.messages.get(place as usize));
        let Some(message) = message else { return };
        let at_hand = |id: &String| self.media.get(id).is_some_and(|media| media.until > ledger.now_ms);
        if message.media.as_ref().is_some_and(at_hand) {
            return;
        }
        let kind = message.kind.clone();
        let Ok(id) = self.make_media(ledger, number, &kind, None) else { return };
        if self.change_message(number, place, |message| message.media = Some(id)).is_ok() {
            self.keep_message(ledger, number, place);
        }
    }

    /// A chunk as it is posted: the id of its entry, and its changes.
    pub(crate) fn chunk_changes(&self, number: Number, chunk: &Chunk, id: u64) -> (String, Vec<String>) {
        let Some(phone) = self.phones.get(&number) else { return (String::new(), Vec::new()) };
        let messages: Vec<&Message> = chunk
            .messages
            .iter()
            .filter_map(|place| phone.messages.get(*place as usize))
            .filter(|message| !message.deleted)
            .collect();
        let values = if chunk.files {
            self.files(phone, &messages)
        } else {
            vec![self.threads(phone, chunk, &messages, &mut Chance::of(&[id]))]
        };
        let mut changes = Vec::new();
        // The same on every attempt.
        let mut chance = Chance::of(&[id, 1]);
        for mut value in values {
            let trouble = &self.settings.trouble;
            if chance.hits(trouble.drop_optional_fields) {
                super::spoil::drop_optional("history", &mut value);
            }
            if chance.hits(trouble.unknown_fields) {
                super::spoil::add_unknown("history", &mut value, &mut chance);
            }
            changes.push(json!({ "field": "history", "value": value }).to_string());
        }
        (phone.card.waba_id.clone(), changes)
    }

    fn threads(&self, phone: &Phone, chunk: &Chunk, messages: &[&Message], chance: &mut Chance) -> Value {
        let mut order: Vec<Number> = Vec::new();
        let mut threads: HashMap<Number, Vec<Value>> = HashMap::new();
        for message in messages {
            let user_id = phone.user_id(message.with);
            let id = if chance.hits(self.settings.trouble.second_ids) {
                message.second_id(&user_id)
            } else {
                message.id(&user_id)
            };
            let from_customer = message.made_by == MadeBy::Customer;
            let mut item = Map::new();
            bodies::address(&mut item, phone, &phone.person(message.with), from_customer, false);
            item.insert("id".into(), json!(id));
            item.insert("timestamp".into(), json!(message.seconds().to_string()));
            item.insert("history_context".into(), json!({ "status": message.status.in_history() }));
            if message.is_media() {
                item.insert("type".into(), json!("media_placeholder"));
            } else {
                let (kind, content) = bodies::content(self, message);
                item.insert("type".into(), json!(kind));
                item.insert(kind.to_owned(), content);
            }
            let thread = threads.entry(message.with).or_insert_with(|| {
                order.push(message.with);
                Vec::new()
            });
            thread.push(Value::Object(item));
        }
        let threads: Vec<Value> = order
            .into_iter()
            .map(|with| {
                json!({
                    "id": with.digits(),
                    "context": { "wa_id": with.digits(), "user_id": phone.user_id(with) },
                    "messages": threads.remove(&with),
                })
            })
            .collect();
        let mut value = bodies::value(&phone.card);
        let metadata =
            json!({ "phase": chunk.phase, "chunk_order": chunk.chunk_order, "progress": chunk.progress });
        value["history"] = json!([{ "metadata": metadata, "threads": threads }]);
        value
    }

    /// Files that follow their placeholders: those of customers, and those of the business.
    fn files(&self, phone: &Phone, messages: &[&Message]) -> Vec<Value> {
        let mut values = Vec::new();
        for (key, from_customer) in [("messages", true), ("message_echoes", false)] {
            let mut people: BTreeMap<Number, Person> = BTreeMap::new();
            let mut items = Vec::new();
            for message in messages.iter().filter(|m| (m.made_by == MadeBy::Customer) == from_customer) {
                let person = people.entry(message.with).or_insert_with(|| phone.person(message.with));
                let mut item = Map::new();
                bodies::address(&mut item, phone, person, from_customer, false);
                let (kind, content) = bodies::content(self, message);
                item.insert("id".into(), json!(phone.id_of(message)));
                item.insert("timestamp".into(), json!(message.seconds().to_string()));
                item.insert("type".into(), json!(kind));
                item.insert(kind.to_owned(), content);
                items.push(Value::Object(item));
            }
            if items.is_empty() {
                continue;
            }
            let mut value = bodies::value(&phone.card);
            let contacts: Vec<Value> =
                people.values().map(|person| bodies::contact(phone, person, false, false)).collect();
            value["contacts"] = json!(contacts);
            value[key] = json!(items);
            values.push(value);
        }
        values
    }
}

/// Cuts what the phone shares into chunks, in order, and collects the messages whose files follow.
fn cut(phone: &Phone, since: i64, files: &mut Vec<u32>) -> Vec<Chunk> {
    let mut phases: [BTreeMap<Number, Vec<&Message>>; 3] = Default::default();
    let mut total = 0;
    for message in &phone.messages {
        let age = since - message.at;
        let unheard = message.live && !message.is_told();
        if message.group.is_some() || message.deleted || unheard || age > REACHES_BACK_MS {
            continue;
        }
        if message.is_media() && age <= MEDIA_REACH_BACK_MS {
            files.push(message.sequence);
        }
        if let Some(threads) = phases.get_mut(usize::from(phase(age))) {
            threads.entry(message.with).or_default().push(message);
            total += 1;
        }
    }
    let size = if total < FEWEST_CHUNKS_FROM {
        MESSAGES_PER_CHUNK
    } else {
        (total / FEWEST_CHUNKS).clamp(1, MESSAGES_PER_CHUNK)
    };
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut told = 0;
    for (phase, threads) in (0_u8..).zip(phases) {
        let (mut order, mut open, mut bytes) = (0, Vec::new(), 0);
        let mut close = |open: &mut Vec<u32>, told: usize| {
            if open.is_empty() {
                return;
            }
            order += 1;
            let progress = if told == total { 100 } else { (told * 100 / total.max(1)).min(99) };
            chunks.push(Chunk {
                asked: 0,
                turn: 0,
                phase,
                chunk_order: order,
                progress,
                files: false,
                messages: std::mem::take(open),
            });
        };
        for message in threads.into_values().flatten() {
            if open.len() == size || bytes > BYTES_PER_CHUNK {
                close(&mut open, told);
                bytes = 0;
            }
            open.push(message.sequence);
            bytes += message.text.len() + 300;
            told += 1;
        }
        close(&mut open, told);
    }
    chunks
}
