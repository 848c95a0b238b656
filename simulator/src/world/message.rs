//! One message of a chat, as the phone's screen has it.

use super::choices::Choice;
use crate::number::Number;
use crate::wamid::wamid;
use async_graphql::Enum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who made a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Enum)]
pub(crate) enum MadeBy {
    /// The customer, on their phone.
    Customer,
    /// The business, on its phone or a linked device.
    App,
    /// The business, through the API.
    Api,
}

/// What a message was written on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Enum)]
pub(crate) enum Device {
    /// The phone itself.
    #[default]
    Phone,
    /// WhatsApp Web.
    Web,
    /// WhatsApp for Mac.
    Mac,
    /// WhatsApp for Windows: reaches the other side and gives no webhook.
    Windows,
    /// WhatsApp on a watch: reaches the other side and gives no webhook.
    #[graphql(name = "WEAROS")]
    WearOs,
}

impl Device {
    /// Whether the API hears nothing of what is written here.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Windows | Self::WearOs)
    }
}

/// How far a message got. Those of customers begin at `Received`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Received,
    Sent,
    Delivered,
    Read,
    Played,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
        }
    }

    /// As history tells it, which has no word for a message that was received and not read.
    pub(crate) fn in_history(self) -> &'static str {
        match self {
            Self::Received | Self::Delivered => "DELIVERED",
            Self::Sent => "SENT",
            Self::Read => "READ",
            Self::Played => "PLAYED",
        }
    }
}

/// What a message of the API costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pricing {
    pub(crate) billable: bool,
    pub(crate) kind: String,
    pub(crate) category: String,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_phone(device: &Device) -> bool {
    *device == Device::Phone
}

/// A message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Its place on the phone: 0 is the oldest.
    pub(crate) sequence: u32,
    #[serde(with = "token_text")]
    pub(crate) token: u128,
    /// The other side; in a group, the one who wrote or was written to.
    pub(crate) with: Number,
    pub(crate) made_by: MadeBy,
    #[serde(default, skip_serializing_if = "is_phone")]
    pub(crate) device: Device,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// Meta's name of what it is: `text`, `image`, `template` …
    pub(crate) kind: String,
    /// What stands on the screen: the text, the caption, the filled-in template.
    pub(crate) text: String,
    /// Milliseconds since 1970, simulated time.
    pub(crate) at: i64,
    pub(crate) status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media: Option<String>,
    /// The token of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "token_text::maybe")]
    pub(crate) reply_to: Option<u128>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) callback_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pricing: Option<Pricing>,
    /// What the API was asked to send, or what a customer chose, when it is more than text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Value>,
    /// What the customer can choose from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) choices: Vec<Choice>,
    /// The other side's number was not shown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) hidden: bool,
    /// Written while the number was connected: the API was told of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) live: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) deleted: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) edited: bool,
    /// Seconds of its last change as told to the API, so that two changes never bear the same stamp.
    #[serde(default)]
    pub(crate) changed_at: i64,
    /// For messages of the API: its statuses and their seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) trail: Vec<(Status, i64)>,
}

impl Message {
    /// Its WhatsApp id; `user_id` is that of the other side.
    pub(crate) fn id(&self, user_id: &str) -> String {
        if self.hidden { wamid(user_id, self.token) } else { wamid(&self.with.digits(), self.token) }
    }

    /// Its other id, written with the other kind of address.
    pub(crate) fn second_id(&self, user_id: &str) -> String {
        if self.hidden { wamid(&self.with.digits(), self.token) } else { wamid(user_id, self.token) }
    }

    /// Whole seconds, as on the wire.
    pub(crate) fn seconds(&self) -> i64 {
        self.at.div_euclid(1000)
    }

    /// Whether it is a picture, a sound or the like.
    pub(crate) fn is_media(&self) -> bool {
        matches!(self.kind.as_str(), "image" | "video" | "audio" | "document" | "sticker")
    }

    /// Whether the API ever hears of it: chats with one person, on devices that WhatsApp tells of.
    pub(crate) fn is_told(&self) -> bool {
        self.group.is_none() && !self.device.is_silent()
    }
}

/// A token as its 32 hex digits.
mod token_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(token: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{token:032X}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }

    pub(super) mod maybe {
        use serde::{Deserializer, Serializer};

        pub(crate) fn serialize<S: Serializer>(
            token: &Option<u128>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match token {
                Some(token) => super::serialize(token, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<u128>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }
}
