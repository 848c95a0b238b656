//! Who is meant: numbers, user ids and the contacts beside a message.

use std::borrow::Cow;

use super::node::Map;
use crate::upstream::change::Party;

/// The longest user id that is believed: `CC.ENT.` and 128 characters, with room.
const LONGEST_USER_ID: usize = 200;

/// Digits of a number. Fewer than three are none; E.164 allows fifteen.
const DIGITS: std::ops::RangeInclusive<usize> = 3..=15;

/// A name of a person as it stands where a number is expected: `from`, `to`, `wa_id`, `recipient_id`, a thread's
/// `id`. User ids have been seen in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Number(String),
    UserId(String),
    ParentUserId(String),
}

impl Name {
    /// None for what is neither a number nor has the form of a user id, such as `<PLACEHOLDER>`.
    pub(super) fn of(word: &str) -> Option<Self> {
        if let Some(number) = number(word) {
            return Some(Name::Number(number));
        }
        let (country, rest) = word.trim().split_once('.')?;
        let rest_is_an_id = rest.len() <= LONGEST_USER_ID
            && rest
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
        let form = (2..=8).contains(&country.len())
            && country.bytes().all(|byte| byte.is_ascii_alphabetic())
            && rest_is_an_id;
        form.then(|| Name::user_id(word.trim()))
    }

    /// What stands where only a user id can: anything but a placeholder, since its form has changed before.
    fn told_as_user_id(word: &str) -> Option<Self> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>');
        (word.len() <= LONGEST_USER_ID && !word.contains(odd)).then(|| Name::user_id(word))
    }

    fn user_id(word: &str) -> Self {
        let parent = word.split('.').nth(1).is_some_and(|part| part == "ENT");
        if parent { Name::ParentUserId(word.to_owned()) } else { Name::UserId(word.to_owned()) }
    }
}

/// Digits with a plus, if `word` is a number, however it is written.
pub(super) fn number(word: &str) -> Option<String> {
    let word = word.trim_matches(|c: char| c.is_whitespace() || is_mark(c));
    let digits = word.strip_prefix('+').unwrap_or(word);
    let mut number = String::with_capacity(digits.len() + 1);
    number.push('+');
    for c in digits.chars() {
        match c {
            '0'..='9' => number.push(c),
            '-' | '(' | ')' | '\u{2011}' => {}
            c if c.is_whitespace() || is_mark(c) => {}
            _ => return None,
        }
    }
    DIGITS.contains(&(number.len() - 1)).then_some(number)
}

/// Marks of writing direction, which come along when a number is copied on a phone.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether two words of the wire name the same, also if neither is a name.
pub(super) fn same(one: &str, other: &str) -> bool {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one == other,
        _ => false,
    }
}

/// Whether a message, a status or a thread belongs to a group.
pub(super) fn is_group(map: &Map<'_>) -> bool {
    let group_only = ["group_id", "recipient_participant_id", "recipient_participant_user_id"];
    group_only.iter().any(|key| map.word(key).is_some())
        || map.word("recipient_type").is_some_and(|kind| kind.eq_ignore_ascii_case("group"))
        || ["id", "from", "to", "recipient_id"]
            .iter()
            .any(|key| map.word(key).is_some_and(|word| word.ends_with("@g.us")))
}

impl Party {
    /// Takes a name in, unless there already is one of its kind.
    pub(super) fn learn(&mut self, name: Option<Name>) {
        let (place, name) = match name {
            Some(Name::Number(number)) => (&mut self.phone_number, number),
            Some(Name::UserId(id)) => (&mut self.user_id, id),
            Some(Name::ParentUserId(id)) => (&mut self.parent_user_id, id),
            None => return,
        };
        place.get_or_insert(name);
    }

    /// Takes in what stands at `key`, where a number is expected.
    pub(super) fn learn_number(&mut self, map: &Map<'_>, key: &str) {
        self.learn(map.word(key).and_then(|word| Name::of(&word)));
    }

