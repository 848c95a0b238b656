//! What `sendMessage` can send.

use async_graphql::{Enum, ID, InputObject, OneofObject};
use entity::{MediaId, MessageId};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::graphql::scalars::{Given, Url};
use crate::ids::PublicId;
use crate::messages::content::MediaKind;
use crate::messages::outgoing::{
    Button, CardPhone, Choices, File, Header, Interactive, NewCard, Outgoing, Place, Row, Section, Source,
};

/// What to send: exactly one of these. All but templates need an open window.
#[derive(Debug, OneofObject)]
pub enum MessageContentInput {
    /// Words.
    Text(TextInput),
    /// An approved template: the one thing that needs no window.
    Template(Box<TemplateMessageInput>),
    /// An image: jpeg or png, at most 5 MB.
    Image(MediaInput),
    /// A video: mp4 or 3gp with H.264 and AAC, at most 16 MB.
    Video(MediaInput),
    /// Sound: aac, amr, mp3, m4a or ogg with OPUS, at most 16 MB.
    Audio(MediaInput),
    /// Any file, at most 100 MB.
    Document(MediaInput),
    /// A sticker: webp, at most 100 KB, animated 500 KB.
    Sticker(MediaInput),
    /// A place.
    Location(LocationInput),
    /// Business cards.
    Contacts(ContactsInput),
    /// Words with choices.
    Interactive(Box<InteractiveInput>),
    /// A reaction to a message, or the end of one.
    Reaction(ReactionInput),
}

/// Words.
#[derive(Debug, InputObject)]
pub struct TextInput {
    /// The words, 1 to 4096 characters.
    pub body: String,
    /// Whether to show a preview of the first link.
    #[graphql(default = false)]
    pub preview_url: bool,
}

/// A file: either one that was uploaded here (`mediaId`), or one that WhatsApp fetches (`link`).
#[derive(Debug, InputObject)]
pub struct MediaInput {
    /// Where WhatsApp fetches it, without a login; at most 2000 characters. One and the same address is fetched once in ten
    /// minutes. Format and size are checked by WhatsApp then: a file that does not fit fails the message with 131052 or
    /// 131053. Null: it was uploaded.
    pub link: Option<Url>,
    /// What `POST /media` answered. The message waits until WhatsApp has the file. Null: it is sent by link.
    pub media_id: Option<ID>,
    /// IMAGE, VIDEO, DOCUMENT: words beside it, at most 1024 characters. Null: none.
    pub caption: Option<String>,
    /// DOCUMENT: the name that the customer sees, at most 256 characters. Null: none.
    pub filename: Option<String>,
    /// AUDIO: shows it as a voice note, which has to be ogg with OPUS.
    #[graphql(default = false)]
    pub voice: bool,
}

/// A place.
#[derive(Debug, InputObject)]
pub struct LocationInput {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// What the place is called, at most 1000 characters. Null: nothing is shown.
    pub name: Option<String>,
    /// Its address, at most 1000 characters. Null: none is shown.
    pub address: Option<String>,
}

/// Business cards.
#[derive(Debug, InputObject)]
pub struct ContactsInput {
    /// The cards, 1 to 257.
    pub cards: Vec<ContactCardInput>,
}

/// A business card.
#[derive(Debug, InputObject)]
pub struct ContactCardInput {
    /// The whole name, 1 to 256 characters.
    pub formatted_name: String,
    /// The first name, at most 256 characters. Null: the whole name stands in, unless there is a last name.
    pub first_name: Option<String>,
    /// The last name, at most 256 characters. Null: none.
    pub last_name: Option<String>,
    /// Numbers, at most 20.
    #[graphql(default)]
    pub phones: Vec<ContactPhoneInput>,
    /// Mail addresses, at most 20, of at most 256 characters each.
    #[graphql(default)]
    pub emails: Vec<String>,
    /// The company, at most 256 characters. Null: none.
    pub organization: Option<String>,
}

/// A number on a business card.
#[derive(Debug, InputObject)]
pub struct ContactPhoneInput {
    /// The number as it is shown, 1 to 256 characters.
    pub phone: String,
    /// `CELL`, `WORK` or another word, at most 256 characters. Null: none.
    #[graphql(name = "type")]
    pub kind: Option<String>,
    /// The number in WhatsApp, digits without a plus sign: whoever gets the card can then write to it. Null: they can only
    /// save it.
    pub wa_id: Option<String>,
}

