//! Searching for words that people typed.

use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{ColumnTrait, Condition, IntoSimpleExpr};

/// A pattern that matches whatever contains these words. What LIKE takes for a sign is taken as it stands.
fn containing(words: &str) -> LikeExpr {
    let mut pattern = String::with_capacity(words.len() + 2);
    pattern.push('%');
    for character in words.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('\\')
}

/// Rows of which one of these columns contains the words, in capitals or not. Empty words: all rows. SQLite knows
/// capitals of ASCII only: there other letters match as they were typed, or if all of them are small or capital.
pub fn contains<C: ColumnTrait>(columns: &[C], words: &str) -> Condition {
    let words = words.trim();
    if words.is_empty() {
        return Condition::all();
    }
    let mut spellings = vec![words.to_lowercase()];
    for other in [words.to_ascii_lowercase(), words.to_uppercase().to_ascii_lowercase()] {
        if !words.is_ascii() && !spellings.contains(&other) {
            spellings.push(other);
        }
    }
    let mut any = Condition::any();
    for column in columns {
        for spelling in &spellings {
            let lowered = Expr::expr(Func::lower(column.into_simple_expr()));
            any = any.add(lowered.like(containing(spelling)));
        }
    }
    any
}

/// The same over a column that holds small letters only.
pub fn contains_lowered<C: ColumnTrait>(column: C, words: &str) -> Condition {
    let words = words.trim().to_lowercase();
    if words.is_empty() {
        return Condition::all();
    }
    Condition::all().add(column.into_simple_expr().like(containing(&words)))
}

#[cfg(test)]
mod tests {
    use entity::message;
    use sea_orm::sea_query::{Query, SqliteQueryBuilder};

    use super::*;

    #[test]
    fn signs_of_like_are_taken_as_they_stand() {
        let mut select = Query::select();
        select.column(message::Column::Id).cond_where(contains(&[message::Column::Text], "50%_\\"));
        let sql = select.to_string(SqliteQueryBuilder);
        assert!(sql.contains(r"LIKE '%50\%\_\\%' ESCAPE '\'"), "{sql}");
    }
}
