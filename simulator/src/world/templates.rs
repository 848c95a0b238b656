//! Message templates of a WhatsApp Business Account.

use super::connection::stamp;
use super::phone::Card;
use super::{Ledger, Refusal, World, digits_of};
use crate::chance::Chance;
use crate::graph::error::GraphError;
use crate::number::Number;
use crate::store::Kind;
use crate::webhooks::bodies;
use crate::webhooks::queue::{Notice, Reach};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A template.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Template {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) status: String,
    pub(crate) category: String,
    /// `NAMED` or `POSITIONAL`.
    pub(crate) parameter_format: String,
    pub(crate) components: Vec<Value>,
    /// `GREEN`, `YELLOW`, `RED` or `UNKNOWN`.
    #[serde(default = "unknown")]
    pub(crate) quality: String,
}

fn unknown() -> String {
    "UNKNOWN".to_owned()
}

/// What is to become of a template; what is left out stays as it is.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) status: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) upcoming_category: Option<String>,
    pub(crate) quality: Option<String>,
    pub(crate) body: Option<String>,
}

impl World {
    /// Changes a template as Meta does, and tells of all that changed.
    pub(crate) fn change_template(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        (name, language): (&str, &str),
        change: Change,
    ) -> Result<(), Refusal> {
        let phone = self.phone_mut(number)?;
        let template = phone
            .templates
            .iter_mut()
            .find(|t| t.name == name && t.language == language)
            .ok_or_else(|| Refusal(format!("{number} has no template {name} in {language}")))?;
        let mut news: Vec<(&'static str, Value)> = Vec::new();
        let before = template.clone();
        let Change { status, reason, category, upcoming_category, quality, body } = change;
        if let Some(category) = category {
            news.push((
                "template_category_update",
                json!({ "previous_category": before.category, "new_category": category }),
            ));
            template.category = category;
        }
        if let Some(upcoming) = upcoming_category {
            let from = ledger.now() + 86_400;
            news.push((
                "template_category_update",
                json!({ "new_category": before.category, "correct_category": upcoming,
                    "category_update_timestamp": from }),
            ));
        }
        if let Some(quality) = quality {
            news.push((
                "message_template_quality_update",
                json!({ "previous_quality_score": before.quality, "new_quality_score": quality }),
            ));
            template.quality = quality;
        }
        if let Some(body) = body {
            news.push(("message_template_components_update", json!({ "message_template_element": body })));
            let known = template
                .components
                .iter_mut()
                .find(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("BODY")));
            match known {
                Some(known) => *known = json!({ "type": "BODY", "text": body }),
                None => template.components.push(json!({ "type": "BODY", "text": body })),
            }
        }
        if let Some(status) = status {
            template.status.clone_from(&status);
            news.push(("message_template_status_update", status_value(template, &status, reason.as_deref())));
        }
        let template = template.clone();
        if template.status == "DELETED" {
            phone.templates.retain(|t| t.id != template.id);
            ledger.erase(Kind::Template, number.digits(), &template.id);
        } else {
            template.keep(ledger, &number.digits());
        }
        for (field, mut value) in news {
            value["message_template_id"] = json!(template.id.parse::<u64>().unwrap_or_default());
            value["message_template_name"] = json!(template.name);
            value["message_template_language"] = json!(template.language);
            self.tell_template(ledger, number, field, value);
        }
        Ok(())
    }

    /// Tells something of a template: no two have the same stamp.
    pub(crate) fn tell_template(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        field: &'static str,
        value: Value,
    ) {
        let Some(phone) = self.phones.get_mut(&number) else { return };
        let time = Some(stamp(&mut phone.card.account_at, ledger.now()));
        let entry = phone.card.waba_id.clone();
        self.keep_card(ledger, number);
        self.tell(ledger, number, Notice { field, entry, time, value, reach: Reach::Account });
    }

    /// A customer stops marketing messages, or wants them again.
    pub(crate) fn set_marketing(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        customer: Number,
        wanted: bool,
    ) -> Result<(), Refusal> {
        let phone = self.phone_mut(number)?;
        let mut person = phone.person(customer);
        person.no_marketing = !wanted;
        let at = stamp(&mut person.preference_at, ledger.now());
        ledger.put(Kind::Person, number.digits(), customer.digits(), &person);
        phone.admit(person.clone());
        let value = bodies::preference(phone, &person, wanted, at);
        let entry = phone.card.waba_id.clone();
        let notice = Notice { field: "user_preferences", entry, time: None, value, reach: Reach::Account };
        self.tell(ledger, number, notice);
        Ok(())
    }
}