/// Words with choices: exactly one of these.
#[derive(Debug, OneofObject)]
pub enum InteractiveInput {
    /// Up to three buttons that answer.
    Buttons(ReplyButtonsInput),
    /// A list that opens, with up to ten rows.
    List(ChoiceListInput),
    /// A button that opens an address.
    CtaUrl(CallToActionInput),
}

/// Words with buttons that answer.
#[derive(Debug, InputObject)]
pub struct ReplyButtonsInput {
    /// What stands above the words. Null: nothing.
    pub header: Option<InteractiveHeaderInput>,
    /// The words, 1 to 1024 characters.
    pub body: String,
    /// Small words below, at most 60 characters. Null: none.
    pub footer: Option<String>,
    /// The buttons, 1 to 3.
    pub buttons: Vec<ReplyButtonInput>,
}

/// What stands above the words: exactly one of these.
#[derive(Debug, OneofObject)]
pub enum InteractiveHeaderInput {
    /// Words, 1 to 60 characters.
    Text(HeaderTextInput),
    /// An image.
    Image(HeaderFileInput),
    /// A video.
    Video(HeaderFileInput),
    /// A document.
    Document(HeaderFileInput),
}

/// Words above the words.
#[derive(Debug, InputObject)]
pub struct HeaderTextInput {
    /// The words, 1 to 60 characters.
    pub text: String,
}

/// A file above the words: exactly one of `link` and `mediaId`.
#[derive(Debug, InputObject)]
pub struct HeaderFileInput {
    /// Where WhatsApp fetches it, without a login; at most 2000 characters. Null: it was uploaded here.
    pub link: Option<Url>,
    /// The file that `POST /media` answered with. Null: WhatsApp fetches it.
    pub media_id: Option<ID>,
    /// DOCUMENT: the name that the customer sees, at most 256 characters. Null: none.
    pub filename: Option<String>,
}

/// A button that answers.
#[derive(Debug, InputObject)]
pub struct ReplyButtonInput {
    /// Comes back with the answer, 1 to 256 characters; no other button of the message has it.
    pub id: String,
    /// What the customer sees, 1 to 20 characters.
    pub title: String,
}

/// Words with a list that opens.
#[derive(Debug, InputObject)]
pub struct ChoiceListInput {
    /// Words above the words, at most 60 characters. Null: none.
    pub header: Option<String>,
    /// The words, 1 to 4096 characters.
    pub body: String,
    /// Small words below, at most 60 characters. Null: none.
    pub footer: Option<String>,
    /// What opens the list, 1 to 20 characters.
    pub button: String,
    /// The sections, 1 to 10, with at most 10 rows together.
    pub sections: Vec<ListSectionInput>,
}

/// A section of a list.
#[derive(Debug, InputObject)]
pub struct ListSectionInput {
    /// What stands above its rows, at most 24 characters. Null: nothing, which only a single section may have.
    pub title: Option<String>,
    /// Its rows, one at least.
    pub rows: Vec<ListRowInput>,
}

/// A row of a list.
#[derive(Debug, InputObject)]
pub struct ListRowInput {
    /// Comes back with the answer, 1 to 200 characters; no other row of the message has it.
    pub id: String,
    /// What the customer sees, 1 to 24 characters.
    pub title: String,
    /// The second line, at most 72 characters. Null: none.
    pub description: Option<String>,
}

/// Words with a button that opens an address.
#[derive(Debug, InputObject)]
pub struct CallToActionInput {
    /// Words above the words, at most 60 characters. Null: none.
    pub header: Option<String>,
    /// The words, 1 to 1024 characters.
    pub body: String,
    /// Small words below, at most 60 characters. Null: none.
    pub footer: Option<String>,
    /// What stands on the button, 1 to 20 characters.
    pub label: String,
    /// What it opens, at most 2000 characters.
    pub url: Url,
}

/// A reaction.
#[derive(Debug, InputObject)]
pub struct ReactionInput {
    /// The message reacted to, at most 30 days old.
    pub message_id: Given<MessageId>,
    /// One emoji. Null or empty: takes the reaction away.
    pub emoji: Option<String>,
}

/// An approved template, filled in.
#[derive(Debug, InputObject)]
pub struct TemplateMessageInput {
    /// Its name.
    pub name: String,
    /// Its language code, such as `de` or `en_US`.
    pub language: String,
    /// What is filled in. Null: the template has nothing to fill in.
    pub components: Option<Vec<TemplateComponentInput>>,
}

