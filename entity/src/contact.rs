//! A person, as one client knows them.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{ClientId, ContactId, PartnerId, Timestamp};

/// A person, as one client knows them.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "contact")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ContactId,
    pub partner_id: PartnerId,
    pub client_id: ClientId,
    /// E.164 with plus; none where WhatsApp hides it.
    pub phone_number: Option<String>,
    /// When it was last seen with this contact.
    pub phone_at: Timestamp,
    pub wa_user_id: Option<String>,
    pub user_id_at: Timestamp,
    pub username: Option<String>,
    pub username_at: Timestamp,
    /// As they call themselves.
    pub profile_name: Option<String>,
    pub profile_name_at: Timestamp,
    /// As the phone book calls them.
    pub full_name: Option<String>,
    pub first_name: Option<String>,
    pub in_phone_book: bool,
    /// Stamp of the phone book change that holds; 0: never in it.
    pub book_at: Timestamp,
    /// They want no marketing messages of this client.
    pub marketing_stopped: bool,
    /// Stamp of that word; 0: they said nothing.
    pub marketing_at: Timestamp,
    /// Its number was seen with two user ids.
    pub ambiguous: bool,
    /// CONTACT_ADDED was raised: it is in the phone book, or somebody wrote live. People of old chats alone are not.
    pub announced: bool,
    /// Lower-cased names and number, for contacts(filter: {search}).
    pub search: String,
    pub changed_at: Timestamp,
    pub created_at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
