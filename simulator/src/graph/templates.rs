//! Templates: listed, made and deleted. A new one is approved at once, and a webhook says so.

use super::error::GraphError;
use super::{Call, Reply};
use crate::chance::Chance;
use crate::engine::Engine;
use crate::store::Kind;
use crate::webhooks::queue::{Notice, Reach};
use crate::world::templates::Template;
use crate::world::{World, digits_of};
use serde_json::{Value, json};

/// The endpoint of an account's templates.
pub(crate) async fn answer(engine: &Engine, call: &Call, waba: &str) -> Result<Reply, GraphError> {
    match call.method.as_str() {
        "GET" => engine.read(|world| list(world, call, waba)),
        "POST" => create(engine, call, waba).await,
        "DELETE" => delete(engine, call, waba).await,
        method => Err(GraphError::unknown(method, waba)),
    }
}

fn list(world: &World, call: &Call, waba: &str) -> Result<Reply, GraphError> {
    let phone = call.account(world, waba)?;
    let fits =
        |name: &str, value: &str| call.text(name).is_none_or(|wanted| wanted.eq_ignore_ascii_case(value));
    let limit = call.number("limit", 25).clamp(1, 1000);
    let start = call.number("after", 0);
    let mut found = phone
        .templates
        .iter()
        .filter(|t| call.text("name").is_none_or(|wanted| t.name.contains(wanted)))
        .filter(|t| {
            fits("status", &t.status) && fits("category", &t.category) && fits("language", &t.language)
        })
        .skip(start);
    let fields = call.fields();
    let data: Vec<Value> = found
        .by_ref()
        .take(limit)
        .map(|template| {
            let mut shown = template.to_json();
            if let Some(object) = shown.as_object_mut().filter(|_| !fields.is_empty()) {
                object.retain(|name, _| name == "id" || fields.contains(&name.as_str()));
            }
            shown
        })
        .collect();
    let (before, after) = (start.to_string(), (start + data.len()).to_string());
    let mut body = json!({ "data": data });
    if !body["data"].as_array().is_none_or(Vec::is_empty) {
        body["paging"] = json!({ "cursors": { "before": before, "after": after } });
        if found.next().is_some() {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for name in ["fields", "name", "status", "category", "language"] {
                if let Some(value) = call.text(name) {
                    query.append_pair(name, value);
                }
            }
            let query = query.append_pair("limit", &limit.to_string()).append_pair("after", &after).finish();
            body["paging"]["next"] =
                json!(format!("{}/{}/{waba}/message_templates?{query}", world.url, super::VERSION));
        }
    }
    Ok(Reply::json(&body))
}

fn is_name(name: &str) -> bool {
    (1..=512).contains(&name.len()) && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

async fn create(engine: &Engine, call: &Call, waba: &str) -> Result<Reply, GraphError> {
    engine
        .change(|world, ledger| {
            let phone = call.account(world, waba)?;
            let needed = |name: &str| {
                let missing = || GraphError::parameter(format!("the parameter {name} is missing"));
                call.text(name).map(str::to_owned).ok_or_else(missing)
            };
            let name = needed("name")?;
            if !is_name(&name) {
                return Err(GraphError::parameter("name takes small letters, digits and underscores"));
            }
            let language = needed("language")?;
            if phone.templates.iter().any(|t| t.name == name && t.language == language) {
                return Err(GraphError::parameter(format!(
                    "there is already a template {name} in {language}"
                )));
            }
            let components = match call.given.get("components") {
                Some(Value::Array(all)) => all.clone(),
                Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
                _ => Vec::new(),
            };
            if !components.iter().any(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("body")))
            {
                return Err(GraphError::parameter("components need one of the type BODY"));
            }
            let template = Template {
                id: digits_of(Chance::fresh().next()),
                name,
                language,
                status: "APPROVED".to_owned(),
                category: needed("category")?.to_ascii_uppercase(),
                parameter_format: call.text("parameter_format").unwrap_or("POSITIONAL").to_ascii_uppercase(),
                components,
            };
            let number = phone.card.number;
            template.keep(ledger, &number.digits());
            let body = json!({ "id": template.id, "status": "PENDING", "category": template.category });
            let value = json!({
                "event": "APPROVED", "message_template_id": template.id.parse::<u64>().unwrap_or_default(),
                "message_template_name": template.name, "message_template_language": template.language,
                "message_template_category": template.category, "reason": "NONE",
            });
            world.phone_mut(number)?.templates.push(template);
            let notice = Notice {
                field: "message_template_status_update",
                entry: waba.to_owned(),
                time: Some(ledger.now()),
                value,
                reach: Reach::Account,
            };
            world.tell(ledger, number, notice);
            Ok(Reply::json(&body))
        })
        .await?
}

async fn delete(engine: &Engine, call: &Call, waba: &str) -> Result<Reply, GraphError> {
    engine
        .change(|world, ledger| {
            let number = call.account(world, waba)?.card.number;
            let name =
                call.text("name").ok_or_else(|| GraphError::parameter("the parameter name is missing"))?;
            let id = call.text("hsm_id");
            let goes = |t: &Template| t.name == name && id.is_none_or(|id| t.id == id);
            let phone = world.phone_mut(number)?;
            let gone: Vec<String> =
                phone.templates.iter().filter(|t| goes(t)).map(|t| t.id.clone()).collect();
            if gone.is_empty() {
                return Err(GraphError::parameter(format!("there is no template {name}")));
            }
            phone.templates.retain(|t| !goes(t));
            for id in gone {
                ledger.erase(Kind::Template, number.digits(), id);
            }
            Ok(Reply::success())
        })
        .await?
}
