//! Webhook bodies as WhatsApp writes them, made by hand: for what no phone does on its own.

use serde_json::{Value, json};

/// The names of a business number on the wire.
pub struct Ids {
    /// With its plus.
    pub number: String,
    /// Of the number.
    pub number_id: String,
    /// Of the account.
    pub waba_id: String,
}

impl Ids {
    /// A body with one change that concerns this number.
    pub fn body(&self, field: &str, value: Value) -> Value {
        let mut whole = json!({
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": digits(&self.number), "phone_number_id": self.number_id },
        });
        for (name, part) in value.as_object().unwrap() {
            whole[name] = part.clone();
        }
        json!({
            "object": "whatsapp_business_account",
            "entry": [{ "id": self.waba_id, "changes": [{ "field": field, "value": whole }] }],
        })
    }

    /// A customer writes.
    pub fn incoming(&self, from: &str, id: &str, at: i64, text: &str) -> Value {
        let message = json!({
            "from": digits(from), "id": id, "timestamp": at.to_string(), "type": "text", "text": { "body": text },
        });
        let contact = json!({ "wa_id": digits(from), "profile": { "name": "A customer" } });
        self.body("messages", json!({ "contacts": [contact], "messages": [message] }))
    }

    /// A chunk of the history: one text of each customer.
    pub fn chunk(&self, phase: i32, order: i32, progress: i32, texts: &[(&str, &str, i64)]) -> Value {
        let thread = |(from, text, at): &(&str, &str, i64)| {
            json!({
                "id": digits(from),
                "messages": [{
                    "from": digits(from), "id": format!("wamid.{phase}.{order}.{at}"), "timestamp": at.to_string(),
                    "type": "text", "text": { "body": text }, "history_context": { "status": "READ" },
                }],
            })
        };
        let threads: Vec<Value> = texts.iter().map(thread).collect();
        let metadata = json!({ "phase": phase, "chunk_order": order, "progress": progress });
        self.body("history", json!({ "history": [{ "metadata": metadata, "threads": threads }] }))
    }

    /// Something that happened to the account, at this second.
    pub fn account(&self, at: i64, value: &Value) -> Value {
        json!({
            "object": "whatsapp_business_account",
            "entry": [{ "id": self.waba_id, "time": at, "changes": [{ "field": "account_update", "value": value }] }],
        })
    }
}

fn digits(number: &str) -> &str {
    number.trim_start_matches('+')
}
