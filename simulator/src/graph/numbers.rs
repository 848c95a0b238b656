//! A business number as the API shows it: its facts, its profile, its syncs, what became of its messages.

use super::error::GraphError;
use super::{Call, Reply};
use crate::engine::Engine;
use crate::webhooks::history::SyncRefusal;
use crate::world::World;
use crate::world::message::MadeBy;
use crate::world::phone::{AppKind, Phone};
use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// What is shown when no fields are named.
const SHOWN: &[&str] = &[
    "verified_name",
    "code_verification_status",
    "display_phone_number",
    "quality_rating",
    "platform_type",
    "throughput",
    "last_onboarded_time",
    "webhook_configuration",
];

/// A field of a number; nothing for a name that the API does not know.
fn field(world: &World, phone: &Phone, name: &str) -> Option<Value> {
    let card = &phone.card;
    let with_app = card.app != AppKind::ApiOnly;
    // `webhook_configuration{application}` and the like: the part in braces is not looked at.
    Some(match name.split('{').next().unwrap_or(name) {
        "id" => json!(card.number_id),
        "display_phone_number" => json!(card.number.spaced()),
        "verified_name" => json!(card.display_name),
        "quality_rating" => json!("GREEN"),
        "code_verification_status" => json!("VERIFIED"),
        "platform_type" => {
            json!(if card.connected && card.is_registered() { "CLOUD_API" } else { "NOT_APPLICABLE" })
        }
        "throughput" => json!({ "level": "STANDARD" }),
        "is_on_biz_app" => json!(with_app && card.app == AppKind::Business),
        "last_onboarded_time" => json!(card.signed_up_at.map(offset_time)),
        "webhook_configuration" => {
            let mut configuration = Map::new();
            if let Some(callback) = &world.settings.callback {
                configuration.insert("application".into(), json!(callback.url));
            }
            if let Some(url) = &card.override_url {
                configuration.insert("whatsapp_business_account".into(), json!(url));
            }
            Value::Object(configuration)
        }
        "status" => json!(if card.connected { "CONNECTED" } else { "DISCONNECTED" }),
        "name_status" => json!("APPROVED"),
        "whatsapp_business_manager_messaging_limit" => json!("TIER_2K"),
        "account_mode" => json!("LIVE"),
        "is_official_business_account" | "is_pin_enabled" => json!(false),
        "health_status" => {
            json!({ "can_send_message": if card.connected { "AVAILABLE" } else { "BLOCKED" } })
        }
        _ => return None,
    })
}

fn offset_time(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .unwrap_or_default()
        .format("%Y-%m-%dT%H:%M:%S+0000")
        .to_string()
}

fn facts(world: &World, phone: &Phone, call: &Call) -> Result<Value, GraphError> {
    let named = call.fields();
    let names: &[&str] = if named.is_empty() { SHOWN } else { &named };
    let mut facts = Map::new();
    facts.insert("id".into(), json!(phone.card.number_id));
    for name in names {
        match field(world, phone, name) {
            Some(Value::Null) => {}
            Some(value) => {
                facts.insert(name.split('{').next().unwrap_or(name).to_owned(), value);
            }
            None => {
                return Err(GraphError::coded(
                    100,
                    &format!(
                        "Tried accessing nonexisting field ({name}) on node type (WhatsAppBusinessPhoneNumber)"
                    ),
                ));
            }
        }
    }
    Ok(Value::Object(facts))
}

/// The numbers of an account: one.
pub(crate) fn list(world: &World, call: &Call, waba: &str) -> Result<Reply, GraphError> {
    let facts = facts(world, call.account(world, waba)?, call)?;
    let id = facts["id"].clone();
    Ok(Reply::json(&json!({ "data": [facts], "paging": { "cursors": { "before": id, "after": id } } })))
}

/// One number, or the account itself.
pub(crate) fn show(world: &World, call: &Call, id: &str) -> Result<Reply, GraphError> {
    if world.by_waba.contains_key(id) {
        let card = &call.account(world, id)?.card;
        return Ok(Reply::json(&json!({
            "id": id, "name": card.display_name, "currency": "EUR", "timezone_id": "1",
            "message_template_namespace": "tandem",
            "owner_business_info": { "id": card.business_id, "name": card.display_name },
        })));
    }
    facts(world, call.phone(world, id)?, call).map(|facts| Reply::json(&facts))
}

