//! `POST /{number}/messages`: sends, and the marks that a message was read.

use super::error::GraphError;
use super::{Call, Reply};
use crate::chance::Chance;
use crate::engine::Engine;
use crate::number::Number;
use crate::store::Kind;
use crate::wamid::wamid;
use crate::webhooks::bodies::{self, Act};
use crate::webhooks::queue::{Notice, Reach};
use crate::world::choices::{self, Choice};
use crate::world::message::{Device, MadeBy, Message, Pricing, Status};
use crate::world::phone::{AppKind, Phone};
use crate::world::{Arrival, Ledger, PriceRules, World, ordered, real_ms};
use chrono::{DateTime, Datelike, Utc};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

const WINDOW_MS: i64 = 24 * 3_600_000;
const SECOND_MS: i64 = 1_000;
const PAIR_PAUSE: Duration = Duration::from_secs(6);
const LONGEST_TEXT: usize = 4_096;
const LONGEST_CAPTION: usize = 1_024;
const LONGEST_CALLBACK_DATA: usize = 512;
/// Messages a second on a number that is in the app, and on one that is not.
const RATE_WITH_APP: usize = 20;
const RATE: usize = 80;
/// How long an answer waits for the echo that is to come before it.
const ECHO_PATIENCE: Duration = Duration::from_secs(10);

/// What became of a send.
struct Sent {
    body: Value,
    number: Number,
    /// The chat message; a reaction makes none.
    sequence: Option<u32>,
    /// The echo that must be taken before the answer.
    echo: Option<u64>,
    held: bool,
}

/// What is to be sent, once it has been understood.
struct Outgoing {
    kind: String,
    text: String,
    media: Option<String>,
    content: Option<Value>,
    choices: Vec<Choice>,
    /// The category of a template.
    category: Option<String>,
}

/// Why nothing was sent.
enum Failure {
    Graph(GraphError),
    /// A failure without an error of Meta's.
    Bare,
}

impl From<GraphError> for Failure {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

/// Answers a send or a mark.
pub(crate) async fn answer(engine: &Engine, call: &Call, id: &str) -> Result<Reply, GraphError> {
    if call.text("status").is_some() {
        return engine.change(|world, ledger| mark_read(world, ledger, call, id)).await?;
    }
    let sent = engine.change(|world, ledger| receive(world, ledger, call, id)).await?;
    let sent = match sent {
        Ok(sent) => sent,
        Err(Failure::Graph(error)) => return Err(error),
        Err(Failure::Bare) => {
            return Ok(Reply {
                status: 500,
                mime: "text/plain".into(),
                body: "Internal Server Error".into(),
                held: false,
            });
        }
    };
    if let Some(echo) = sent.echo {
        engine.wait_taken(echo, ECHO_PATIENCE).await;
        if let Some(sequence) = sent.sequence {
            engine.change(|world, ledger| tell_sent(world, ledger, sent.number, sequence)).await?;
        }
    }
    Ok(Reply { held: sent.held, ..Reply::json(&sent.body) })
}

fn mark_read(world: &mut World, ledger: &mut Ledger, call: &Call, id: &str) -> Result<Reply, GraphError> {
    let phone = call.phone(world, id)?;
    if call.text("status") != Some("read") {
        return Err(GraphError::parameter("status must be read"));
    }
    let message_id = call.text("message_id").ok_or_else(|| GraphError::parameter("message_id is missing"))?;
    let message = phone
        .find(message_id)
        .filter(|m| m.made_by == MadeBy::Customer && m.group.is_none())
        .ok_or_else(|| GraphError::parameter(format!("there is no incoming message {message_id}")))?;
    let (number, last) = (phone.card.number, message.sequence);
    // Earlier ones count as read too.
    let unread: Vec<u32> = phone
        .chat(message.with)
        .iter()
        .rev()
        .skip_while(|place| **place > last)
        .filter_map(|place| phone.messages.get(*place as usize))
        .filter(|m| m.made_by == MadeBy::Customer)
        .take_while(|m| m.status == Status::Received)
        .map(|m| m.sequence)
        .collect();
    for sequence in unread {
        world.change_message(number, sequence, |m| m.status = Status::Read)?;
        world.keep_message(ledger, number, sequence);
    }
    Ok(Reply::success())
}

/// Takes a send in: writes down that it came, and does it or not.
fn receive(world: &mut World, ledger: &mut Ledger, call: &Call, id: &str) -> Result<Sent, Failure> {
    let number = world.by_number_id.get(id).copied();
    let given = &call.given;
    let to = call.text("to").or_else(|| call.text("recipient")).unwrap_or_default().to_owned();
    let kind = call.text("type").unwrap_or("text").to_owned();
    let mut arrival = Arrival {
        at: real_ms(),
        to: number
            .and_then(|number| recipient(world.phones.get(&number)?, given))
            .map_or(to, |number| number.to_string()),
        text: given
            .get(&kind)
            .and_then(|content| content["body"].as_str().or_else(|| content["caption"].as_str()))
            .map(str::to_owned),
        kind,
        callback_data: call.text("biz_opaque_callback_data").map(str::to_owned),
        accepted: false,
    };
    let done = send(world, ledger, call, id, &mut arrival);
    arrival.accepted = done.is_ok();
    if let Some(number) = number {
        let key = world.fresh_id();
        ledger.put(Kind::Arrival, number.digits(), ordered(key), &arrival);
        if let Some(phone) = world.phones.get_mut(&number) {
            phone.arrivals.push(arrival);
        }
    }
    done
}

/// Whom a send is for: the number wins over the user id.
fn recipient(phone: &Phone, given: &Map<String, Value>) -> Option<Number> {
    let text = |name: &str| given.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("to"), text("recipient")) {
        (Some(to), _) => Number::from_wire(to).or_else(|| phone.by_user_id(to)),
        (None, Some(user_id)) => phone.by_user_id(user_id),
        (None, None) => None,
    }
}

