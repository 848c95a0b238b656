//! A row of either database as an entity's model: by the order of its columns, without a copy in between. The counterpart of
//! SeaORM's decoding, which looks each value up by its name (measured: two fifths of a page of messages on Postgres); a test
//! holds the two to the same result.

use std::cell::OnceCell;
use std::fmt::Display;

use rusqlite::types::{Type, ValueRef};
use sea_orm::sqlx::postgres::{PgRow, PgValueFormat};
use sea_orm::sqlx::{self, Row as _, TypeInfo as _, ValueRef as _};
use sea_orm::{DbErr, QueryResult, RuntimeErr};
use serde::de::value::{BorrowedStrDeserializer, Error, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

/// How much of its model a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// Some of its columns, in their order; the model's other fields are empty.
    Part,
}

/// All rows of a statement that runs on SQLite.
///
/// # Errors
/// When the database fails, or a row is no such model.
pub(super) fn models<M: DeserializeOwned>(
    mut rows: rusqlite::Rows<'_>,
    extent: Extent,
) -> Result<Vec<M>, Failed> {
    let mut models = Vec::new();
    let layouts = Default::default();
    while let Some(row) = rows.next()? {
        models.push(M::deserialize(Model { row, extent, layouts: &layouts, table: 0 })?);
    }
    Ok(models)
}

/// All rows that Postgres gave for a statement.
///
/// # Errors
/// When a row is no such model.
pub(super) fn models_of<M: DeserializeOwned>(rows: &[QueryResult], extent: Extent) -> Result<Vec<M>, DbErr> {
    let layouts = Default::default();
    let model = |row: &QueryResult| {
        let row = row.try_as_pg_row().ok_or_else(|| Error::custom("a row of another driver"))?;
        M::deserialize(Model { row, extent, layouts: &layouts, table: 0 })
    };
    rows.iter()
        .map(model)
        .collect::<Result<_, _>>()
        .map_err(|error| DbErr::Query(RuntimeErr::Internal(error.to_string())))
}

/// A row as its driver gives it: columns by their places, values as SQLite has them.
trait Row {
    /// How many columns it has.
    fn columns(&self) -> usize;

    /// A column's name; none after the last.
    fn name(&self, column: usize) -> Option<&str>;

    /// What stands there.
    fn value(&self, column: usize) -> Result<ValueRef<'_>, Error>;
}

impl Row for rusqlite::Row<'_> {
    fn columns(&self) -> usize {
        self.as_ref().column_count()
    }

    fn name(&self, column: usize) -> Option<&str> {
        self.as_ref().column_name(column).ok()
    }

    fn value(&self, column: usize) -> Result<ValueRef<'_>, Error> {
        self.get_ref(column).map_err(Error::custom)
    }
}

impl Row for PgRow {
    fn columns(&self) -> usize {
        self.len()
    }

    fn name(&self, column: usize) -> Option<&str> {
        sqlx::Row::columns(self).get(column).map(sqlx::Column::name)
    }

    /// Of a prepared statement, whose values come in Postgres' binary format.
    fn value(&self, column: usize) -> Result<ValueRef<'_>, Error> {
        let value = self.try_get_raw(column).map_err(Error::custom)?;
        if value.is_null() {
            return Ok(ValueRef::Null);
        }
        if value.format() != PgValueFormat::Binary {
            return Err(Error::custom("the statement was not prepared"));
        }
        let bytes = value.as_bytes().map_err(Error::custom)?;
        let type_info = value.type_info();
        Ok(match (type_info.name(), bytes) {
            ("TEXT" | "VARCHAR" | "JSON", text) => ValueRef::Text(text),
            // Its version comes first.
            ("JSONB", [1, text @ ..]) => ValueRef::Text(text),
            ("UUID" | "BYTEA", bytes) => ValueRef::Blob(bytes),
            ("BOOL" | "INT2" | "INT4" | "INT8", bytes) => ValueRef::Integer(integer(bytes)?),
            (other, _) => return Err(Error::custom(format_args!("{other} is not read"))),
        })
    }
}

/// A number, the highest byte first.
fn integer(bytes: &[u8]) -> Result<i64, Error> {
    match *bytes {
        [byte] => Ok(byte.into()),
        [a, b] => Ok(i16::from_be_bytes([a, b]).into()),
        [a, b, c, d] => Ok(i32::from_be_bytes([a, b, c, d]).into()),
        _ => bytes.try_into().map(i64::from_be_bytes).map_err(Error::custom),
    }
}

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The database.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// What a row holds.
    #[error(transparent)]
    Row(#[from] Error),
    /// The transaction is over: SQLite undid it by itself, as it does when the disk is full.
    #[error("the transaction was undone")]
    Over,
}

impl Failed {
    /// A value that cannot be what its column says.
    pub(super) fn value(error: impl Display) -> Self {
        Self::Row(Error::custom(error))
    }
}

/// Tables whose rows stand beside each other, at most.
const MOST_TABLES: usize = 3;

/// Where a model's fields stand in a row: the same in all rows of a statement.
struct Layout {
    /// The first column.
    from: usize,
    /// The column after the last.
    to: usize,
    /// Which fields have a column.
    there: Vec<bool>,
}

/// A row, from one of its tables on.
struct Model<'a, R> {
    row: &'a R,
    extent: Extent,
    layouts: &'a [OnceCell<Layout>; MOST_TABLES],
    table: usize,
}

impl<R> Copy for Model<'_, R> {}