/// What a webhook says of a status.
pub(crate) fn status_value(template: &Template, event: &str, reason: Option<&str>) -> Value {
    let mut value = json!({
        "event": event, "message_template_id": template.id.parse::<u64>().unwrap_or_default(),
        "message_template_name": template.name, "message_template_language": template.language,
        "message_template_category": template.category, "reason": reason.unwrap_or("NONE"),
    });
    if event == "REJECTED" {
        value["rejection_info"] = json!({
            "reason": "The reviewers did not like it.", "recommendation": "Write it differently.",
        });
    }
    value
}

/// The templates that every account begins with.
pub(crate) fn first(card: &Card) -> Vec<Template> {
    let positional = json!([{ "type": "BODY",
        "text": "Guten Tag {{1}}, wir erinnern an Ihren Termin am {{2}}.",
        "example": { "body_text": [["Frau Weber", "Montag um 9 Uhr"]] } }]);
    let named = json!([
        { "type": "BODY", "text": "Hallo {{first_name}}, Ihr Termin ist morgen.",
          "example": { "body_text_named_params": [{ "param_name": "first_name", "example": "Ayşe" }] } },
        { "type": "FOOTER", "text": "Antworten Sie, wenn etwas dazwischenkommt." }]);
    let plain = json!([{ "type": "HEADER", "format": "TEXT", "text": "Hello World" },
        { "type": "BODY", "text": "This message shows that sending works." }]);
    let offer = json!([
        { "type": "BODY", "text": "{{1}}, diese Woche gibt es {{2}} Prozent auf alles." },
        { "type": "BUTTONS", "buttons": [{ "type": "QUICK_REPLY", "text": "Nichts mehr schicken" }] }]);
    let all = [
        ("hello_world", "en_US", "UTILITY", "POSITIONAL", plain),
        ("appointment_reminder", "de", "UTILITY", "NAMED", named),
        ("appointment_confirmed", "de", "UTILITY", "POSITIONAL", positional),
        ("weekly_offer", "de", "MARKETING", "POSITIONAL", offer),
    ];
    all.into_iter()
        .enumerate()
        .map(|(index, (name, language, category, format, components))| Template {
            id: digits_of(Chance::of(&[card.number.0, index as u64, 0x7465]).next()),
            name: name.to_owned(),
            language: language.to_owned(),
            status: "APPROVED".to_owned(),
            category: category.to_owned(),
            parameter_format: format.to_owned(),
            components: components.as_array().cloned().unwrap_or_default(),
            quality: unknown(),
        })
        .collect()
}