fn send(
    world: &mut World,
    ledger: &mut Ledger,
    call: &Call,
    id: &str,
    arrival: &mut Arrival,
) -> Result<Sent, Failure> {
    if let Some(error) = super::refusal(world, call) {
        return Err(error.into());
    }
    let trouble = world.settings.trouble.clone();
    let mut chance = Chance::fresh();
    if chance.hits(trouble.send_fails) {
        return Err(Failure::Bare);
    }
    let phone = call.phone(world, id)?;
    let number = phone.card.number;
    if !phone.card.connected || !phone.card.is_registered() {
        return Err(GraphError::coded(133_010, "Account not registered").into());
    }
    let rate_limited =
        || GraphError::coded(130_429, "Rate limit hit").details("too many messages from this number");
    if chance.hits(trouble.send_rate_limited) {
        return Err(rate_limited().into());
    }
    if call.text("messaging_product") != Some("whatsapp") {
        return Err(GraphError::parameter("messaging_product must be whatsapp").into());
    }
    if call.text("recipient_type").is_some_and(|kind| kind != "individual") {
        return Err(GraphError::parameter("recipient_type must be individual: groups stay in the app").into());
    }
    let to = recipient(phone, &call.given).ok_or_else(|| {
        let text = "to must be a phone number with its country code, or recipient a user id that is known";
        GraphError::coded(131_026, "Message undeliverable").details(text)
    })?;
    if to == number {
        return Err(GraphError::coded(131_021, "Recipient cannot be sender").into());
    }
    if call.text("biz_opaque_callback_data").is_some_and(|data| data.len() > LONGEST_CALLBACK_DATA) {
        return Err(GraphError::parameter("biz_opaque_callback_data is too long").into());
    }
    let outgoing = understand(world, phone, call)?;
    arrival.text.get_or_insert_with(|| outgoing.text.clone());
    let at = arrival.at;
    let now = Instant::now();
    let now_ms = ledger.now_ms;
    let limit = if phone.card.app == AppKind::ApiOnly { RATE } else { RATE_WITH_APP };
    let person = phone.person(to);
    let window_open = person.wrote_at.is_some_and(|at| now_ms - at < WINDOW_MS);
    let in_pause = phone.pairs.get(&to).is_some_and(|last| now.duration_since(*last) < PAIR_PAUSE);
    let phone = world.phone_mut(number).map_err(GraphError::from)?;
    while phone.recent.front().is_some_and(|earlier| at - *earlier >= SECOND_MS) {
        phone.recent.pop_front();
    }
    if phone.recent.len() >= limit {
        return Err(rate_limited().into());
    }
    if trouble.pair_limit && in_pause {
        let message = "(Business Account, Consumer Account) pair rate limit hit";
        return Err(GraphError::coded(131_056, message)
            .details("too many messages to this recipient")
            .into());
    }
    if outgoing.category.is_none() && !window_open {
        return Err(GraphError::coded(131_047, "Re-engagement message")
            .details("more than 24 hours have passed since the customer last wrote; send a template")
            .into());
    }
    if outgoing.category.as_deref() == Some("marketing") && person.no_marketing {
        return Err(GraphError::coded(131_050, "Unable to deliver the message")
            .details("this recipient has stopped marketing messages of this business")
            .into());
    }
    phone.recent.push_back(at);
    if trouble.pair_limit {
        phone.pairs.insert(to, now);
    }
    if !phone.people.contains_key(&to) {
        ledger.put(Kind::Person, number.digits(), to.digits(), &person);
        phone.admit(person);
    }
    let held = chance.hits(trouble.send_times_out_after_accepting);
    if outgoing.kind == "reaction" {
        return Ok(react(world, ledger, call, number, to, held)?);
    }
    let pricing = price(world, ledger, number, &outgoing, window_open);
    let templated = outgoing.category.is_some();
    let message = Message {
        sequence: 0,
        token: chance.token(),
        with: to,
        made_by: MadeBy::Api,
        device: Device::Phone,
        group: None,
        kind: outgoing.kind,
        text: outgoing.text,
        at: now_ms,
        status: Status::Sent,
        media: outgoing.media,
        reply_to: call
            .given
            .get("context")
            .and_then(|context| context["message_id"].as_str())
            .and_then(crate::wamid::token_of),
        callback_data: call.text("biz_opaque_callback_data").map(str::to_owned),
        pricing: Some(pricing),
        content: outgoing.content,
        choices: outgoing.choices,
        hidden: false,
        live: true,
        deleted: false,
        edited: false,
        changed_at: ledger.now(),
        trail: vec![(Status::Sent, ledger.now())],
    };
    let message_id = wamid(&to.digits(), message.token);
    let sequence = world.append(ledger, number, message).map_err(GraphError::from)?;
    let echo = if chance.hits(trouble.echo_before_answer) {
        world.tell_of(ledger, number, sequence, MadeBy::App, &Act::Written)
    } else {
        None
    };
    if echo.is_none() {
        tell_sent(world, ledger, number, sequence);
    }
    let body = accepted(world, call, number, to, &message_id, templated);
    Ok(Sent { body, number, sequence: Some(sequence), echo, held })
}

