//! Values as SQLite takes them.

use rusqlite::types::{Null, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, ToSql};
use sea_orm::{Statement, Value};

use super::decode::Failed;

/// Gives a statement its values: `?` takes the next, `$1` the first.
pub(super) fn bind(prepared: &mut CachedStatement<'_>, statement: &Statement) -> Result<(), Failed> {
    let values = statement.values.as_ref().map_or(&[][..], |values| values.0.as_slice());
    for place in 1..=prepared.parameter_count() {
        let named = prepared.parameter_name(place).and_then(|name| name.get(1..)?.parse::<usize>().ok());
        let value =
            values.get(named.unwrap_or(place) - 1).ok_or_else(|| Failed::value("a value is missing"))?;
        prepared.raw_bind_parameter(place, Bound(value))?;
    }
    Ok(())
}

/// A value that SeaORM binds, as its own driver would write it.
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let integer = |number: Option<i64>| number.map(ToSqlOutput::from);
        let output = match self.0 {
            Value::Bool(value) => integer(value.map(i64::from)),
            Value::Int(value) => integer(value.map(i64::from)),
            Value::BigInt(value) => integer(*value),
            Value::BigUnsigned(value) => match value.map(i64::try_from).transpose() {
                Ok(value) => integer(value),
                Err(error) => return Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
            },
            Value::String(value) => {
                value.as_ref().map(|text| ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())))
            }
            Value::Bytes(value) => value.as_ref().map(|bytes| ToSqlOutput::Borrowed(ValueRef::Blob(bytes))),
            Value::Uuid(value) => {
                value.as_ref().map(|id| ToSqlOutput::Borrowed(ValueRef::Blob(id.as_bytes())))
            }
            Value::Json(value) => value.as_ref().map(|json| ToSqlOutput::from(json.to_string())),
            other => {
                let error = format!("no statement has a value such as {other:?}");
                return Err(rusqlite::Error::ToSqlConversionFailure(error.into()));
            }
        };
        Ok(output.unwrap_or_else(|| ToSqlOutput::from(Null)))
    }
}
