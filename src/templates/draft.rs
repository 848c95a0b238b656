//! A template to be made: its limits, and its form on Meta's wire.

use serde_json::{Map, Value, json};

use super::{AUTHENTICATION, is_number, places};
use crate::failure::{Refusal, RefusalCode};

/// Meta's limits, characters and counts.
const LONGEST_NAME: usize = 512;
const LONGEST_BODY: usize = 1024;
const LONGEST_LINE: usize = 60;
const LONGEST_LABEL: usize = 25;
const LONGEST_URL: usize = 2000;
const LONGEST_PHONE: usize = 20;
const LONGEST_CODE: usize = 15;
const LONGEST_EXAMPLE: usize = 1024;
const MOST_BUTTONS: usize = 10;
const MOST_URLS: usize = 2;
/// Seconds that a template of these categories may wait for its recipient.
const LIFETIMES: [(&str, std::ops::RangeInclusive<i64>); 2] =
    [("UTILITY", 30..=43_200), (AUTHENTICATION, 30..=900)];
/// Minutes after which a code to sign in with is no good any more.
const EXPIRY: std::ops::RangeInclusive<i64> = 1..=90;

/// A template to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// 1 to 512 small letters, digits and underscores.
    pub name: String,
    /// Such as `de` or `en_US`.
    pub language: String,
    /// `MARKETING`, `UTILITY` or `AUTHENTICATION`.
    pub category: String,
    /// What stands above the words.
    pub header: Option<Header>,
    /// The words; none of an authentication template, which has WhatsApp's own.
    pub body: Option<Words>,
    /// Of an authentication template, and of no other.
    pub authentication: Option<Authentication>,
    /// Small words below, at most 60 characters.
    pub footer: Option<String>,
    /// At most 10.
    pub buttons: Vec<Button>,
    /// How long it may wait for its recipient, seconds; none: WhatsApp's own time.
    pub lifetime: Option<i64>,
}

/// What can be chosen of an authentication template. Its words are WhatsApp's own, and a button copies the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Whether it says that nobody should be told the code.
    pub security_recommendation: bool,
    /// Minutes after which the code is no good any more, 1 to 90; none: it does not say.
    pub expires_minutes: Option<i64>,
    /// What stands on the button, at most 25 characters.
    pub button: String,
}

/// Words with places, `{{1}}` or `{{first_name}}`, and an example for each place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The words.
    pub text: String,
    /// What may stand in the places.
    pub examples: Vec<Example>,
}

/// What may stand in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The place's name; none: places are numbered, and the order counts.
    pub name: Option<String>,
    /// What may stand there.
    pub value: String,
}

/// What stands above the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// Words, at most 60 characters, with one place at most.
    Text(Words),
    /// A file, which each message brings.
    File {
        /// What kind of file.
        kind: HeaderFile,
        /// Meta's handle of an example that was uploaded.
        handle: String,
    },
    /// A place on the map, which each message brings.
    Location,
}

/// Kinds of files above the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFile {
    /// An image.
    Image,
    /// A video.
    Video,
    /// A document.
    Document,
}

impl HeaderFile {
    fn word(self) -> &'static str {
        match self {
            HeaderFile::Image => "image",
            HeaderFile::Video => "video",
            HeaderFile::Document => "document",
        }
    }
}

/// A button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Button {
    /// Answers with its words.
    QuickReply {
        /// What stands on it, at most 25 characters.
        text: String,
    },
    /// Opens an address.
    Url {
        /// What stands on it, at most 25 characters.
        text: String,
        /// At most 2000 characters; may end with a place, `{{1}}`.
        url: String,
        /// A whole address as it may be; needed with a place.
        example: Option<String>,
    },
    /// Calls a number.
    Phone {
        /// What stands on it, at most 25 characters.
        text: String,
        /// With plus, at most 20 characters.
        number: String,
    },
    /// Copies a code, which each message brings.
    CopyCode {
        /// A code as it may be, at most 15 characters.
        example: String,
    },
}

