//! What a customer can choose from in a message of the API, and what choosing it says: reply buttons, the rows of a list,
//! the quick replies of a template.

use super::message::{Device, MadeBy, Message, Status};
use super::templates::Template;
use super::{Ledger, Refusal, World};
use crate::chance::Chance;
use crate::number::Number;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Something that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) of: Of,
    /// What comes back; of a quick reply its payload, which is its words unless the send gave another.
    pub(crate) id: String,
    /// What the customer sees.
    pub(crate) title: String,
    /// The second line of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Of {
    Buttons,
    List,
    Template,
}

impl Choice {
    fn of(of: Of, from: &Value) -> Option<Self> {
        let text = |name: &str| from[name].as_str().map(str::to_owned);
        Some(Self { of, id: text("id")?, title: text("title")?, description: text("description") })
    }

    /// Meta's name of the answer, and what it says.
    fn answer(&self) -> (&'static str, Value) {
        let Self { of, id, title, description } = self;
        match of {
            Of::Template => ("button", json!({ "payload": id, "text": title })),
            Of::Buttons => {
                let reply = json!({ "id": id, "title": title });
                ("interactive", json!({ "type": "button_reply", "button_reply": reply }))
            }
            Of::List => {
                let mut reply = json!({ "id": id, "title": title });
                if let Some(description) = description {
                    reply["description"] = json!(description);
                }
                ("interactive", json!({ "type": "list_reply", "list_reply": reply }))
            }
        }
    }
}

/// The choices of an interactive message.
pub(crate) fn of_interactive(content: &Value) -> Vec<Choice> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let action = &content["action"];
    let buttons = list(action, "buttons");
    let buttons = buttons.iter().filter_map(|button| Choice::of(Of::Buttons, &button["reply"]));
    let sections = list(action, "sections");
    let rows = sections.iter().flat_map(|section| list(section, "rows"));
    buttons.chain(rows.filter_map(|row| Choice::of(Of::List, &row))).collect()
}

/// The quick replies of a template, with the payloads that the send gives them.
pub(crate) fn of_template(template: &Template, given: &[Value]) -> Vec<Choice> {
    let quick_reply = |(index, button): (usize, &Value)| {
        if !button["type"].as_str()?.eq_ignore_ascii_case("QUICK_REPLY") {
            return None;
        }
        let title = button["text"].as_str()?.to_owned();
        let index = index.to_string();
        let component = given
            .iter()
            .find(|part| part["type"] == "button" && part["index"].as_str() == Some(index.as_str()));
        let payload = component.and_then(|part| part["parameters"][0]["payload"].as_str());
        let id = payload.unwrap_or(&title).to_owned();
        Some(Choice { of: Of::Template, id, title, description: None })
    };
    let buttons = template.component("BUTTONS").and_then(|part| part["buttons"].as_array());
    buttons.into_iter().flatten().enumerate().filter_map(quick_reply).collect()
}

impl World {
    /// A customer chooses something of a message, by its id or its words.
    pub(crate) fn choose(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        id: &str,
        choice: &str,
        hidden: bool,
    ) -> Result<u32, Refusal> {
        let sequence = self.unless_deleted(number, id)?;
        let phone = self.phone(number)?;
        let asked = phone.messages.get(sequence as usize);
        let Some(asked) = asked.filter(|message| !message.choices.is_empty()) else {
            return Err(Refusal(format!("the message {id} has nothing to choose from")));
        };
        let by_id = asked.choices.iter().find(|one| one.id == choice);
        let by_title = || asked.choices.iter().find(|one| one.title == choice);
        let chosen = by_id.or_else(by_title).ok_or_else(|| {
            let known: Vec<&str> = asked.choices.iter().map(|one| one.id.as_str()).collect();
            Refusal(format!("{choice:?} is none of the choices of that message: {}", known.join(", ")))
        })?;
        let (kind, content) = chosen.answer();
        let message = Message {
            sequence: 0,
            token: Chance::fresh().token(),
            with: asked.with,
            made_by: MadeBy::Customer,
            device: Device::Phone,
            group: None,
            kind: kind.to_owned(),
            text: chosen.title.clone(),
            at: ledger.now_ms,
            status: Status::Received,
            media: None,
            reply_to: Some(asked.token),
            callback_data: None,
            pricing: None,
            content: Some(content),
            choices: Vec::new(),
            hidden,
            live: phone.card.connected,
            deleted: false,
            edited: false,
            changed_at: ledger.now(),
            trail: Vec::new(),
        };
        self.arrive(ledger, number, message)
    }
}
