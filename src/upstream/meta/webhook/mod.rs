//! The decoder of webhooks: bytes of one body in, domain words out.
//!
//! Pure, total and tolerant. Every entry, every change and every item is read on its own; one that is odd is kept
//! in `unknown` and spoils none of its neighbours. Nothing that WhatsApp may send, now or later, is an error:
//! only what is not JSON, or no webhook at all.
//!
//! - `node`: JSON without expectations
//! - `names`: who is meant
//! - `messages`: messages, echoes and statuses
//! - `content`: what a message says
//! - `history`: the import of old chats
//! - `people`: the phone book, changed numbers and user ids
//! - `account`: what concerns the account, and every other field

mod account;
mod content;
mod history;
mod messages;
mod names;
mod node;
mod people;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use entity::Timestamp;
use serde_json::value::RawValue;

use self::names::Contacts;
use self::node::{Map, Node, mend, object};
use crate::upstream::change::{
    Account, Change, ChangeKind, Decoded, IgnoreReason, Ignored, Notice, ReportedError, Unknown, Via,
};

/// What `object` says in every webhook of WhatsApp.
const OBJECT: &str = "whatsapp_business_account";

/// The client chose not to share the history.
const HISTORY_DECLINED: i64 = 2_593_109;

/// The fields whose value holds chats: in each of them, any of the lists may stand.
const CHATS: [&str; 6] =
    ["messages", "smb_message_echoes", "message_echoes", "history", "smb_app_state_sync", "user_id_update"];

/// Those lists.
const LISTS: [&str; 8] =
    ["messages", "message_echoes", "statuses", "history", "state_sync", "user_id_update", "errors", "calls"];

/// What a value of these fields may hold besides.
const BESIDE: [&str; 5] = ["messaging_product", "metadata", "contacts", "field", "object"];

/// Reads one body.
pub fn decode(body: &[u8]) -> Decoded {
    let mut reader = Reader::default();
    let text = String::from_utf8_lossy(body);
    let text = mend(text.strip_prefix('\u{feff}').unwrap_or(&text));
    match serde_json::from_str(&text) {
        Ok(Node::Map(envelope)) => reader.envelope(&envelope),
        Ok(other) => reader.out.error = Some(format!("not a webhook: a JSON {}", other.shape())),
        Err(error) => reader.out.error = Some(format!("not JSON: {error}")),
    }
    reader.out
}

/// Collects what a body says.
#[derive(Default)]
struct Reader {
    out: Decoded,
}

/// What is known around the items of one value.
struct Scene {
    account: Account,
    /// The business's number as the wire writes it.
    business: Option<String>,
    contacts: Contacts,
    via: Via,
}

/// An entry of the envelope, as far as its changes need it.
#[derive(Default)]
struct Entry {
    waba_id: Option<String>,
    at: Option<Timestamp>,
    /// Meta's own samples have put the field one level too high.
    field: Option<String>,
}

impl Reader {
    fn envelope(&mut self, envelope: &Map<'_>) {
        if let Some(object) = envelope.word("object").filter(|object| object != OBJECT) {
            self.unknown("object", &object);
        }
        match envelope.get("entry") {
            Some(Node::List(entries)) => {
                for entry in entries {
                    match object(entry) {
                        Ok(entry) => self.entry(&entry),
                        Err(shape) => self.unknown("entry", shape),
                    }
                }
                if self.is_silent() {
                    self.ignore(&Account::default(), None, IgnoreReason::Empty);
                }
            }
            Some(other) => {
                self.out.error = Some(format!("not a webhook: its `entry` is a JSON {}", other.shape()));
            }
            // Meta shows the refusal of the history bare, and its dashboard sends samples as bare changes.
            None if envelope.has("value") => self.change(&Entry::default(), envelope),
            None if let Some(field) = field_by_shape(envelope) => {
                self.field(&field);
                self.value(&Entry::default(), &field, envelope);
            }
            None => self.out.error = Some("not a webhook: it has no `entry`".to_owned()),
        }
    }

