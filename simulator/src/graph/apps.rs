//! Who hears what: the app's callback and fields, and the accounts that it is subscribed to.

use super::error::GraphError;
use super::{Call, Reply};
use crate::engine::Engine;
use crate::world::{Callback, Refusal};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const OBJECT: &str = "whatsapp_business_account";
const LONGEST_OVERRIDE: usize = 200;

/// Asks the callback to prove that it knows the token.
async fn verify(engine: &Engine, address: &str, verify_token: &str) -> Result<(), GraphError> {
    let failed = |details: String| GraphError::coded(2200, "Callback verification failed").details(details);
    let mut url = url::Url::parse(address).map_err(|e| failed(format!("{address}: {e}")))?;
    let challenge = rand::random::<u32>().to_string();
    url.query_pairs_mut()
        .append_pair("hub.mode", "subscribe")
        .append_pair("hub.challenge", &challenge)
        .append_pair("hub.verify_token", verify_token);
    let answer = engine.http.get(url).timeout(Duration::from_secs(10)).send().await;
    let answer = answer.map_err(|e| failed(format!("{address} did not answer: {e}")))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if status.as_u16() == 200 && text.trim() == challenge {
        Ok(())
    } else {
        Err(failed(format!("{address} answered {status} and not the challenge")))
    }
}

/// The app's own subscription.
pub(crate) async fn subscriptions(engine: &Engine, call: &Call, app: &str) -> Result<Reply, GraphError> {
    engine.read(|world| match (call.is_app(world), app == world.development.app_id) {
        (false, _) => Err(GraphError::token()),
        (_, false) => Err(GraphError::unknown(call.method.as_str(), app)),
        _ => Ok(()),
    })?;
    if call.method == Method::GET {
        return Ok(engine.read(|world| {
            let fields: Vec<Value> =
                world.settings.fields.iter().map(|name| json!({ "name": name, "version": super::VERSION })).collect();
            let data: Vec<Value> = world
                .settings
                .callback
                .iter()
                .map(|callback| {
                    json!({ "object": OBJECT, "callback_url": callback.url, "active": true, "fields": fields })
                })
                .collect();
            Reply::json(&json!({ "data": data }))
        }));
    }
    if call.text("object").is_some_and(|object| object != OBJECT) {
        return Err(GraphError::parameter(format!("object must be {OBJECT}")));
    }
    let url =
        call.text("callback_url").ok_or_else(|| GraphError::parameter("callback_url is missing"))?.to_owned();
    let verify_token = call.text("verify_token").unwrap_or_default().to_owned();
    verify(engine, &url, &verify_token).await?;
    let fields = named_fields(call);
    engine
        .change(|world, ledger| {
            world.settings.callback = Some(Callback { url, verify_token });
            if let Some(fields) = fields {
                world.settings.fields = fields;
            }
            world.keep_settings(ledger);
            // What a former receiver refused is offered to this one at once.
            for phone in world.phones.values_mut() {
                phone.queue.forgive();
                ledger.wake.push(phone.wake.clone());
            }
        })
        .await?;
    Ok(Reply::success())
}

/// The fields of a subscription: names after commas, names in a list, or objects with a name.
fn named_fields(call: &Call) -> Option<BTreeSet<String>> {
    let name = |value: &Value| value.as_str().or_else(|| value["name"].as_str()).map(str::to_owned);
    match call.given.get("fields")? {
        Value::Array(all) => Some(all.iter().filter_map(name).collect()),
        Value::String(text) => match serde_json::from_str::<Vec<Value>>(text) {
            Ok(all) => Some(all.iter().filter_map(name).collect()),
            Err(_) => Some(call.fields().into_iter().map(str::to_owned).collect()),
        },
        _ => None,
    }
}

/// The app's subscription to one account.
pub(crate) async fn subscribed(engine: &Engine, call: &Call, waba: &str) -> Result<Reply, GraphError> {
    let (number, app_id, now) = engine.read(|world| {
        let phone = call.account(world, waba)?;
        Ok::<_, GraphError>((
            phone.card.number,
            world.development.app_id.clone(),
            (phone.card.subscribed, phone.card.override_url.clone()),
        ))
    })?;
    let subscribe = match call.method.as_str() {
        "GET" => {
            let mut entry = json!({ "whatsapp_business_api_data": {
                "id": app_id, "name": "Tandem on a laptop", "link": "https://example.test/",
            } });
            if let Some(url) = now.1 {
                entry["override_callback_uri"] = json!(url);
            }
            let data: Vec<Value> = if now.0 { vec![entry] } else { Vec::new() };
            return Ok(Reply::json(&json!({ "data": data })));
        }
        "POST" => true,
        "DELETE" => false,
        method => return Err(GraphError::unknown(method, waba)),
    };
    let override_url = call.text("override_callback_uri").filter(|url| subscribe && !url.is_empty());
    if let Some(url) = override_url {
        if url.len() > LONGEST_OVERRIDE {
            return Err(GraphError::parameter("override_callback_uri has more than 200 characters"));
        }
        verify(engine, url, call.text("verify_token").unwrap_or_default()).await?;
    }
    engine
        .change(|world, ledger| {
            let card = &mut world.phone_mut(number)?.card;
            card.subscribed = subscribe;
            card.override_url = override_url.map(str::to_owned);
            world.keep_card(ledger, number);
            Ok::<(), Refusal>(())
        })
        .await??;
    Ok(Reply::success())
}
