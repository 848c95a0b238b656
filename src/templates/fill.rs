//! What is filled into a template, checked against its places before anything is queued: pure.

use entity::template;
use serde_json::Value;

use super::{is_number, places};
use crate::failure::{Refusal, RefusalCode};

/// Where a send's components stand in its input.
const AT: &str = "content.template.components";

/// A part of a template that may be filled in.
struct Slot {
    part: Part,
    wants: Wants,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    Body,
    /// By its place among the buttons.
    Button(usize),
}

impl Part {
    fn name(self) -> String {
        match self {
            Part::Header => "HEADER".to_owned(),
            Part::Body => "BODY".to_owned(),
            Part::Button(index) => format!("BUTTON with the index {index}"),
        }
    }
}

/// What has to be filled in.
enum Wants {
    /// A value for each place of a text.
    Words { places: Vec<String>, named: bool },
    /// One parameter of this type.
    One { kind: &'static str, sub_type: Option<&'static str> },
    /// At most one parameter.
    Maybe { kind: Option<&'static str>, sub_type: &'static str },
    /// Nothing.
    Nothing,
}

/// Checks what is given for a template, as it goes on Meta's wire, and gives the words of the filled-in body.
///
/// # Errors
/// INVALID, with the path of the input field at fault.
pub fn fill(template: &template::Model, given: Option<&Value>) -> Result<String, Refusal> {
    let slots = slots(template)?;
    let given = given.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut taken: Vec<Option<usize>> = vec![None; slots.len()];
    for (place, component) in given.iter().enumerate() {
        let at = format!("{AT}.{place}");
        let part = part_of(component);
        let slot = slots.iter().position(|slot| Some(slot.part) == part);
        let parameters = parameters(component);
        let Some(slot) = slot.filter(|slot| !matches!(slots[*slot].wants, Wants::Nothing)) else {
            // Nothing for nothing is all right.
            if parameters.is_empty() && slot.is_some() {
                continue;
            }
            let name = part.map_or_else(|| "such part".to_owned(), Part::name);
            return invalid(&at, format!("The template has nothing to fill in here: no {name} with places."));
        };
        if taken[slot].replace(place).is_some() {
            return invalid(&at, format!("There is another component for the {}.", slots[slot].part.name()));
        }
        slots[slot].check(&at, component, parameters)?;
    }
    for (slot, taken) in slots.iter().zip(&taken) {
        if taken.is_none()
            && let Some(missing) = slot.missing()
        {
            return invalid(AT, missing);
        }
    }
    let body = slots.iter().position(|slot| slot.part == Part::Body);
    let values = body.and_then(|body| taken[body]).map_or(&[][..], |place| parameters(&given[place]));
    Ok(filled(body_of(template), values))
}

impl Slot {
    /// What must be there and is not.
    fn missing(&self) -> Option<String> {
        let name = self.part.name();
        match &self.wants {
            Wants::Words { places, .. } => Some(format!(
                "The template's {name} has {} to fill in: {}. Give a component for it.",
                count(places.len()),
                list(places)
            )),
            Wants::One { kind, .. } => Some(format!(
                "The template's {name} needs a parameter of type {}. Give a component for it.",
                kind.to_uppercase()
            )),
            Wants::Maybe { .. } | Wants::Nothing => None,
        }
    }