impl<R> Clone for Model<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, R: Row> Model<'a, R> {
    /// The table's first column.
    fn from(&self) -> usize {
        let before = self.table.checked_sub(1).and_then(|table| self.layouts[table].get());
        before.map_or(0, |layout| layout.to)
    }

    /// Values are told by their place alone: once for each statement it is made sure that they stand where they belong.
    fn layout(&self, fields: &[&str]) -> Result<&'a Layout, Error> {
        if let Some(layout) = self.layouts[self.table].get() {
            return Ok(layout);
        }
        let (row, from) = (self.row, self.from());
        // Of a table beside another: `table.column`.
        let split = |name: &'a str| name.rsplit_once('.').unwrap_or(("", name));
        let mut names = (from..).map_while(|column| row.name(column)).map(split).peekable();
        let table = names.peek().map_or("", |(table, _)| table);
        let there: Vec<bool> =
            fields.iter().map(|field| names.next_if_eq(&(table, *field)).is_some()).collect();
        let is_more = names.next_if(|(its, _)| *its == table).is_some();
        if is_more || (self.extent == Extent::Whole && there.contains(&false)) {
            let columns: Vec<&str> = (0..).map_while(|column| row.name(column)).collect();
            return Err(Error::custom(format_args!(
                "columns {columns:?} from {from} on are not the fields {fields:?}"
            )));
        }
        let to = from + there.iter().filter(|there| **there).count();
        Ok(self.layouts[self.table].get_or_init(|| Layout { from, to, there }))
    }
}

impl<'de, R: Row> Deserializer<'de> for Model<'de, R> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Layout { from, there, .. } = self.layout(fields)?;
        visitor.visit_seq(Columns { row: self.row, there, column: *from })
    }

    /// A table's row, and those of the tables beside it.
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Tables(self))
    }

    /// None where the table is not in the statement, or the row's first column, its id, is NULL.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let column = self.from();
        let is_there = column < self.row.columns() && self.row.value(column)? != ValueRef::Null;
        if is_there { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a row is a model"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct
        seq tuple map enum identifier ignored_any
    }
}

/// The row of one table after the other.
struct Tables<'a, R>(Model<'a, R>);

impl<'de, R: Row> SeqAccess<'de> for Tables<'de, R> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let model = self.0;
        if model.table == MOST_TABLES {
            return Ok(None);
        }
        self.0.table += 1;
        seed.deserialize(model).map(Some)
    }
}

struct Columns<'a, R> {
    row: &'a R,
    /// Of the fields that are left, whether they have a column.
    there: &'a [bool],
    /// The next one.
    column: usize,
}

impl<'de, R: Row> SeqAccess<'de> for Columns<'de, R> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((there, rest)) = self.there.split_first() else { return Ok(None) };
        self.there = rest;
        if !there {
            return seed.deserialize(Cell(None)).map(Some);
        }
        let cell = Cell(Some(self.row.value(self.column)?));
        let name = |error| match self.row.name(self.column) {
            Some(name) => Error::custom(format_args!("column {name}: {error}")),
            None => error,
        };
        let value = seed.deserialize(cell).map_err(name)?;
        self.column += 1;
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.there.len())
    }
}

/// A value of a row. None was not read: it is empty, whatever it is.
struct Cell<'a>(Option<ValueRef<'a>>);

impl<'a> Cell<'a> {
    fn text(&self) -> Result<&'a str, Error> {
        match self.0 {
            Some(ValueRef::Text(text)) => std::str::from_utf8(text).map_err(Error::custom),
            None => Ok(""),
            Some(other) => Err(unexpected(other, "text")),
        }
    }

    fn integer(&self) -> Result<i64, Error> {
        match self.0 {
            Some(ValueRef::Integer(number)) => Ok(number),
            None => Ok(0),
            Some(other) => Err(unexpected(other, "an integer")),
        }
    }
}

fn unexpected(found: ValueRef<'_>, wanted: &str) -> Error {
    let found = match found.data_type() {
        Type::Null => "NULL",
        Type::Integer => "an integer",
        Type::Real => "a real number",
        Type::Text => "text",
        Type::Blob => "a blob",
    };
    Error::invalid_type(Unexpected::Other(found), &wanted)
}

impl<'de> Deserializer<'de> for Cell<'de> {
    type Error = Error;

    /// Only JSON does not say what it wants.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_none() {
            return visitor.visit_unit();
        }
        let mut json = serde_json::Deserializer::from_str(self.text()?);
        let value = json.deserialize_any(visitor).map_err(Error::custom)?;
        json.end().map_err(Error::custom)?;
        Ok(value)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.integer()? != 0)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i64(self.integer()?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i64(self.integer()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    /// Ids.
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Some(ValueRef::Blob(bytes)) => visitor.visit_borrowed_bytes(bytes),
            None => visitor.visit_borrowed_bytes(&[0; 16]),
            Some(other) => Err(unexpected(other, "a blob")),
        }
    }

    /// `Vec<u8>`.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let bytes = match self.0 {
            Some(ValueRef::Blob(bytes)) => bytes,
            None => &[],
            Some(other) => return Err(unexpected(other, "a blob")),
        };
        visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            None | Some(ValueRef::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Words; the first of them is the empty one.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let word = match (self.0, words.first()) {
            (None, Some(first)) => first,
            _ => self.text()?,
        };
        visitor.visit_enum(BorrowedStrDeserializer::new(word))
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        i8 i16 u8 u16 u32 u64 f32 f64 char byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}
