//! Webhooks made worse on purpose: with less in them than a receiver hopes for, or with more than it knows.

use crate::chance::Chance;
use serde_json::{Value, json};

/// Takes away what Meta does not promise. Answers whether the envelope goes as well, as Meta's own example of a
/// declined history shows it.
pub(crate) fn drop_optional(field: &str, value: &mut Value) -> bool {
    let Some(object) = value.as_object_mut() else { return false };
    object.remove("contacts");
    for (list, known, unneeded) in [
        ("messages", "from_user_id", "from"),
        ("message_echoes", "to_user_id", "to"),
        ("statuses", "recipient_user_id", "recipient_id"),
    ] {
        for item in object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(item) = item.as_object_mut() else { continue };
            if item.contains_key(known) {
                item.remove(unneeded);
            }
            item.remove("pricing");
        }
    }
    for item in object.get_mut("state_sync").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(contact) = item.get_mut("contact").and_then(Value::as_object_mut) {
            contact.remove("first_name");
        }
    }
    let mut declined = false;
    for chunk in object.get_mut("history").and_then(Value::as_array_mut).into_iter().flatten() {
        declined |= chunk.get("errors").is_some();
        for thread in chunk.get_mut("threads").and_then(Value::as_array_mut).into_iter().flatten() {
            drop_from_thread(thread);
        }
    }
    field == "history" && declined
}

fn drop_from_thread(thread: &mut Value) {
    let Some(thread) = thread.as_object_mut() else { return };
    thread.remove("id");
    if let Some(context) = thread.get_mut("context").and_then(Value::as_object_mut) {
        context.remove("wa_id");
    }
    for message in thread.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(message) = message.as_object_mut() else { continue };
        if message.contains_key("from_user_id") {
            message.remove("from");
        }
        message.remove("to");
        message.remove("history_context");
    }
}

/// Adds what no receiver knows: a property, a status, or a whole change that is answered to stand beside this one.
pub(crate) fn add_unknown(field: &str, value: &mut Value, chance: &mut Chance) -> Option<Value> {
    let strange = json!({ "kind": "nebula", "strength": chance.below(100), "since": null });
    let object = value.as_object_mut()?;
    object.insert("nebula_info".into(), strange.clone());
    for list in ["messages", "message_echoes", "statuses", "state_sync", "history"] {
        for item in object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(item) = item.as_object_mut() {
                item.insert("nebula".into(), strange.clone());
            }
        }
    }
    if let Some(statuses) = object.get_mut("statuses").and_then(Value::as_array_mut) {
        let odd: Vec<Value> = statuses
            .iter()
            .map(|status| {
                let mut odd = status.clone();
                odd["status"] = json!("drifting");
                odd
            })
            .collect();
        statuses.extend(odd);
    }
    match (field, chance.below(3)) {
        ("account_update", _) | (_, 2) => None,
        (_, 0) => Some(json!({ "field": "nebula_update", "value": { "event": "DRIFT", "nebula": strange } })),
        _ => Some(
            json!({ "field": "account_update", "value": { "event": "ACCOUNT_DRIFTED", "nebula_info": strange } }),
        ),
    }
}
