//! The world: phones with their people and chats, and what Meta knows of them. Held in memory; each change leaves the
//! rows that make it last in a [`Ledger`].

pub(crate) mod chats;
pub(crate) mod choices;
pub(crate) mod connection;
pub(crate) mod media;
pub(crate) mod message;
pub(crate) mod past;
pub(crate) mod people;
pub(crate) mod phone;
pub(crate) mod templates;

use crate::number::Number;
use crate::store::{Kind, Place, Row};
use crate::webhooks::queue::Due;
use async_graphql::Enum;
use media::Media;
use message::Message;
use people::Person;
use phone::{Card, Phone};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use templates::Template;
use tokio::sync::Notify;

/// How many calls to the Graph endpoints are remembered.
const CALLS_KEPT: usize = 10_000;

/// What a person or a program is told when the world does not do what they ask: what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) String);

impl Refusal {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Milliseconds since 1970, real time.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulator's own clock: everything simulated is counted from here"
)]
pub(crate) fn real_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// The app that the service signs in with, made once per world.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Development {
    pub(crate) app_id: String,
    pub(crate) app_secret: String,
    pub(crate) verify_token: String,
    pub(crate) config_id: String,
}

/// Where webhooks go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Callback {
    pub(crate) url: String,
    pub(crate) verify_token: String,
}

/// The knobs of `trouble`; the default is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Trouble {
    pub(crate) duplicate_webhooks: f64,
    pub(crate) shuffle_webhooks: bool,
    pub(crate) delay_webhooks_ms: i64,
    pub(crate) drop_optional_fields: f64,
    pub(crate) unknown_fields: f64,
    pub(crate) send_fails: f64,
    pub(crate) send_rate_limited: f64,
    pub(crate) send_times_out_after_accepting: f64,
    pub(crate) graph_slow_ms: u64,
    pub(crate) second_ids: f64,
    pub(crate) echo_before_answer: f64,
    pub(crate) app_statuses: bool,
    pub(crate) pair_limit: bool,
    pub(crate) media_fails: f64,
}

impl Default for Trouble {
    fn default() -> Self {
        Self {
            duplicate_webhooks: 0.0,
            shuffle_webhooks: false,
            delay_webhooks_ms: 0,
            drop_optional_fields: 0.0,
            unknown_fields: 0.0,
            send_fails: 0.0,
            send_rate_limited: 0.0,
            send_times_out_after_accepting: 0.0,
            graph_slow_ms: 0,
            second_ids: 0.0,
            echo_before_answer: 0.0,
            app_statuses: true,
            pair_limit: false,
            media_fails: 0.0,
        }
    }
}

/// What holds for the whole world.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Simulated time minus real time.
    pub(crate) offset_ms: i64,
    pub(crate) callback: Option<Callback>,
    pub(crate) fields: BTreeSet<String>,
    pub(crate) trouble: Trouble,
    /// How reviews of new templates end.
    #[serde(default)]
    pub(crate) review: Review,
    /// What messages cost.
    #[serde(default)]
    pub(crate) prices: Prices,
}

/// How reviews of new templates end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Review {
    pub(crate) outcome: ReviewOutcome,
    /// Meta's word for why it was refused.
    pub(crate) reason: Option<String>,
}

/// How a review ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Enum)]
pub(crate) enum ReviewOutcome {
    /// Well, at once.
    #[default]
    Approved,
    /// Badly, at once.
    Rejected,
    /// Not until somebody changes the template.
    Pending,
}

/// What messages cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Prices {
    pub(crate) rules: PriceRules,
    /// Free-form messages a month that cost nothing, since October 2026.
    pub(crate) free_services: u32,
    /// Statuses say `billable`.
    pub(crate) tells_billable: bool,
}

impl Default for Prices {
    fn default() -> Self {
        Self { rules: PriceRules::ByClock, free_services: FREE_SERVICES, tells_billable: true }
    }
}

/// Whose rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Enum)]
pub(crate) enum PriceRules {
    /// Those of the simulated day.
    ByClock,
    /// Those until 30 September 2026: free in an open window.
    #[graphql(name = "BEFORE_OCTOBER_2026")]
    BeforeOctober2026,
    /// Those since 1 October 2026.
    #[graphql(name = "SINCE_OCTOBER_2026")]
    SinceOctober2026,
}

/// Free-form messages a month that cost nothing, if nobody says otherwise.
const FREE_SERVICES: u32 = 1_000;

