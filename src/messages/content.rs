//! What a message says. Stored as JSON with the message; the doors show it as a union of types.

use entity::MediaId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The content of a message, tagged by `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Content {
    /// Words.
    Text {
        /// At most 4096 characters when sent by us.
        body: String,
        /// Whether a link preview was asked for.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        preview_url: bool,
    },
    /// An image, video, audio, document or sticker.
    Media(Media),
    /// A medium of the history that WhatsApp has not (yet) sent: kind and file are unknown.
    MediaPlaceholder,
    /// A place.
    Location {
        /// Degrees.
        latitude: f64,
        /// Degrees.
        longitude: f64,
        /// Name of the place.
        name: Option<String>,
        /// Its address.
        address: Option<String>,
        /// A link to it.
        url: Option<String>,
    },
    /// Business cards.
    Contacts {
        /// As WhatsApp describes them.
        cards: Vec<Card>,
        /// Of what was sent: the wire's list, which says more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Value>,
    },
    /// The customer pressed a button, chose from a list or completed a form.
    Reply {
        /// `button`, `button_reply`, `list_reply`, `nfm_reply`, or a newer word.
        reply: String,
        /// The id of the choice, or the button's payload.
        id: Option<String>,
        /// What the customer saw.
        title: Option<String>,
        /// The second line of a list's row.
        description: Option<String>,
        /// A form's answers, whatever their shape.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Value>,
    },
    /// A template that was sent.
    Template {
        /// Its name.
        name: String,
        /// Its language code.
        language: String,
        /// Components as they go on the wire.
        components: Value,
        /// The words of its body, filled in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// An interactive message that the business sent (buttons, list, link), as on the wire.
    Interactive {
        /// The words of its body.
        body: Option<String>,
        /// The wire's object.
        data: Value,
    },
    /// A cart.
    Order {
        /// The customer's words beside it.
        text: Option<String>,
        /// The wire's object.
        data: Value,
    },
    /// What WhatsApp does not hand over, or what we do not know. The message is there, its words are on the phone.
    Unsupported {
        /// The wire's word for it, where there is one.
        wire_type: Option<String>,
        /// WhatsApp's code: 131051 (type not supported), 131060 (not available now) …
        code: Option<i64>,
        /// WhatsApp's explanation.
        details: Option<String>,
        /// Words that came along all the same.
        text: Option<String>,
    },
    /// It was deleted for everyone; its words are gone.
    Deleted,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// What kind of file.
    pub media: MediaKind,
    /// WhatsApp's id of the file; lives 7 days. None in an edit of a caption, or when history describes the file only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_id: Option<String>,
    /// Our own id of the file: what was uploaded here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<MediaId>,
    /// Where WhatsApp fetched it: what was sent by link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// As WhatsApp says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Base64 or hex, as WhatsApp says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Words beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// A document's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// A recorded voice note.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub voice: bool,
    /// An animated sticker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub animated: bool,
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MediaKind {
    /// jpeg, png.
    #[default]
    Image,
    /// mp4, 3gp.
    Video,
    /// Music or a voice note.
    Audio,
    /// Any file.
    Document,
    /// webp.
    Sticker,
}

impl MediaKind {
    /// Meta's word for it, which is also the name of the input field.
    pub fn word(self) -> &'static str {
        match self {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
            MediaKind::Audio => "audio",
            MediaKind::Document => "document",
            MediaKind::Sticker => "sticker",
        }
    }

    /// From that word, in small letters or capitals.
    pub fn parse(word: &str) -> Option<Self> {
        [MediaKind::Image, MediaKind::Video, MediaKind::Audio, MediaKind::Document, MediaKind::Sticker]
            .into_iter()
            .find(|kind| kind.word().eq_ignore_ascii_case(word))
    }
}

/// A business card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// The whole name.
    pub formatted_name: String,
    /// Numbers as written on the card.
    pub phones: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// The company.
    pub organization: Option<String>,
}

/// How much a version of a content tells: of two versions of one message, the higher one stays (invariant 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Substance {
    /// Only that something was there: a placeholder, or what WhatsApp does not hand over.
    Placeholder = 0,
    /// A file that is described without an id or a link to fetch it by.
    Described = 1,
    /// The real thing.
    Full = 2,
    /// Other words, by an edit.
    Edited = 3,
    /// Gone for everyone.
    Deleted = 4,
}

impl Content {
    /// The words, whatever the content: body, caption, the title of a button.
    pub fn text(&self) -> Option<&str> {
        match self {
            Content::Text { body, .. } => Some(body),
            Content::Media(media) => media.caption.as_deref(),
            Content::Location { name, address, .. } => name.as_deref().or(address.as_deref()),
            Content::Contacts { cards, .. } => cards.first().map(|card| card.formatted_name.as_str()),
            Content::Reply { title, .. } => title.as_deref(),
            Content::Interactive { body, .. } => body.as_deref(),
            Content::Order { text, .. } | Content::Unsupported { text, .. } => text.as_deref(),
            Content::Template { text, .. } => text.as_deref(),
            Content::MediaPlaceholder | Content::Deleted => None,
        }
    }

    /// How much it tells, before any edit or deletion.
    pub fn substance(&self) -> Substance {
        match self {
            Content::MediaPlaceholder | Content::Unsupported { .. } => Substance::Placeholder,
            Content::Media(media)
                if media.upstream_id.is_none() && media.link.is_none() && media.file.is_none() =>
            {
                Substance::Described
            }
            Content::Deleted => Substance::Deleted,
            _ => Substance::Full,
        }
    }

    /// Whether what was sent like this may be echoed like that. WhatsApp may show templates and interactive messages as it
    /// likes, and anything as something that it does not hand over; all else keeps its kind and its words.
    pub fn may_show_as(&self, echo: &Content) -> bool {
        let words = |content: &Content| -> Option<Vec<String>> {
            content.text().map(|text| text.split_whitespace().map(str::to_owned).collect())
        };
        match (self, echo) {
            (_, Content::Unsupported { .. } | Content::MediaPlaceholder | Content::Deleted) => true,
            (Content::Text { .. }, Content::Text { .. }) => words(self) == words(echo),
            (Content::Media(sent), Content::Media(shown)) => {
                sent.media == shown.media && words(self) == words(echo)
            }
            (Content::Location { .. }, Content::Location { .. })
            | (Content::Contacts { .. }, Content::Contacts { .. }) => true,
            (
                Content::Text { .. }
                | Content::Media(_)
                | Content::Location { .. }
                | Content::Contacts { .. },
                _,
            ) => false,
            (_, _) => true,
        }
    }

    /// Whether a live customer message of this content opens the customer service window. Placeholders for what
    /// WhatsApp does not hand over (131060, 131051) do not: not documented, so the careful answer, which Meta's
    /// 131047 never has to correct.
    pub fn opens_window(&self) -> bool {
        match self {
            Content::Unsupported { wire_type, .. } => wire_type.as_deref() == Some("request_welcome"),
            Content::MediaPlaceholder | Content::Deleted => false,
            _ => true,
        }
    }
}
