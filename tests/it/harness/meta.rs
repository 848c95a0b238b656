//! Webhook bodies as Meta sends them, written for these tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A business number, as bodies name it.
#[derive(Clone)]
pub struct Business {
    pub phone_number_id: String,
    pub waba_id: String,
    /// With plus.
    pub number: String,
}

/// A customer, and how much of them a body shows.
#[derive(Clone, Debug)]
pub struct Customer {
    /// With plus.
    pub number: String,
    pub user_id: String,
}

/// Which names of a customer a body shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Both,
    Number,
    UserId,
    /// The user id in its own and its parent form.
    UserIds,
    /// The parent form alone.
    Parent,
    /// Nothing at all: so come the late media of what the app sent.
    Nobody,
}

impl Customer {
    pub fn digits(&self) -> &str {
        self.number.trim_start_matches('+')
    }

    /// A WhatsApp id of a message with this customer, built on the number or on the user id: the trailing token is the same.
    pub fn wamid(&self, token: u64, on_user_id: bool) -> String {
        let address = if on_user_id { self.user_id.as_str() } else { self.digits() };
        let token = format!("{:032X}", u128::from(token) + (0xABC_u128 << 96));
        format!("wamid.{}", STANDARD.encode(format!("\u{1d}\u{11}{address}\u{15}\u{2}{token}\0")))
    }

    fn put(&self, value: &mut Value, shown: Shown, number: &str, user_id: &str) {
        if matches!(shown, Shown::Both | Shown::Number) {
            value[number] = json!(self.digits());
        }
        if matches!(shown, Shown::Both | Shown::UserId | Shown::UserIds) {
            value[user_id] = json!(self.user_id);
        }
        if matches!(shown, Shown::UserIds | Shown::Parent) {
            value[user_id.replace("user_id", "parent_user_id")] =
                json!(self.user_id.replace("DE.", "DE.ENT."));
        }
    }

    fn contact(&self, shown: Shown, name: Option<&str>) -> Value {
        let mut contact = json!({});
        self.put(&mut contact, shown, "wa_id", "user_id");
        if let Some(name) = name {
            contact["profile"] = json!({ "name": name });
        }
        contact
    }
}

