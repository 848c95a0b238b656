//! Tenants and their keys.

pub mod queries;

use entity::{ApiKeyId, ClientId, PartnerId, Timestamp, api_key, partner};
use sea_orm::{ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, QueryFilter};

use crate::app::Installation;
use crate::auth::Permission;
use crate::clock::Clock;
use crate::db::{self, SelectExt, WriteExt};
use crate::ids::PublicId;
use crate::secrets::{InstallationKey, random_hex};

/// A partner that was just made, with its first key.
pub struct Created {
    /// The tenant.
    pub partner: PartnerId,
    /// The secret, shown this once.
    pub api_key: String,
}

/// Makes a partner with a key that may do everything.
///
/// # Errors
/// When the database is away.
pub async fn create(installation: &Installation, name: &str) -> Result<Created, DbErr> {
    let id = PartnerId::generate();
    let row =
        partner::Model { id, name: name.to_owned(), stream_opened_at: None, created_at: Clock::real_now() };
    db::insert::<partner::Entity, _>(installation.db.write(), vec![row]).await?;
    let key = create_key(installation, id, NewKey { name: "first key", ..NewKey::default() }).await?;
    Ok(Created { partner: id, api_key: key.secret })
}

/// What a new key shall be.
pub struct NewKey<'a> {
    /// For people.
    pub name: &'a str,
    /// The only clients; none: all.
    pub clients: Option<Vec<ClientId>>,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// When it ends, by real time.
    pub expires_at: Option<Timestamp>,
}

impl Default for NewKey<'_> {
    fn default() -> Self {
        Self { name: "key", clients: None, permissions: Permission::ALL.to_vec(), expires_at: None }
    }
}

/// A key that was just made.
pub struct CreatedKey {
    /// To revoke it by.
    pub id: ApiKeyId,
    /// The secret, shown this once.
    pub secret: String,
}

/// Makes a key: 256 random bits, of which only a hash is kept.
///
/// # Errors
/// When the database is away.
pub async fn create_key(
    installation: &Installation,
    partner: PartnerId,
    new: NewKey<'_>,
) -> Result<CreatedKey, DbErr> {
    let (row, secret) = draw_key(&installation.key, partner, new)?;
    let id = row.id;
    db::insert::<api_key::Entity, _>(installation.db.write(), vec![row]).await?;
    Ok(CreatedKey { id, secret })
}

/// The row of a new key, to be inserted, and its secret.
///
/// # Errors
/// When its clients cannot be written as JSON, which they can.
pub fn draw_key(
    key: &InstallationKey,
    partner: PartnerId,
    new: NewKey<'_>,
) -> Result<(api_key::Model, String), DbErr> {
    let secret = format!("tdm_{}", random_hex(32));
    let words: Vec<&str> = new.permissions.iter().map(|permission| permission.word()).collect();
    let clients = new.clients.map(serde_json::to_value).transpose();
    let row = api_key::Model {
        id: ApiKeyId::generate(),
        partner_id: partner,
        name: new.name.to_owned(),
        secret_hash: key.hash(&secret),
        scopes: words.join(","),
        client_ids: clients.map_err(|error| DbErr::Json(error.to_string()))?,
        expires_at: new.expires_at,
        revoked_at: None,
        created_at: Clock::real_now(),
    };
    Ok((row, secret))
}

/// Ends a key. Says whether there was one to end.
///
/// # Errors
/// When the database is away.
pub async fn revoke_key(installation: &Installation, id: ApiKeyId) -> Result<bool, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the operator's command, by the key's own id")]
    let done = api_key::Entity::update_many()
        .set(api_key::ActiveModel { revoked_at: Set(Some(Clock::real_now())), ..Default::default() })
        .filter(api_key::Column::Id.eq(id))
        .filter(api_key::Column::RevokedAt.is_null())
        .write(installation.db.write())
        .await?;
    Ok(done > 0)
}

/// Whether there is such a partner.
///
/// # Errors
/// When the database is away.
pub async fn exists(installation: &Installation, id: PartnerId) -> Result<bool, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the operator's command, by the partner's own id")]
    Ok(partner::Entity::find_by_id(id).row(&installation.db.reads()).await?.is_some())
}

/// Notes that a partner reads its stream: the first time only.
///
/// # Errors
/// When the database is away.
pub async fn stream_opened(db: &crate::db::Db, id: PartnerId, now: Timestamp) -> Result<(), DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the partner's own row, by the id of its Scope")]
    partner::Entity::update_many()
        .set(partner::ActiveModel { stream_opened_at: Set(Some(now)), ..Default::default() })
        .filter(partner::Column::Id.eq(id))
        .filter(partner::Column::StreamOpenedAt.is_null())
        .put(db.write())
        .await?;
    Ok(())
}

/// Whether a partner ever read its stream.
///
/// # Errors
/// When the database is away.
pub async fn listens(db: &crate::db::Db, id: PartnerId) -> Result<bool, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "the partner's own row, by the id of its Scope")]
    let row = partner::Entity::find_by_id(id).row(&db.reads()).await?;
    Ok(row.is_some_and(|row| row.stream_opened_at.is_some()))
}

/// The clients of a partner that these ids name; what was merged counts as what it was merged into.
///
/// # Errors
/// When one is not the partner's, or the database is away.
pub async fn own_clients(
    installation: &Installation,
    partner: PartnerId,
    ids: Vec<ClientId>,
) -> anyhow::Result<Vec<ClientId>> {
    let mut own = Vec::new();
    for id in ids {
        #[expect(
            clippy::disallowed_methods,
            reason = "the operator's command; the partner is checked right below"
        )]
        let alias = entity::alias::Entity::find_by_id(id.uuid()).row(&installation.db.reads()).await?;
        let id = alias.map_or(id, |alias| ClientId(alias.target));
        #[expect(
            clippy::disallowed_methods,
            reason = "the operator's command; the partner is checked right below"
        )]
        let row = entity::client::Entity::find_by_id(id).row(&installation.db.reads()).await?;
        anyhow::ensure!(
            row.is_some_and(|row| row.partner_id == partner),
            "the partner has no client {}",
            id.public()
        );
        own.push(id);
    }
    Ok(own)
}
