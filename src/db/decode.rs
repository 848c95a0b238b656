//! A row of SQLite as an entity's model: by the order of its columns, without a copy in between. The counterpart of
//! SeaORM's decoding, for [`super::rows`]; a test holds the two to the same result.

use std::cell::OnceCell;
use std::fmt::Display;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Row, Rows};
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

/// All rows of a statement that runs.
///
/// # Errors
/// When the database fails, or a row is no such model.
pub(super) fn models<M: DeserializeOwned>(mut rows: Rows<'_>, extent: Extent) -> Result<Vec<M>, Failed> {
    let mut models = Vec::new();
    let layouts = Default::default();
    while let Some(row) = rows.next()? {
        models.push(M::deserialize(Model { row, extent, layouts: &layouts, table: 0 })?);
    }
    Ok(models)
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
#[derive(Clone, Copy)]
struct Model<'a> {
    row: &'a Row<'a>,
    extent: Extent,
    layouts: &'a [OnceCell<Layout>; MOST_TABLES],
    table: usize,
}

impl<'a> Model<'a> {
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
        let (from, statement) = (self.from(), self.row.as_ref());
        // Of a table beside another: `table.column`.
        let split = |name: &'a str| name.rsplit_once('.').unwrap_or(("", name));
        let mut names = (from..).map_while(|column| statement.column_name(column).ok()).map(split).peekable();
        let table = names.peek().map_or("", |(table, _)| table);
        let there: Vec<bool> =
            fields.iter().map(|field| names.next_if_eq(&(table, *field)).is_some()).collect();
        let is_more = names.next_if(|(its, _)| *its == table).is_some();
        if is_more || (self.extent == Extent::Whole && there.contains(&false)) {
            let columns = statement.column_names();
            return Err(Error::custom(format_args!(
                "columns {columns:?} from {from} on are not the fields {fields:?}"
            )));
        }
        let to = from + there.iter().filter(|there| **there).count();
        Ok(self.layouts[self.table].get_or_init(|| Layout { from, to, there }))
    }
}

impl<'de> Deserializer<'de> for Model<'de> {
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
        let is_there = column < self.row.as_ref().column_count()
            && self.row.get_ref(column).map_err(Error::custom)? != ValueRef::Null;
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
struct Tables<'a>(Model<'a>);

impl<'de> SeqAccess<'de> for Tables<'de> {
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

struct Columns<'a> {
    row: &'a Row<'a>,
    /// Of the fields that are left, whether they have a column.
    there: &'a [bool],
    /// The next one.
    column: usize,
}

impl<'de> SeqAccess<'de> for Columns<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((there, rest)) = self.there.split_first() else { return Ok(None) };
        self.there = rest;
        if !there {
            return seed.deserialize(Cell(None)).map(Some);
        }
        let cell = Cell(Some(self.row.get_ref(self.column).map_err(Error::custom)?));
        let name = |error| match self.row.as_ref().column_name(self.column) {
            Ok(name) => Error::custom(format_args!("column {name}: {error}")),
            Err(_) => error,
        };
        let value = seed.deserialize(cell).map_err(name)?;
        self.column += 1;
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.there.len())
    }
}

/// A value of a row, in the form in which the driver writes it. None was not read: it is empty, whatever it is.
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
