//! What a message says.

use serde_json::Value;

use super::node::{Map, Node, mend, object};
use super::{Reader, reported_error};
use crate::messages::content::{Card, Content, Media, MediaKind};
use crate::upstream::change::Author;

/// The types of content whose object names them, for a message that does not name its type.
const NAMED: [&str; 11] = [
    "text",
    "image",
    "video",
    "audio",
    "voice",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
    "button",
];

impl Reader {
    /// The content of a message. Never fails: what cannot be read is there as unsupported, so that its chat is.
    pub(super) fn content(&mut self, list: &str, map: &Map<'_>, author: Author) -> Content {
        let kind = kind_of(map);
        match known(&kind, map, author) {
            Known::Content(content) => content,
            Known::Incomplete => {
                self.unknown(&format!("{list}.{kind}"), map.get(&kind).map_or("missing", Node::shape));
                unsupported(Some(kind), map)
            }
            Known::No => {
                self.unknown(&format!("{list}.type"), &kind);
                unsupported((!kind.is_empty()).then_some(kind), map)
            }
        }
    }

    /// The new content of an edit; none if it does not say any.
    pub(super) fn edited(&mut self, list: &str, map: &Map<'_>) -> Option<Content> {
        let edit = map.map("edit")?;
        let message = edit.map("message").unwrap_or(edit);
        let kind = kind_of(message);
        // Who edits is no matter here: replies, which depend on it, cannot be edited.
        match known(&kind, message, Author::App) {
            Known::Content(content) => Some(content),
            Known::Incomplete | Known::No => {
                self.unknown(&format!("{list}.edit.type"), &kind);
                None
            }
        }
    }
}

/// What is known of a type.
enum Known {
    Content(Content),
    /// The type is known, but what belongs to it is missing or odd.
    Incomplete,
    /// The type is not known.
    No,
}

impl From<Option<Content>> for Known {
    fn from(content: Option<Content>) -> Self {
        content.map_or(Known::Incomplete, Known::Content)
    }
}

fn known(kind: &str, map: &Map<'_>, author: Author) -> Known {
    match kind {
        "text" => text(map).into(),
        "image" => media(map.map(kind), MediaKind::Image).into(),
        "video" => media(map.map(kind), MediaKind::Video).into(),
        "audio" => media(map.map(kind), MediaKind::Audio).into(),
        "document" => media(map.map(kind), MediaKind::Document).into(),
        "sticker" => media(map.map(kind), MediaKind::Sticker).into(),
        "voice" => media(map.map(kind), MediaKind::Audio)
            .map(|content| match content {
                Content::Media(media) => Content::Media(Media { voice: true, ..media }),
                other => other,
            })
            .into(),
        "media_placeholder" => Known::Content(Content::MediaPlaceholder),
        "location" => map.map(kind).and_then(location).into(),
        "contacts" => cards(map).into(),
        "button" => map.map(kind).map(button).into(),
        "interactive" => map.map(kind).map(|interactive| chosen_or_offered(interactive, author)).into(),
        "order" => map
            .map(kind)
            .map(|order| Content::Order { text: order.string("text"), data: order.to_value(&[]) })
            .into(),
        "template" => map.map(kind).and_then(template).into(),
        "unsupported" | "unknown" => {
            let inner = map.map("unsupported").and_then(|unsupported| unsupported.id("type"));
            Known::Content(unsupported(inner, map))
        }
        "request_welcome" => Known::Content(unsupported(Some(kind.to_owned()), map)),
        _ => Known::No,
    }
}

fn kind_of(map: &Map<'_>) -> String {
    let by_object = || NAMED.iter().find(|kind| map.has(kind)).map(|kind| (*kind).to_owned());
    map.id("type").or_else(by_object).unwrap_or_default()
}

fn unsupported(wire_type: Option<String>, map: &Map<'_>) -> Content {
    let error =
        map.list("errors").iter().find_map(|error| object(error).ok()).map(|error| reported_error(&error));
    Content::Unsupported {
        wire_type,
        code: error.as_ref().map(|error| error.code),
        details: error.and_then(|error| error.details),
        text: map.map("text").and_then(|text| text.string("body")),
    }
}