impl Default for Settings {
    fn default() -> Self {
        let needed = [
            "account_update",
            "history",
            "message_template_components_update",
            "message_template_quality_update",
            "message_template_status_update",
            "messages",
            "phone_number_name_update",
            "smb_app_state_sync",
            "smb_message_echoes",
            "template_category_update",
            "user_preferences",
        ];
        Self {
            offset_ms: 0,
            callback: None,
            fields: needed.map(str::to_owned).into(),
            trouble: Trouble::default(),
            review: Review::default(),
            prices: Prices::default(),
        }
    }
}

/// A business token: what a signup's code is exchanged for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) phone: Number,
    /// Seconds since 1970, real time.
    pub(crate) issued_at: i64,
}

/// A code of a finished signup, good for one exchange within 30 seconds of real time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Code {
    pub(crate) phone: Number,
    pub(crate) made_ms: i64,
}

/// A send of the service, as it came in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arrival {
    pub(crate) at: i64,
    pub(crate) to: String,
    pub(crate) kind: String,
    pub(crate) text: Option<String>,
    pub(crate) callback_data: Option<String>,
    pub(crate) accepted: bool,
}

/// Calls that are to be refused; gone when the process ends.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The last piece of the path.
    pub(crate) path: String,
    /// Only sends to this number.
    pub(crate) to: Option<Number>,
    /// Meta's code.
    pub(crate) code: u32,
    /// How many are left.
    pub(crate) times: u32,
}

/// A call to one of the Graph endpoints.
#[derive(Clone, Debug)]
pub(crate) struct GraphCall {
    pub(crate) at: i64,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
}

/// The rows that one change leaves, and what it needs to know of the moment.
pub(crate) struct Ledger {
    pub(crate) sequence: u64,
    /// Simulated now, in milliseconds since 1970.
    pub(crate) now_ms: i64,
    pub(crate) rows: Vec<Row>,
    pub(crate) wake: Vec<Arc<Notify>>,
}

impl Ledger {
    /// Simulated now, in whole seconds as on the wire.
    pub(crate) fn now(&self) -> i64 {
        self.now_ms.div_euclid(1000)
    }

    pub(crate) fn put(
        &mut self,
        kind: Kind,
        owner: impl Into<String>,
        key: impl Into<String>,
        value: &impl Serialize,
    ) {
        match serde_json::to_string(value) {
            Ok(body) => self.rows.push(Row { place: place(kind, owner, key), body: Some(body) }),
            Err(error) => tracing::error!(%error, ?kind, "a row of the world could not be written as JSON"),
        }
    }

    pub(crate) fn erase(&mut self, kind: Kind, owner: impl Into<String>, key: impl Into<String>) {
        self.rows.push(Row { place: place(kind, owner, key), body: None });
    }
}

fn place(kind: Kind, owner: impl Into<String>, key: impl Into<String>) -> Place {
    Place { kind, owner: owner.into(), key: key.into() }
}

/// A key that sorts as its number does.
pub(crate) fn ordered(number: u64) -> String {
    format!("{number:016}")
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) development: Development,
    pub(crate) settings: Settings,
    pub(crate) phones: BTreeMap<Number, Phone>,
    pub(crate) by_waba: HashMap<String, Number>,
    pub(crate) by_number_id: HashMap<String, Number>,
    pub(crate) tokens: HashMap<String, Token>,
    pub(crate) codes: HashMap<String, Code>,
    pub(crate) media: HashMap<String, Media>,
    pub(crate) calls: VecDeque<GraphCall>,
    pub(crate) planned: Vec<Planned>,
    /// Webhooks that are due, by their ids.
    pub(crate) pending: BTreeSet<u64>,
    pub(crate) last_id: u64,
    pub(crate) last_sequence: u64,
    /// Where this simulator answers; addresses of media begin with it.
    pub(crate) url: String,
}

/// The rows of a file, by kind.
pub(crate) type Rows = Vec<(Kind, Vec<(String, String, String)>)>;

/// The kinds in the order in which [`World::restore`] needs them.
pub(crate) const KINDS: [Kind; 10] = [
    Kind::Setting,
    Kind::Phone,
    Kind::Person,
    Kind::Message,
    Kind::Template,
    Kind::Due,
    Kind::Arrival,
    Kind::Token,
    Kind::Code,
    Kind::Media,
];

