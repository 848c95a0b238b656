//! Reads of partners.

use entity::partner;
use sea_orm::{DbErr, EntityTrait};

use crate::auth::Scope;
use crate::db::{Db, SelectExt};

/// The partner who is asking.
///
/// # Errors
/// When the database is away.
pub async fn own(db: &Db, scope: &Scope) -> Result<Option<partner::Model>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the scope's own partner")]
    partner::Entity::find_by_id(scope.partner()).row(&db.reads()).await
}
