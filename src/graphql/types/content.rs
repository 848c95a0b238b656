//! What messages say, as types.

use async_graphql::{Json, SimpleObject, Union};
use entity::{MediaId, media, message};
use serde::Deserialize;
use serde_json::Value;

use super::clamp;
use super::enums::{MediaKind, MediaState};
use crate::app::App;
use crate::graphql::scalars::{DateTime, Url};
use crate::media::links;
use crate::messages::content::{self, Card, Content, Media};
use crate::messages::uploads;

/// What a message says. Clients should expect types that they do not know, and show `Message.text` for them.
#[derive(Clone, Debug, Union)]
pub enum MessageContent {
    /// Words.
    Text(TextContent),
    /// A file.
    Media(MediaContent),
    /// A place.
    Location(LocationContent),
    /// Business cards.
    Contacts(ContactsContent),
    /// Something with choices, or a choice.
    Interactive(InteractiveContent),
    /// A template.
    Template(TemplateContent),
    /// A cart.
    Order(OrderContent),
    /// What is not handed over.
    Unsupported(UnsupportedContent),
    /// Deleted for everyone.
    Deleted(DeletedContent),
}

/// Words.
#[derive(Clone, Debug, SimpleObject)]
pub struct TextContent {
    /// The words, at most 4096 characters.
    body: String,
    /// Whether a preview of the first link was asked for (messages of this API).
    preview_url: bool,
}

/// An image, video, audio, document or sticker.
#[derive(Clone, Debug, SimpleObject)]
pub struct MediaContent {
    /// What kind of file. Null: WhatsApp did not tell (state PLACEHOLDER).
    kind: Option<MediaKind>,
    /// Whether there is a file to show.
    state: MediaState,
    /// Such as `image/jpeg`. Null: not told.
    mime_type: Option<String>,
    /// A document's name. Null: it has none.
    filename: Option<String>,
    /// The words beside it. Null: there are none.
    caption: Option<String>,
    /// Whether it is a recorded voice note.
    voice: bool,
    /// Whether it is an animated sticker.
    animated: bool,
    /// How large it is. Null: not known (yet), or it was sent by link.
    size_bytes: Option<i32>,
    /// Where the file can be fetched, without any other credential, until `urlExpiresAt`; of what was sent by link, the link.
    /// Whoever reads the message again gets a new one. Null: it cannot (yet).
    url: Option<Url>,
    /// Until when `url` works. Null: there is none, or it is the link that the file was sent by.
    url_expires_at: Option<DateTime>,
}

/// A place.
#[derive(Clone, Debug, SimpleObject)]
pub struct LocationContent {
    /// Degrees north.
    latitude: f64,
    /// Degrees east.
    longitude: f64,
    /// What the place is called. Null: not told.
    name: Option<String>,
    /// Its address. Null: not told.
    address: Option<String>,
    /// A link to it. Null: not told.
    url: Option<String>,
}

/// Business cards.
#[derive(Clone, Debug, SimpleObject)]
pub struct ContactsContent {
    /// The cards.
    cards: Vec<ContactCard>,
}

/// A business card.
#[derive(Clone, Debug, SimpleObject)]
pub struct ContactCard {
    /// The whole name.
    formatted_name: String,
    /// Numbers, as they are written on the card.
    phones: Vec<String>,
    /// Mail addresses.
    emails: Vec<String>,
    /// The company. Null: none.
    organization: Option<String>,
}

/// Buttons, a list or a link that the business sent, or what the customer chose.
#[derive(Clone, Debug, SimpleObject)]
pub struct InteractiveContent {
    /// WhatsApp's word for it: `button`, `list`, `cta_url`, `flow`; of a choice `button`, `button_reply`, `list_reply`,
    /// `nfm_reply`; or a newer word.
    #[graphql(name = "type")]
    kind: String,
    /// What stands above the words, if that is words. Null: nothing, or a file.
    header: Option<String>,
    /// The file that stands above the words. Null: there is none.
    header_file: Option<Box<MediaContent>>,
    /// The words above the choices. Null: there are none.
    body: Option<String>,
    /// The small words below. Null: there are none.
    footer: Option<String>,
    /// What stands on the button that opens a list. Null: this is not a list.
    button: Option<String>,
    /// The choices that the customer has: buttons, or the rows of a list. Empty for a choice itself.
    options: Vec<InteractiveOption>,
    /// The address behind the button of a `cta_url`. Null: there is none.
    url: Option<String>,
    /// What the customer chose. Null: this is not a choice.
    reply: Option<InteractiveReply>,
}

