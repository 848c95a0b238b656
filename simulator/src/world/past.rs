//! A phone with a past: people and months of chats, made from a seed.

use super::message::{Device, MadeBy, Message, Status};
use super::people::{Person, full_name, own_name};
use super::phone::{AppKind, Card, Phone};
use super::templates;
use super::{Ledger, digits_of, ordered};
use crate::chance::Chance;
use crate::number::Number;
use crate::store::{Kind, Row};

const DAY: i64 = 86_400;
/// Messages in each group, besides those asked for.
const PER_GROUP: usize = 6;

/// What is asked for.
pub(crate) struct Plan {
    pub(crate) number: Number,
    pub(crate) display_name: String,
    pub(crate) app: AppKind,
    pub(crate) app_version: String,
    pub(crate) contacts: usize,
    pub(crate) messages: usize,
    pub(crate) groups: usize,
    pub(crate) days: i64,
    pub(crate) seed: u64,
}

/// Where customers live: code, digits that follow, and how often.
const PLACES: &[(&str, u32)] =
    &[("491512", 7), ("491512", 7), ("491605", 7), ("491605", 7), ("90555", 7), ("97250", 7), ("4366055", 6)];

const CUSTOMER_SAYS: &[&str] = &[
    "Guten Morgen! Haben Sie morgen noch etwas frei?",
    "Wie lange haben Sie heute offen?",
    "Danke, das hat wunderbar geklappt 😊",
    "Merhaba, yarın için randevu alabilir miyim?",
    "Çok teşekkürler! 🙏",
    "Ich komme etwa zehn Minuten später, tut mir leid",
    "שלום, אפשר להזמין לשבת?",
    "Geht auch Kartenzahlung?",
    "Was kostet das ungefähr?",
    "Super 👍",
    "Is the terrace open in the evening?",
    "Könnten wir auf Donnerstag verschieben?",
    "Ja, bitte – zweimal, und einmal ohne Nüsse 🥜",
    "شكرا جزيلا",
    "Alles klar, bis dann!",
    "C’est possible pour quatre personnes ?",
    "Ich habe meinen Schal bei Ihnen vergessen 🧣",
    "Hört sich gut an",
];
const BUSINESS_SAYS: &[&str] = &[
    "Guten Morgen! Ja, um 10 Uhr oder um 15:30 Uhr.",
    "Heute bis 18 Uhr, morgen ab 8.",
    "Sehr gern! Bis zum nächsten Mal 🌻",
    "Tabii ki, saat 14:00 uygun mu?",
    "Kein Problem, wir warten.",
    "כן, בשמחה! לכמה אנשים?",
    "Ja, Karte geht auch.",
    "Das wären 24,50 €.",
    "Ist notiert ✅",
    "Yes, until ten. Shall I keep a table for you?",
    "Donnerstag passt gut.",
    "Der Schal liegt hier für Sie bereit 🧣",
    "Wir melden uns gleich noch einmal.",
    "Avec plaisir ! À samedi.",
    "Ihre Bestellung ist fertig 🎂",
];
const GROUP_SAYS: &[&str] = &[
    "Wer übernimmt Samstag?",
    "Ich kann ab 9 🙋",
    "Milch ist bestellt",
    "Danke euch allen ❤️",
    "Schlüssel liegt im Büro",
];
const GROUP_NAMES: &[&str] = &["Team 🧑‍🍳", "Frühschicht", "Familie", "Lieferanten", "Straßenfest 2026"];
const CAPTIONS: &[&str] = &["", "", "", "So sah es aus 📷", "Meinen Sie dieses hier?", "Rechnung"];

/// Makes the phone and the rows that keep it. `made` is its place in the order of making.
pub(crate) fn make(plan: &Plan, made: u64, now_ms: i64) -> (Phone, Vec<Row>) {
    let mut chance = Chance::of(&[plan.number.0, plan.seed]);
    let card = card(plan, made);
    let mut phone = Phone::new(card);
    phone.templates = templates::first(&phone.card);
    if plan.app != AppKind::ApiOnly {
        let customers = people(plan, &mut phone, &mut chance, now_ms.div_euclid(1000));
        chats(plan, &mut phone, &customers, &mut chance, now_ms);
    }
    let rows = rows(&phone);
    (phone, rows)
}

fn card(plan: &Plan, made: u64) -> Card {
    let mut ids = Chance::of(&[plan.number.0, 0x0069_6473]);
    Card {
        number: plan.number,
        made,
        display_name: plan.display_name.clone(),
        about: None,
        app: plan.app,
        app_version: plan.app_version.clone(),
        seed: plan.seed,
        waba_id: digits_of(ids.next()),
        number_id: digits_of(ids.next()),
        business_id: digits_of(ids.next()),
        linked: if plan.app == AppKind::ApiOnly { Vec::new() } else { vec![Device::Web] },
        connected: false,
        shares_history: None,
        signed_up_at: None,
        contacts_asked: false,
        history_asked: false,
        opened: false,
        subscribed: false,
        override_url: None,
        account_at: 0,
        month: 0,
        services: 0,
        registered: false,
        pin: None,
    }
}