/// What is filled into one part of a template.
#[derive(Debug, InputObject)]
pub struct TemplateComponentInput {
    /// Which part.
    #[graphql(name = "type")]
    pub kind: TemplateComponentType,
    /// BUTTON: what kind of button. Null for other parts.
    pub sub_type: Option<TemplateButtonType>,
    /// BUTTON: which one, from 0. Null for other parts.
    pub index: Option<i32>,
    /// The values, in the order of the template's places; with names, in any order.
    pub parameters: Vec<TemplateParameterInput>,
}

/// Parts of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TemplateComponentType {
    /// Above the words.
    Header,
    /// The words.
    Body,
    /// A button.
    Button,
}

/// Buttons of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TemplateButtonType {
    /// Opens an address, of which the end is filled in.
    Url,
    /// Answers with its words.
    QuickReply,
    /// Copies a coupon code.
    CopyCode,
    /// Opens a form.
    Flow,
}

/// A value in a template. Which fields it needs depends on `type`.
#[derive(Debug, InputObject)]
pub struct TemplateParameterInput {
    /// What kind of value.
    #[graphql(name = "type", default_with = "TemplateParameterType::Text")]
    pub kind: TemplateParameterType,
    /// The place's name, for templates whose places have names. Null: places are numbered.
    pub parameter_name: Option<String>,
    /// TEXT: the words. CURRENCY and DATE_TIME: what is shown where the value cannot be.
    pub text: Option<String>,
    /// PAYLOAD: what comes back when the button is pressed.
    pub payload: Option<String>,
    /// COUPON_CODE: the code.
    pub coupon_code: Option<String>,
    /// CURRENCY: the code of the currency, such as `EUR`.
    pub currency: Option<String>,
    /// CURRENCY: the amount times 1000.
    pub amount1000: Option<i32>,
    /// IMAGE, VIDEO, DOCUMENT: where WhatsApp fetches the file, or `mediaId`.
    pub link: Option<Url>,
    /// IMAGE, VIDEO, DOCUMENT: the file that `POST /media` answered with, or `link`.
    pub media_id: Option<ID>,
    /// DOCUMENT: its name. Null: none is shown.
    pub filename: Option<String>,
    /// LOCATION: degrees north.
    pub latitude: Option<f64>,
    /// LOCATION: degrees east.
    pub longitude: Option<f64>,
    /// LOCATION: what the place is called.
    pub name: Option<String>,
    /// LOCATION: its address.
    pub address: Option<String>,
}

/// Kinds of values in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TemplateParameterType {
    /// Words.
    Text,
    /// An amount of money.
    Currency,
    /// A date, as words.
    DateTime,
    /// An image above the words.
    Image,
    /// A video above the words.
    Video,
    /// A document above the words.
    Document,
    /// A place above the words.
    Location,
    /// What a quick reply sends back.
    Payload,
    /// What a COPY_CODE button copies.
    CouponCode,
}

impl MessageContentInput {
    /// What it says. Limits are checked where it is sent.
    ///
    /// # Errors
    /// INVALID, NOT_FOUND: with the path of the field.
    pub fn read(self) -> Outcome<Outgoing> {
        Ok(match self {
            Self::Text(TextInput { body, preview_url }) => Outgoing::Text { body, preview_url },
            Self::Template(template) => {
                let TemplateMessageInput { name, language, components } = *template;
                let components = components.map(|components| {
                    let components = components.into_iter().enumerate();
                    components.map(|(place, component)| wire(place, component)).collect()
                });
                let components = components.transpose()?.map(Value::Array);
                Outgoing::Template { name, language, components }
            }
            Self::Image(file) => Outgoing::File(file.read(MediaKind::Image)?),
            Self::Video(file) => Outgoing::File(file.read(MediaKind::Video)?),
            Self::Audio(file) => Outgoing::File(file.read(MediaKind::Audio)?),
            Self::Document(file) => Outgoing::File(file.read(MediaKind::Document)?),
            Self::Sticker(file) => Outgoing::File(file.read(MediaKind::Sticker)?),
            Self::Location(LocationInput { latitude, longitude, name, address }) => {
                Outgoing::Location(Place { latitude, longitude, name, address })
            }
            Self::Contacts(ContactsInput { cards }) => {
                Outgoing::Contacts(cards.into_iter().map(NewCard::from).collect())
            }
            Self::Interactive(interactive) => Outgoing::Interactive(interactive.read()?),
            Self::Reaction(ReactionInput { message_id, emoji }) => Outgoing::Reaction {
                message: message_id.of("content.reaction.messageId")?,
                emoji: emoji.filter(|emoji| !emoji.is_empty()),
            },
        })
    }
}