impl Button {
    fn word(&self) -> &'static str {
        match self {
            Button::QuickReply { .. } => "quickReply",
            Button::Url { .. } => "url",
            Button::Phone { .. } => "phoneNumber",
            Button::CopyCode { .. } => "copyCode",
        }
    }
}

type Checked = Result<(), Refusal>;

impl Draft {
    /// Checks all that Meta would refuse.
    ///
    /// # Errors
    /// INVALID, with the path of the input field and the limit.
    pub fn check(&self) -> Checked {
        let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if self.name.is_empty() || self.name.len() > LONGEST_NAME || !self.name.bytes().all(small) {
            return invalid("name", "It needs 1 to 512 lower-case letters, digits and underscores.");
        }
        if !is_language(&self.language) {
            return invalid("language", "It needs a language code such as de or en_US.");
        }
        if let Some(lifetime) = self.lifetime {
            let Some((_, range)) = LIFETIMES.into_iter().find(|(category, _)| *category == self.category)
            else {
                return invalid("lifetimeSeconds", "Marketing templates have no lifetime of their own.");
            };
            if !range.contains(&lifetime) {
                let text = format!("It needs {} to {} seconds.", range.start(), range.end());
                return invalid("lifetimeSeconds", text);
            }
        }
        if self.category == AUTHENTICATION {
            return self.check_authentication();
        }
        if self.authentication.is_some() {
            return invalid("authentication", "Only templates of the category AUTHENTICATION have it.");
        }
        let Some(body) = &self.body else { return invalid("body", "It needs words.") };
        let named = self.is_named()?;
        match &self.header {
            Some(Header::Text(words)) => {
                line("header.text.text", &words.text)?;
                if words.text.contains('*') {
                    return invalid("header.text.text", "A header has no asterisks: it is bold by itself.");
                }
                if places(&words.text).len() > 1 {
                    return invalid("header.text.text", "A header has one place at most.");
                }
                words.check("header.text", named, false)?;
            }
            Some(Header::File { kind, handle }) => {
                full(&format!("header.{}.exampleHandle", kind.word()), handle, LONGEST_URL)?;
            }
            Some(Header::Location) | None => {}
        }
        full("body.text", &body.text, LONGEST_BODY)?;
        body.check("body", named, true)?;
        if let Some(footer) = &self.footer {
            line("footer", footer)?;
            if footer.contains("{{") {
                return invalid("footer", "A footer has no places.");
            }
        }
        self.check_buttons()
    }

    /// WhatsApp writes the words of codes to sign in with.
    fn check_authentication(&self) -> Checked {
        let Some(authentication) = &self.authentication else {
            return invalid("authentication", "A template of the category AUTHENTICATION needs it.");
        };
        for (field, is_there) in [
            ("header", self.header.is_some()),
            ("body", self.body.is_some()),
            ("footer", self.footer.is_some()),
            ("buttons", !self.buttons.is_empty()),
        ] {
            if is_there {
                return invalid(
                    field,
                    "WhatsApp writes the words of authentication templates: leave it out.",
                );
            }
        }
        if authentication.expires_minutes.is_some_and(|minutes| !EXPIRY.contains(&minutes)) {
            return invalid("authentication.codeExpiresMinutes", "It needs 1 to 90 minutes.");
        }
        label("authentication.buttonText", &authentication.button)
    }

    /// Whether its places have names. Named and numbered ones do not mix.
    fn is_named(&self) -> Result<bool, Refusal> {
        let mut named = None;
        let header = match &self.header {
            Some(Header::Text(words)) => Some(("header.text.text", words.text.as_str())),
            _ => None,
        };
        let body = self.body.as_ref().map(|body| ("body.text", body.text.as_str()));
        for (field, text) in header.into_iter().chain(body) {
            for place in places(text) {
                let is_named = !is_number(place);
                if *named.get_or_insert(is_named) != is_named {
                    return invalid(field, "Places with names and with numbers do not mix.");
                }
            }
        }
        Ok(named.unwrap_or(false))
    }

