//! What can be sent: its limits, its form on Meta's wire, and how the message keeps it.

use entity::{MediaId, MessageId};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::ids::PublicId;
use crate::messages::content::{Card, Content, Media, MediaKind};
use crate::messages::uploads;

/// Longest text, characters.
const LONGEST_TEXT: usize = 4096;
/// Longest words beside a file, characters.
const LONGEST_CAPTION: usize = 1024;
/// Longest address of a file or a button, characters. Meta says so of buttons only; nobody needs more.
const LONGEST_LINK: usize = 2000;
/// Longest name of a document, and of anything on a business card, characters. Ours: Meta names no limit.
const LONGEST_NAME: usize = 256;
/// Longest name and address of a place, characters. Ours: Meta names no limit.
const LONGEST_PLACE: usize = 1000;
/// Most business cards in one message.
const MOST_CARDS: usize = 257;
/// Most numbers, and most mail addresses, on one card. Ours: Meta names no limit.
const MOST_ON_CARD: usize = 20;
/// Longest name of a template.
const LONGEST_TEMPLATE_NAME: usize = 512;
/// Largest components of a template, bytes of JSON.
const LARGEST_COMPONENTS: usize = 64 << 10;
/// Longest emoji, bytes: a family with skin tones has 41.
const LONGEST_EMOJI: usize = 64;

/// Meta's limits of interactive messages, characters and counts.
mod interactive {
    pub(super) const HEADER: usize = 60;
    pub(super) const BODY: usize = 1024;
    pub(super) const LIST_BODY: usize = 4096;
    pub(super) const FOOTER: usize = 60;
    pub(super) const MOST_BUTTONS: usize = 3;
    pub(super) const BUTTON_TITLE: usize = 20;
    pub(super) const BUTTON_ID: usize = 256;
    pub(super) const MOST_SECTIONS: usize = 10;
    pub(super) const MOST_ROWS: usize = 10;
    pub(super) const ROW_TITLE: usize = 24;
    pub(super) const ROW_DESCRIPTION: usize = 72;
    pub(super) const ROW_ID: usize = 200;
}

/// What to send.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// Words, at most 4096 characters.
    Text {
        /// The words.
        body: String,
        /// Show a preview of the first link.
        preview_url: bool,
    },
    /// A file that WhatsApp fetches.
    File(File),
    /// A place.
    Location(Place),
    /// Business cards, 1 to 257.
    Contacts(Vec<NewCard>),
    /// Words with choices.
    Interactive(Interactive),
    /// An approved template.
    Template {
        /// Its name.
        name: String,
        /// Its language code, such as `de` or `en_US`.
        language: String,
        /// Components as on Meta's wire, a JSON array.
        components: Option<Value>,
    },
    /// What was sent before, in its form of then.
    Again {
        /// Meta's word for it.
        kind: &'static str,
        /// The object under that word.
        wire: Value,
        /// What the message keeps.
        content: Content,
    },
    /// A reaction to a message; without emoji it is taken away.
    Reaction {
        /// The message.
        message: MessageId,
        /// One emoji.
        emoji: Option<String>,
    },
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What kind of file.
    pub kind: MediaKind,
    /// Where its bytes are.
    pub source: Source,
    /// Words beside it, at most 1024 characters: images, videos, documents.
    pub caption: Option<String>,
    /// Documents: the name that is shown, at most 256 characters.
    pub filename: Option<String>,
    /// Audio: shown as a voice note.
    pub voice: bool,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// WhatsApp fetches them from this address; at most 2000 characters.
    Link(String),
    /// They were uploaded here.
    Uploaded(MediaId),
}

/// An upload that a message sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The file.
    pub id: MediaId,
    /// As what it is sent.
    pub kind: MediaKind,
    /// As a voice note.
    pub voice: bool,
    /// The path of the input that names it.
    pub at: String,
}

/// A place.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// What it is called, at most 1000 characters.
    pub name: Option<String>,
    /// Its address, at most 1000 characters.
    pub address: Option<String>,
}

/// A business card to send. Texts have at most 256 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewCard {
    /// The whole name.
    pub formatted_name: String,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// Numbers, at most 20.
    pub phones: Vec<CardPhone>,
    /// Mail addresses, at most 20.
    pub emails: Vec<String>,
    /// The company.
    pub organization: Option<String>,
}

/// A number on a business card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardPhone {
    /// As it is shown.
    pub phone: String,
    /// `CELL`, `WORK` or another word.
    pub kind: Option<String>,
    /// The number in WhatsApp, digits only: then one can write to it from the card.
    pub wa_id: Option<String>,
}

/// Words with choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interactive {
    /// The words: at most 1024 characters, 4096 above a list.
    pub body: String,
    /// Small words below, at most 60 characters.
    pub footer: Option<String>,
    /// What there is to choose from.
    pub choices: Choices,
}

/// What the customer can choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choices {
    /// One to three buttons that answer.
    Buttons {
        /// Above the words.
        header: Option<Header>,
        /// The buttons.
        buttons: Vec<Button>,
    },
    /// A list that opens.
    List {
        /// Above the words, at most 60 characters.
        header: Option<String>,
        /// What opens the list, at most 20 characters.
        button: String,
        /// One to ten sections, with ten rows together.
        sections: Vec<Section>,
    },
    /// A button that opens an address.
    Link {
        /// Above the words, at most 60 characters.
        header: Option<String>,
        /// What stands on the button, at most 20 characters.
        label: String,
        /// The address.
        url: String,
    },
}