    fn check(&self, at: &str, component: &Value, given: &[Value]) -> Result<(), Refusal> {
        let sub_type = component["sub_type"].as_str();
        let (kind, wanted_sub_type, needed) = match &self.wants {
            Wants::Words { places, named } => return words(at, places, *named, given),
            Wants::One { kind, sub_type } => (Some(*kind), *sub_type, true),
            Wants::Maybe { kind, sub_type } => (*kind, Some(*sub_type), false),
            Wants::Nothing => return Ok(()),
        };
        if let Some(wanted) = wanted_sub_type.filter(|wanted| sub_type != Some(wanted)) {
            let text = format!("This button of the template is of the type {}.", wanted.to_uppercase());
            return invalid(&format!("{at}.subType"), text);
        }
        if needed && given.is_empty() {
            return invalid(&format!("{at}.parameters"), "It needs one parameter.");
        }
        if given.len() > 1 {
            return invalid(&format!("{at}.parameters.1"), "There is one place to fill in, no more.");
        }
        let Some(parameter) = given.first() else { return Ok(()) };
        let at = format!("{at}.parameters.0");
        if let Some(kind) = kind.filter(|kind| parameter["type"].as_str() != Some(kind)) {
            let text = format!("The template needs a parameter of type {} here.", kind.to_uppercase());
            return invalid(&format!("{at}.type"), text);
        }
        if parameter.get("parameter_name").is_some() {
            return invalid(&format!("{at}.parameterName"), "This place has no name.");
        }
        not_blank(&at, parameter)
    }
}

/// The values of a text's places.
fn words(at: &str, places: &[String], named: bool, given: &[Value]) -> Result<(), Refusal> {
    let mut seen: Vec<&str> = Vec::new();
    for (index, parameter) in given.iter().enumerate() {
        let at = format!("{at}.parameters.{index}");
        let kind = parameter["type"].as_str().unwrap_or_default();
        if !matches!(kind, "text" | "currency" | "date_time") {
            return invalid(&format!("{at}.type"), "Words are filled in here: TEXT, CURRENCY or DATE_TIME.");
        }
        let name = parameter.get("parameter_name").and_then(Value::as_str);
        match (named, name) {
            (true, None) => {
                let text = format!("The places of this template have names; give one of {}.", list(places));
                return invalid(&format!("{at}.parameterName"), text);
            }
            (true, Some(name)) if !places.iter().any(|place| place == name) => {
                let text = format!("The template has no place {{{{{name}}}}} here, but {}.", list(places));
                return invalid(&format!("{at}.parameterName"), text);
            }
            (true, Some(name)) if seen.contains(&name) => {
                return invalid(&format!("{at}.parameterName"), "This place is filled in already.");
            }
            (true, Some(name)) => seen.push(name),
            (false, Some(_)) => {
                let text =
                    "The places of this template are numbered: leave the names out, their order counts.";
                return invalid(&format!("{at}.parameterName"), text);
            }
            (false, None) if index >= places.len() => {
                let text = format!("The template has {} to fill in here, no more.", count(places.len()));
                return invalid(&at, text);
            }
            (false, None) => {}
        }
        not_blank(&at, parameter)?;
    }
    if given.len() < places.len() {
        let missing: Vec<String> = match named {
            true => places.iter().filter(|place| !seen.contains(&place.as_str())).cloned().collect(),
            false => places.iter().skip(given.len()).cloned().collect(),
        };
        let text =
            format!("The template has {} to fill in here; missing: {}.", count(places.len()), list(&missing));
        return invalid(&format!("{at}.parameters"), text);
    }
    Ok(())
}

/// WhatsApp takes no empty values.
fn not_blank(at: &str, parameter: &Value) -> Result<(), Refusal> {
    for (key, field) in [("text", "text"), ("payload", "payload"), ("coupon_code", "couponCode")] {
        if parameter.get(key).and_then(Value::as_str).is_some_and(|text| text.trim().is_empty()) {
            return invalid(&format!("{at}.{field}"), "It is empty.");
        }
    }
    Ok(())
}