    fn check_buttons(&self) -> Checked {
        if self.buttons.len() > MOST_BUTTONS {
            return invalid("buttons", "It has more than 10 buttons.");
        }
        let most = |word: &str, most: usize| {
            let found = self.buttons.iter().filter(|button| button.word() == word).count();
            if found > most {
                return invalid("buttons", format!("It has more than {most} of the kind {word}."));
            }
            Ok(())
        };
        most("url", MOST_URLS)?;
        most("phoneNumber", 1)?;
        most("copyCode", 1)?;
        let is_reply = |button: &Button| matches!(button, Button::QuickReply { .. });
        let turns = self.buttons.windows(2).filter(|two| is_reply(&two[0]) != is_reply(&two[1])).count();
        if turns > 1 {
            return invalid(
                "buttons",
                "Quick replies stand together: before all other buttons, or after them.",
            );
        }
        for (place, button) in self.buttons.iter().enumerate() {
            let at = format!("buttons.{place}.{}", button.word());
            match button {
                Button::QuickReply { text } => label(&format!("{at}.text"), text)?,
                Button::Url { text, url, example } => {
                    label(&format!("{at}.text"), text)?;
                    full(&format!("{at}.url"), url, LONGEST_URL)?;
                    check_url(&at, url, example.as_deref())?;
                }
                Button::Phone { text, number } => {
                    label(&format!("{at}.text"), text)?;
                    full(&format!("{at}.phoneNumber"), number, LONGEST_PHONE)?;
                }
                Button::CopyCode { example } => full(&format!("{at}.example"), example, LONGEST_CODE)?,
            }
        }
        Ok(())
    }

    /// What Meta is asked for.
    pub fn wire(&self) -> Value {
        let named = self.is_named().unwrap_or(false);
        let mut wire = json!({
            "name": self.name, "language": self.language, "category": self.category,
            "parameter_format": format(named), "components": self.components(),
        });
        if let Some(lifetime) = self.lifetime {
            wire["message_send_ttl_seconds"] = json!(lifetime);
        }
        wire
    }

    /// Its parts, as Meta lists them; none where Meta writes the words.
    pub fn listed(&self) -> Option<Value> {
        self.authentication.is_none().then(|| self.components())
    }

    fn components(&self) -> Value {
        let mut components = Vec::new();
        match &self.header {
            Some(Header::Text(words)) => {
                let mut header = json!({ "type": "HEADER", "format": "TEXT", "text": words.text });
                words.put_examples(&mut header, "header_text", false);
                components.push(header);
            }
            Some(Header::File { kind, handle }) => components.push(json!({
                "type": "HEADER", "format": kind.word().to_uppercase(), "example": { "header_handle": [handle] },
            })),
            Some(Header::Location) => components.push(json!({ "type": "HEADER", "format": "LOCATION" })),
            None => {}
        }
        if let Some(words) = &self.body {
            let mut body = json!({ "type": "BODY", "text": words.text });
            words.put_examples(&mut body, "body_text", true);
            components.push(body);
        }
        if let Some(Authentication { security_recommendation, expires_minutes, button }) =
            &self.authentication
        {
            components
                .push(json!({ "type": "BODY", "add_security_recommendation": security_recommendation }));
            if let Some(minutes) = expires_minutes {
                components.push(json!({ "type": "FOOTER", "code_expiration_minutes": minutes }));
            }
            let button = json!({ "type": "OTP", "otp_type": "COPY_CODE", "text": button });
            components.push(json!({ "type": "BUTTONS", "buttons": [button] }));
        }
        if let Some(footer) = &self.footer {
            components.push(json!({ "type": "FOOTER", "text": footer }));
        }
        if !self.buttons.is_empty() {
            let buttons: Vec<Value> = self.buttons.iter().map(Button::wire).collect();
            components.push(json!({ "type": "BUTTONS", "buttons": buttons }));
        }
        Value::Array(components)
    }