fn tell_sent(world: &mut World, ledger: &mut Ledger, number: Number, sequence: u32) {
    let act = Act::Seen(Status::Sent, ledger.now());
    world.tell_of(ledger, number, sequence, MadeBy::Api, &act);
}

fn accepted(world: &World, call: &Call, number: Number, to: Number, id: &str, templated: bool) -> Value {
    let mut contact = match call.text("to").filter(|to| !to.is_empty()) {
        Some(input) => json!({ "input": input, "wa_id": to.digits() }),
        None => {
            let user_id = world.phones.get(&number).map(|phone| phone.user_id(to));
            json!({ "input": call.text("recipient"), "user_id": user_id })
        }
    };
    if call.text("to").is_some_and(|to| Number::from_wire(to).is_none()) {
        // A user id where the number belongs.
        contact = json!({ "input": call.text("to"), "user_id": call.text("to") });
    }
    let mut message = json!({ "id": id });
    if templated {
        message["message_status"] = json!("accepted");
    }
    json!({ "messaging_product": "whatsapp", "contacts": [contact], "messages": [message] })
}

/// Reads the part of the body that its type names.
fn understand(world: &World, phone: &Phone, call: &Call) -> Result<Outgoing, GraphError> {
    let kind = call.text("type").unwrap_or("text");
    let content = call
        .given
        .get(kind)
        .ok_or_else(|| GraphError::parameter(format!("the parameter {kind} is missing")))?;
    let text_at = |path: &str| content.pointer(path).and_then(Value::as_str);
    let needed = |path: &str| {
        text_at(path)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| GraphError::parameter(format!("{kind}{path} is missing or empty")))
    };
    let mut outgoing = Outgoing {
        kind: kind.to_owned(),
        text: String::new(),
        media: None,
        content: Some(content.clone()),
        choices: Vec::new(),
        category: None,
    };
    match kind {
        "text" => {
            let text = needed("/body")?;
            if text.chars().count() > LONGEST_TEXT {
                return Err(GraphError::parameter("text.body has more than 4096 characters"));
            }
            outgoing.text = text.to_owned();
            outgoing.content = None;
        }
        "image" | "video" | "audio" | "document" | "sticker" => {
            let caption = text_at("/caption").unwrap_or_default();
            if caption.chars().count() > LONGEST_CAPTION {
                return Err(GraphError::parameter("the caption has more than 1024 characters"));
            }
            outgoing.text = caption.to_owned();
            match (text_at("/id"), text_at("/link")) {
                (Some(id), _) => {
                    check_file(world, phone, id)?;
                    outgoing.media = Some(id.to_owned());
                }
                (None, Some(link)) if url::Url::parse(link).is_ok() => {}
                _ => return Err(GraphError::parameter(format!("{kind} needs an id or a link"))),
            }
        }
        "location" => {
            for degrees in ["latitude", "longitude"] {
                if !(content[degrees].is_number() || content[degrees].is_string()) {
                    return Err(GraphError::parameter(format!("location.{degrees} is missing")));
                }
            }
            let words = [text_at("/name"), text_at("/address")];
            outgoing.text = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
        }
        "contacts" => {
            outgoing.text = needed("/0/name/formatted_name")?.to_owned();
            let parts = ["first_name", "last_name", "middle_name", "suffix", "prefix"];
            let bare = |card: &Value| parts.iter().all(|part| !card["name"][*part].is_string());
            if content.as_array().is_some_and(|cards| cards.iter().any(bare)) {
                let text = "contacts: a name needs one of its parts beside formatted_name";
                return Err(GraphError::parameter(text));
            }
        }
        "interactive" => {
            needed("/type")?;
            check_interactive(content)
                .map_err(|text| GraphError::coded(131_009, "Parameter value is not valid").details(text))?;
            if let Some(header) = content.get("header") {
                check_part(world, phone, header)?;
            }
            outgoing.text = text_at("/body/text").unwrap_or_default().to_owned();
            outgoing.choices = choices::of_interactive(content);
        }
        "reaction" => {
            let id = needed("/message_id")?;
            if phone.find(id).is_none_or(|target| target.group.is_some() || target.deleted) {
                return Err(GraphError::coded(131_009, "Parameter value is not valid")
                    .details(format!("there is no message {id} to react to")));
            }
        }
        "template" => {
            let (name, language) = (needed("/name")?, needed("/language/code")?);
            let template =
                phone.templates.iter().find(|t| t.name == name && t.language == language).ok_or_else(
                    || {
                        GraphError::coded(132_001, "Template name does not exist in the translation")
                            .details(format!("template name ({name}) does not exist in {language}"))
                            .status(404)
                    },
                )?;
            template.check_sendable()?;
            let given = content["components"].as_array().map_or(&[] as &[Value], Vec::as_slice);
            outgoing.text = template.fill(given)?;
            for parameter in given.iter().filter_map(|part| part["parameters"].as_array()).flatten() {
                check_part(world, phone, parameter)?;
            }
            outgoing.choices = choices::of_template(template, given);
            outgoing.category = Some(template.category.to_ascii_lowercase());
        }
        other => {
            return Err(GraphError::parameter(format!("{other} is no type of message that can be sent")));
        }
    }
    Ok(outgoing)
}