/// The service asks for the phone book or the chats.
pub(crate) async fn sync(engine: &Engine, call: &Call, id: &str) -> Result<Reply, GraphError> {
    engine
        .change(|world, ledger| {
            let phone = call.phone(world, id)?;
            let number = phone.card.number;
            if !phone.coexists() {
                return Err(GraphError::parameter("this number is not used with the WhatsApp Business app"));
            }
            let done = match call.text("sync_type") {
                Some("smb_app_state_sync") => world.sync_contacts(ledger, number),
                Some("history") => world.sync_history(ledger, number),
                other => return Err(GraphError::parameter(format!("sync_type {other:?} is unknown"))),
            };
            match done {
                Ok(()) => {
                    let request_id = format!("sync-{}", hex::encode(rand::random::<[u8; 8]>()));
                    Ok(Reply::json(&json!({ "messaging_product": "whatsapp", "request_id": request_id })))
                }
                Err(SyncRefusal::AlreadyAsked) => {
                    Err(GraphError::coded(2_593_107, "The data of this sync was already requested once"))
                }
                Err(SyncRefusal::TooLate) => Err(GraphError::coded(
                    2_593_108,
                    "Data can be synced only within 24 hours of the onboarding",
                )),
            }
        })
        .await?
}

/// The profile that the client keeps in the app.
pub(crate) async fn profile(engine: &Engine, call: &Call, id: &str) -> Result<Reply, GraphError> {
    if call.method == Method::GET {
        return engine.read(|world| {
            let card = &call.phone(world, id)?.card;
            let mut profile = json!({
                "messaging_product": "whatsapp", "vertical": "RETAIL", "websites": [],
                "profile_picture_url": format!("{}/{}/pixel", world.url, super::media::DOWNLOADS),
            });
            if let Some(about) = &card.about {
                profile["about"] = json!(about);
            }
            Ok(Reply::json(&json!({ "data": [profile] })))
        });
    }
    engine
        .change(|world, ledger| {
            let phone = call.phone(world, id)?;
            if phone.coexists() {
                return Err(GraphError::coded(100, "Invalid parameter").details(
                    "the profile of a number that is used in the WhatsApp Business app is changed there",
                ));
            }
            let number = phone.card.number;
            if let Some(about) = call.text("about") {
                world.set_profile(ledger, number, None, Some(about.to_owned()))?;
            }
            Ok(Reply::success())
        })
        .await?
}

/// What became of the messages of the API, newest first: states, no words.
pub(crate) fn message_history(world: &World, call: &Call, id: &str) -> Result<Reply, GraphError> {
    let phone = call.phone(world, id)?;
    let limit = call.number("limit", 25).clamp(1, 100);
    let before = call.text("after").and_then(|text| text.parse::<u32>().ok()).unwrap_or(u32::MAX);
    let wanted =
        call.text("message_id").map(|text| phone.find(text).map_or(u32::MAX, |message| message.sequence));
    let url = world.settings.callback.as_ref().map(|callback| callback.url.as_str()).unwrap_or_default();
    let mut found = phone
        .messages
        .iter()
        .rev()
        .filter(|m| m.made_by == MadeBy::Api && m.sequence < before)
        .filter(|m| wanted.is_none_or(|sequence| m.sequence == sequence));
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let data: Vec<Value> = page
        .iter()
        .map(|message| {
            let events: Vec<Value> = message
                .trail
                .iter()
                .map(|(status, at)| {
                    json!({
                        "delivery_status": status.name().to_ascii_uppercase(), "timestamp": at,
                        "webhook_update_state": "SUCCEEDED", "webhook_uri": url,
                        "application": { "id": world.development.app_id },
                    })
                })
                .collect();
            json!({ "message_id": phone.id_of(message), "events": { "data": events } })
        })
        .collect();
    let mut body = json!({ "data": data });
    if let (Some(first), Some(last)) = (page.first(), page.last()) {
        let cursors = json!({ "before": first.sequence.to_string(), "after": last.sequence.to_string() });
        body["paging"] = json!({ "cursors": cursors });
        if found.next().is_some() {
            let next = format!(
                "{}/{}/{id}/message_history?limit={limit}&after={}",
                world.url,
                super::VERSION,
                last.sequence
            );
            body["paging"]["next"] = json!(next);
        }
    }
    Ok(Reply::json(&body))
}

/// Registering and deregistering: not for numbers that are in the app.
pub(crate) async fn register(engine: &Engine, call: &Call, id: &str) -> Result<Reply, GraphError> {
    engine
        .change(|world, ledger| {
            let phone = call.phone(world, id)?;
            if phone.coexists() {
                return Err(GraphError::coded(100, "Invalid parameter").details(
                    "a number that is used in the WhatsApp Business app can be neither registered nor deregistered",
                ));
            }
            let number = phone.card.number;
            let registers = call.path.last().is_some_and(|piece| piece == "register");
            let pin = call.text("pin").filter(|pin| pin.len() == 6 && pin.bytes().all(|b| b.is_ascii_digit()));
            let card = &mut world.phone_mut(number)?.card;
            if registers {
                let pin = pin.ok_or_else(|| GraphError::parameter("pin must be six digits"))?;
                if card.pin.as_deref().is_some_and(|known| known != pin) {
                    return Err(GraphError::coded(133_005, "Two step verification PIN Mismatch"));
                }
                card.pin = Some(pin.to_owned());
            }
            card.registered = registers;
            world.keep_card(ledger, number);
            Ok(Reply::success())
        })
        .await?
}