/// A button, or a row of a list.
#[derive(Clone, Debug, SimpleObject)]
pub struct InteractiveOption {
    /// Comes back with the choice. Null: it has none.
    id: Option<String>,
    /// What the customer sees.
    title: String,
    /// The second line of a list's row. Null: there is none.
    description: Option<String>,
}

/// What a customer chose.
#[derive(Clone, Debug, SimpleObject)]
pub struct InteractiveReply {
    /// The id of the choice, or the button's payload. Null: it has none.
    id: Option<String>,
    /// What the customer saw. Null: not told.
    title: Option<String>,
    /// The second line of a list's row. Null: there is none.
    description: Option<String>,
    /// The answers of a form, in the form's own shape. Null: it was no form.
    data: Option<Json<Value>>,
}

/// A template that was sent.
#[derive(Clone, Debug, SimpleObject)]
pub struct TemplateContent {
    /// Its name.
    name: String,
    /// Its language code, such as `de` or `en_US`.
    language: String,
    /// What was filled in, as it went over WhatsApp's wire: a list of components.
    components: Json<Value>,
}

/// A cart that a customer sent.
#[derive(Clone, Debug, SimpleObject)]
pub struct OrderContent {
    /// The customer's words beside it. Null: none.
    text: Option<String>,
    /// The catalog that the products are of. Null: not told.
    catalog_id: Option<String>,
    /// What is in it.
    items: Vec<OrderItem>,
}

/// A product in a cart.
#[derive(Clone, Debug, SimpleObject)]
pub struct OrderItem {
    /// The seller's id of the product. Null: not told.
    product_id: Option<String>,
    /// How many. Null: not told.
    quantity: Option<i32>,
    /// What one of them costs. Null: not told.
    price: Option<f64>,
    /// The currency of the price, such as `EUR`. Null: not told.
    currency: Option<String>,
}

/// What WhatsApp does not hand over to the API, or what is not known here: it is on the phone.
#[derive(Clone, Debug, SimpleObject)]
pub struct UnsupportedContent {
    /// WhatsApp's word for it. Null: it gave none.
    #[graphql(name = "type")]
    kind: Option<String>,
    /// WhatsApp's code, such as 131051 (type not supported) or 131060 (not available now). Null: it gave none.
    code: Option<i32>,
    /// WhatsApp's explanation. Null: it gave none.
    details: Option<String>,
}

/// Deleted for everyone: its words are gone.
#[derive(Clone, Debug, SimpleObject)]
pub struct DeletedContent {
    /// When. Null: not told.
    deleted_at: Option<DateTime>,
}

/// Where the file of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOf {
    /// It came with the message.
    Message,
    /// It was uploaded here.
    Upload(MediaId),
}

impl FileOf {
    /// Of a row, without reading all of it; none: it has no file, or only a link.
    pub fn read(row: &message::Model) -> Option<Self> {
        let text = |name: &str| row.content.get(name).and_then(Value::as_str);
        match text("kind") {
            Some("media") => {}
            Some("interactive") => {
                let (_, id) = uploads::of_part(row.content.pointer("/data/header")?)?;
                return Some(Self::Upload(id));
            }
            _ => return None,
        }
        let upload = text("file").and_then(|id| id.parse().ok()).map(|id| Self::Upload(MediaId(id)));
        upload.or(text("upstreamId").map(|_| Self::Message))
    }
}