/// What stands above the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// Words, at most 60 characters.
    Text(String),
    /// An image, a video or a document.
    File(File),
}

/// A button that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    /// Comes back with the answer; at most 256 characters.
    pub id: String,
    /// What the customer sees, at most 20 characters.
    pub title: String,
}

/// A section of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Above its rows, at most 24 characters; needed when there are several sections.
    pub title: Option<String>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// A row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Comes back with the answer; at most 200 characters.
    pub id: String,
    /// What the customer sees, at most 24 characters.
    pub title: String,
    /// The second line, at most 72 characters.
    pub description: Option<String>,
}

impl Outgoing {
    /// Whether it needs an open window: everything but templates does.
    pub fn needs_window(&self) -> bool {
        !matches!(self, Outgoing::Template { .. })
    }

    /// The name of the template that it is.
    pub fn template(&self) -> Option<&str> {
        match self {
            Outgoing::Template { name, .. } => Some(name),
            _ => None,
        }
    }

    /// What a message of ours said, to be sent again; none where that is not known any more.
    pub fn again(content: Content) -> Option<Self> {
        let same = match &content {
            Content::Text { body, preview_url } => {
                Outgoing::Text { body: body.clone(), preview_url: *preview_url }
            }
            Content::Media(media) => Outgoing::File(File {
                kind: media.media,
                source: match (&media.link, media.file) {
                    (Some(link), _) => Source::Link(link.clone()),
                    (None, Some(file)) => Source::Uploaded(file),
                    (None, None) => return None,
                },
                caption: media.caption.clone(),
                filename: media.filename.clone(),
                voice: media.voice,
            }),
            Content::Location { latitude, longitude, name, address, url: _ } => Outgoing::Location(Place {
                latitude: *latitude,
                longitude: *longitude,
                name: name.clone(),
                address: address.clone(),
            }),
            Content::Template { name, language, components, text: _ } => Outgoing::Template {
                name: name.clone(),
                language: language.clone(),
                components: Some(components.clone()),
            },
            Content::Contacts { data, .. } => {
                Outgoing::Again { kind: "contacts", wire: data.clone()?, content }
            }
            Content::Interactive { data, .. } => {
                Outgoing::Again { kind: "interactive", wire: data.clone(), content }
            }
            Content::MediaPlaceholder
            | Content::Reply { .. }
            | Content::Order { .. }
            | Content::Unsupported { .. }
            | Content::Deleted => return None,
        };
        Some(same)
    }

    /// The upload that it sends, if it sends one.
    pub fn upload(&self) -> Option<Upload> {
        match self {
            Outgoing::File(file) => file.upload(&format!("content.{}", file.kind.word())),
            Outgoing::Interactive(interactive) => {
                let file = interactive.file()?;
                file.upload(&format!("content.interactive.buttons.header.{}", file.kind.word()))
            }
            Outgoing::Template { components, .. } => {
                each_parameter(components.as_ref()?).find_map(|(at, parameter)| of_part(parameter, &at))
            }
            Outgoing::Again { wire, .. } => of_part(wire.get("header")?, "content"),
            Outgoing::Text { .. }
            | Outgoing::Location(_)
            | Outgoing::Contacts(_)
            | Outgoing::Reaction { .. } => None,
        }
    }

    /// Gives an upload that is sent as a document the name under which it came, unless it has one.
    pub fn name_document(&mut self, name: &str) {
        match self {
            Outgoing::File(file) => file.name_document(name),
            Outgoing::Interactive(interactive) => {
                if let Some(file) = interactive.file_mut() {
                    file.name_document(name);
                }
            }
            Outgoing::Template { components: Some(components), .. } => {
                let parts = components.as_array_mut().into_iter().flatten();
                let parameters = parts.filter_map(|part| part["parameters"].as_array_mut()).flatten();
                for part in parameters {
                    if let Some((kind @ MediaKind::Document, _)) = uploads::of_part(part)
                        && part[kind.word()].get("filename").is_none()
                    {
                        part[kind.word()]["filename"] = json!(name);
                    }
                }
            }
            _ => {}
        }
    }

