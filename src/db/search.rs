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
/// capitals of ASCII only: there other letters match as they were typed, or in small letters.
pub fn contains<C: ColumnTrait>(columns: &[C], words: &str) -> Condition {
    let words = words.trim();
    if words.is_empty() {
        return Condition::all();
    }
    let small = words.to_lowercase();
    let mut any = Condition::any();
    for column in columns {
        let lowered = || Expr::expr(Func::lower(column.into_simple_expr()));
        any = any.add(lowered().like(containing(&small)));
        let typed = words.to_ascii_lowercase();
        if typed != small {
            any = any.add(lowered().like(containing(&typed)));
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
    use sea_orm::{DatabaseBackend, EntityTrait, QueryFilter, QuerySelect, QueryTrait};

    use super::*;

    #[test]
    fn signs_of_like_are_taken_as_they_stand() {
        let sql = message::Entity::find()
            .select_only()
            .column(message::Column::Id)
            .filter(contains(&[message::Column::Text], "50%_\\"))
            .build(DatabaseBackend::Sqlite)
            .to_string();
        assert!(sql.contains(r"LIKE '%50\%\_\\%' ESCAPE '\'"), "{sql}");
    }
}