/// Fills the phone book and adds some who write without standing in it. Answers whom there are chats with.
fn people(plan: &Plan, phone: &mut Phone, chance: &mut Chance, now: i64) -> Vec<Number> {
    let strangers = if plan.messages == 0 { 0 } else { (plan.contacts / 5).max(3) };
    let base = chance.next();
    let mut chatting = Vec::new();
    for index in 0..plan.contacts + strangers {
        let (code, digits) = chance.pick(PLACES);
        let end = 10_u64.pow(digits);
        let local = (base % end + index as u64 * 7919) % end;
        let width = digits as usize;
        let Some(number) = Number::from_wire(&format!("{code}{local:0width$}")) else { continue };
        if number == plan.number || phone.people.contains_key(&number) {
            continue;
        }
        let listed = index < plan.contacts;
        let person = Person {
            number,
            name: own_name(chance),
            full_name: listed.then(|| full_name(chance)),
            listed_at: now - 60 - chance.below((plan.days.max(1) * DAY) as usize) as i64,
            wrote_at: None,
            no_marketing: false,
            preference_at: 0,
        };
        phone.admit(person);
        // One in five of the phone book never wrote.
        if !listed || index % 5 != 4 || plan.contacts < 5 {
            chatting.push(number);
        }
    }
    chatting
}

/// How old a message is, in milliseconds: some of today, many of the last weeks, the rest long ago.
fn age(chance: &mut Chance, days: i64) -> i64 {
    // A little less than what was asked for, so that nothing grows too old between the making and a signup.
    let span = days as f64 * DAY as f64 * 0.98;
    let fresh = (0.9 * DAY as f64).min(span);
    let seconds = if chance.hits(0.05) || days <= 1 {
        120.0 + chance.unit() * (fresh - 120.0).max(1.0)
    } else {
        let start = (1.02 * DAY as f64).min(span);
        start + chance.unit().powf(1.3) * (span - start)
    };
    (seconds * 1000.0) as i64
}

fn chats(plan: &Plan, phone: &mut Phone, customers: &[Number], chance: &mut Chance, now_ms: i64) {
    let days = plan.days.max(1);
    let grouped = if customers.is_empty() { 0 } else { plan.groups * PER_GROUP };
    let mut all: Vec<(i64, Option<usize>)> = Vec::with_capacity(plan.messages + grouped);
    if !customers.is_empty() {
        all.extend((0..plan.messages).map(|_| (now_ms - age(chance, days), None)));
        all.extend((0..grouped).map(|i| (now_ms - age(chance, days), Some(i / PER_GROUP))));
    }
    all.sort_unstable();
    for (at, group) in all {
        // Some people write much more than others.
        let place = (chance.unit().powi(2) * customers.len() as f64) as usize;
        let Some(&with) = customers.get(place) else { continue };
        let outgoing = chance.hits(0.48);
        let kind = match group {
            None if chance.hits(0.1) => {
                chance.pick(&["image", "image", "image", "audio", "audio", "video", "document", "sticker"])
            }
            _ => "text",
        };
        let text = match (kind, group, outgoing) {
            ("audio" | "sticker", ..) => "",
            ("text", Some(_), _) => chance.pick(GROUP_SAYS),
            ("text", None, true) => chance.pick(BUSINESS_SAYS),
            ("text", None, false) => chance.pick(CUSTOMER_SAYS),
            _ => chance.pick(CAPTIONS),
        };
        let status = match (outgoing, chance.below(10)) {
            (true, 0) => Status::Sent,
            (true, 1 | 2) => Status::Delivered,
            (_, 3) if kind == "audio" => Status::Played,
            _ => Status::Read,
        };
        phone.append(Message {
            sequence: 0,
            token: chance.token(),
            with,
            made_by: if outgoing { MadeBy::App } else { MadeBy::Customer },
            device: Device::Phone,
            group: group.map(group_name),
            kind: kind.to_owned(),
            text: text.to_owned(),
            at,
            status,
            media: None,
            reply_to: None,
            callback_data: None,
            pricing: None,
            content: None,
            choices: Vec::new(),
            hidden: false,
            live: false,
            deleted: false,
            edited: false,
            changed_at: 0,
            trail: Vec::new(),
        });
    }
}

fn group_name(index: usize) -> String {
    let name = GROUP_NAMES.get(index % GROUP_NAMES.len()).copied().unwrap_or_default();
    match index / GROUP_NAMES.len() {
        0 => name.to_owned(),
        round => format!("{name} {}", round + 1),
    }
}

fn rows(phone: &Phone) -> Vec<Row> {
    let owner = phone.card.number.digits();
    let mut ledger = Ledger { sequence: 0, now_ms: 0, rows: Vec::new(), wake: Vec::new() };
    ledger.rows.reserve(phone.messages.len() + phone.people.len() + 8);
    ledger.put(Kind::Phone, "", &owner, &phone.card);
    for template in &phone.templates {
        template.keep(&mut ledger, &owner);
    }
    for person in phone.people.values() {
        ledger.put(Kind::Person, &owner, person.number.digits(), person);
    }
    for message in &phone.messages {
        ledger.put(Kind::Message, &owner, ordered(u64::from(message.sequence)), message);
    }
    ledger.rows
}