impl Template {
    /// As the list of templates shows it.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "language": self.language, "status": self.status,
            "category": self.category, "parameter_format": self.parameter_format,
            "components": self.components, "quality_score": { "score": self.quality },
        })
    }

    pub(crate) fn keep(&self, ledger: &mut Ledger, owner: &str) {
        ledger.put(Kind::Template, owner, &self.id, self);
    }

    /// Whether its status lets it be sent.
    pub(crate) fn check_sendable(&self) -> Result<(), GraphError> {
        match self.status.as_str() {
            "APPROVED" => Ok(()),
            "PAUSED" => Err(GraphError::coded(132_015, "Template is Paused")
                .details("the template is paused for its quality and cannot be sent")),
            "DISABLED" => Err(GraphError::coded(132_016, "Template is Disabled")
                .details("the template was paused too often and cannot be sent any more")),
            status => Err(GraphError::coded(132_001, "Template name does not exist in the translation")
                .details(format!("template name ({}) is {status}", self.name))
                .status(404)),
        }
    }

    fn text_of(&self, component: &str) -> Option<&str> {
        self.components
            .iter()
            .find(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(component)))?
            .get("text")?
            .as_str()
    }

    /// What the customer reads when the template is filled with what the API was given.
    pub(crate) fn fill(&self, given: &[Value]) -> Result<String, GraphError> {
        let header = match self.text_of("HEADER") {
            Some(text) => Some(self.fill_part("header", text, given)?),
            None => None,
        };
        let body = self.fill_part("body", self.text_of("BODY").unwrap_or_default(), given)?;
        self.check_header(given)?;
        self.check_buttons(given)?;
        let footer = self.text_of("FOOTER").map(str::to_owned);
        Ok([header, Some(body), footer].into_iter().flatten().collect::<Vec<_>>().join("\n"))
    }

    pub(crate) fn component(&self, kind: &str) -> Option<&Value> {
        self.components.iter().find(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(kind)))
    }

    /// A file or a place above the words comes with each message.
    fn check_header(&self, given: &[Value]) -> Result<(), GraphError> {
        let wrong = |details: String| {
            let title = "Parameter format does not match format in the created template";
            Err(GraphError::coded(132_012, title).details(details))
        };
        let format = self.component("HEADER").and_then(|header| header["format"].as_str()).unwrap_or("TEXT");
        let sent = given.iter().find(|c| c["type"].as_str() == Some("header"));
        match (format.to_ascii_lowercase().as_str(), sent) {
            ("text", _) => Ok(()),
            (format, Some(sent)) if sent["parameters"][0]["type"].as_str() == Some(format) => Ok(()),
            (format, _) => wrong(format!("header: Format mismatch, expected {}", format.to_uppercase())),
        }
    }

    /// Addresses that end with a place, and codes to copy, need their values.
    fn check_buttons(&self, given: &[Value]) -> Result<(), GraphError> {
        let buttons = self.component("BUTTONS").and_then(|c| c["buttons"].as_array());
        for (index, button) in buttons.into_iter().flatten().enumerate() {
            let wants = match button["type"].as_str().unwrap_or_default() {
                "URL" => button["url"].as_str().is_some_and(|url| url.contains("{{")),
                "COPY_CODE" | "OTP" => true,
                _ => false,
            };
            let index = index.to_string();
            let sent = given.iter().find(|c| {
                c["type"].as_str() == Some("button") && c["index"].as_str() == Some(index.as_str())
            });
            let has = sent.is_some_and(|c| c["parameters"].as_array().is_some_and(|p| p.len() == 1));
            if wants && !has {
                return Err(GraphError::coded(131_008, "Required parameter is missing")
                    .details(format!("buttons: Button at index {index} requires a parameter")));
            }
            let is_link = button["type"].as_str() == Some("URL");
            if is_link && !wants && has {
                return Err(GraphError::coded(132_000, "Number of parameters does not match")
                    .details(format!("buttons: Button at index {index} takes no parameter")));
            }
        }
        Ok(())
    }

    fn fill_part(&self, part: &str, text: &str, given: &[Value]) -> Result<String, GraphError> {
        let wanted = variables(text);
        let values: Vec<&Value> = given
            .iter()
            .filter(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(part)))
            .filter_map(|c| c["parameters"].as_array())
            .flatten()
            .collect();
        if values.len() != wanted.len() {
            let details = format!(
                "{part}: number of localizable_params ({}) does not match the expected number of params ({})",
                values.len(),
                wanted.len()
            );
            return Err(GraphError::coded(
                132_000,
                "Number of parameters does not match the expected number of params",
            )
            .details(details));
        }
        let mut filled = text.to_owned();
        for (index, name) in wanted.iter().enumerate() {
            let value = if self.parameter_format == "NAMED" {
                values.iter().find(|v| v["parameter_name"].as_str() == Some(name)).copied()
            } else {
                values.get(index).copied().filter(|v| v.get("parameter_name").is_none())
            };
            let Some(value) = value else {
                return Err(GraphError::coded(
                    132_012,
                    "Parameter format does not match format in the created template",
                )
                .details(format!("{part}: the parameter {name} is missing or of the wrong form")));
            };
            filled = filled.replace(&format!("{{{{{name}}}}}"), shown(value));
        }
        Ok(filled)
    }
}

/// The names of the variables in a text, each once, in order.
fn variables(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        if !found.iter().any(|f| f == name) {
            found.push(name.to_owned());
        }
        rest = after;
    }
    found
}

fn shown(value: &Value) -> &str {
    ["/text", "/currency/fallback_value", "/date_time/fallback_value", "/payload"]
        .into_iter()
        .find_map(|path| value.pointer(path).and_then(Value::as_str))
        .unwrap_or("…")
}
