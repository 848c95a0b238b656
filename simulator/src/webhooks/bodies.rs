//! What webhooks say.

use crate::chance::Chance;
use crate::wamid::wamid;
use crate::world::World;
use crate::world::message::{MadeBy, Message, Status};
use crate::world::people::Person;
use crate::world::phone::{Card, Phone};
use serde_json::{Map, Value, json};

/// Something done to a message.
pub(crate) enum Act {
    Written,
    Edited,
    Deleted,
    /// With an emoji, or with none: a reaction taken away.
    Reacted(Option<String>),
    /// Sent, delivered, read or played, and when in whole seconds.
    Seen(Status, i64),
}

/// What was done to a message, with the field under which it is told.
pub(crate) fn message(
    world: &World,
    phone: &Phone,
    message: &Message,
    by: MadeBy,
    act: &Act,
) -> (&'static str, Value) {
    let person = phone.person(message.with);
    let user_id = phone.user_id(message.with);
    let mut chance = Chance::fresh();
    let mut id_of = |message: &Message| {
        if chance.hits(world.settings.trouble.second_ids) {
            message.second_id(&user_id)
        } else {
            message.id(&user_id)
        }
    };
    if let Act::Seen(status, at) = act {
        let mut value = self::status(phone, message, &person, (*status, *at), &id_of(message));
        if !world.settings.prices.tells_billable
            && let Some(pricing) = value.pointer_mut("/statuses/0/pricing").and_then(Value::as_object_mut)
        {
            pricing.remove("billable");
        }
        return ("messages", value);
    }
    let hidden = message.hidden && matches!(act, Act::Written);
    let from_customer = by == MadeBy::Customer;
    let mut item = Map::new();
    address(&mut item, phone, &person, from_customer, hidden);
    let (kind, content, at) = match act {
        Act::Written => {
            let (kind, content) = content(world, message);
            (kind, content, message.seconds())
        }
        Act::Edited => {
            let (kind, mut content) = content(world, message);
            if let Some(id) = content.as_object_mut() {
                for technical in ["id", "sha256", "url", "mime_type", "voice"] {
                    id.remove(technical);
                }
            }
            let edited = json!({ "type": kind, (kind): content, "context": { "id": "M0" } });
            let edit = json!({ "original_message_id": id_of(message), "message": edited });
            ("edit", edit, message.changed_at)
        }
        Act::Deleted => ("revoke", json!({ "original_message_id": id_of(message) }), message.changed_at),
        Act::Reacted(emoji) => {
            let mut reaction = json!({ "message_id": id_of(message) });
            if let Some(emoji) = emoji {
                reaction["emoji"] = json!(emoji);
            }
            ("reaction", reaction, message.changed_at)
        }
        Act::Seen(..) => ("status", Value::Null, 0),
    };
    let id = match act {
        Act::Written => id_of(message),
        _ => wamid(&message.with.digits(), Chance::fresh().token()),
    };
    item.insert("id".into(), json!(id));
    item.insert("timestamp".into(), json!(at.to_string()));
    item.insert("type".into(), json!(kind));
    item.insert(kind.to_owned(), content);
    if let (Act::Written, Some(answered)) = (act, message.reply_to.and_then(|token| phone.by_token(token))) {
        let author = if answered.made_by == MadeBy::Customer { answered.with } else { phone.card.number };
        item.insert("context".into(), json!({ "from": author.digits(), "id": id_of(answered) }));
    }
    let mut value = value(&phone.card);
    value["contacts"] = json!([contact(phone, &person, hidden, from_customer)]);
    if from_customer {
        value["messages"] = json!([item]);
        ("messages", value)
    } else {
        value["message_echoes"] = json!([item]);
        ("smb_message_echoes", value)
    }
}

/// How far a message got.
fn status(phone: &Phone, message: &Message, person: &Person, (status, at): (Status, i64), id: &str) -> Value {
    let mut item = json!({
        "id": id, "status": status.name(), "timestamp": at.to_string(),
        "recipient_id": person.number.digits(), "recipient_user_id": phone.user_id(person.number),
    });
    if let Some(data) = &message.callback_data {
        item["biz_opaque_callback_data"] = json!(data);
    }
    if let Some(pricing) =
        message.pricing.as_ref().filter(|_| matches!(status, Status::Sent | Status::Delivered))
    {
        item["pricing"] = json!({
            "billable": pricing.billable, "pricing_model": "PMP",
            "type": pricing.kind, "category": pricing.category,
        });
    }
    let mut value = value(&phone.card);
    value["contacts"] = json!([contact(phone, person, false, false)]);
    value["statuses"] = json!([item]);
    value
}

/// The status of a reaction that the API sent, which is no message of its own.
pub(crate) fn reaction_sent(
    phone: &Phone,
    message: &Message,
    id: &str,
    data: Option<&str>,
    at: i64,
) -> Value {
    let person = phone.person(message.with);
    let mut item = json!({
        "id": id, "status": "sent", "timestamp": at.to_string(),
        "recipient_id": person.number.digits(), "recipient_user_id": phone.user_id(person.number),
    });
    if let Some(data) = data {
        item["biz_opaque_callback_data"] = json!(data);
    }
    let mut value = value(&phone.card);
    value["contacts"] = json!([contact(phone, &person, false, false)]);
    value["statuses"] = json!([item]);
    value
}