    /// `NAMED` or `POSITIONAL`.
    pub fn parameter_format(&self) -> &'static str {
        format(self.is_named().unwrap_or(false))
    }
}

fn format(named: bool) -> &'static str {
    if named { "NAMED" } else { "POSITIONAL" }
}

impl Words {
    /// `within`: places must not begin or end the words.
    fn check(&self, at: &str, named: bool, within: bool) -> Checked {
        let text = format!("{at}.text");
        let found = places(&self.text);
        // What does not pair is no place.
        if self.text.matches("{{").count() != self.text.matches("}}").count() {
            return invalid(&text, "Each {{ needs its }}.");
        }
        let good = |place: &str| {
            let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            !place.is_empty() && place.bytes().all(small)
        };
        if !found.iter().all(|place| good(place)) {
            return invalid(
                &text,
                "A place has a number, or a name of small letters, digits and underscores.",
            );
        }
        if !named {
            let mut numbers: Vec<usize> = found.iter().filter_map(|place| place.parse().ok()).collect();
            numbers.sort_unstable();
            if !numbers.iter().copied().eq(1..=found.len()) {
                return invalid(&text, "Places are numbered {{1}}, {{2}}, {{3}} …, none left out.");
            }
        }
        let trimmed = self.text.trim();
        if within && (trimmed.starts_with("{{") || trimmed.ends_with("}}")) {
            return invalid(&text, "WhatsApp wants words before the first place and after the last one.");
        }
        let joined: String = self.text.split_whitespace().collect();
        if joined.contains("}}{{") {
            return invalid(&text, "WhatsApp wants words between two places.");
        }
        let examples = format!("{at}.examples");
        if self.examples.len() != found.len() {
            let count = found.len();
            return invalid(
                &examples,
                format!("WhatsApp wants an example for each place: {count}, not {}.", self.examples.len()),
            );
        }
        for (index, example) in self.examples.iter().enumerate() {
            let at = format!("{examples}.{index}");
            full(&format!("{at}.value"), &example.value, LONGEST_EXAMPLE)?;
            match (&example.name, named) {
                (None, true) => {
                    return invalid(&format!("{at}.name"), "The places have names: give this one's.");
                }
                (Some(_), false) => {
                    return invalid(&format!("{at}.name"), "The places are numbered: leave the name out.");
                }
                (Some(name), true) if !found.contains(&name.as_str()) => {
                    return invalid(&format!("{at}.name"), format!("There is no place {{{{{name}}}}}."));
                }
                (Some(name), true) => {
                    let before = &self.examples[..index];
                    if before.iter().any(|example| example.name.as_ref() == Some(name)) {
                        return invalid(&format!("{at}.name"), "This place has an example already.");
                    }
                }
                (None, false) => {}
            }
        }
        Ok(())
    }

    fn put_examples(&self, component: &mut Value, key: &str, nested: bool) {
        if self.examples.is_empty() {
            return;
        }
        let named = self.examples.iter().any(|example| example.name.is_some());
        let mut shown = Map::new();
        if named {
            let list = self
                .examples
                .iter()
                .map(|example| json!({ "param_name": example.name, "example": example.value }));
            shown.insert(format!("{key}_named_params"), list.collect());
        } else {
            let values: Value = self.examples.iter().map(|example| json!(example.value)).collect();
            shown.insert(key.to_owned(), if nested { json!([values]) } else { values });
        }
        component["example"] = Value::Object(shown);
    }
}

impl Button {
    fn wire(&self) -> Value {
        match self {
            Button::QuickReply { text } => json!({ "type": "QUICK_REPLY", "text": text }),
            Button::Url { text, url, example } => {
                let mut wire = json!({ "type": "URL", "text": text, "url": url });
                if let Some(example) = example {
                    wire["example"] = json!([example]);
                }
                wire
            }
            Button::Phone { text, number } => {
                json!({ "type": "PHONE_NUMBER", "text": text, "phone_number": number })
            }
            Button::CopyCode { example } => json!({ "type": "COPY_CODE", "example": example }),
        }
    }
}