impl World {
    /// The world as the rows tell it.
    pub(crate) fn restore(rows: Rows, url: String) -> Result<Self, serde_json::Error> {
        let mut world = Self {
            development: Development {
                app_id: digits_of(crate::chance::Chance::fresh().next()),
                app_secret: hex::encode(rand::random::<[u8; 16]>()),
                verify_token: hex::encode(rand::random::<[u8; 16]>()),
                config_id: digits_of(crate::chance::Chance::fresh().next()),
            },
            settings: Settings::default(),
            phones: BTreeMap::new(),
            by_waba: HashMap::new(),
            by_number_id: HashMap::new(),
            tokens: HashMap::new(),
            codes: HashMap::new(),
            media: HashMap::new(),
            calls: VecDeque::new(),
            planned: Vec::new(),
            pending: BTreeSet::new(),
            last_id: 0,
            last_sequence: 0,
            url,
        };
        for (kind, rows) in rows {
            for (owner, key, body) in rows {
                world.restore_row(kind, &owner, key, &body)?;
            }
        }
        Ok(world)
    }

    fn restore_row(
        &mut self,
        kind: Kind,
        owner: &str,
        key: String,
        body: &str,
    ) -> Result<(), serde_json::Error> {
        fn read<T: DeserializeOwned>(body: &str) -> Result<T, serde_json::Error> {
            serde_json::from_str(body)
        }
        let owner = Number(owner.parse().unwrap_or_default());
        match kind {
            Kind::Setting if key == "development" => self.development = read(body)?,
            Kind::Setting => self.settings = read(body)?,
            Kind::Phone => {
                let card: Card = read(body)?;
                self.last_id = self.last_id.max(card.made);
                self.admit(Phone::new(card));
            }
            Kind::Token => {
                self.tokens.insert(key, read(body)?);
            }
            Kind::Code => {
                self.codes.insert(key, read(body)?);
            }
            Kind::Media => {
                self.media.insert(key, read(body)?);
            }
            Kind::Person | Kind::Message | Kind::Template | Kind::Due | Kind::Arrival => {
                let Some(phone) = self.phones.get_mut(&owner) else { return Ok(()) };
                match kind {
                    Kind::Person => phone.admit(read::<Person>(body)?),
                    Kind::Message => {
                        phone.append(read::<Message>(body)?);
                    }
                    Kind::Template => phone.templates.push(read::<Template>(body)?),
                    Kind::Due => {
                        let due: Due = read(body)?;
                        self.last_id = self.last_id.max(due.id);
                        self.pending.insert(due.id);
                        phone.queue.take_in(due);
                    }
                    _ => {
                        self.last_id = self.last_id.max(key.parse().unwrap_or_default());
                        phone.arrivals.push(read::<Arrival>(body)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// Simulated now, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        real_ms().saturating_add(self.settings.offset_ms)
    }

    /// An id that no row had before.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Takes a phone in, so that its ids lead to it.
    pub(crate) fn admit(&mut self, phone: Phone) {
        let number = phone.card.number;
        self.by_waba.insert(phone.card.waba_id.clone(), number);
        self.by_number_id.insert(phone.card.number_id.clone(), number);
        self.phones.insert(number, phone);
    }

    pub(crate) fn phone(&self, number: Number) -> Result<&Phone, Refusal> {
        self.phones.get(&number).ok_or_else(|| no_phone(number))
    }

    pub(crate) fn phone_mut(&mut self, number: Number) -> Result<&mut Phone, Refusal> {
        self.phones.get_mut(&number).ok_or_else(|| no_phone(number))
    }

    pub(crate) fn keep_settings(&self, ledger: &mut Ledger) {
        ledger.put(Kind::Setting, "", "world", &self.settings);
    }

    pub(crate) fn keep_development(&self, ledger: &mut Ledger) {
        ledger.put(Kind::Setting, "", "development", &self.development);
    }

    pub(crate) fn keep_card(&self, ledger: &mut Ledger, number: Number) {
        if let Some(phone) = self.phones.get(&number) {
            ledger.put(Kind::Phone, "", number.digits(), &phone.card);
        }
    }

    /// Remembers a call to a Graph endpoint, forgetting the oldest beyond what is kept.
    pub(crate) fn record_call(&mut self, call: GraphCall) {
        if self.calls.len() == CALLS_KEPT {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }
}

fn no_phone(number: Number) -> Refusal {
    Refusal(format!("there is no phone {number} in this world; make it with createPhone first"))
}

/// Fifteen digits that do not begin with a zero, as Meta's ids.
pub(crate) fn digits_of(chance: u64) -> String {
    (100_000_000_000_000 + chance % 900_000_000_000_000).to_string()
}
