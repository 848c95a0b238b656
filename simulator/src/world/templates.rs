//! Message templates of a WhatsApp Business Account.

use super::phone::Card;
use super::{Ledger, digits_of};
use crate::chance::Chance;
use crate::graph::error::GraphError;
use crate::store::Kind;
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
        })
        .collect()
}

impl Template {
    /// As the list of templates shows it.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "language": self.language, "status": self.status,
            "category": self.category, "parameter_format": self.parameter_format,
            "components": self.components, "quality_score": { "score": "UNKNOWN" },
        })
    }

    pub(crate) fn keep(&self, ledger: &mut Ledger, owner: &str) {
        ledger.put(Kind::Template, owner, &self.id, self);
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
        let footer = self.text_of("FOOTER").map(str::to_owned);
        Ok([header, Some(body), footer].into_iter().flatten().collect::<Vec<_>>().join("\n"))
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