/// A file that is named by its id has to be one of this number's.
fn check_file(world: &World, phone: &Phone, id: &str) -> Result<(), GraphError> {
    if world.media.get(id).is_some_and(|media| media.phone == phone.card.number) {
        return Ok(());
    }
    Err(GraphError::coded(131_009, "Parameter value is not valid")
        .details(format!("there is no file with the id {id}")))
}

/// A file above the words needs an id or a link.
fn check_part(world: &World, phone: &Phone, part: &Value) -> Result<(), GraphError> {
    let kind = part["type"].as_str().unwrap_or_default();
    if !matches!(kind, "image" | "video" | "document") {
        return Ok(());
    }
    match (part[kind]["id"].as_str(), part[kind]["link"].as_str()) {
        (Some(id), _) => check_file(world, phone, id),
        (None, Some(link)) if url::Url::parse(link).is_ok() => Ok(()),
        _ => Err(GraphError::parameter(format!("{kind} needs an id or a link"))),
    }
}

/// Refuses choices that Meta would refuse: what is missing, too long, too many or not told apart.
fn check_interactive(content: &Value) -> Result<(), String> {
    let within = |path: &str, value: Option<&Value>, most: usize| {
        let length = value.and_then(Value::as_str).map_or(0, |text| text.chars().count());
        match length {
            0 => Err(format!("interactive{path} is missing or empty")),
            length if length > most => Err(format!("interactive{path} has more than {most} characters")),
            _ => Ok(()),
        }
    };
    let at = |path: &str, most: usize| within(path, content.pointer(path), most);
    let maybe = |path: &str, most: usize| content.pointer(path).map_or(Ok(()), |_| at(path, most));
    let list = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_array).cloned();
    maybe("/header/text", 60)?;
    maybe("/footer/text", 60)?;
    let mut ids: Vec<Value> = Vec::new();
    match content["type"].as_str().unwrap_or_default() {
        "button" => {
            at("/body/text", 1_024)?;
            let buttons = list(content, "/action/buttons").unwrap_or_default();
            if !(1..=3).contains(&buttons.len()) {
                return Err("interactive/action/buttons needs 1 to 3 buttons".to_owned());
            }
            for button in &buttons {
                within("/action/buttons/reply/id", button.pointer("/reply/id"), 256)?;
                within("/action/buttons/reply/title", button.pointer("/reply/title"), 20)?;
                ids.push(button["reply"]["id"].clone());
            }
        }
        "list" => {
            at("/body/text", 4_096)?;
            at("/action/button", 20)?;
            let sections = list(content, "/action/sections").unwrap_or_default();
            if !(1..=10).contains(&sections.len()) {
                return Err("interactive/action/sections needs 1 to 10 sections".to_owned());
            }
            for section in &sections {
                if sections.len() > 1 {
                    within("/action/sections/title", section.get("title"), 24)?;
                }
                for row in list(section, "/rows").unwrap_or_default() {
                    within("/action/sections/rows/id", row.get("id"), 200)?;
                    within("/action/sections/rows/title", row.get("title"), 24)?;
                    if let Some(description) = row.get("description") {
                        within("/action/sections/rows/description", Some(description), 72)?;
                    }
                    ids.push(row["id"].clone());
                }
            }
            if !(1..=10).contains(&ids.len()) {
                return Err("interactive/action/sections needs 1 to 10 rows".to_owned());
            }
        }
        "cta_url" => {
            at("/body/text", 1_024)?;
            at("/action/parameters/display_text", 20)?;
            at("/action/parameters/url", 2_000)?;
        }
        other => return Err(format!("interactive/type {other} is none that the simulator knows")),
    }
    let count = ids.len();
    ids.sort_unstable_by_key(Value::to_string);
    ids.dedup();
    if ids.len() < count { Err("interactive: two choices have the same id".to_owned()) } else { Ok(()) }
}