fn text(map: &Map<'_>) -> Option<Content> {
    let text = map.map("text")?;
    let body = text.string("body")?;
    Some(Content::Text { body, preview_url: text.flag("preview_url").unwrap_or(false) })
}

fn media(map: Option<&Map<'_>>, media: MediaKind) -> Option<Content> {
    let map = map?;
    Some(Content::Media(Media {
        media,
        file: None,
        upstream_id: map.id("id"),
        link: None,
        mime_type: map.id("mime_type"),
        sha256: map.id("sha256"),
        caption: map.string("caption"),
        filename: map.string("filename"),
        voice: map.flag("voice").unwrap_or(false),
        animated: map.flag("animated").unwrap_or(false),
    }))
}

fn location(map: &Map<'_>) -> Option<Content> {
    Some(Content::Location {
        latitude: map.float("latitude")?,
        longitude: map.float("longitude")?,
        name: map.string("name"),
        address: map.string("address"),
        url: map.string("url"),
    })
}

fn cards(map: &Map<'_>) -> Option<Content> {
    let cards: Vec<Card> = map.objects("contacts").map(|card| self::card(&card)).collect();
    (!cards.is_empty()).then_some(Content::Contacts { cards, data: None })
}

fn card(map: &Map<'_>) -> Card {
    let each = |list, key: &str, or: &str| {
        map.objects(list).filter_map(|entry| entry.string(key).or_else(|| entry.string(or))).collect()
    };
    let name = map.map("name").and_then(|name| {
        name.string("formatted_name").or_else(|| {
            let parts =
                ["first_name", "middle_name", "last_name"].map(|part| name.text(part).unwrap_or_default());
            let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).map(AsRef::as_ref).collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        })
    });
    Card {
        formatted_name: name.unwrap_or_default(),
        phones: each("phones", "phone", "wa_id"),
        emails: each("emails", "email", "email"),
        organization: map.map("org").and_then(|org| org.string("company")),
    }
}

/// The quick reply of a template.
fn button(map: &Map<'_>) -> Content {
    Content::Reply {
        reply: "button".to_owned(),
        id: map.string("payload"),
        title: map.string("text"),
        description: None,
        data: None,
    }
}

/// What a customer chose, or what the business offered to choose from.
fn chosen_or_offered(interactive: &Map<'_>, author: Author) -> Content {
    let kind = interactive.id("type").or_else(|| {
        let by_object = ["button_reply", "list_reply", "nfm_reply"].iter().find(|kind| interactive.has(kind));
        by_object.map(|kind| (*kind).to_owned())
    });
    let reply = kind.unwrap_or_default();
    if author == Author::App && !reply.ends_with("_reply") {
        return Content::Interactive {
            body: interactive.map("body").and_then(|body| body.string("text")),
            data: interactive.to_value(&[]),
        };
    }
    let choice = interactive.map(&reply);
    let told = |key| choice.and_then(|choice| choice.string(key));
    match reply.as_str() {
        "button_reply" | "list_reply" => Content::Reply {
            reply,
            id: told("id"),
            title: told("title"),
            description: told("description"),
            data: None,
        },
        "nfm_reply" => {
            let data = choice.and_then(|choice| choice.get("response_json")).map(answers);
            Content::Reply { reply, id: None, title: told("body"), description: None, data }
        }
        _ => Content::Reply {
            id: told("id"),
            title: told("title"),
            description: told("description"),
            data: Some(choice.unwrap_or(interactive).to_value(&[])),
            reply,
        },
    }
}

/// The answers of a form: JSON inside a text, of any shape, or not even JSON.
fn answers(node: &Node<'_>) -> Value {
    let Node::Text(json) = node else { return node.to_value() };
    serde_json::from_str(&mend(json)).unwrap_or_else(|_| Value::String(json.clone().into_owned()))
}

fn template(map: &Map<'_>) -> Option<Content> {
    let language =
        map.id("language").or_else(|| map.map("language").and_then(|language| language.id("code")));
    Some(Content::Template {
        name: map.id("name")?,
        language: language.unwrap_or_default(),
        components: map.value("components"),
        text: None,
    })
}