impl MediaInput {
    fn read(self, kind: MediaKind) -> Outcome<File> {
        let Self { link, media_id, caption, filename, voice } = self;
        let source = source(link, media_id, &format!("content.{}", kind.word()))?;
        Ok(File { kind, source, caption, filename, voice })
    }
}

/// Where the bytes of a file are.
fn source(link: Option<Url>, media_id: Option<ID>, at: &str) -> Outcome<Source> {
    match (link, media_id) {
        (Some(link), None) => Ok(Source::Link(link.0)),
        (None, Some(id)) => {
            let none = || {
                let text = "There is no such file.";
                Failure::from(Refusal::new(RefusalCode::NotFound, &format!("{at}.mediaId"), text))
            };
            MediaId::parse(&id).map(Source::Uploaded).ok_or_else(none)
        }
        _ => {
            let text = "It needs either a link or the mediaId of an upload.";
            Err(Refusal::new(RefusalCode::Invalid, at, text).into())
        }
    }
}

impl InteractiveHeaderInput {
    fn read(self) -> Outcome<Header> {
        match self {
            Self::Text(HeaderTextInput { text }) => Ok(Header::Text(text)),
            Self::Image(file) => file.read(MediaKind::Image),
            Self::Video(file) => file.read(MediaKind::Video),
            Self::Document(file) => file.read(MediaKind::Document),
        }
    }
}

impl HeaderFileInput {
    fn read(self, kind: MediaKind) -> Outcome<Header> {
        let Self { link, media_id, filename } = self;
        let at = format!("content.interactive.buttons.header.{}", kind.word());
        let source = source(link, media_id, &at)?;
        Ok(Header::File(File { kind, source, caption: None, filename, voice: false }))
    }
}

impl From<ContactCardInput> for NewCard {
    fn from(card: ContactCardInput) -> Self {
        let ContactCardInput { formatted_name, first_name, last_name, phones, emails, organization } = card;
        let phone = |phone: ContactPhoneInput| {
            let ContactPhoneInput { phone, kind, wa_id } = phone;
            CardPhone { phone, kind, wa_id }
        };
        let phones = phones.into_iter().map(phone).collect();
        Self { formatted_name, first_name, last_name, phones, emails, organization }
    }
}

impl InteractiveInput {
    fn read(self) -> Outcome<Interactive> {
        Ok(match self {
            Self::Buttons(ReplyButtonsInput { header, body, footer, buttons }) => {
                let button = |ReplyButtonInput { id, title }| Button { id, title };
                let buttons = buttons.into_iter().map(button).collect();
                let header = header.map(InteractiveHeaderInput::read).transpose()?;
                Interactive { body, footer, choices: Choices::Buttons { header, buttons } }
            }
            Self::List(ChoiceListInput { header, body, footer, button, sections }) => {
                let row = |ListRowInput { id, title, description }| Row { id, title, description };
                let section = |ListSectionInput { title, rows }| Section {
                    title,
                    rows: rows.into_iter().map(row).collect(),
                };
                let sections = sections.into_iter().map(section).collect();
                Interactive { body, footer, choices: Choices::List { header, button, sections } }
            }
            Self::CtaUrl(CallToActionInput { header, body, footer, label, url }) => {
                Interactive { body, footer, choices: Choices::Link { header, label, url: url.0 } }
            }
        })
    }
}

/// A component as it goes over Meta's wire.
fn wire(place: usize, component: TemplateComponentInput) -> Outcome<Value> {
    let TemplateComponentInput { kind, sub_type, index, parameters } = component;
    let at = format!("content.template.components.{place}");
    let mut wire = Map::new();
    let word = match kind {
        TemplateComponentType::Header => "header",
        TemplateComponentType::Body => "body",
        TemplateComponentType::Button => "button",
    };
    wire.insert("type".to_owned(), word.into());
    if kind == TemplateComponentType::Button {
        let sub_type = match needed(sub_type, &at, "subType")? {
            TemplateButtonType::Url => "url",
            TemplateButtonType::QuickReply => "quick_reply",
            TemplateButtonType::CopyCode => "copy_code",
            TemplateButtonType::Flow => "flow",
        };
        let index = needed(index.filter(|index| (0..10).contains(index)), &at, "index")?;
        wire.insert("sub_type".to_owned(), sub_type.into());
        wire.insert("index".to_owned(), index.to_string().into());
    }
    let parameters: Outcome<Vec<Value>> = parameters
        .into_iter()
        .enumerate()
        .map(|(place, parameter)| parameter.wire(&format!("{at}.parameters.{place}")))
        .collect();
    wire.insert("parameters".to_owned(), Value::Array(parameters?));
    Ok(Value::Object(wire))
}