/// What a message costs: since October 2026 free-form messages are free up to a number a month only, and utility
/// templates are charged in an open window too.
fn price(
    world: &mut World,
    ledger: &mut Ledger,
    number: Number,
    outgoing: &Outgoing,
    window_open: bool,
) -> Pricing {
    let today = DateTime::<Utc>::from_timestamp_millis(ledger.now_ms).unwrap_or_default();
    let month = today.year() * 12 + today.month0() as i32;
    let prices = world.settings.prices.clone();
    let charged_since_october = match prices.rules {
        PriceRules::ByClock => month >= 2026 * 12 + 9,
        PriceRules::BeforeOctober2026 => false,
        PriceRules::SinceOctober2026 => true,
    };
    let free = match outgoing.category.as_deref() {
        Some("utility") => window_open && !charged_since_october,
        Some(_) => false,
        None => {
            let Some(phone) = world.phones.get_mut(&number) else { return priced(true, None) };
            if phone.card.month != month {
                phone.card.month = month;
                phone.card.services = 0;
            }
            phone.card.services = phone.card.services.saturating_add(1);
            let free = !charged_since_october || phone.card.services <= prices.free_services;
            world.keep_card(ledger, number);
            free
        }
    };
    priced(free, outgoing.category.clone())
}

fn priced(free: bool, category: Option<String>) -> Pricing {
    Pricing {
        billable: !free,
        kind: if free { "free_customer_service" } else { "regular" }.to_owned(),
        category: category.unwrap_or_else(|| "service".to_owned()),
    }
}

/// A reaction of the API: it has an id and is sent, and that is all.
fn react(
    world: &mut World,
    ledger: &mut Ledger,
    call: &Call,
    number: Number,
    to: Number,
    held: bool,
) -> Result<Sent, GraphError> {
    let id = wamid(&to.digits(), Chance::fresh().token());
    let target =
        call.given.get("reaction").and_then(|reaction| reaction["message_id"].as_str()).unwrap_or_default();
    let phone = world.phone(number)?;
    if let Some(target) = phone.find(target) {
        let data = call.text("biz_opaque_callback_data");
        let value = bodies::reaction_sent(phone, target, &id, data, ledger.now());
        let entry = phone.card.waba_id.clone();
        world.tell(
            ledger,
            number,
            Notice { field: "messages", entry, time: None, value, reach: Reach::Account },
        );
    }
    let body = accepted(world, call, number, to, &id, false);
    Ok(Sent { body, number, sequence: None, echo: None, held })
}
