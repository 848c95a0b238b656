//! Rows beside the rows that they lead to: a page is one statement, whatever its items belong to.

use std::sync::Arc;

use sea_orm::sea_query::{Expr, ExprTrait, SelectStatement};
use sea_orm::{ColumnTrait, EntityTrait, IdenStatic, IntoSimpleExpr};
use serde::{Deserialize, Deserializer};

use super::Columns;

/// A row, and the one that it leads to, if that was asked for and is there.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(bound = "A: Deserialize<'de>, B: Deserialize<'de>")]
pub struct Joined<A, B>(#[serde(deserialize_with = "shared")] pub Arc<A>, pub Option<B>);

/// A row beside another, in the place where it stays: it would be moved a few times on its way.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(transparent, bound = "A: Deserialize<'de>")]
pub struct Shared<A>(#[serde(deserialize_with = "shared")] pub Arc<A>);

fn shared<'de, D: Deserializer<'de>, A: Deserialize<'de>>(from: D) -> Result<Arc<A>, D::Error> {
    A::deserialize(from).map(Arc::new)
}

/// Another table whose rows are read beside those of a list, or beside those that were joined before.
pub struct Join {
    on: Expr,
    columns: Vec<(Expr, String)>,
    add: fn(&mut SelectStatement, Expr),
}

impl Join {
    /// The rows of `T` whose id stands in a column of another table; their own columns as far as they are needed, the id
    /// among them, which is the first. Beside another table's they are
    /// called by this one's name, a dot, and theirs.
    pub fn new<T: EntityTrait>(from: impl ColumnTrait, id: T::Column, columns: &Columns<T>) -> Self {
        let table = T::default().table_name();
        Self {
            on: from.into_simple_expr().eq(id.into_simple_expr()),
            columns: columns
                .needed()
                .map(|column| {
                    let name = [table, ".", column.as_str()].concat();
                    (column.select_as(column.into_simple_expr()), name)
                })
                .collect(),
            add: |select, on| {
                select.left_join(T::default(), on);
            },
        }
    }

    /// Adds it to a statement that has what it leads from.
    pub(super) fn add_to(self, select: &mut SelectStatement) {
        (self.add)(select, self.on);
        for (column, name) in self.columns {
            select.expr_as(column, name);
        }
    }
}