    fn entry(&mut self, map: &Map<'_>) {
        let entry =
            Entry { waba_id: map.id("id"), at: self.timestamp(map, "entry", "time"), field: map.id("field") };
        match map.get("changes") {
            Some(Node::List(changes)) => {
                for change in changes {
                    match object(change) {
                        Ok(change) => self.change(&entry, &change),
                        Err(shape) => self.unknown("entry.changes", shape),
                    }
                }
            }
            Some(other) => self.unknown("entry.changes", other.shape()),
            None => self.unknown("entry.changes", "missing"),
        }
    }

    fn change(&mut self, entry: &Entry, change: &Map<'_>) {
        let nothing = Map::default();
        let value = change.map("value");
        let field = change
            .id("field")
            .or_else(|| value.and_then(|value| value.id("field")))
            .or_else(|| entry.field.clone())
            .or_else(|| value.and_then(field_by_shape));
        let Some(field) = field else {
            return self.unknown("changes.field", "missing");
        };
        self.field(&field);
        match (value, change.get("value")) {
            (Some(value), _) => self.value(entry, &field, value),
            (None, None) => self.value(entry, &field, &nothing),
            (None, Some(other)) => self.unknown("changes.value", other.shape()),
        }
    }

    /// What one change of `field` says. Never nothing.
    fn value(&mut self, entry: &Entry, field: &str, value: &Map<'_>) {
        let said = self.said();
        let account = account_of(entry, value);
        let field = field.to_ascii_lowercase();
        if CHATS.contains(&field.as_str()) {
            self.chats(entry, account.clone(), &field, value);
        } else {
            self.about_the_account(entry, &account, &field, value);
        }
        if self.said() == said {
            self.ignore(&account, None, IgnoreReason::Empty);
        }
    }

    /// Every list of a value, whatever its field: echoes have come beside messages, statuses beside either.
    fn chats(&mut self, entry: &Entry, mut account: Account, field: &str, value: &Map<'_>) {
        if account.phone_number_id.is_none() && account.phone_number.is_none() {
            account.phone_number = number_by_echoes(value);
        }
        let business = value.map("metadata").and_then(|metadata| metadata.id("display_phone_number"));
        let scene = Scene {
            contacts: Contacts::of(value, business.as_deref()),
            account,
            business,
            via: if field == "history" { Via::History } else { Via::Live },
        };
        for key in value.keys().filter(|key| !BESIDE.contains(key)) {
            match (key, value.get(key)) {
                (_, None) => {}
                ("messages", Some(Node::List(items))) => self.messages(&scene, items),
                ("message_echoes", Some(Node::List(items))) => self.echoes(&scene, items),
                ("statuses", Some(Node::List(items))) => self.statuses(&scene, items),
                ("history", Some(Node::List(chunks))) => self.history(&scene, chunks),
                ("state_sync", Some(Node::List(items))) => self.phone_book(&scene, items),
                ("user_id_update", Some(Node::List(items))) => self.user_ids(&scene, items),
                ("errors", Some(Node::List(_))) => self.errors(&scene.account, entry.at, "errors", value),
                ("calls", Some(Node::List(items))) => {
                    if !items.is_empty() {
                        let kind = ChangeKind::Notice(Notice {
                            topic: "calls".to_owned(),
                            at: entry.at,
                            detail: value.value("calls"),
                        });
                        self.push(&scene.account, kind);
                    }
                }
                (known, Some(other)) if LISTS.contains(&known) => self.unknown(key, other.shape()),
                (_, Some(_)) => self.unknown(&format!("{field}.value"), key),
            }
        }
    }

    /// Errors of the system, the app or the account, and the refusal of the history.
    fn errors(&mut self, account: &Account, at: Option<Timestamp>, topic: &str, map: &Map<'_>) {
        let mut other = false;
        for error in map.list("errors") {
            match object(error) {
                Ok(error) if error.integer("code") == Some(HISTORY_DECLINED) => {
                    self.push(account, ChangeKind::HistoryDeclined(reported_error(&error)));
                }
                Ok(_) => other = true,
                Err(shape) => self.unknown(topic, shape),
            }
        }
        if other {
            let notice = Notice { topic: topic.to_owned(), at, detail: map.value("errors") };
            self.push(account, ChangeKind::Notice(notice));
        }
    }

