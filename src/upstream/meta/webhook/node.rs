//! JSON, read without expectations.
//!
//! An object is read at once, the elements of a list each on their own: one that cannot be read spoils none of its
//! neighbours, and of a history with thousands of messages only one at a time is more than a slice of the body.
//! Every accessor is total: a number may stand as text and text as a number, an empty text is absent, and what has
//! another shape than asked for is absent too.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

/// The longest text taken for an id or a word: longer ones are none, and would fit no index.
const LONGEST_WORD: usize = 512;

/// A value.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<&'a RawValue>),
    Map(Map<'a>),
}

/// An object. Of a key that comes twice the last value counts.
#[derive(Debug, Default)]
pub(super) struct Map<'a>(Vec<(Cow<'a, str>, Node<'a>)>);

/// What stands where something else was expected, in one word. Safe to show: it is never the content.
pub(super) type Shape = &'static str;

/// Reads an element of a list that should be an object.
pub(super) fn object(element: &RawValue) -> Result<Map<'_>, Shape> {
    match serde_json::from_str(element.get()) {
        Ok(Node::Map(map)) => Ok(map),
        Ok(other) => Err(other.shape()),
        Err(_) => Err("unreadable"),
    }
}

impl<'a> Node<'a> {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "boolean",
            Node::Number(_) => "number",
            Node::Text(_) => "string",
            Node::List(_) => "list",
            Node::Map(_) => "object",
        }
    }

    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Node::Text(text) if !text.is_empty() => Some(Cow::Borrowed(text)),
            Node::Number(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }

    pub(super) fn map(&self) -> Option<&Map<'a>> {
        if let Node::Map(map) = self { Some(map) } else { None }
    }

    /// The same as a value of its own.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Node::Null => Value::Null,
            Node::Bool(flag) => Value::Bool(*flag),
            Node::Number(number) => Value::Number(number.clone()),
            Node::Text(text) => Value::String(text.clone().into_owned()),
            Node::List(elements) => elements
                .iter()
                .map(|element| serde_json::from_str(element.get()).unwrap_or(Value::Null))
                .collect(),
            Node::Map(map) => map.to_value(&[]),
        }
    }
}