impl MessageContent {
    /// What a row says. A content of a newer version of the service is told as unsupported.
    pub fn read(row: &message::Model) -> Self {
        let content = match Content::deserialize(&row.content) {
            Ok(content) => content,
            Err(error) => {
                let details = error.to_string();
                tracing::warn!(message.id = %row.id.0, error = details, "A content cannot be read");
                return Self::Unsupported(UnsupportedContent { kind: None, code: None, details: None });
            }
        };
        match content {
            Content::Text { body, preview_url } => Self::Text(TextContent { body, preview_url }),
            Content::Media(media) => Self::Media(media.into()),
            Content::MediaPlaceholder => Self::Media(MediaContent {
                kind: None,
                state: MediaState::Placeholder,
                mime_type: None,
                filename: None,
                caption: None,
                voice: false,
                animated: false,
                size_bytes: None,
                url: None,
                url_expires_at: None,
            }),
            Content::Location { latitude, longitude, name, address, url } => {
                Self::Location(LocationContent { latitude, longitude, name, address, url })
            }
            Content::Contacts { cards, data: _ } => {
                Self::Contacts(ContactsContent { cards: cards.into_iter().map(ContactCard::from).collect() })
            }
            Content::Reply { reply, id, title, description, data } => Self::Interactive(InteractiveContent {
                kind: reply,
                header: None,
                header_file: None,
                body: None,
                footer: None,
                button: None,
                options: Vec::new(),
                url: None,
                reply: Some(InteractiveReply { id, title, description, data: data.map(Json) }),
            }),
            Content::Interactive { body, data } => Self::Interactive(interactive(body, &data)),
            Content::Template { name, language, components, text: _ } => {
                Self::Template(TemplateContent { name, language, components: Json(components) })
            }
            Content::Order { text, data } => Self::Order(order(text, &data)),
            Content::Unsupported { wire_type, code, details, text: _ } => {
                Self::Unsupported(UnsupportedContent { kind: wire_type, code: code.map(clamp), details })
            }
            Content::Deleted => Self::Deleted(DeletedContent { deleted_at: row.deleted_at.map(DateTime) }),
        }
    }
}

impl From<Media> for MediaContent {
    fn from(media: Media) -> Self {
        let Media {
            media,
            upstream_id,
            file,
            link,
            mime_type,
            sha256: _,
            caption,
            filename,
            voice,
            animated,
        } = media;
        let state = match (&link, &upstream_id, &file) {
            (Some(_), ..) => MediaState::Ready,
            (None, Some(_), _) | (None, None, Some(_)) => MediaState::Pending,
            // Without an id there is nothing to fetch: it is described, and no more.
            (None, None, None) => MediaState::Placeholder,
        };
        Self {
            kind: Some(media.into()),
            state,
            mime_type,
            filename,
            caption,
            voice,
            animated,
            size_bytes: None,
            url: link.map(Url),
            url_expires_at: None,
        }
    }
}

impl MessageContent {
    /// With what is known of its file.
    pub fn with_file(self, app: &App, file: Option<&media::Model>) -> Self {
        match self {
            Self::Media(media) => Self::Media(media.with_file(app, file)),
            Self::Interactive(mut interactive) => {
                let above = interactive.header_file.take();
                interactive.header_file = above.map(|above| Box::new(above.with_file(app, file)));
                Self::Interactive(interactive)
            }
            other => other,
        }
    }
}

impl MediaContent {
    fn with_file(self, app: &App, file: Option<&media::Model>) -> Self {
        let Some(file) = file else { return self };
        let link = (file.state == entity::MediaState::Ready).then(|| links::of(app, file.id));
        Self {
            state: match file.state {
                entity::MediaState::Pending => MediaState::Pending,
                entity::MediaState::Ready => MediaState::Ready,
                entity::MediaState::Expired => MediaState::Expired,
                entity::MediaState::Failed => MediaState::Failed,
            },
            mime_type: self.mime_type.or_else(|| file.mime_type.clone()),
            size_bytes: (file.size_bytes > 0).then(|| clamp(file.size_bytes)),
            url_expires_at: link.as_ref().map(|link| link.expires_at.into()),
            url: link.map(|link| Url(link.url)),
            ..self
        }
    }
}