/// An address may end with one place, and then needs an example.
fn check_url(at: &str, url: &str, example: Option<&str>) -> Checked {
    let field = format!("{at}.url");
    let whole = url.replacen("{{1}}", "1", 1);
    let is_address =
        url::Url::parse(&whole).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_address || whole.contains(['{', '}']) {
        return invalid(&field, "It needs an address such as https://example.org/orders/{{1}}.");
    }
    let has_place = url.contains("{{1}}");
    if has_place && !url.ends_with("{{1}}") {
        return invalid(&field, "The place {{1}} stands at the end of the address.");
    }
    match example {
        None if has_place => invalid(&format!("{at}.example"), "A place needs an example: a whole address."),
        Some(_) if !has_place => invalid(&format!("{at}.example"), "The address has no place: leave it out."),
        Some(example) => full(&format!("{at}.example"), example, LONGEST_URL),
        None => Ok(()),
    }
}

/// `de`, `en_US`, `zh_CN`, `fil`.
fn is_language(code: &str) -> bool {
    let (language, country) =
        code.split_once('_').map_or((code, None), |(language, country)| (language, Some(country)));
    let small = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
    let capital = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase());
    (2..=3).contains(&language.len())
        && small(language)
        && country.is_none_or(|country| (2..=3).contains(&country.len()) && capital(country))
}

fn label(field: &str, text: &str) -> Checked {
    full(field, text, LONGEST_LABEL)?;
    if text.contains("{{") {
        return invalid(field, "What stands on a button has no places.");
    }
    Ok(())
}

/// One line of at most 60 characters.
fn line(field: &str, text: &str) -> Checked {
    full(field, text, LONGEST_LINE)?;
    if text.contains('\n') {
        return invalid(field, "It is one line.");
    }
    Ok(())
}

/// Words that must be there.
fn full(field: &str, text: &str, most: usize) -> Checked {
    if text.trim().is_empty() {
        return invalid(field, "It is empty.");
    }
    if text.chars().count() > most {
        return invalid(field, format!("It has more than {most} characters."));
    }
    if text.contains('\0') {
        return invalid(field, "It contains a NUL character.");
    }
    Ok(())
}

