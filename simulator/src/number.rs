//! Phone numbers as WhatsApp knows them: E.164.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Country calling codes with the country that a user id begins with. Longest match wins.
const COUNTRIES: &[(&str, &str)] = &[
    ("1", "US"),
    ("7", "RU"),
    ("20", "EG"),
    ("27", "ZA"),
    ("30", "GR"),
    ("31", "NL"),
    ("32", "BE"),
    ("33", "FR"),
    ("34", "ES"),
    ("39", "IT"),
    ("41", "CH"),
    ("43", "AT"),
    ("44", "GB"),
    ("45", "DK"),
    ("46", "SE"),
    ("47", "NO"),
    ("48", "PL"),
    ("49", "DE"),
    ("52", "MX"),
    ("55", "BR"),
    ("61", "AU"),
    ("62", "ID"),
    ("81", "JP"),
    ("86", "CN"),
    ("90", "TR"),
    ("91", "IN"),
    ("234", "NG"),
    ("351", "PT"),
    ("353", "IE"),
    ("358", "FI"),
    ("380", "UA"),
    ("420", "CZ"),
    ("966", "SA"),
    ("971", "AE"),
    ("972", "IL"),
];

/// A phone number. At most 15 digits and never a leading zero, so it fits a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Number(pub(crate) u64);

impl Number {
    /// Reads a number as people write it: with its plus, and with spaces, dashes, dots or brackets anywhere.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::from_wire(text.trim().strip_prefix('+')?)
    }

    /// Reads a number as it stands on the wire, where the plus may be missing.
    pub(crate) fn from_wire(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut digits = String::with_capacity(15);
        for c in text.strip_prefix('+').unwrap_or(text).chars() {
            match c {
                '0'..='9' => digits.push(c),
                ' ' | '-' | '(' | ')' | '.' | '/' | '\u{a0}' | '\u{202f}' => {}
                _ => return None,
            }
        }
        if !(7..=15).contains(&digits.len()) || digits.starts_with('0') {
            return None;
        }
        digits.parse().ok().map(Self)
    }

    /// The digits alone, as in Meta's webhooks.
    pub(crate) fn digits(self) -> String {
        self.0.to_string()
    }

    /// With spaces, as Meta shows the number of a business.
    pub(crate) fn spaced(self) -> String {
        let digits = self.digits();
        let code = country(&digits).map_or(2, |(code, _)| code.len());
        let (code, rest) = digits.split_at(code);
        let (area, rest) = rest.split_at(rest.len().min(4));
        format!("+{code} {area} {rest}").trim_end().to_owned()
    }

    /// The two letters with which the user ids of this number's owner begin.
    pub(crate) fn country(self) -> &'static str {
        country(&self.digits()).map_or("ZZ", |(_, country)| country)
    }
}

fn country(digits: &str) -> Option<(&'static str, &'static str)> {
    COUNTRIES.iter().filter(|(code, _)| digits.starts_with(code)).max_by_key(|(code, _)| code.len()).copied()
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(Number::parse(" +49 (1512) 000-0001 "), Some(Number(4915120000001)));
        assert_eq!(Number::parse("4915120000001"), None);
        assert_eq!(Number::parse("+0123456789"), None);
        assert_eq!(Number::parse("+12"), None);
        assert_eq!(Number::from_wire("4915120000001"), Some(Number(4915120000001)));
    }

    #[test]
    fn shows_what_meta_shows() {
        assert_eq!(Number(4915120000001).spaced(), "+49 1512 0000001");
        assert_eq!(Number(97257000001).country(), "IL");
    }
}