/// One change of a body: a field and its value.
pub type Change = (&'static str, Value);

impl Business {
    fn value(&self) -> Value {
        json!({
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": self.number.trim_start_matches('+'), "phone_number_id": self.phone_number_id },
        })
    }

    /// A customer's message, reaction, edit or deletion: `content` has its type and its object.
    pub fn incoming(
        &self,
        from: &Customer,
        shown: Shown,
        id: &str,
        at: i64,
        name: &str,
        content: Value,
    ) -> Change {
        let mut message = json!({ "id": id, "timestamp": at.to_string() });
        merge(&mut message, content);
        from.put(&mut message, shown, "from", "from_user_id");
        let mut value = self.value();
        value["contacts"] = json!([from.contact(shown, Some(name))]);
        value["messages"] = json!([message]);
        ("messages", value)
    }

    /// What the client did in the app.
    pub fn echo(&self, to: &Customer, shown: Shown, id: &str, at: i64, content: Value) -> Change {
        let mut message =
            json!({ "from": self.number.trim_start_matches('+'), "id": id, "timestamp": at.to_string() });
        merge(&mut message, content);
        to.put(&mut message, shown, "to", "to_user_id");
        let mut value = self.value();
        value["contacts"] = json!([to.contact(shown, None)]);
        value["message_echoes"] = json!([message]);
        ("smb_message_echoes", value)
    }

    pub fn status(&self, to: &Customer, shown: Shown, id: &str, at: i64, status: &str, code: i32) -> Change {
        let mut one = json!({ "id": id, "status": status, "timestamp": at.to_string() });
        to.put(&mut one, shown, "recipient_id", "recipient_user_id");
        if status == "failed" {
            one["errors"] = json!([{ "code": code, "title": "Undeliverable", "message": "Undeliverable" }]);
        }
        let mut value = self.value();
        value["statuses"] = json!([one]);
        ("messages", value)
    }

    /// A chunk of the history: threads of (customer, how shown, messages).
    pub fn history(
        &self,
        phase: i32,
        order: i32,
        progress: i32,
        threads: &[(&Customer, Shown, Vec<Value>)],
    ) -> Change {
        let threads: Vec<Value> = threads
            .iter()
            .map(|(customer, shown, messages)| {
                let mut thread = json!({ "context": customer.contact(*shown, None), "messages": messages });
                if matches!(shown, Shown::Both | Shown::Number) {
                    thread["id"] = json!(customer.digits());
                }
                thread
            })
            .collect();
        let mut value = self.value();
        value["history"] = json!([{ "metadata": { "phase": phase, "chunk_order": order, "progress": progress }, "threads": threads }]);
        ("history", value)
    }

    /// A message inside a thread of the history.
    #[expect(clippy::too_many_arguments, reason = "a message has so many parts")]
    pub fn past(
        &self,
        with: &Customer,
        shown: Shown,
        from_app: bool,
        id: &str,
        at: i64,
        content: Value,
        status: &str,
    ) -> Value {
        let mut message =
            json!({ "id": id, "timestamp": at.to_string(), "history_context": { "status": status } });
        merge(&mut message, content);
        if from_app {
            message["from"] = json!(self.number.trim_start_matches('+'));
            with.put(&mut message, shown, "to", "to_user_id");
        } else {
            with.put(&mut message, shown, "from", "from_user_id");
        }
        message
    }

    /// A medium of the history that comes later; the customer's, unless it names nobody.
    pub fn late_medium(&self, from: &Customer, shown: Shown, id: &str, at: i64) -> Change {
        let mut message = json!({ "id": id, "timestamp": at.to_string(), "type": "image",
            "image": { "id": format!("media-{at}"), "mime_type": "image/jpeg", "sha256": "x", "caption": "late" } });
        from.put(&mut message, shown, "from", "from_user_id");
        let mut value = self.value();
        if shown == Shown::Nobody {
            message["from"] = json!(self.number.trim_start_matches('+'));
        } else {
            value["contacts"] = json!([from.contact(shown, None)]);
        }
        value["messages"] = json!([message]);
        ("history", value)
    }

    pub fn phone_book(&self, person: &Customer, shown: Shown, at: i64, name: Option<&str>) -> Change {
        let mut contact = json!({});
        person.put(&mut contact, shown, "phone_number", "user_id");
        if let Some(name) = name {
            contact["full_name"] = json!(name);
            contact["first_name"] = json!(name.split(' ').next());
        }
        let mut value = self.value();
        value["state_sync"] = json!([{ "type": "contact", "action": if name.is_some() { "add" } else { "remove" },
            "contact": contact, "metadata": { "timestamp": at.to_string() } }]);
        ("smb_app_state_sync", value)
    }

    /// Somebody stops marketing messages, or wants them again.
    pub fn preference(&self, of: &Customer, shown: Shown, at: i64, stop: bool) -> Change {
        let word = if stop { "stop" } else { "resume" };
        let mut one = json!({ "category": "marketing_messages", "value": word, "timestamp": at });
        of.put(&mut one, shown, "wa_id", "user_id");
        let mut value = self.value();
        value["contacts"] = json!([of.contact(shown, None)]);
        value["user_preferences"] = json!([one]);
        ("user_preferences", value)
    }

    pub fn account(&self, event: &str, at: i64) -> (Change, i64) {
        (
            (
                "account_update",
                json!({ "event": event, "phone_number": self.number.trim_start_matches('+') }),
            ),
            at,
        )
    }

    /// A body of several changes.
    pub fn body(&self, changes: &[Change]) -> Vec<u8> {
        let changes: Vec<Value> =
            changes.iter().map(|(field, value)| json!({ "field": field, "value": value })).collect();
        let entry = json!({ "id": self.waba_id, "changes": changes });
        json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string().into_bytes()
    }

    /// A body of one change that carries the time of its entry.
    pub fn stamped_body(&self, (change, at): &(Change, i64)) -> Vec<u8> {
        let (field, value) = change;
        json!({ "object": "whatsapp_business_account", "entry": [{ "id": self.waba_id, "time": at,
            "changes": [{ "field": field, "value": value }] }] })
        .to_string()
        .into_bytes()
    }
}

pub fn text(body: &str) -> Value {
    json!({ "type": "text", "text": { "body": body } })
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
