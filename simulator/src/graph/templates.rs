//! Templates: listed, made and deleted. A new one is reviewed as the world's settings say, at first well and at once, and
//! webhooks tell of it.

use super::error::GraphError;
use super::{Call, Reply};
use crate::chance::Chance;
use crate::engine::Engine;
use crate::store::Kind;
use crate::world::templates::{Change, Template, status_value};
use crate::world::{ReviewOutcome, World, digits_of};
use serde_json::{Value, json};

/// Most templates of an account.
const MOST: usize = 250;

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

/// Why Meta would not even review these components.
fn check_components(components: &[Value]) -> Result<(), GraphError> {
    let find = |kind: &str| {
        components.iter().find(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(kind)))
    };
    let text = |component: &Value| component["text"].as_str().unwrap_or_default().to_owned();
    let body = find("BODY").ok_or_else(|| GraphError::parameter("components need one of the type BODY"))?;
    let words = text(body);
    let refuse = |subcode, title, message: &str| Err(GraphError::template(subcode, title, message));
    if words.trim().is_empty() {
        return refuse(2_388_072, "Message body is wrong", "The body needs words.");
    }
    if words.chars().count() > 1_024 {
        return refuse(2_388_040, "Too many characters", "The body has more than 1024 characters.");
    }
    let trimmed = words.trim();
    if trimmed.starts_with("{{") || trimmed.ends_with("}}") {
        let message = "Variables can't be at the start or end of the template.";
        return refuse(2_388_299, "Leading or trailing params not allowed", message);
    }
    let variables = words.matches("{{").count();
    let examples = body.pointer("/example/body_text/0").or(body.pointer("/example/body_text_named_params"));
    if variables > 0 && examples.and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return refuse(2_388_072, "Message body is wrong", "The variables of the body need examples.");
    }
    if let Some(header) = find("HEADER") {
        let shown = text(header);
        if shown.chars().count() > 60 || shown.contains('\n') || shown.matches("{{").count() > 1 {
            let message = "A header has at most 60 characters in one line and one variable.";
            return refuse(2_388_047, "Message header is wrong", message);
        }
        let needs_file =
            header["format"].as_str().is_some_and(|f| matches!(f, "IMAGE" | "VIDEO" | "DOCUMENT"));
        if needs_file && header.pointer("/example/header_handle/0").is_none() {
            return refuse(2_388_047, "Message header is wrong", "The header needs an example file.");
        }
    }
    if let Some(footer) = find("FOOTER") {
        let shown = text(footer);
        if shown.chars().count() > 60 || shown.contains("{{") {
            let message = "A footer has at most 60 characters and no variables.";
            return refuse(2_388_073, "Message footer is wrong", message);
        }
    }
    let buttons = find("BUTTONS").and_then(|c| c["buttons"].as_array());
    if buttons.is_some_and(|buttons| buttons.len() > 10) {
        return Err(GraphError::parameter("there are more than 10 buttons"));
    }
    Ok(())
}

/// The words of codes to sign in with are Meta's own; a button copies the code, and is listed as an address.
fn authentication(given: &[Value]) -> Result<Vec<Value>, GraphError> {
    let find =
        |kind: &str| given.iter().find(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(kind)));
    let refuse = |message: &str| Err(GraphError::template(2_388_072, "Message body is wrong", message));
    if given.iter().any(|component| component.get("text").is_some()) {
        return refuse("Authentication templates have no words of their own.");
    }
    let button = find("BUTTONS").and_then(|buttons| buttons.pointer("/buttons/0"));
    let Some(button) = button.filter(|b| b["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("OTP")))
    else {
        return refuse("Authentication templates need a button of the type OTP.");
    };
    let advice = find("BODY").is_some_and(|body| body["add_security_recommendation"] == true);
    let mut text = "*{{1}}* is your verification code.".to_owned();
    if advice {
        text.push_str(" For your security, do not share this code.");
    }
    let mut listed = vec![json!({ "type": "BODY", "text": text, "add_security_recommendation": advice })];
    if let Some(minutes) = find("FOOTER").and_then(|footer| footer["code_expiration_minutes"].as_i64()) {
        let words = format!("This code expires in {minutes} minutes.");
        listed.push(json!({ "type": "FOOTER", "text": words, "code_expiration_minutes": minutes }));
    }
    let url = "https://www.whatsapp.com/otp/code/?otp_type=COPY_CODE&code=otp{{1}}";
    let button = json!({ "type": "URL", "text": button["text"], "url": url });
    listed.push(json!({ "type": "BUTTONS", "buttons": [button] }));
    Ok(listed)
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
            let category = needed("category")?.to_ascii_uppercase();
            if !matches!(category.as_str(), "MARKETING" | "UTILITY" | "AUTHENTICATION") {
                return Err(GraphError::parameter(
                    "category must be one of {AUTHENTICATION, MARKETING, UTILITY}",
                ));
            }
            if phone.templates.iter().any(|t| t.name == name && t.language == language) {
                let message = format!("There is already {language} content for this template.");
                let title = "Content in this language already exists";
                return Err(GraphError::template(2_388_024, title, message));
            }
            if phone.templates.len() >= MOST {
                let message = "This account has as many templates as it may have.";
                return Err(GraphError::template(2_388_019, "Message template limit exceeded", message));
            }
            let components = match call.given.get("components") {
                Some(Value::Array(all)) => all.clone(),
                Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
                _ => Vec::new(),
            };
            let components = match category.as_str() {
                "AUTHENTICATION" => authentication(&components)?,
                _ => {
                    check_components(&components)?;
                    components
                }
            };
            let number = phone.card.number;
            let template = Template {
                id: digits_of(Chance::fresh().next()),
                name,
                language,
                status: "PENDING".to_owned(),
                category,
                parameter_format: call.text("parameter_format").unwrap_or("POSITIONAL").to_ascii_uppercase(),
                components,
                quality: "UNKNOWN".to_owned(),
            };
            let body = json!({ "id": template.id, "status": "PENDING", "category": template.category });
            template.keep(ledger, &number.digits());
            let (name, language) = (template.name.clone(), template.language.clone());
            world.phone_mut(number)?.templates.push(template);
            let review = world.settings.review.clone();
            let status = match review.outcome {
                ReviewOutcome::Approved => Some("APPROVED"),
                ReviewOutcome::Rejected => Some("REJECTED"),
                ReviewOutcome::Pending => None,
            };
            if let Some(status) = status {
                let reason = review.reason.filter(|_| status == "REJECTED");
                let change = Change { status: Some(status.to_owned()), reason, ..Change::default() };
                world.change_template(ledger, number, (&name, &language), change)?;
            }
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
            let gone: Vec<Template> = phone.templates.iter().filter(|t| goes(t)).cloned().collect();
            if gone.is_empty() {
                let message = format!("There is no template {name} with this id.");
                return Err(GraphError::template(2_593_002, "Message Template Not Found", message));
            }
            phone.templates.retain(|t| !goes(t));
            for template in gone {
                ledger.erase(Kind::Template, number.digits(), &template.id);
                let value = status_value(&template, "DELETED", None);
                world.tell_template(ledger, number, "message_template_status_update", value);
            }
            Ok(Reply::success())
        })
        .await?
}