/// The parts of a template. One that cannot be filled in through this API cannot be sent through it.
fn slots(template: &template::Model) -> Result<Vec<Slot>, Refusal> {
    let mut slots = Vec::new();
    let named_format =
        template.parameter_format.as_deref().is_some_and(|it| it.eq_ignore_ascii_case("NAMED"));
    let words = |part, text: &str| {
        let found: Vec<String> = places(text).into_iter().map(str::to_owned).collect();
        if found.is_empty() {
            return Slot { part, wants: Wants::Nothing };
        }
        let named = named_format || !found.iter().all(|place| is_number(place));
        Slot { part, wants: Wants::Words { places: found, named } }
    };
    for component in components(template) {
        let kind = component["type"].as_str().unwrap_or_default().to_ascii_uppercase();
        match kind.as_str() {
            "HEADER" => {
                let format = component["format"].as_str().unwrap_or("TEXT").to_ascii_uppercase();
                let file = |kind| Slot { part: Part::Header, wants: Wants::One { kind, sub_type: None } };
                slots.push(match format.as_str() {
                    "TEXT" => words(Part::Header, component["text"].as_str().unwrap_or_default()),
                    "IMAGE" => file("image"),
                    "VIDEO" => file("video"),
                    "DOCUMENT" => file("document"),
                    "LOCATION" => file("location"),
                    other => return unknown(other),
                });
            }
            "BODY" => slots.push(words(Part::Body, component["text"].as_str().unwrap_or_default())),
            "BUTTONS" => {
                let buttons = component["buttons"].as_array().map_or(&[][..], Vec::as_slice);
                slots.extend(
                    buttons.iter().enumerate().map(|(index, button)| Slot {
                        part: Part::Button(index),
                        wants: button_wants(button),
                    }),
                );
            }
            "CAROUSEL" | "LIMITED_TIME_OFFER" => return unknown(&kind),
            // Nothing is filled into footers, nor into what Meta may add.
            _ => {}
        }
    }
    Ok(slots)
}

fn button_wants(button: &Value) -> Wants {
    match button["type"].as_str().unwrap_or_default().to_ascii_uppercase().as_str() {
        "URL" if places(button["url"].as_str().unwrap_or_default()).is_empty() => Wants::Nothing,
        // The code of an authentication template goes into its button as into an address.
        "URL" | "OTP" => Wants::One { kind: "text", sub_type: Some("url") },
        "COPY_CODE" => Wants::One { kind: "coupon_code", sub_type: Some("copy_code") },
        "QUICK_REPLY" => Wants::Maybe { kind: Some("payload"), sub_type: "quick_reply" },
        "FLOW" => Wants::Maybe { kind: None, sub_type: "flow" },
        _ => Wants::Nothing,
    }
}

fn unknown<T>(part: &str) -> Result<T, Refusal> {
    let text = format!("The template has a part of the kind {part}, which this API cannot fill in.");
    invalid("content.template.name", text)
}

