//! From a credential to a [`Scope`].

mod scope;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use entity::{ApiKeyId, Timestamp, api_key};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use crate::clock::Clock;
use crate::db::{Db, SelectExt};
use crate::secrets::InstallationKey;

pub use scope::{OfClient, OfPartner, Permission, Scope};

/// How long a key that was found good is not looked up again: the longest that a revoked key still works.
const REMEMBERED: Duration = Duration::from_secs(2);
/// Good keys remembered at once.
const MOST_REMEMBERED: usize = 10_000;

/// Why a credential is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Unauthenticated {
    /// None was given.
    #[error("no credential: send the header `Authorization: Bearer KEY`")]
    Missing,
    /// It is unknown, expired or revoked: all the same to a stranger.
    #[error("the credential is unknown, expired or revoked")]
    Refused,
    /// It could not be checked.
    #[error("credentials cannot be checked right now")]
    Unavailable(#[source] DbErr),
}

/// Checks API keys, remembering good ones for a moment.
#[derive(Default)]
pub struct Keys {
    remembered: Mutex<HashMap<Vec<u8>, (Scope, Timestamp)>>,
    checked: Mutex<HashMap<ApiKeyId, (bool, Timestamp)>>,
}

impl Keys {
    /// The scope of an `Authorization` value (`Bearer KEY`).
    ///
    /// # Errors
    /// See [`Unauthenticated`].
    pub async fn authenticate(
        &self,
        db: &Db,
        key: &InstallationKey,
        authorization: Option<&str>,
    ) -> Result<Scope, Unauthenticated> {
        let secret = bearer(authorization).ok_or(Unauthenticated::Missing)?;
        let hash = key.hash(secret);
        let now = Clock::real_now();
        let known = lock(&self.remembered).get(&hash).cloned();
        if let Some((scope, checked_at)) = known
            && now.0 - checked_at.0 < micros(REMEMBERED)
            && !scope.is_expired(now)
        {
            return Ok(scope);
        }
        #[expect(clippy::disallowed_methods, reason = "this look-up is what makes a Scope")]
        let row = api_key::Entity::find()
            .filter(api_key::Column::SecretHash.eq(hash.clone()))
            .row(&db.reads())
            .await
            .map_err(Unauthenticated::Unavailable)?;
        let scope = row.and_then(|row| Scope::of_key(&row)).filter(|scope| !scope.is_expired(now));
        let mut remembered = lock(&self.remembered);
        let Some(scope) = scope else {
            remembered.remove(&hash);
            return Err(Unauthenticated::Refused);
        };
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(hash, (scope.clone(), now));
        Ok(scope)
    }

    /// Whether a key that let somebody in still holds. Asked of the database once in a while, however many sockets the key
    /// has open.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn still_holds(&self, db: &Db, key: ApiKeyId) -> Result<bool, DbErr> {
        let now = Clock::real_now();
        let known = lock(&self.checked).get(&key).copied();
        if let Some((holds, checked_at)) = known
            && now.0 - checked_at.0 < micros(REMEMBERED)
        {
            return Ok(holds);
        }
        // Whoever asks meanwhile takes the last answer.
        lock(&self.checked).insert(key, (known.is_none_or(|(holds, _)| holds), now));
        #[expect(clippy::disallowed_methods, reason = "asks about the credential itself, by its own id")]
        let row = api_key::Entity::find_by_id(key).row(&db.reads()).await?;
        let holds = row.and_then(|row| Scope::of_key(&row)).is_some_and(|scope| !scope.is_expired(now));
        lock(&self.checked).insert(key, (holds, now));
        Ok(holds)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The credential of an `Authorization` value.
fn bearer(authorization: Option<&str>) -> Option<&str> {
    let (scheme, secret) = authorization?.trim().split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !secret.trim().is_empty()).then(|| secret.trim())
}