    /// Checks all that WhatsApp would refuse.
    ///
    /// # Errors
    /// INVALID, with the path of the input field and the limit.
    pub fn check(&self) -> Outcome<()> {
        match self {
            Outgoing::Text { body, .. } => words("content.text.body", body, LONGEST_TEXT),
            Outgoing::File(file) => file.check(&format!("content.{}", file.kind.word())),
            Outgoing::Location(place) => place.check("content.location"),
            Outgoing::Contacts(cards) => {
                count("content.contacts.cards", cards.len(), MOST_CARDS, "cards")?;
                each("content.contacts.cards", cards, |at, card| card.check(at))
            }
            Outgoing::Interactive(interactive) => interactive.check("content.interactive"),
            Outgoing::Template { name, language, components } => {
                check_template(name, language, components.as_ref())
            }
            // It was checked then.
            Outgoing::Again { .. } => Ok(()),
            Outgoing::Reaction { emoji, .. } => match emoji {
                Some(emoji) if !is_emoji(emoji) => invalid(
                    "content.reaction.emoji",
                    "It needs one emoji, or null to take the reaction away.",
                ),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// Meta's word for it, and the object under that word. `target`: the WhatsApp id of the message reacted to.
    pub fn wire(&self, target: Option<&str>) -> (&'static str, Value) {
        match self {
            Outgoing::Text { body, preview_url } => {
                ("text", json!({ "body": body, "preview_url": preview_url }))
            }
            Outgoing::File(file) => (file.kind.word(), file.wire()),
            Outgoing::Location(place) => ("location", place.wire()),
            Outgoing::Contacts(cards) => ("contacts", cards.iter().map(NewCard::wire).collect()),
            Outgoing::Interactive(interactive) => ("interactive", interactive.wire()),
            Outgoing::Template { name, language, components } => {
                let mut template = json!({ "name": name, "language": { "code": language } });
                if let Some(components) = components {
                    template["components"] = components.clone();
                }
                ("template", template)
            }
            Outgoing::Again { kind, wire, .. } => (kind, wire.clone()),
            Outgoing::Reaction { emoji, .. } => {
                let emoji = emoji.as_deref().unwrap_or_default();
                ("reaction", json!({ "message_id": target, "emoji": emoji }))
            }
        }
    }

    /// What the message keeps; none of a reaction, which is no message.
    pub fn content(&self) -> Option<Content> {
        Some(match self {
            Outgoing::Text { body, preview_url } => {
                Content::Text { body: body.clone(), preview_url: *preview_url }
            }
            Outgoing::File(file) => Content::Media(Media {
                media: file.kind,
                link: file.link().map(str::to_owned),
                file: file.uploaded(),
                caption: file.caption.clone(),
                filename: file.filename.clone(),
                voice: file.voice,
                ..Media::default()
            }),
            Outgoing::Location(Place { latitude, longitude, name, address }) => Content::Location {
                latitude: *latitude,
                longitude: *longitude,
                name: name.clone(),
                address: address.clone(),
                url: None,
            },
            Outgoing::Contacts(cards) => Content::Contacts {
                cards: cards.iter().map(NewCard::kept).collect(),
                data: Some(cards.iter().map(NewCard::wire).collect()),
            },
            Outgoing::Interactive(interactive) => {
                Content::Interactive { body: Some(interactive.body.clone()), data: interactive.wire() }
            }
            Outgoing::Template { name, language, components } => Content::Template {
                name: name.clone(),
                language: language.clone(),
                components: components.clone().unwrap_or_else(|| json!([])),
                // Known to whoever knows the template.
                text: None,
            },
            Outgoing::Again { content, .. } => content.clone(),
            Outgoing::Reaction { .. } => return None,
        })
    }
}

impl File {
    fn link(&self) -> Option<&str> {
        match &self.source {
            Source::Link(link) => Some(link),
            Source::Uploaded(_) => None,
        }
    }

    fn uploaded(&self) -> Option<MediaId> {
        match &self.source {
            Source::Link(_) => None,
            Source::Uploaded(id) => Some(*id),
        }
    }

    fn upload(&self, at: &str) -> Option<Upload> {
        Some(Upload { id: self.uploaded()?, kind: self.kind, voice: self.voice, at: at.to_owned() })
    }

    fn name_document(&mut self, name: &str) {
        if self.kind == MediaKind::Document && self.uploaded().is_some() {
            self.filename.get_or_insert_with(|| name.to_owned());
        }
    }

    fn check(&self, at: &str) -> Outcome<()> {
        let Self { kind, source, caption, filename, voice } = self;
        if let Source::Link(link) = source {
            self::link(&format!("{at}.link"), link)?;
        }
        let has_caption = matches!(kind, MediaKind::Image | MediaKind::Video | MediaKind::Document);
        if caption.is_some() && !has_caption {
            return invalid(
                &format!("{at}.caption"),
                "Only images, videos and documents have words beside them.",
            );
        }
        maybe_words(&format!("{at}.caption"), caption.as_deref(), LONGEST_CAPTION)?;
        if filename.is_some() && *kind != MediaKind::Document {
            return invalid(&format!("{at}.filename"), "Only documents have a name.");
        }
        maybe_words(&format!("{at}.filename"), filename.as_deref(), LONGEST_NAME)?;
        if *voice && *kind != MediaKind::Audio {
            return invalid(&format!("{at}.voice"), "Only audio can be a voice note.");
        }
        Ok(())
    }

    /// A part of something else on Meta's wire: what stands above the words, or a parameter of a template.
    pub fn part(&self) -> Value {
        let kind = self.kind.word();
        json!({ "type": kind, kind: self.wire() })
    }

    fn wire(&self) -> Value {
        let mut wire = Map::new();
        match &self.source {
            Source::Link(link) => wire.insert("link".to_owned(), json!(link)),
            // WhatsApp's own id takes its place when the message leaves: `uploads`.
            Source::Uploaded(id) => wire.insert("id".to_owned(), json!(id.public())),
        };
        put(&mut wire, "caption", self.caption.as_ref());
        put(&mut wire, "filename", self.filename.as_ref());
        if self.voice {
            wire.insert("voice".to_owned(), json!(true));
        }
        Value::Object(wire)
    }
}

impl Place {
    fn check(&self, at: &str) -> Outcome<()> {
        if !(-90.0..=90.0).contains(&self.latitude) {
            return invalid(&format!("{at}.latitude"), "It needs degrees from -90 to 90.");
        }
        if !(-180.0..=180.0).contains(&self.longitude) {
            return invalid(&format!("{at}.longitude"), "It needs degrees from -180 to 180.");
        }
        maybe_words(&format!("{at}.name"), self.name.as_deref(), LONGEST_PLACE)?;
        maybe_words(&format!("{at}.address"), self.address.as_deref(), LONGEST_PLACE)
    }

    fn wire(&self) -> Value {
        let mut wire = Map::new();
        wire.insert("latitude".to_owned(), json!(self.latitude));
        wire.insert("longitude".to_owned(), json!(self.longitude));
        put(&mut wire, "name", self.name.as_ref());
        put(&mut wire, "address", self.address.as_ref());
        Value::Object(wire)
    }
}

impl NewCard {
    fn check(&self, at: &str) -> Outcome<()> {
        let Self { formatted_name, first_name, last_name, phones, emails, organization } = self;
        words(&format!("{at}.formattedName"), formatted_name, LONGEST_NAME)?;
        maybe_words(&format!("{at}.firstName"), first_name.as_deref(), LONGEST_NAME)?;
        maybe_words(&format!("{at}.lastName"), last_name.as_deref(), LONGEST_NAME)?;
        maybe_words(&format!("{at}.organization"), organization.as_deref(), LONGEST_NAME)?;
        let phones_at = format!("{at}.phones");
        at_most(&phones_at, phones.len(), MOST_ON_CARD, "numbers")?;
        each(&phones_at, phones, |at, CardPhone { phone, kind, wa_id }| {
            words(&format!("{at}.phone"), phone, LONGEST_NAME)?;
            maybe_words(&format!("{at}.type"), kind.as_deref(), LONGEST_NAME)?;
            let digits =
                |id: &String| (7..=15).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
            match wa_id {
                Some(id) if !digits(id) => invalid(
                    &format!("{at}.waId"),
                    "It needs the number with its country code, 7 to 15 digits and nothing else.",
                ),
                Some(_) | None => Ok(()),
            }
        })?;
        let emails_at = format!("{at}.emails");
        at_most(&emails_at, emails.len(), MOST_ON_CARD, "addresses")?;
        each(&emails_at, emails, |at, email| words(at, email, LONGEST_NAME))
    }

    fn wire(&self) -> Value {
        let mut name = Map::new();
        name.insert("formatted_name".to_owned(), json!(self.formatted_name));
        put(&mut name, "first_name", self.first_name.as_ref());
        put(&mut name, "last_name", self.last_name.as_ref());
        // WhatsApp wants one part of the name beside the whole.
        name.entry(if self.last_name.is_some() { "last_name" } else { "first_name" })
            .or_insert_with(|| json!(self.formatted_name));
        let mut wire = Map::new();
        wire.insert("name".to_owned(), Value::Object(name));
        let phones: Vec<Value> = self
            .phones
            .iter()
            .map(|phone| {
                let mut wire = Map::new();
                wire.insert("phone".to_owned(), json!(phone.phone));
                put(&mut wire, "type", phone.kind.as_ref());
                put(&mut wire, "wa_id", phone.wa_id.as_ref());
                Value::Object(wire)
            })
            .collect();
        if !phones.is_empty() {
            wire.insert("phones".to_owned(), Value::Array(phones));
        }
        let emails: Vec<Value> = self.emails.iter().map(|email| json!({ "email": email })).collect();
        if !emails.is_empty() {
            wire.insert("emails".to_owned(), Value::Array(emails));
        }
        if let Some(company) = &self.organization {
            wire.insert("org".to_owned(), json!({ "company": company }));
        }
        Value::Object(wire)
    }

    fn kept(&self) -> Card {
        Card {
            formatted_name: self.formatted_name.clone(),
            phones: self.phones.iter().map(|phone| phone.phone.clone()).collect(),
            emails: self.emails.clone(),
            organization: self.organization.clone(),
        }
    }
}

impl Interactive {
    /// The file above the words.
    fn file(&self) -> Option<&File> {
        match &self.choices {
            Choices::Buttons { header: Some(Header::File(file)), .. } => Some(file),
            Choices::Buttons { .. } | Choices::List { .. } | Choices::Link { .. } => None,
        }
    }

    fn file_mut(&mut self) -> Option<&mut File> {
        match &mut self.choices {
            Choices::Buttons { header: Some(Header::File(file)), .. } => Some(file),
            Choices::Buttons { .. } | Choices::List { .. } | Choices::Link { .. } => None,
        }
    }

    fn check(&self, at: &str) -> Outcome<()> {
        let (at, longest_body) = match &self.choices {
            Choices::Buttons { .. } => (format!("{at}.buttons"), interactive::BODY),
            Choices::List { .. } => (format!("{at}.list"), interactive::LIST_BODY),
            Choices::Link { .. } => (format!("{at}.ctaUrl"), interactive::BODY),
        };
        words(&format!("{at}.body"), &self.body, longest_body)?;
        maybe_words(&format!("{at}.footer"), self.footer.as_deref(), interactive::FOOTER)?;
        match &self.choices {
            Choices::Buttons { header, buttons } => {
                match header {
                    Some(Header::Text(text)) => {
                        words(&format!("{at}.header.text"), text, interactive::HEADER)?;
                    }
                    Some(Header::File(file)) => {
                        file.check(&format!("{at}.header.{}", file.kind.word()))?;
                    }
                    None => {}
                }
                let buttons_at = format!("{at}.buttons");
                count(&buttons_at, buttons.len(), interactive::MOST_BUTTONS, "buttons")?;
                each(&buttons_at, buttons, |at, button| {
                    words(&format!("{at}.id"), &button.id, interactive::BUTTON_ID)?;
                    words(&format!("{at}.title"), &button.title, interactive::BUTTON_TITLE)
                })?;
                distinct(
                    buttons
                        .iter()
                        .enumerate()
                        .map(|(place, button)| (format!("{buttons_at}.{place}.id"), button.id.as_str())),
                )
            }
            Choices::List { header, button, sections } => {
                maybe_words(&format!("{at}.header"), header.as_deref(), interactive::HEADER)?;
                words(&format!("{at}.button"), button, interactive::BUTTON_TITLE)?;
                check_sections(&format!("{at}.sections"), sections)
            }
            Choices::Link { header, label, url } => {
                maybe_words(&format!("{at}.header"), header.as_deref(), interactive::HEADER)?;
                words(&format!("{at}.label"), label, interactive::BUTTON_TITLE)?;
                link(&format!("{at}.url"), url)
            }
        }
    }

    fn wire(&self) -> Value {
        let text_header =
            |header: &Option<String>| header.as_ref().map(|text| json!({ "type": "text", "text": text }));
        let (kind, header, action) = match &self.choices {
            Choices::Buttons { header, buttons } => {
                let header = header.as_ref().map(|header| match header {
                    Header::Text(text) => json!({ "type": "text", "text": text }),
                    Header::File(file) => file.part(),
                });
                let buttons: Vec<Value> = buttons
                    .iter()
                    .map(|Button { id, title }| {
                        json!({ "type": "reply", "reply": { "id": id, "title": title } })
                    })
                    .collect();
                ("button", header, json!({ "buttons": buttons }))
            }
            Choices::List { header, button, sections } => {
                let sections: Vec<Value> = sections.iter().map(Section::wire).collect();
                ("list", text_header(header), json!({ "button": button, "sections": sections }))
            }
            Choices::Link { header, label, url } => {
                let parameters = json!({ "display_text": label, "url": url });
                let action = json!({ "name": "cta_url", "parameters": parameters });
                ("cta_url", text_header(header), action)
            }
        };
        let mut wire = json!({ "type": kind, "body": { "text": self.body }, "action": action });
        if let Some(header) = header {
            wire["header"] = header;
        }
        if let Some(footer) = &self.footer {
            wire["footer"] = json!({ "text": footer });
        }
        wire
    }
}

impl Section {
    fn wire(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let mut wire = Map::new();
                wire.insert("id".to_owned(), json!(row.id));
                wire.insert("title".to_owned(), json!(row.title));
                put(&mut wire, "description", row.description.as_ref());
                Value::Object(wire)
            })
            .collect();
        let mut wire = Map::new();
        put(&mut wire, "title", self.title.as_ref());
        wire.insert("rows".to_owned(), Value::Array(rows));
        Value::Object(wire)
    }
}

fn of_part(part: &Value, at: &str) -> Option<Upload> {
    let (kind, id) = uploads::of_part(part)?;
    Some(Upload { id, kind, voice: false, at: at.to_owned() })
}

/// What is filled into a template, each with the path of its input.
fn each_parameter(components: &Value) -> impl Iterator<Item = (String, &Value)> {
    let components = components.as_array().into_iter().flatten().enumerate();
    components.flat_map(|(component, of)| {
        let parameters = of["parameters"].as_array().into_iter().flatten().enumerate();
        parameters.map(move |(parameter, of)| {
            (format!("content.template.components.{component}.parameters.{parameter}"), of)
        })
    })
}

fn check_sections(at: &str, sections: &[Section]) -> Outcome<()> {
    count(at, sections.len(), interactive::MOST_SECTIONS, "sections")?;
    let mut rows = 0;
    each(at, sections, |at, section| {
        if section.title.is_none() && sections.len() > 1 {
            return invalid(&format!("{at}.title"), "Each of several sections needs a title.");
        }
        maybe_words(&format!("{at}.title"), section.title.as_deref(), interactive::ROW_TITLE)?;
        let rows_at = format!("{at}.rows");
        if section.rows.is_empty() {
            return invalid(&rows_at, "A section needs one row at least.");
        }
        rows += section.rows.len();
        if rows > interactive::MOST_ROWS {
            return invalid(&rows_at, "All sections together have at most 10 rows.");
        }
        each(&rows_at, &section.rows, |at, row| {
            words(&format!("{at}.id"), &row.id, interactive::ROW_ID)?;
            words(&format!("{at}.title"), &row.title, interactive::ROW_TITLE)?;
            let description = row.description.as_deref();
            maybe_words(&format!("{at}.description"), description, interactive::ROW_DESCRIPTION)
        })
    })?;
    distinct(sections.iter().enumerate().flat_map(|(section, of)| {
        let rows = of.rows.iter().enumerate();
        rows.map(move |(row, of)| (format!("{at}.{section}.rows.{row}.id"), of.id.as_str()))
    }))
}

fn check_template(name: &str, language: &str, components: Option<&Value>) -> Outcome<()> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || name.len() > LONGEST_TEMPLATE_NAME || !name.bytes().all(allowed) {
        let text = "It needs 1 to 512 lower-case letters, digits and underscores.";
        return invalid("content.template.name", text);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if language.is_empty() || language.len() > 20 || !language.bytes().all(allowed) {
        return invalid("content.template.language", "It needs a language code such as de or en_US.");
    }
    if let Some(components) = components {
        if !components.is_array() {
            return invalid("content.template.components", "It needs a list of components.");
        }
        let text = components.to_string();
        if text.len() > LARGEST_COMPONENTS {
            return invalid("content.template.components", "They have more than 64 KB.");
        }
        if text.contains("\\u0000") {
            return invalid("content.template.components", "They contain a NUL character.");
        }
    }
    Ok(())
}

/// Near enough: no letters, blanks or controls, not only ASCII, and short. What WhatsApp takes, it knows.
fn is_emoji(text: &str) -> bool {
    // Emoji that are letters to Unicode: ℹ, Ⓜ, 🅰 and their like.
    let letter = |c: char| c.is_alphabetic() && !matches!(c, 'ℹ' | 'Ⓜ' | '🅰'..='🆉');
    let plausible = |c: char| {
        !c.is_control()
            && !c.is_whitespace()
            && !letter(c)
            && (!c.is_ascii() || matches!(c, '0'..='9' | '#' | '*'))
    };
    !text.is_empty() && text.len() <= LONGEST_EMOJI && text.chars().all(plausible) && !text.is_ascii()
}

fn invalid<T>(field: &str, text: impl Into<String>) -> Outcome<T> {
    Err(Failure::from(Refusal::new(RefusalCode::Invalid, field, text)))
}

/// Words that must be there.
fn words(field: &str, text: &str, most: usize) -> Outcome<()> {
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

/// Words that may be left out; empty ones WhatsApp refuses.
fn maybe_words(field: &str, text: Option<&str>, most: usize) -> Outcome<()> {
    match text {
        Some(text) if text.trim().is_empty() => invalid(field, "It is empty; leave it out."),
        Some(text) => words(field, text, most),
        None => Ok(()),
    }
}

/// An address, which the door has read as one.
fn link(field: &str, link: &str) -> Outcome<()> {
    words(field, link, LONGEST_LINK)
}

fn count(field: &str, count: usize, most: usize, what: &str) -> Outcome<()> {
    if count == 0 {
        return invalid(field, format!("It needs 1 to {most} {what}."));
    }
    at_most(field, count, most, what)
}

fn at_most(field: &str, count: usize, most: usize, what: &str) -> Outcome<()> {
    if count > most {
        return invalid(field, format!("It has more than {most} {what}."));
    }
    Ok(())
}

/// Checks each item, with its own path.
fn each<T>(at: &str, items: &[T], mut check: impl FnMut(&str, &T) -> Outcome<()>) -> Outcome<()> {
    items.iter().enumerate().try_for_each(|(place, item)| check(&format!("{at}.{place}"), item))
}

/// Ids come back with the choice, and so must tell the choices apart.
fn distinct<'a>(ids: impl Iterator<Item = (String, &'a str)>) -> Outcome<()> {
    let mut seen = std::collections::BTreeSet::new();
    for (field, id) in ids {
        if !seen.insert(id) {
            return invalid(&field, "Another choice of this message has the same id.");
        }
    }
    Ok(())
}