fn components(template: &template::Model) -> &[Value] {
    template.components.as_ref().and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn body_of(template: &template::Model) -> &str {
    let is_body =
        |component: &&Value| component["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("BODY"));
    components(template).iter().find(is_body).and_then(|body| body["text"].as_str()).unwrap_or_default()
}

/// Which part a given component is for.
fn part_of(component: &Value) -> Option<Part> {
    match component["type"].as_str()? {
        "header" => Some(Part::Header),
        "body" => Some(Part::Body),
        "button" => component["index"].as_str()?.parse().ok().map(Part::Button),
        _ => None,
    }
}

fn parameters(component: &Value) -> &[Value] {
    component["parameters"].as_array().map_or(&[], Vec::as_slice)
}

/// A text with its places filled in.
fn filled(text: &str, given: &[Value]) -> String {
    let shown = |parameter: &Value| {
        ["/text", "/currency/fallback_value", "/date_time/fallback_value"]
            .into_iter()
            .find_map(|path| parameter.pointer(path).and_then(Value::as_str))
            .unwrap_or_default()
            .to_owned()
    };
    let mut words = String::new();
    let mut rest = text;
    let order = places(text);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        words.push_str(before);
        let name = name.trim();
        let named = given.iter().find(|parameter| parameter["parameter_name"].as_str() == Some(name));
        // Numbered ones are given in the order of their numbers.
        let numbered = || given.get(rank(&order, name)?);
        if let Some(parameter) = named.or_else(numbered) {
            words.push_str(&shown(parameter));
        }
        rest = after;
    }
    words.push_str(rest);
    words
}

/// The place of a number among all numbers of a text.
fn rank(order: &[&str], name: &str) -> Option<usize> {
    let mut numbers: Vec<u32> = order.iter().filter_map(|place| place.parse().ok()).collect();
    numbers.sort_unstable();
    let number: u32 = name.parse().ok()?;
    numbers.iter().position(|known| *known == number)
}

fn count(places: usize) -> String {
    if places == 1 { "1 place".to_owned() } else { format!("{places} places") }
}

fn list(places: &[String]) -> String {
    places.iter().map(|place| format!("{{{{{place}}}}}")).collect::<Vec<_>>().join(", ")
}

fn invalid<T>(field: &str, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(RefusalCode::Invalid, field, text))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "tests write their values where they are used")]

    use entity::{ClientId, PartnerId, Timestamp};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::templates::state::{Owner, blank};

    fn template(components: Value) -> template::Model {
        let owner = Owner { partner: PartnerId(Uuid::nil()), client: ClientId(Uuid::nil()), waba_id: "1" };
        let mut row = blank(owner, "7", "offer", "de", Timestamp(0));
        row.components = Some(components);
        row
    }

    fn body(text: &str) -> Value {
        json!({ "type": "BODY", "text": text })
    }

    fn given(kind: &str, parameters: Value) -> Value {
        json!({ "type": kind, "parameters": parameters })
    }

    fn button(sub_type: &str, index: &str, parameters: Value) -> Value {
        json!({ "type": "button", "sub_type": sub_type, "index": index, "parameters": parameters })
    }

    fn words(text: &str) -> Value {
        json!({ "type": "text", "text": text })
    }

    fn named(name: &str, text: &str) -> Value {
        json!({ "type": "text", "parameter_name": name, "text": text })
    }

    /// The field at fault, below the components.
    fn fault(components: &Value, given: Value) -> String {
        let refusal = fill(&template(components.clone()), Some(&given)).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Invalid);
        refusal.field.join(".").trim_start_matches(AT).trim_start_matches('.').to_owned()
    }

    #[test]
    fn what_fits_is_taken_and_its_words_are_known() {
        let numbered = json!([body("{{1}}, komm am {{2}}: {{1}}!"), { "type": "FOOTER", "text": "x" }]);
        let two = given(
            "body",
            json!([words("Ada"), { "type": "date_time", "date_time": { "fallback_value": "Montag" } }]),
        );
        assert_eq!(fill(&template(numbered), Some(&json!([two]))).unwrap(), "Ada, komm am Montag: Ada!");
        let by_name = json!([body("Hallo {{first_name}}, bis {{day}}")]);
        let both = given("body", json!([named("day", "Montag"), named("first_name", "Ada")]));
        assert_eq!(fill(&template(by_name), Some(&json!([both]))).unwrap(), "Hallo Ada, bis Montag");
        let plain = json!([{ "type": "HEADER", "format": "TEXT", "text": "Hi" }, body("Hello")]);
        assert_eq!(fill(&template(plain.clone()), None).unwrap(), "Hello");
        assert_eq!(fill(&template(plain), Some(&json!([given("body", json!([]))]))).unwrap(), "Hello");
        let rich = json!([
            { "type": "header", "format": "image" },
            body("Hello"),
            { "type": "BUTTONS", "buttons": [
                { "type": "QUICK_REPLY", "text": "Yes" },
                { "type": "URL", "text": "See", "url": "https://example.test/{{1}}" },
                { "type": "PHONE_NUMBER", "text": "Call", "phone_number": "+49" },
                { "type": "COPY_CODE", "example": "A" }] }]);
        let image =
            given("header", json!([{ "type": "image", "image": { "link": "https://example.test/a" } }]));
        let link = button("url", "1", json!([words("7")]));
        let code = button("copy_code", "3", json!([{ "type": "coupon_code", "coupon_code": "SAVE" }]));
        let reply = button("quick_reply", "0", json!([{ "type": "payload", "payload": "yes" }]));
        for given in [json!([image, link, code]), json!([code, reply, link, image])] {
            assert_eq!(fill(&template(rich.clone()), Some(&given)).unwrap(), "Hello");
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_named_with_its_path() {
        let numbered = json!([body("{{1}}, komm am {{2}}!")]);
        let by_name = json!([body("Hallo {{first_name}}!")]);
        let plain = json!([body("Hallo")]);
        let picture = json!([{ "type": "HEADER", "format": "IMAGE" }, body("Hallo")]);
        let titled = json!([{ "type": "HEADER", "format": "TEXT", "text": "Nr. {{1}}" }, body("Hallo")]);
        let buttons = json!([body("Hallo"), { "type": "BUTTONS", "buttons": [
            { "type": "URL", "text": "See", "url": "https://example.test/{{1}}" },
            { "type": "QUICK_REPLY", "text": "Yes" },
            { "type": "URL", "text": "All", "url": "https://example.test/" }] }]);
        let link = button("url", "0", json!([words("7")]));
        let file = json!({ "type": "video", "video": { "link": "https://example.test/a" } });
        for (template, given, field) in [
            (&numbered, json!([]), ""),
            (&numbered, json!([given("body", json!([words("Ada")]))]), "0.parameters"),
            (
                &numbered,
                json!([given("body", json!([words("Ada"), words("b"), words("c")]))]),
                "0.parameters.2",
            ),
            (
                &numbered,
                json!([given("body", json!([named("a", "Ada"), words("b")]))]),
                "0.parameters.0.parameterName",
            ),
            (&numbered, json!([given("body", json!([words("Ada"), words(" ")]))]), "0.parameters.1.text"),
            (&numbered, json!([given("body", json!([words("Ada"), file]))]), "0.parameters.1.type"),
            (&by_name, json!([given("body", json!([words("Ada")]))]), "0.parameters.0.parameterName"),
            (&by_name, json!([given("body", json!([named("name", "Ada")]))]), "0.parameters.0.parameterName"),
            (
                &by_name,
                json!([given("body", json!([named("first_name", "Ada"), named("first_name", "Ben")]))]),
                "0.parameters.1.parameterName",
            ),
            (&by_name, json!([given("body", json!([]))]), "0.parameters"),
            (&plain, json!([given("body", json!([words("Ada")]))]), "0"),
            (&plain, json!([given("header", json!([words("Ada")]))]), "0"),
            (&plain, json!([button("url", "0", json!([words("Ada")]))]), "0"),
            (&picture, json!([]), ""),
            (&picture, json!([given("header", json!([]))]), "0.parameters"),
            (&picture, json!([given("header", json!([file]))]), "0.parameters.0.type"),
            (&titled, json!([]), ""),
            (&titled, json!([given("header", json!([words("7"), words("8")]))]), "0.parameters.1"),
            (&buttons, json!([]), ""),
            (&buttons, json!([link, link]), "1"),
            (&buttons, json!([link, button("url", "2", json!([words("7")]))]), "1"),
            (&buttons, json!([link, button("url", "3", json!([words("7")]))]), "1"),
            (&buttons, json!([link, button("url", "1", json!([words("7")]))]), "1.subType"),
            (&buttons, json!([link, button("quick_reply", "1", json!([words("7")]))]), "1.parameters.0.type"),
        ] {
            assert_eq!(fault(template, given.clone()), field, "{template} {given}");
        }
        let odd = json!([body("Hallo"), { "type": "CAROUSEL", "cards": [] }]);
        assert_eq!(fault(&odd, json!([])), "content.template.name");
    }
}
