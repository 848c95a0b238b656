//! The people around a phone: entries of its phone book, and customers who write.

use crate::chance::Chance;
use crate::number::Number;
use serde::{Deserialize, Serialize};

/// Somebody whom a phone knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) number: Number,
    /// The name that they gave themselves.
    pub(crate) name: String,
    /// Their name in the phone book, if they stand in it.
    pub(crate) full_name: Option<String>,
    /// Seconds of the last change of the phone-book entry.
    pub(crate) listed_at: i64,
    /// Milliseconds of their last live message since the number was connected.
    pub(crate) wrote_at: Option<i64>,
    /// They want no marketing messages.
    #[serde(default)]
    pub(crate) no_marketing: bool,
    /// Seconds of their last word about it, so that no two bear the same stamp.
    #[serde(default)]
    pub(crate) preference_at: i64,
}

impl Person {
    /// The first word of the name in the phone book.
    pub(crate) fn first_name(&self) -> Option<&str> {
        self.full_name.as_deref().and_then(|name| name.split_whitespace().next())
    }
}

/// The id under which WhatsApp names the owner of `number` to the business `business_id`.
pub(crate) fn user_id(business_id: &str, number: Number) -> String {
    let business = business_id.parse().unwrap_or_default();
    let mut chance = Chance::of(&[business, number.0, 0x0075_7365_7269_6400]);
    format!(
        "{}.{:010}{:010}",
        number.country(),
        1_000_000_000 + chance.below(9_000_000_000),
        chance.below(10_000_000_000)
    )
}

const FIRST: &[&str] = &[
    "Ayşe",
    "Jürgen",
    "Zoë",
    "Mehmet",
    "Łukasz",
    "Noa",
    "Françoise",
    "Björn",
    "Aylin",
    "Thủy",
    "Siân",
    "Yūki",
    "Chloé",
    "Øyvind",
    "Leyla",
    "Anders",
    "Inês",
    "Dvora",
    "Müjgan",
    "Wiebke",
    "Ngọc",
    "Saoirse",
    "Emre",
    "Håkon",
    "Beatriz",
    "Tomáš",
    "Ofelia",
    "Kwame",
    "Ilse",
    "Petra",
];
const LAST: &[&str] = &[
    "Kaya",
    "Größmann",
    "Öztürk",
    "O’Neill",
    "Nowak",
    "Ben-Ami",
    "Dubois",
    "Ångström",
    "Yıldız",
    "Nguyễn",
    "Süß",
    "Tanaka",
    "Çelik",
    "Østergård",
    "Şahin",
    "Muñoz",
    "Lévy",
    "Köhler",
    "da Silva",
    "Bäcker",
    "Novák",
    "Sørensen",
    "Weiß",
    "Mbeki",
];
const MARKS: &[&str] = &["🌿", "☀️", "🐾", "✂️", "🇩🇪", "🎶", "🧁", "👩‍👧"];

/// A name in the phone book.
pub(crate) fn full_name(chance: &mut Chance) -> String {
    format!("{} {}", chance.pick(FIRST), chance.pick(LAST))
}

/// A name as people give it to themselves.
pub(crate) fn own_name(chance: &mut Chance) -> String {
    let first = chance.pick(FIRST);
    match chance.below(4) {
        0 => format!("{first} {}", chance.pick(MARKS)),
        1 => format!("{first} {}", chance.pick(LAST)),
        _ => first.to_owned(),
    }
}

/// Somebody who has never been heard of: their name follows from their number.
pub(crate) fn stranger(number: Number) -> Person {
    let mut chance = Chance::of(&[number.0, 0x6e61_6d65]);
    Person {
        number,
        name: own_name(&mut chance),
        full_name: None,
        listed_at: 0,
        wrote_at: None,
        no_marketing: false,
        preference_at: 0,
    }
}