fn put(wire: &mut Map<String, Value>, key: &str, value: Option<&String>) {
    if let Some(value) = value {
        wire.insert(key.to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: MediaKind) -> File {
        File {
            kind,
            source: Source::Link("https://example.test/a".into()),
            caption: None,
            filename: None,
            voice: false,
        }
    }

    fn button(id: &str, title: &str) -> Button {
        Button { id: id.into(), title: title.into() }
    }

    fn row(id: &str) -> Row {
        Row { id: id.into(), title: "t".into(), description: None }
    }

    fn section(title: Option<&str>, rows: Vec<Row>) -> Section {
        Section { title: title.map(str::to_owned), rows }
    }

    fn interactive(choices: Choices) -> Outgoing {
        Outgoing::Interactive(Interactive { body: "b".into(), footer: None, choices })
    }

    fn buttons(buttons: Vec<Button>) -> Outgoing {
        interactive(Choices::Buttons { header: None, buttons })
    }

    fn list(sections: Vec<Section>) -> Outgoing {
        interactive(Choices::List { header: None, button: "Open".into(), sections })
    }

    fn cta(label: &str, url: &str) -> Outgoing {
        interactive(Choices::Link { header: None, label: label.into(), url: url.into() })
    }

    /// The field at fault.
    fn fault(outgoing: &Outgoing) -> Option<String> {
        match outgoing.check() {
            Ok(()) => None,
            Err(Failure::Refused(refusal)) => {
                assert_eq!(refusal.code, RefusalCode::Invalid);
                Some(refusal.field.join("."))
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_at_the_limit_is_taken() {
        let long = |length: usize| "ä".repeat(length);
        let card = NewCard { formatted_name: long(256), ..NewCard::default() };
        let header = Header::Text(long(60));
        let with_header = Interactive {
            body: long(1024),
            footer: Some(long(60)),
            choices: Choices::Buttons {
                header: Some(header),
                buttons: vec![button(&long(256), &long(20)), button("2", "2"), button("3", "3")],
            },
        };
        let described = Row { id: long(200), title: long(24), description: Some(long(72)) };
        let rows = |from: usize, to: usize| (from..to).map(|n| row(&n.to_string())).collect::<Vec<_>>();
        let long_list = Interactive {
            body: long(4096),
            footer: None,
            choices: Choices::List {
                header: Some(long(60)),
                button: long(20),
                sections: vec![section(None, vec![described])],
            },
        };
        for good in [
            Outgoing::File(File { caption: Some(long(1024)), ..file(MediaKind::Image) }),
            Outgoing::File(File { filename: Some(long(256)), ..file(MediaKind::Document) }),
            Outgoing::File(File { voice: true, ..file(MediaKind::Audio) }),
            Outgoing::File(file(MediaKind::Sticker)),
            Outgoing::Location(Place { latitude: -90.0, longitude: 180.0, name: None, address: None }),
            Outgoing::Contacts(vec![card; 257]),
            Outgoing::Interactive(with_header),
            Outgoing::Interactive(long_list),
            list(vec![section(Some("a"), rows(0, 9)), section(Some("b"), rows(9, 10))]),
            cta(&long(20), &format!("https://example.test/{}", "a".repeat(1979))),
        ] {
            assert_eq!(fault(&good), None, "{good:?}");
        }
    }

    #[test]
    fn what_is_beyond_a_limit_is_named_with_its_path() {
        let long = |length: usize| "ä".repeat(length);
        let place = |latitude: f64, longitude: f64| {
            Outgoing::Location(Place { latitude, longitude, name: None, address: None })
        };
        let card = |card: NewCard| Outgoing::Contacts(vec![NewCard::default(), card]);
        let named = |card: NewCard| {
            let first = NewCard { formatted_name: "a".into(), ..NewCard::default() };
            Outgoing::Contacts(vec![first, NewCard { formatted_name: "b".into(), ..card }])
        };
        let phone = |phone: &str, wa_id: &str| NewCard {
            phones: vec![CardPhone { phone: phone.into(), kind: None, wa_id: Some(wa_id.into()) }],
            ..NewCard::default()
        };
        let body = |body: String, choices: Choices| {
            Outgoing::Interactive(Interactive { body, footer: None, choices })
        };
        let one_button = || Choices::Buttons { header: None, buttons: vec![button("1", "1")] };
        let one_row = || Choices::List {
            header: None,
            button: "b".into(),
            sections: vec![section(None, vec![row("1")])],
        };
        let footer = Interactive { body: "b".into(), footer: Some(long(61)), choices: one_button() };
        let header =
            |header| interactive(Choices::Buttons { header: Some(header), buttons: vec![button("1", "1")] });
        let rows = |count: usize| (0..count).map(|n| row(&n.to_string())).collect::<Vec<_>>();
        for (bad, field) in [
            (Outgoing::Text { body: long(4097), preview_url: false }, "text.body"),
            (Outgoing::File(File { caption: Some(long(1025)), ..file(MediaKind::Video) }), "video.caption"),
            (Outgoing::File(File { caption: Some("a".into()), ..file(MediaKind::Audio) }), "audio.caption"),
            (
                Outgoing::File(File { caption: Some("a".into()), ..file(MediaKind::Sticker) }),
                "sticker.caption",
            ),
            (Outgoing::File(File { caption: Some(" ".into()), ..file(MediaKind::Image) }), "image.caption"),
            (Outgoing::File(File { filename: Some("a".into()), ..file(MediaKind::Image) }), "image.filename"),
            (
                Outgoing::File(File { filename: Some(long(257)), ..file(MediaKind::Document) }),
                "document.filename",
            ),
            (Outgoing::File(File { voice: true, ..file(MediaKind::Video) }), "video.voice"),
            (
                Outgoing::File(File { source: Source::Link(long(2001)), ..file(MediaKind::Image) }),
                "image.link",
            ),
            (place(90.1, 0.0), "location.latitude"),
            (place(f64::NAN, 0.0), "location.latitude"),
            (place(0.0, -180.1), "location.longitude"),
            (Outgoing::Contacts(Vec::new()), "contacts.cards"),
            (Outgoing::Contacts(vec![NewCard::default(); 258]), "contacts.cards"),
            (card(NewCard::default()), "contacts.cards.0.formattedName"),
            (
                named(NewCard { last_name: Some(long(257)), ..NewCard::default() }),
                "contacts.cards.1.lastName",
            ),
            (
                named(NewCard { emails: vec![String::new()], ..NewCard::default() }),
                "contacts.cards.1.emails.0",
            ),
            (
                named(NewCard { emails: vec!["a".into(); 21], ..NewCard::default() }),
                "contacts.cards.1.emails",
            ),
            (named(phone("", "4915771")), "contacts.cards.1.phones.0.phone"),
            (named(phone("1", "+4915771")), "contacts.cards.1.phones.0.waId"),
            (body(long(1025), one_button()), "interactive.buttons.body"),
            (body(String::new(), one_button()), "interactive.buttons.body"),
            (body(long(4097), one_row()), "interactive.list.body"),
            (Outgoing::Interactive(footer), "interactive.buttons.footer"),
            (header(Header::Text(long(61))), "interactive.buttons.header.text"),
            (
                header(Header::File(File { source: Source::Link(String::new()), ..file(MediaKind::Image) })),
                "interactive.buttons.header.image.link",
            ),
            (buttons(Vec::new()), "interactive.buttons.buttons"),
            (buttons(vec![button("1", "1"); 4]), "interactive.buttons.buttons"),
            (buttons(vec![button("1", "a"), button("1", "b")]), "interactive.buttons.buttons.1.id"),
            (buttons(vec![button(&long(257), "a")]), "interactive.buttons.buttons.0.id"),
            (buttons(vec![button("1", &long(21))]), "interactive.buttons.buttons.0.title"),
            (list(Vec::new()), "interactive.list.sections"),
            (list(vec![section(Some("a"), vec![row("1")]); 11]), "interactive.list.sections"),
            (list(vec![section(None, Vec::new())]), "interactive.list.sections.0.rows"),
            (list(vec![section(None, rows(11))]), "interactive.list.sections.0.rows"),
            (
                list(vec![section(Some("a"), vec![row("1")]), section(None, vec![row("2")])]),
                "interactive.list.sections.1.title",
            ),
            (
                list(vec![section(Some("a"), vec![row("1")]), section(Some("b"), vec![row("1")])]),
                "interactive.list.sections.1.rows.0.id",
            ),
            (list(vec![section(None, vec![row(&long(201))])]), "interactive.list.sections.0.rows.0.id"),
            (
                list(vec![section(None, vec![Row { title: long(25), ..row("1") }])]),
                "interactive.list.sections.0.rows.0.title",
            ),
            (
                list(vec![section(None, vec![Row { description: Some(long(73)), ..row("1") }])]),
                "interactive.list.sections.0.rows.0.description",
            ),
            (cta(&long(21), "https://example.test"), "interactive.ctaUrl.label"),
            (cta("a", &long(2001)), "interactive.ctaUrl.url"),
        ] {
            assert_eq!(fault(&bad).as_deref(), Some(format!("content.{field}").as_str()), "{bad:?}");
        }
    }

    #[test]
    fn each_kind_has_metas_form() {
        let card = NewCard {
            formatted_name: "Ada Lovelace".into(),
            phones: vec![CardPhone {
                phone: "+49 1577 1".into(),
                kind: Some("CELL".into()),
                wa_id: Some("4915771".into()),
            }],
            organization: Some("Engines".into()),
            ..NewCard::default()
        };
        let header = Header::File(File { filename: Some("a.pdf".into()), ..file(MediaKind::Document) });
        let asked = Interactive {
            body: "Now?".into(),
            footer: Some("small".into()),
            choices: Choices::Buttons { header: Some(header), buttons: vec![button("y", "Yes")] },
        };
        for (sent, kind, wire) in [
            (
                Outgoing::File(File { voice: true, ..file(MediaKind::Audio) }),
                "audio",
                json!({ "link": "https://example.test/a", "voice": true }),
            ),
            (
                Outgoing::Contacts(vec![card]),
                "contacts",
                json!([{ "name": { "formatted_name": "Ada Lovelace", "first_name": "Ada Lovelace" },
                    "phones": [{ "phone": "+49 1577 1", "type": "CELL", "wa_id": "4915771" }],
                    "org": { "company": "Engines" } }]),
            ),
            (
                Outgoing::Interactive(asked),
                "interactive",
                json!({ "type": "button",
                    "header": { "type": "document",
                        "document": { "link": "https://example.test/a", "filename": "a.pdf" } },
                    "body": { "text": "Now?" }, "footer": { "text": "small" },
                    "action": { "buttons": [{ "type": "reply", "reply": { "id": "y", "title": "Yes" } }] } }),
            ),
            (
                list(vec![section(Some("A"), vec![row("r1")])]),
                "interactive",
                json!({ "type": "list", "body": { "text": "b" }, "action": { "button": "Open",
                    "sections": [{ "title": "A", "rows": [{ "id": "r1", "title": "t" }] }] } }),
            ),
            (
                cta("Open", "https://example.test/x"),
                "interactive",
                json!({ "type": "cta_url", "body": { "text": "b" }, "action": { "name": "cta_url",
                    "parameters": { "display_text": "Open", "url": "https://example.test/x" } } }),
            ),
        ] {
            assert_eq!(sent.wire(None), (kind, wire));
        }
    }

    #[test]
    fn one_emoji_is_a_reaction() {
        for emoji in ["👍", "❤️", "ℹ️", "🅰️", "👩‍👩‍👧‍👦", "🇩🇪", "1️⃣", "👍🏽"]
        {
            assert!(is_emoji(emoji), "{emoji}");
        }
        for text in ["", "a", "1", "👍 ", "ok👍", "é", &"👍".repeat(17)] {
            assert!(!is_emoji(text), "{text}");
        }
    }
}