impl From<Card> for ContactCard {
    fn from(card: Card) -> Self {
        let Card { formatted_name, phones, emails, organization } = card;
        Self { formatted_name, phones, emails, organization }
    }
}

/// The text at a path of the wire's object.
fn text(value: &Value, path: &str) -> Option<String> {
    match value.pointer(path)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn interactive(body: Option<String>, data: &Value) -> InteractiveContent {
    let option = |value: &Value| {
        Some(InteractiveOption {
            id: text(value, "/id"),
            title: text(value, "/title")?,
            description: text(value, "/description"),
        })
    };
    let buttons = list(data, "/action/buttons").iter().filter_map(|button| option(button.get("reply")?));
    let rows =
        list(data, "/action/sections").iter().flat_map(|section| list(section, "/rows")).filter_map(option);
    let link = text(data, "/action/parameters/display_text");
    let link = link.map(|title| InteractiveOption { id: None, title, description: None });
    InteractiveContent {
        kind: text(data, "/type").unwrap_or_else(|| "unknown".to_owned()),
        header: text(data, "/header/text"),
        header_file: header_file(data).map(Box::new),
        body: body.or_else(|| text(data, "/body/text")),
        footer: text(data, "/footer/text"),
        button: text(data, "/action/button"),
        options: buttons.chain(rows).chain(link).collect(),
        url: text(data, "/action/parameters/url"),
        reply: None,
    }
}

/// The file above the words of an interactive message.
fn header_file(data: &Value) -> Option<MediaContent> {
    let kind = text(data, "/header/type")?;
    let media = match kind.as_str() {
        "image" => content::MediaKind::Image,
        "video" => content::MediaKind::Video,
        "document" => content::MediaKind::Document,
        _ => return None,
    };
    let of = |field: &str| text(data, &format!("/header/{kind}/{field}"));
    let (upstream_id, link, filename) = (of("id"), of("link"), of("filename"));
    Some(Media { media, upstream_id, link, filename, ..Media::default() }.into())
}

fn order(words: Option<String>, data: &Value) -> OrderContent {
    let item = |value: &Value| {
        let number = |path: &str| text(value, path).and_then(|text| text.parse::<f64>().ok());
        OrderItem {
            product_id: text(value, "/product_retailer_id"),
            quantity: text(value, "/quantity").and_then(|text| text.parse().ok()),
            price: number("/item_price"),
            currency: text(value, "/currency"),
        }
    };
    OrderContent {
        text: words,
        catalog_id: text(data, "/catalog_id"),
        items: list(data, "/product_items").iter().map(item).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn choices_are_read_from_the_wire() {
        let list = interactive(
            None,
            &json!({ "type": "list", "body": { "text": "Which?" }, "action": { "sections": [
                { "rows": [ { "id": "r1", "title": "One", "description": "first" } ] },
                { "rows": [ { "id": "r2", "title": "Two" } ] },
            ] } }),
        );
        assert_eq!(list.body.as_deref(), Some("Which?"));
        let titles: Vec<&str> = list.options.iter().map(|option| option.title.as_str()).collect();
        assert_eq!(titles, ["One", "Two"]);
        let buttons = interactive(
            Some("Now?".to_owned()),
            &json!({ "type": "button", "action": { "buttons": [
                { "type": "reply", "reply": { "id": "yes", "title": "Yes" } },
            ] } }),
        );
        assert_eq!(buttons.options[0].id.as_deref(), Some("yes"));
    }

    #[test]
    fn a_cart_is_read_from_the_wire() {
        let cart = order(
            None,
            &json!({ "catalog_id": "7", "product_items": [
                { "product_retailer_id": "tea", "quantity": "2", "item_price": 3.5, "currency": "EUR" },
            ] }),
        );
        assert_eq!(cart.items[0].quantity, Some(2));
        assert_eq!(cart.items[0].price, Some(3.5));
    }
}
