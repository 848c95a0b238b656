//! Scalars, and ids as arguments.

use std::borrow::Cow;

use async_graphql::registry::Registry;
use async_graphql::{ID, InputType, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{Days, NaiveDate, SecondsFormat};
use entity::Timestamp;

use crate::clock::{from_datetime, to_datetime};
use crate::contacts::phone;
use crate::failure::{Failure, Outcome, Refusal, RefusalCode};
use crate::ids::PublicId;

/// An instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime(pub Timestamp);

impl From<Timestamp> for DateTime {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// An instant, RFC 3339, such as `2026-11-22T11:03:12.250Z`. Always told in UTC, to the microsecond; any offset is
/// understood.
#[Scalar]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => chrono::DateTime::parse_from_rfc3339(text)
                .map(|at| Self(from_datetime(at.to_utc())))
                .map_err(|_| InputValueError::custom("it needs an instant such as 2026-11-22T11:03:12Z")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(to_datetime(self.0).to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// A day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub NaiveDate);

impl Date {
    /// The day that begins so many days after that of 1970-01-01.
    pub fn of_days(days: i64) -> Option<Self> {
        let days = u64::try_from(days).ok()?;
        NaiveDate::from_ymd_opt(1970, 1, 1)?.checked_add_days(Days::new(days)).map(Self)
    }
}

/// A day in UTC, such as `2026-11-22`.
#[Scalar]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .map(Self)
                .map_err(|_| InputValueError::custom("it needs a day such as 2026-11-22")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.format("%Y-%m-%d").to_string())
    }
}

/// A telephone number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneNumber(pub String);

/// A telephone number in E.164 form with its plus sign, such as `+491700000002`. Input may carry spaces, dashes and
/// brackets, but needs the plus sign and the country code.
#[Scalar]
impl ScalarType for PhoneNumber {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => phone::normalize(text)
                .map(Self)
                .ok_or_else(|| InputValueError::custom("it needs a whole number such as +49 170 0000002")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(pub String);

/// An absolute http or https address, such as `https://example.org/logo.png`.
#[Scalar]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        match url::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Self(url.into())),
            _ => Err(InputValueError::custom("it needs an address such as https://example.org")),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A place in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventCursor(pub String);

/// A place in a partner's event stream: opaque, ordered, valid on every transport. Good until the stream no longer
/// holds what follows it, or the database is replaced (then: CURSOR_EXPIRED).
#[Scalar]
impl ScalarType for EventCursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// An id that a caller gave, read once. What is not an id of the right kind names nothing: it is told like an id that
/// nobody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given<I>(Option<I>);

impl<I: PublicId> Given<I> {
    /// The id, if it is one.
    pub fn id(self) -> Option<I> {
        self.0
    }

    /// The id, or NOT_FOUND for this field of an input.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub fn of(self, field: &str) -> Outcome<I> {
        self.0.ok_or_else(|| {
            Failure::Refused(Refusal::new(
                RefusalCode::NotFound,
                field,
                format!("{field} names nothing that you have."),
            ))
        })
    }
}

impl<I: PublicId + Send + Sync> InputType for Given<I> {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        <ID as InputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <ID as InputType>::create_type_info(registry)
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        let id = <ID as InputType>::parse(value).map_err(InputValueError::propagate)?;
        Ok(Self(I::parse(&id)))
    }

    fn to_value(&self) -> Value {
        self.0.map_or(Value::Null, |id| Value::String(id.public()))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }
}

/// An id as callers see it.
pub fn public(id: impl PublicId) -> ID {
    ID(id.public())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_told_in_utc_and_come_back() {
        let read = |text: &str| <DateTime as ScalarType>::parse(Value::from(text));
        let at = read("2026-11-22T12:03:12.25+01:00").unwrap();
        assert_eq!(ScalarType::to_value(&at), Value::from("2026-11-22T11:03:12.250Z"));
        assert_eq!(read("2026-11-22T11:03:12.250Z").unwrap(), at);
        assert!(read("2026-11-22").is_err());
    }
}