    /// The objects of a list; what is none of them is unknown.
    fn objects<'a>(&mut self, list: &str, items: &[&'a RawValue]) -> Vec<Map<'a>> {
        let mut objects = Vec::with_capacity(items.len());
        for item in items {
            match object(item) {
                Ok(map) => objects.push(map),
                Err(shape) => self.unknown(list, shape),
            }
        }
        objects
    }

    /// Seconds since 1970, as text or number. What is neither is unknown.
    fn timestamp(&mut self, map: &Map<'_>, place: &str, key: &str) -> Option<Timestamp> {
        /// The end of the year 9999.
        const LAST: i64 = 253_402_300_799;
        let told = map.get(key)?;
        let seconds = match map.integer(key) {
            // Milliseconds, from who knows whom.
            Some(number) if number > LAST => number / 1000,
            Some(number) => number,
            None => 0,
        };
        if (1..=LAST).contains(&seconds) {
            return Some(Timestamp::from_seconds(seconds));
        }
        if !matches!(told, Node::Text(text) if text.trim().is_empty()) {
            self.unknown(&format!("{place}.{key}"), &told.text().unwrap_or(Cow::Borrowed(told.shape())));
        }
        None
    }

    fn push(&mut self, account: &Account, kind: ChangeKind) {
        self.out.changes.push(Change { account: account.clone(), kind });
    }

    fn ignore(&mut self, account: &Account, whatsapp_id: Option<String>, reason: IgnoreReason) {
        self.push(account, ChangeKind::Ignored(Ignored { whatsapp_id, reason }));
    }

    fn unknown(&mut self, what: &str, value: &str) {
        self.out.unknown.push(Unknown { what: cut(what), value: cut(value) });
    }

    fn field(&mut self, field: &str) {
        let field = cut(field);
        if !self.out.fields.contains(&field) {
            self.out.fields.push(field);
        }
    }

    /// How much has been said: compared before and after, whether something was.
    fn said(&self) -> usize {
        self.out.changes.len() + self.out.unknown.len()
    }

    fn is_silent(&self) -> bool {
        self.said() == 0
    }
}

/// What the value of a change without a `field` must be about.
fn field_by_shape(value: &Map<'_>) -> Option<String> {
    let field = if value.has("history") {
        "history"
    } else if value.has("message_echoes") {
        "smb_message_echoes"
    } else if value.has("state_sync") {
        "smb_app_state_sync"
    } else if value.has("user_id_update") {
        "user_id_update"
    } else if value.has("messages") || value.has("statuses") {
        "messages"
    } else if value.has("event") && value.has("waba_info") {
        "account_update"
    } else {
        return None;
    };
    Some(field.to_owned())
}

fn account_of(entry: &Entry, value: &Map<'_>) -> Account {
    let metadata = value.map("metadata");
    let number = |map: &Map<'_>, key| map.word(key).and_then(|word| names::number(&word));
    Account {
        phone_number_id: metadata.and_then(|metadata| metadata.id("phone_number_id")),
        waba_id: value.map("waba_info").and_then(|info| info.id("waba_id")).or_else(|| entry.waba_id.clone()),
        phone_number: metadata
            .and_then(|metadata| number(metadata, "display_phone_number"))
            .or_else(|| number(value, "display_phone_number"))
            .or_else(|| number(value, "phone_number")),
    }
}

/// The business's number in a value without metadata: that from which all its echoes come.
fn number_by_echoes(value: &Map<'_>) -> Option<String> {
    let mut numbers =
        value.objects("message_echoes").map(|echo| echo.word("from").and_then(|from| names::number(&from)));
    let first = numbers.next()??;
    numbers.all(|number| number.as_ref() == Some(&first)).then_some(first)
}

fn reported_error(error: &Map<'_>) -> ReportedError {
    ReportedError {
        code: error.integer("code").unwrap_or_default(),
        title: error.string("title").or_else(|| error.string("message")).unwrap_or_default(),
        details: error
            .map("error_data")
            .and_then(|data| data.string("details"))
            .or_else(|| error.string("details")),
    }
}

/// The first 64 characters.
fn cut(word: &str) -> String {
    word.chars().take(64).collect()
}
