//! The history of the database, one idea a step. Never edited once released.

mod column;
mod m20261122_100000_partners;
mod m20261122_100100_clients;
mod m20261122_100200_contacts;
mod m20261122_100300_messages;
mod m20261122_100400_events;
mod m20261122_100500_lanes;
mod m20261122_100600_inbound;
mod m20261122_100700_webhooks;
mod m20261122_100800_media;
mod m20261122_100900_templates;

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

/// Everything but the raw webhook bodies.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_100000_partners::Migration),
            Box::new(m20261122_100100_clients::Migration),
            Box::new(m20261122_100200_contacts::Migration),
            Box::new(m20261122_100300_messages::Migration),
            Box::new(m20261122_100400_events::Migration),
            Box::new(m20261122_100500_lanes::Migration),
            Box::new(m20261122_100700_webhooks::Migration),
            Box::new(m20261122_100800_media::Migration),
            Box::new(m20261122_100900_templates::Migration),
        ]
    }
}

/// The raw webhook bodies: on SQLite in a file of their own, so that accepting never waits for applying.
pub struct InboundMigrator;

#[async_trait::async_trait]
impl MigratorTrait for InboundMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_100600_inbound::Migration)]
    }

    fn migration_table_name() -> DynIden {
        Alias::new("seaql_migrations_inbound").into_iden()
    }
}