impl<'a> Map<'a> {
    /// What stands at `key`; `null` is nothing.
    pub(super) fn get(&self, key: &str) -> Option<&Node<'a>> {
        let (_, node) = self.0.iter().rev().find(|(name, _)| name == key)?;
        (!matches!(node, Node::Null)).then_some(node)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// Text as it stands.
    pub(super) fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        self.get(key)?.text()
    }

    /// Text as it stands, to keep.
    pub(super) fn string(&self, key: &str) -> Option<String> {
        self.text(key).map(Cow::into_owned)
    }

    /// An id or a word: without space around it, of a length that an id or a word has.
    pub(super) fn word(&self, key: &str) -> Option<Cow<'_, str>> {
        let text = match self.text(key)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            owned => owned,
        };
        (!text.is_empty() && text.len() <= LONGEST_WORD).then_some(text)
    }

    /// An id or a word, to keep.
    pub(super) fn id(&self, key: &str) -> Option<String> {
        self.word(key).map(Cow::into_owned)
    }

    pub(super) fn map(&self, key: &str) -> Option<&Map<'a>> {
        self.get(key)?.map()
    }

    /// The elements at `key`; none if there is no list.
    pub(super) fn list(&self, key: &str) -> &[&'a RawValue] {
        if let Some(Node::List(elements)) = self.get(key) { elements } else { &[] }
    }

    /// The readable objects among the elements at `key`.
    pub(super) fn objects(&self, key: &str) -> impl Iterator<Item = Map<'a>> {
        self.list(key).iter().filter_map(|element| object(element).ok())
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Node::Bool(flag) => Some(*flag),
            Node::Text(text) => match text.trim() {
                "true" | "TRUE" | "True" | "1" => Some(true),
                "false" | "FALSE" | "False" | "0" => Some(false),
                _ => None,
            },
            Node::Number(number) => number.as_i64().map(|number| number != 0),
            _ => None,
        }
    }

    pub(super) fn integer(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Node::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)),
            Node::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn float(&self, key: &str) -> Option<f64> {
        let number = match self.get(key)? {
            Node::Number(number) => number.as_f64(),
            Node::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|number: &f64| number.is_finite())
    }

    /// What stands at `key`, as a value of its own.
    pub(super) fn value(&self, key: &str) -> Value {
        self.get(key).map(Node::to_value).unwrap_or_default()
    }

    /// The same as a value of its own, but for some keys.
    pub(super) fn to_value(&self, without: &[&str]) -> Value {
        let kept = self.0.iter().filter(|(name, _)| !without.contains(&name.as_ref()));
        Value::Object(kept.map(|(name, node)| (name.clone().into_owned(), node.to_value())).collect())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyShape;

        impl<'de> Visitor<'de> for AnyShape {
            type Value = Node<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node<'de>, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Node<'de>, E> {
                Ok(Node::Bool(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Node<'de>, E> {
                Ok(Node::Number(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
                Ok(Node::Number(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Node<'de>, E> {
                Ok(Number::from_f64(number).map_or(Node::Null, Node::Number))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
                Ok(Node::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
                Ok(Node::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node<'de>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = sequence.next_element()? {
                    elements.push(element);
                }
                Ok(Node::List(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node<'de>, A::Error> {
                let mut map = Map::default();
                while let Some(Key(name)) = entries.next_key()? {
                    map.0.push((name, entries.next_value()?));
                }
                Ok(Node::Map(map))
            }
        }

        deserializer.deserialize_any(AnyShape)
    }
}

/// The name of an entry, without a copy where it needs none.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyName;

        impl<'de> Visitor<'de> for AnyName {
            type Value = Key<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(AnyName)
    }
}

/// Makes JSON text that can be read and stored: of escapes that no text can hold, halves of surrogate pairs (names
/// cut in the middle of an emoji) and zero characters (which Postgres refuses), a replacement character.
pub(super) fn mend(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut mended = String::new();
    let mut copied = 0;
    let mut at = 0;
    // A backslash stands in a string only, and every byte looked at here is ASCII.
    while let Some(found) = memchr(b'\\', &bytes[at..]) {
        at += found;
        let Some(unit) = escaped_unit(bytes, at) else {
            at = (at + 2).min(bytes.len());
            continue;
        };
        let pair = (0xD800..0xDC00).contains(&unit)
            && escaped_unit(bytes, at + 6).is_some_and(|low| (0xDC00..0xE000).contains(&low));
        if !pair && (unit == 0 || (0xD800..0xE000).contains(&unit)) {
            mended.push_str(&json[copied..at]);
            mended.push_str("\\ufffd");
            copied = at + 6;
        }
        at += if pair { 12 } else { 6 };
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    mended.push_str(&json[copied..]);
    Cow::Owned(mended)
}

/// The UTF-16 unit of an escape `\uXXXX` that begins at `at`.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u16, |unit, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some(unit << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(json: &str) -> Node<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn webhook_accessors_are_lenient_about_numbers_and_text() {
        let node = read(r#"{"a":"12","b":12,"c":1.5,"d":" ","e":"","f":null,"g":"true","h":1.0,"i":[{},3]}"#);
        let map = node.map().unwrap();
        assert_eq!(map.integer("a"), Some(12));
        assert_eq!(map.integer("b"), Some(12));
        assert_eq!(map.text("b").as_deref(), Some("12"));
        assert_eq!(map.float("c"), Some(1.5));
        assert_eq!(map.text("d").as_deref(), Some(" "));
        assert_eq!(map.word("d"), None);
        assert_eq!(map.text("e"), None);
        assert!(!map.has("f") && !map.has("z"));
        assert_eq!(map.flag("g"), Some(true));
        assert_eq!(map.integer("h"), Some(1));
        assert_eq!(map.list("i").len(), 2);
        assert_eq!(map.objects("i").count(), 1);
        assert_eq!(map.to_value(&["a", "i"])["c"], json!(1.5));
    }

    #[test]
    fn webhook_of_a_key_that_comes_twice_the_last_counts() {
        assert_eq!(read(r#"{"a":1,"a":2}"#).map().unwrap().integer("a"), Some(2));
    }

    #[test]
    fn webhook_text_that_cannot_be_stored_is_mended() {
        // A backslash that is escaped itself, and a whole pair, stay.
        for whole in [r#""a\\ud83cb""#, r#""a\\\\u0000""#, r#"["\ud83c\udf3f"]"#, r#""a\n\/\u0041""#] {
            assert!(matches!(mend(whole), Cow::Borrowed(same) if same == whole), "{whole}");
        }
        assert_eq!(read(&mend(r#""x\ud83c y""#)).text().unwrap(), "x\u{fffd} y");
        assert_eq!(read(&mend(r#""\udf3f\u0000.\ud83c""#)).text().unwrap(), "\u{fffd}\u{fffd}.\u{fffd}");
        assert_eq!(read(&mend(r#""\ud83c\ud83c\udf3f""#)).text().unwrap(), "\u{fffd}🌿");
    }

    proptest! {
        #[test]
        fn webhook_mending_spoils_nothing(text in any::<String>(), raw in ".*\\\\?(u[0-9a-fd]{0,5})?.*") {
            let json = serde_json::to_string(&text).unwrap();
            let mended = mend(&json);
            prop_assert_eq!(read(&mended).to_value(), text.replace('\0', "\u{fffd}"));
            let _ = mend(&raw);
        }
    }
}