impl TemplateParameterInput {
    fn wire(self, at: &str) -> Outcome<Value> {
        let Self {
            kind,
            parameter_name,
            text,
            payload,
            coupon_code,
            currency,
            amount1000,
            link,
            media_id,
            filename,
            latitude,
            longitude,
            name,
            address,
        } = self;
        let file = |kind: MediaKind| {
            let source = source(link, media_id, at)?;
            let filename = filename.filter(|_| kind == MediaKind::Document);
            let file = File { kind, source, caption: None, filename, voice: false };
            Ok::<Value, Failure>(file.part())
        };
        let mut wire = match kind {
            TemplateParameterType::Text => json!({ "type": "text", "text": needed(text, at, "text")? }),
            TemplateParameterType::Currency => json!({ "type": "currency", "currency": {
                "fallback_value": needed(text, at, "text")?,
                "code": needed(currency, at, "currency")?,
                "amount_1000": needed(amount1000, at, "amount1000")?,
            } }),
            TemplateParameterType::DateTime => {
                json!({ "type": "date_time", "date_time": { "fallback_value": needed(text, at, "text")? } })
            }
            TemplateParameterType::Image => file(MediaKind::Image)?,
            TemplateParameterType::Video => file(MediaKind::Video)?,
            TemplateParameterType::Document => file(MediaKind::Document)?,
            TemplateParameterType::Location => json!({ "type": "location", "location": {
                "latitude": needed(latitude, at, "latitude")?.to_string(),
                "longitude": needed(longitude, at, "longitude")?.to_string(),
                "name": name,
                "address": address,
            } }),
            TemplateParameterType::Payload => {
                json!({ "type": "payload", "payload": needed(payload, at, "payload")? })
            }
            TemplateParameterType::CouponCode => {
                json!({ "type": "coupon_code", "coupon_code": needed(coupon_code, at, "couponCode")? })
            }
        };
        if let (Some(name), Value::Object(wire)) = (parameter_name, &mut wire) {
            wire.insert("parameter_name".to_owned(), name.into());
        }
        Ok(wire)
    }
}

fn needed<T>(value: Option<T>, at: &str, field: &str) -> Outcome<T> {
    value.ok_or_else(|| {
        let message = format!("A parameter or button of this type needs {field}.");
        Refusal::new(RefusalCode::Invalid, &format!("{at}.{field}"), message).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: Option<&str>, text: Option<&str>) -> TemplateParameterInput {
        TemplateParameterInput {
            kind: TemplateParameterType::Text,
            parameter_name: name.map(str::to_owned),
            text: text.map(str::to_owned),
            payload: None,
            coupon_code: None,
            currency: None,
            amount1000: None,
            link: None,
            media_id: None,
            filename: None,
            latitude: None,
            longitude: None,
            name: None,
            address: None,
        }
    }

    #[test]
    fn components_become_the_wires_own() {
        let body = TemplateComponentInput {
            kind: TemplateComponentType::Body,
            sub_type: None,
            index: None,
            parameters: vec![text(Some("first_name"), Some("Ada"))],
        };
        assert_eq!(
            wire(0, body).unwrap(),
            json!({ "type": "body", "parameters": [ { "type": "text", "parameter_name": "first_name", "text": "Ada" } ] })
        );
        let button = TemplateComponentInput {
            kind: TemplateComponentType::Button,
            sub_type: Some(TemplateButtonType::Url),
            index: Some(0),
            parameters: vec![text(None, Some("abc"))],
        };
        assert_eq!(
            wire(1, button).unwrap(),
            json!({ "type": "button", "sub_type": "url", "index": "0", "parameters": [ { "type": "text", "text": "abc" } ] })
        );
    }

    #[test]
    fn what_is_missing_is_named_with_its_path() {
        let body = TemplateComponentInput {
            kind: TemplateComponentType::Body,
            sub_type: None,
            index: None,
            parameters: vec![text(None, None)],
        };
        let Err(Failure::Refused(refusal)) = wire(2, body) else { panic!("it is refused") };
        assert_eq!(refusal.code, RefusalCode::Invalid);
        assert_eq!(refusal.field.join("."), "content.template.components.2.parameters.0.text");
    }
}