fn invalid<T>(field: &str, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(RefusalCode::Invalid, field, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(value: &str) -> Example {
        Example { name: None, value: value.into() }
    }

    fn named(name: &str, value: &str) -> Example {
        Example { name: Some(name.into()), value: value.into() }
    }

    fn words(text: &str, examples: Vec<Example>) -> Words {
        Words { text: text.into(), examples }
    }

    fn draft() -> Draft {
        Draft {
            name: "order_1".into(),
            language: "de".into(),
            category: "UTILITY".into(),
            header: None,
            body: Some(words("Hallo", Vec::new())),
            authentication: None,
            footer: None,
            buttons: Vec::new(),
            lifetime: None,
        }
    }

    fn code() -> Draft {
        let authentication = Authentication {
            security_recommendation: true,
            expires_minutes: Some(90),
            button: "Copy".into(),
        };
        Draft {
            category: "AUTHENTICATION".into(),
            body: None,
            authentication: Some(authentication),
            lifetime: Some(900),
            ..draft()
        }
    }

    fn quick(text: &str) -> Button {
        Button::QuickReply { text: text.into() }
    }

    fn link(url: &str, example: Option<&str>) -> Button {
        Button::Url { text: "See".into(), url: url.into(), example: example.map(str::to_owned) }
    }

    #[test]
    fn what_is_at_the_limit_is_taken() {
        let long = |length: usize| "ä".repeat(length);
        let full = Draft {
            name: "n".repeat(512),
            language: "en_US".into(),
            header: Some(Header::Text(words(&long(60), Vec::new()))),
            body: Some(words(&long(1024), Vec::new())),
            footer: Some(long(60)),
            buttons: vec![
                quick(&long(25)),
                link("https://example.test/{{1}}", Some("https://example.test/7")),
                link("https://example.test/", None),
                Button::Phone { text: "Call".into(), number: "+4915120000001".into() },
                Button::CopyCode { example: "x".repeat(15) },
            ],
            lifetime: Some(43_200),
            ..draft()
        };
        full.check().unwrap();
        let places = Draft {
            header: Some(Header::Text(words("Nr. {{1}}", vec![example("7")]))),
            body: Some(words("An {{1}} und {{2}}.", vec![example("Ada"), example("Ben")])),
            ..draft()
        };
        places.check().unwrap();
        let by_name = words("An {{first_name}}.", vec![named("first_name", "Ada")]);
        Draft { body: Some(by_name), ..draft() }.check().unwrap();
    }

    #[test]
    fn what_meta_would_refuse_is_named_with_its_path() {
        let long = |length: usize| "ä".repeat(length);
        let body =
            |text: &str, examples: Vec<Example>| Draft { body: Some(words(text, examples)), ..draft() };
        let header = |text: &str| Draft { header: Some(Header::Text(words(text, Vec::new()))), ..draft() };
        let buttons = |buttons: Vec<Button>| Draft { buttons, ..draft() };
        let authentication = |expires_minutes: Option<i64>, button: &str| {
            let authentication =
                Authentication { security_recommendation: false, expires_minutes, button: button.into() };
            Draft { authentication: Some(authentication), ..code() }
        };
        let plain = "https://example.test/";
        for (bad, field) in [
            (Draft { name: "Order".into(), ..draft() }, "name"),
            (Draft { name: "n".repeat(513), ..draft() }, "name"),
            (Draft { language: "german".into(), ..draft() }, "language"),
            (Draft { language: "en-US".into(), ..draft() }, "language"),
            (Draft { lifetime: Some(29), ..draft() }, "lifetimeSeconds"),
            (Draft { lifetime: Some(60), category: "MARKETING".into(), ..draft() }, "lifetimeSeconds"),
            (Draft { lifetime: Some(901), ..code() }, "lifetimeSeconds"),
            (Draft { authentication: None, ..code() }, "authentication"),
            (Draft { category: "UTILITY".into(), lifetime: None, ..code() }, "authentication"),
            (Draft { footer: Some("a".into()), ..code() }, "footer"),
            (Draft { body: draft().body, ..code() }, "body"),
            (authentication(Some(91), "Copy"), "authentication.codeExpiresMinutes"),
            (authentication(None, ""), "authentication.buttonText"),
            (Draft { body: None, ..draft() }, "body"),
            (body(" ", Vec::new()), "body.text"),
            (body(&long(1025), Vec::new()), "body.text"),
            (body("{{1}} kommt.", vec![example("a")]), "body.text"),
            (body("Es kommt {{1}}", vec![example("a")]), "body.text"),
            (body("An {{1}} {{2}}.", vec![example("a"), example("b")]), "body.text"),
            (body("An {{2}}.", vec![example("a")]), "body.text"),
            (body("An {{Name}}.", vec![named("Name", "a")]), "body.text"),
            (body("An {{name.", vec![]), "body.text"),
            (body("An {{name}} und {{1}}.", vec![]), "body.text"),
            (body("An {{1}}.", Vec::new()), "body.examples"),
            (body("An dich.", vec![example("a")]), "body.examples"),
            (body("An {{1}}.", vec![example(" ")]), "body.examples.0.value"),
            (body("An {{1}}.", vec![named("a", "b")]), "body.examples.0.name"),
            (body("An {{a}}.", vec![example("b")]), "body.examples.0.name"),
            (body("An {{a}}.", vec![named("b", "b")]), "body.examples.0.name"),
            (header(&long(61)), "header.text.text"),
            (header("a\nb"), "header.text.text"),
            (header("*a*"), "header.text.text"),
            (header("{{1}} a {{2}}"), "header.text.text"),
            (header("An {{1}}"), "header.text.examples"),
            (
                Draft {
                    header: Some(Header::File { kind: HeaderFile::Image, handle: String::new() }),
                    ..draft()
                },
                "header.image.exampleHandle",
            ),
            (Draft { footer: Some(long(61)), ..draft() }, "footer"),
            (Draft { footer: Some("An {{1}}".into()), ..draft() }, "footer"),
            (buttons(vec![quick("a"); 11]), "buttons"),
            (buttons(vec![link(plain, None); 3]), "buttons"),
            (buttons(vec![quick("a"), link(plain, None), quick("b")]), "buttons"),
            (buttons(vec![quick(&long(26))]), "buttons.0.quickReply.text"),
            (buttons(vec![quick("a"), quick("{{1}}")]), "buttons.1.quickReply.text"),
            (buttons(vec![link("example.test", None)]), "buttons.0.url.url"),
            (buttons(vec![link("https://example.test/{{1}}/a", Some(plain))]), "buttons.0.url.url"),
            (buttons(vec![link("https://example.test/{{1}}", None)]), "buttons.0.url.example"),
            (buttons(vec![link(plain, Some(plain))]), "buttons.0.url.example"),
            (
                buttons(vec![Button::Phone { text: "a".into(), number: "1".repeat(21) }]),
                "buttons.0.phoneNumber.phoneNumber",
            ),
            (buttons(vec![Button::CopyCode { example: "x".repeat(16) }]), "buttons.0.copyCode.example"),
        ] {
            let refusal = bad.check().unwrap_err();
            assert_eq!(
                (refusal.code, refusal.field.join(".").as_str()),
                (RefusalCode::Invalid, field),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn it_has_metas_form() {
        let draft = Draft {
            header: Some(Header::Text(words("Nr. {{number}}", vec![named("number", "7")]))),
            body: Some(words("Hallo {{name}}!", vec![named("name", "Ada")])),
            footer: Some("Bis bald".into()),
            buttons: vec![quick("Ja"), link("https://example.test/{{1}}", Some("https://example.test/7"))],
            lifetime: Some(60),
            ..draft()
        };
        draft.check().unwrap();
        assert_eq!(
            draft.wire(),
            json!({ "name": "order_1", "language": "de", "category": "UTILITY", "parameter_format": "NAMED",
                "message_send_ttl_seconds": 60, "components": [
                { "type": "HEADER", "format": "TEXT", "text": "Nr. {{number}}",
                  "example": { "header_text_named_params": [{ "param_name": "number", "example": "7" }] } },
                { "type": "BODY", "text": "Hallo {{name}}!",
                  "example": { "body_text_named_params": [{ "param_name": "name", "example": "Ada" }] } },
                { "type": "FOOTER", "text": "Bis bald" },
                { "type": "BUTTONS", "buttons": [{ "type": "QUICK_REPLY", "text": "Ja" },
                  { "type": "URL", "text": "See", "url": "https://example.test/{{1}}",
                    "example": ["https://example.test/7"] }] }] })
        );
        code().check().unwrap();
        assert_eq!(code().listed(), None, "Meta writes the words");
        assert_eq!(
            code().wire()["components"],
            json!([{ "type": "BODY", "add_security_recommendation": true },
                { "type": "FOOTER", "code_expiration_minutes": 90 },
                { "type": "BUTTONS", "buttons": [{ "type": "OTP", "otp_type": "COPY_CODE", "text": "Copy" }] }])
        );
        let numbered = super::tests::draft();
        let numbered = Draft { body: Some(words("An {{1}}.", vec![example("Ada")])), ..numbered };
        assert_eq!(numbered.wire()["components"][0]["example"], json!({ "body_text": [["Ada"]] }));
    }
}
