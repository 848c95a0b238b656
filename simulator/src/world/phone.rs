//! A business number with its phone: what it is, whom it knows, what was said.

use super::message::{Device, Message};
use super::people::{Person, stranger, user_id};
use super::templates::Template;
use super::{Arrival, Refusal};
use crate::number::Number;
use crate::wamid::token_of;
use crate::webhooks::queue::Queue;
use async_graphql::Enum;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// Which WhatsApp the number lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Enum)]
pub(crate) enum AppKind {
    /// The WhatsApp Business app.
    Business,
    /// The regular app for people.
    Regular,
    /// No phone; the number lives on the API.
    ApiOnly,
}

/// What is kept of a phone besides its people and messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) number: Number,
    /// Place in the order of making.
    pub(crate) made: u64,
    pub(crate) display_name: String,
    pub(crate) about: Option<String>,
    pub(crate) app: AppKind,
    pub(crate) app_version: String,
    pub(crate) seed: u64,
    pub(crate) waba_id: String,
    pub(crate) number_id: String,
    pub(crate) business_id: String,
    pub(crate) linked: Vec<Device>,
    pub(crate) connected: bool,
    pub(crate) shares_history: Option<bool>,
    /// Milliseconds of the last signup, simulated time.
    pub(crate) signed_up_at: Option<i64>,
    pub(crate) contacts_asked: bool,
    pub(crate) history_asked: bool,
    /// The app was opened since the signup.
    pub(crate) opened: bool,
    /// Our app is subscribed to the WhatsApp Business Account.
    pub(crate) subscribed: bool,
    pub(crate) override_url: Option<String>,
    /// Seconds of the last account webhook, so that no two bear the same stamp.
    pub(crate) account_at: i64,
    /// The month that `services` counts, as year × 12 + month.
    pub(crate) month: i32,
    /// Free-form messages of the API in that month.
    pub(crate) services: u32,
    /// A number on the API alone was registered there.
    #[serde(default)]
    pub(crate) registered: bool,
    /// With this PIN, which alone registers it again.
    #[serde(default)]
    pub(crate) pin: Option<String>,
}

impl Card {
    /// Whether the API may send: one that is in the app is registered there.
    pub(crate) fn is_registered(&self) -> bool {
        self.registered || self.app != AppKind::ApiOnly
    }
}

/// A phone.
pub(crate) struct Phone {
    pub(crate) card: Card,
    pub(crate) people: BTreeMap<Number, Person>,
    pub(crate) messages: Vec<Message>,
    pub(crate) templates: Vec<Template>,
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) queue: Queue,
    /// Wakes whoever delivers this phone's webhooks.
    pub(crate) wake: Arc<Notify>,
    /// Sends accepted in the last second, by the same milliseconds that their arrivals bear.
    pub(crate) recent: VecDeque<i64>,
    /// When a recipient last got something, for the pair limit.
    pub(crate) pairs: HashMap<Number, Instant>,
    by_token: HashMap<u128, u32>,
    by_user_id: HashMap<String, Number>,
    chats: HashMap<Number, Vec<u32>>,
}

impl Phone {
    pub(crate) fn new(card: Card) -> Self {
        Self {
            card,
            people: BTreeMap::new(),
            messages: Vec::new(),
            templates: Vec::new(),
            arrivals: Vec::new(),
            queue: Queue::default(),
            wake: Arc::default(),
            recent: VecDeque::new(),
            pairs: HashMap::new(),
            by_token: HashMap::new(),
            by_user_id: HashMap::new(),
            chats: HashMap::new(),
        }
    }

    /// Takes a person in, or what is new about them.
    pub(crate) fn admit(&mut self, person: Person) {
        self.by_user_id.insert(self.user_id(person.number), person.number);
        self.people.insert(person.number, person);
    }

    /// The person with this number; a stranger when nobody knows them yet.
    pub(crate) fn person(&self, number: Number) -> Person {
        self.people.get(&number).cloned().unwrap_or_else(|| stranger(number))
    }

    /// Adds a message after all others and tells its place.
    pub(crate) fn append(&mut self, mut message: Message) -> u32 {
        let place = self.messages.len() as u32;
        message.sequence = place;
        self.by_token.insert(message.token, place);
        if message.group.is_none() {
            self.chats.entry(message.with).or_default().push(place);
        }
        self.messages.push(message);
        place
    }

    /// The id that names the owner of `number` to this business.
    pub(crate) fn user_id(&self, number: Number) -> String {
        user_id(&self.card.business_id, number)
    }

    /// Whose user id this is.
    pub(crate) fn by_user_id(&self, user_id: &str) -> Option<Number> {
        self.by_user_id.get(user_id).copied()
    }

    /// The id of a message of this phone.
    pub(crate) fn id_of(&self, message: &Message) -> String {
        message.id(&self.user_id(message.with))
    }

    /// The message with this id, whichever of its ids it is.
    pub(crate) fn find(&self, id: &str) -> Option<&Message> {
        self.by_token(token_of(id)?)
    }

    pub(crate) fn by_token(&self, token: u128) -> Option<&Message> {
        self.messages.get(*self.by_token.get(&token)? as usize)
    }

    /// The message with this id, or what to do about it not being there.
    pub(crate) fn message(&self, id: &str) -> Result<&Message, Refusal> {
        self.find(id).ok_or_else(|| {
            Refusal(format!(
                "there is no message {id} on the phone {}; take an id from Phone.messages",
                self.card.number
            ))
        })
    }

    /// Places of the messages in the chat with one person, oldest first.
    pub(crate) fn chat(&self, with: Number) -> &[u32] {
        self.chats.get(&with).map_or(&[], Vec::as_slice)
    }

    /// Whether the number is in the app and on the API at once.
    pub(crate) fn coexists(&self) -> bool {
        self.card.connected && self.card.app != AppKind::ApiOnly
    }
}