/// Where a message-like body begins.
pub(crate) fn value(card: &Card) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": card.number.digits(), "phone_number_id": card.number_id },
    })
}

/// The other side, as `contacts[]` shows it.
pub(crate) fn contact(phone: &Phone, person: &Person, hidden: bool, with_profile: bool) -> Value {
    let mut contact = json!({ "user_id": phone.user_id(person.number) });
    if !hidden {
        contact["wa_id"] = json!(person.number.digits());
    }
    if with_profile {
        contact["profile"] = json!({ "name": person.name });
    }
    contact
}

/// Who wrote, and to whom.
pub(crate) fn address(
    item: &mut Map<String, Value>,
    phone: &Phone,
    person: &Person,
    from_customer: bool,
    hidden: bool,
) {
    let user_id = phone.user_id(person.number);
    if from_customer {
        if !hidden {
            item.insert("from".into(), json!(person.number.digits()));
        }
        item.insert("from_user_id".into(), json!(user_id));
    } else {
        item.insert("from".into(), json!(phone.card.number.digits()));
        if !hidden {
            item.insert("to".into(), json!(person.number.digits()));
        }
        item.insert("to_user_id".into(), json!(user_id));
    }
}

/// The type of a message and the object under its name.
pub(crate) fn content<'m>(world: &World, message: &'m Message) -> (&'m str, Value) {
    let kind = message.kind.as_str();
    if message.is_media() {
        let mut object = json!({});
        let mut name = None;
        if let Some((id, media)) = message.media.as_ref().and_then(|id| Some((id, world.media.get(id)?))) {
            name = media.written.as_ref().and_then(|file| file.name.clone());
            object = json!({
                "id": id, "mime_type": media.mime, "sha256": media.sha256, "url": world.media_url(id),
            });
        }
        // What the API sent says itself what it is.
        let told = |field: &str| message.content.as_ref().map(|content| content[field].clone());
        match kind {
            "audio" => object["voice"] = told("voice").map_or(json!(true), |voice| json!(voice == true)),
            "sticker" => object["animated"] = json!(false),
            "document" => {
                object["filename"] =
                    told("filename").unwrap_or_else(|| json!(name.as_deref().unwrap_or("Dokument.pdf")));
            }
            _ => {}
        }
        if !message.text.is_empty() && !matches!(kind, "audio" | "sticker") {
            object["caption"] = json!(message.text);
        }
        return (kind, object);
    }
    match (&message.content, kind) {
        (Some(content), "location" | "contacts" | "interactive" | "button") => (kind, content.clone()),
        _ => ("text", json!({ "body": message.text })),
    }
}

/// Whether somebody wants marketing messages, as they said just now.
pub(crate) fn preference(phone: &Phone, person: &Person, wanted: bool, at: i64) -> Value {
    let mut value = value(&phone.card);
    value["contacts"] = json!([contact(phone, person, false, true)]);
    let (word, detail) = match wanted {
        true => ("resume", "User requested to resume marketing messages"),
        false => ("stop", "User requested to stop marketing messages"),
    };
    value["user_preferences"] = json!([{
        "wa_id": person.number.digits(), "user_id": phone.user_id(person.number), "detail": detail,
        "category": "marketing_messages", "value": word, "timestamp": at,
    }]);
    value
}

/// Changes of the phone book.
pub(crate) fn state_sync(phone: &Phone, people: &[&Person]) -> Value {
    let items: Vec<Value> = people
        .iter()
        .map(|person| {
            let mut contact =
                json!({ "phone_number": person.number.digits(), "user_id": phone.user_id(person.number) });
            if let (Some(full), Some(first)) = (&person.full_name, person.first_name()) {
                contact["full_name"] = json!(full);
                contact["first_name"] = json!(first);
            }
            json!({
                "type": "contact", "contact": contact,
                "action": if person.full_name.is_some() { "add" } else { "remove" },
                "metadata": { "timestamp": person.listed_at.to_string() },
            })
        })
        .collect();
    let mut value = value(&phone.card);
    value["state_sync"] = json!(items);
    value
}

/// The account was shared with us. The entry bears another id than the account's.
pub(crate) fn partner_added(card: &Card) -> (String, Value) {
    let waba = json!({ "waba_id": card.waba_id, "owner_business_id": card.business_id });
    (card.business_id.clone(), json!({ "event": "PARTNER_ADDED", "waba_info": waba }))
}

/// The account is shared with us no longer.
pub(crate) fn partner_removed(card: &Card, reason: &str, initiated_by: &str) -> (String, Value) {
    let value = json!({
        "event": "PARTNER_REMOVED", "phone_number": card.number.digits(),
        "waba_info": { "waba_id": card.waba_id, "owner_business_id": card.business_id },
        "disconnection_info": { "reason": reason, "initiated_by": initiated_by },
    });
    (card.business_id.clone(), value)
}

/// An event of the account that carries nothing else.
pub(crate) fn account(card: &Card, event: &str) -> (String, Value) {
    (card.waba_id.clone(), json!({ "event": event, "phone_number": card.number.digits() }))
}

/// The display name was changed, and the change approved.
pub(crate) fn name_update(card: &Card) -> Value {
    json!({
        "display_phone_number": card.number.digits(), "decision": "APPROVED",
        "requested_verified_name": card.display_name, "rejection_reason": null,
    })
}
