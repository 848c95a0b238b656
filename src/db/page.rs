//! Keyset paging: a place in a list is the sort key and id of a row, never a count of rows.

use sea_orm::sea_query::{Expr, ExprTrait, Order};
use sea_orm::{
    ColumnTrait, DbErr, EntityTrait, IntoSimpleExpr, QueryFilter, QueryOrder, QuerySelect, Select,
};
use uuid::Uuid;

use super::{Columns, Db, Found, Join};

/// Most rows on a page.
pub const MOST: usize = 100;
/// Rows on a page when nobody says.
pub const DEFAULT: usize = 50;

/// The place of a row in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The sort key; 0 in lists that are ordered by id alone.
    pub key: i64,
    /// The row.
    pub id: Uuid,
}

/// Which rows of a list.
#[derive(Clone, Copy, Debug)]
pub struct PageArgs {
    /// How many.
    pub size: usize,
    /// From the end of the list.
    pub backward: bool,
    /// Only rows after this place, in the list's order.
    pub after: Option<Place>,
    /// Only rows before it.
    pub before: Option<Place>,
}

impl Default for PageArgs {
    fn default() -> Self {
        Self { size: DEFAULT, backward: false, after: None, before: None }
    }
}

/// Rows in the list's order, and whether there are more.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// More after the last one.
    pub has_next: bool,
    /// More before the first one.
    pub has_previous: bool,
}

/// How a list is ordered.
pub struct Ordering<C> {
    /// The sort key; none: by id alone.
    pub key: Option<C>,
    /// The id column, which breaks ties.
    pub id: C,
    /// Greatest first.
    pub descending: bool,
}

/// Reads one page with one statement.
///
/// # Errors
/// When the database is away.
pub async fn page<E>(
    db: &Db,
    select: Select<E>,
    ordering: Ordering<E::Column>,
    args: PageArgs,
) -> Result<Page<E::Model>, DbErr>
where
    E: EntityTrait,
    E::Model: Found,
{
    page_with(db, select, &Columns::All, Vec::new(), ordering, args).await
}

/// The same, of rows of which only some columns are needed, each beside what it leads to: models, or [`super::Joined`].
///
/// # Errors
/// When the database is away.
pub async fn page_with<E, M>(
    db: &Db,
    select: Select<E>,
    columns: &Columns<E>,
    joins: Vec<Join>,
    ordering: Ordering<E::Column>,
    args: PageArgs,
) -> Result<Page<M>, DbErr>
where
    E: EntityTrait,
    M: Found,
{
    let mut select = select;
    for (place, wants_later) in [(args.after, true), (args.before, false)] {
        let Some(place) = place else { continue };
        let greater = wants_later != ordering.descending;
        select = select.filter(beyond(&ordering, place, greater));
    }
    let order = if ordering.descending != args.backward { Order::Desc } else { Order::Asc };
    if let Some(key) = ordering.key {
        select = select.order_by(key, order.clone());
    }
    let fetch = u64::try_from(args.size).unwrap_or(u64::MAX).saturating_add(1);
    let mut rows = db.rows_with(select.order_by(ordering.id, order).limit(fetch), columns, joins).await?;
    let more = rows.len() > args.size;
    rows.truncate(args.size);
    if args.backward {
        rows.reverse();
    }
    Ok(Page {
        rows,
        has_next: if args.backward { args.before.is_some() } else { more },
        has_previous: if args.backward { more } else { args.after.is_some() },
    })
}

fn beyond<C: ColumnTrait>(ordering: &Ordering<C>, place: Place, greater: bool) -> Expr {
    match ordering.key {
        None if greater => ordering.id.gt(place.id),
        None => ordering.id.lt(place.id),
        Some(key) => {
            let row = Expr::tuple([key.into_simple_expr(), ordering.id.into_simple_expr()]);
            let place = Expr::tuple([Expr::val(place.key), Expr::val(place.id)]);
            if greater { row.gt(place) } else { row.lt(place) }
        }
    }
}