    /// Takes in what stands at `key`, where a user id is expected.
    pub(super) fn learn_user_id(&mut self, map: &Map<'_>, key: &str) {
        self.learn(map.word(key).and_then(|word| Name::told_as_user_id(&word)));
    }

    /// The person named by these three keys.
    pub(super) fn at(map: &Map<'_>, number: &str, user_id: &str, parent_user_id: &str) -> Self {
        let mut party = Party::default();
        party.learn_number(map, number);
        party.learn_user_id(map, user_id);
        party.learn_user_id(map, parent_user_id);
        party
    }

    /// The person whom an object describes: an entry of `contacts[]`, of the phone book, a thread's `context`.
    pub(super) fn described(map: &Map<'_>) -> Self {
        let mut party = Party::at(map, "wa_id", "user_id", "parent_user_id");
        party.learn_number(map, "phone_number");
        let profile = map.map("profile");
        party.username = username(map).or_else(|| profile.and_then(username));
        party.profile_name = profile
            .and_then(|profile| profile.text("name"))
            .filter(|name| !name.trim().is_empty())
            .map(Cow::into_owned);
        party
    }

    /// Takes in what another description of the same person adds.
    pub(super) fn complete(&mut self, other: &Party) {
        let Party { phone_number, user_id, parent_user_id, username, profile_name } = other;
        for (place, known) in [
            (&mut self.phone_number, phone_number),
            (&mut self.user_id, user_id),
            (&mut self.parent_user_id, parent_user_id),
            (&mut self.username, username),
            (&mut self.profile_name, profile_name),
        ] {
            if place.is_none() {
                place.clone_from(known);
            }
        }
    }

    /// Whether it names nobody: without a number and a user id there is no telling who it is.
    pub(super) fn is_nobody(&self) -> bool {
        self.phone_number.is_none() && self.user_id.is_none() && self.parent_user_id.is_none()
    }

    fn shares_a_name(&self, other: &Party) -> bool {
        let both = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        both(&self.user_id, &other.user_id)
            || both(&self.phone_number, &other.phone_number)
            || both(&self.parent_user_id, &other.parent_user_id)
    }

    /// Whether the two have different user ids, so that they cannot be the same person.
    fn contradicts(&self, other: &Party) -> bool {
        let differ =
            |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some() && one != other;
        differ(&self.user_id, &other.user_id) || differ(&self.parent_user_id, &other.parent_user_id)
    }
}

fn username(map: &Map<'_>) -> Option<String> {
    let word = map.word("username")?;
    let name = word.trim_start_matches('@');
    (!name.is_empty() && !name.contains(['<', '>'])).then(|| name.to_owned())
}

/// The people described beside messages or statuses. The business itself is none of them.
pub(super) struct Contacts(Vec<Party>);

impl Contacts {
    pub(super) fn of(value: &Map<'_>, business: Option<&str>) -> Self {
        let described = value.objects("contacts").map(|contact| Party::described(&contact));
        let business = business.and_then(number);
        Self(described.filter(|party| business.is_none() || party.phone_number != business).collect())
    }

    /// Completes `party` with the contact that is the same person. `alone`: with a single contact, it is that one
    /// even if the numbers differ (`wa_id` and number may) or the party has no name at all. Who is nobody even then
    /// has no profile either.
    pub(super) fn complete(&self, party: &mut Party, alone: bool) {
        self.find(party, alone);
        if party.is_nobody() {
            *party = Party::default();
        }
    }

    fn find(&self, party: &mut Party, alone: bool) {
        let same = self.0.iter().find(|contact| contact.shares_a_name(party) && !contact.contradicts(party));
        let contact = match (same, self.0.as_slice()) {
            (Some(contact), _) => contact,
            (None, [contact]) if alone && !contact.contradicts(party) => contact,
            _ => return,
        };
        party.complete(contact);
    }
}
