//! Short names for the kinds of columns that we use, the same on SQLite and on Postgres.

use sea_orm_migration::prelude::*;

fn column(name: &str) -> ColumnDef {
    ColumnDef::new(Alias::new(name))
}

/// An id.
pub(crate) fn uuid(name: &str) -> ColumnDef {
    column(name).uuid().not_null().take()
}

/// Words.
pub(crate) fn text(name: &str) -> ColumnDef {
    column(name).text().not_null().take()
}

/// Microseconds since 1970, a counter, a position.
pub(crate) fn bigint(name: &str) -> ColumnDef {
    column(name).big_integer().not_null().take()
}

/// A small number.
pub(crate) fn integer(name: &str) -> ColumnDef {
    column(name).integer().not_null().take()
}

/// Yes or no.
pub(crate) fn boolean(name: &str) -> ColumnDef {
    column(name).boolean().not_null().take()
}

/// A document.
pub(crate) fn json(name: &str) -> ColumnDef {
    column(name).json_binary().not_null().take()
}

/// Bytes.
pub(crate) fn bytes(name: &str) -> ColumnDef {
    column(name).blob().not_null().take()
}

/// The same column, which may be null.
pub(crate) fn optional(mut definition: ColumnDef) -> ColumnDef {
    definition.null().take()
}

/// A table of these columns with this primary key.
pub(crate) fn table(name: &str, columns: Vec<ColumnDef>, key: &[&str]) -> TableCreateStatement {
    let mut table = Table::create();
    table.table(Alias::new(name));
    for definition in columns {
        table.col(definition);
    }
    let mut primary = Index::create();
    for part in key {
        primary.col(Alias::new(*part));
    }
    table.primary_key(&mut primary).take()
}

/// An index by these columns.
pub(crate) fn index(table: &str, columns: &[&str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(format!("{table}_{}", columns.join("_"))).table(Alias::new(table));
    for part in columns {
        index.col(Alias::new(*part));
    }
    index.take()
}

/// An index by these columns that refuses doubles.
pub(crate) fn unique(table: &str, columns: &[&str]) -> IndexCreateStatement {
    index(table, columns).unique().take()
}

/// Tables whose rows or keys are too wide to be clustered: their tree would be deep, and every index would repeat the key
/// (measured: half the writes a second).
const WIDE: [&str; 4] = ["message", "inbound", "webhook_delivery", "template"];

/// Makes tables, then indexes. On SQLite narrow tables are clustered by their primary key (WITHOUT ROWID): one tree
/// instead of two for each insert and look-up.
pub(crate) async fn create(
    manager: &SchemaManager<'_>,
    tables: Vec<TableCreateStatement>,
    indexes: Vec<IndexCreateStatement>,
) -> Result<(), DbErr> {
    let sqlite = manager.get_database_backend() == sea_orm_migration::sea_orm::DatabaseBackend::Sqlite;
    for mut table in tables {
        let wide = WIDE.iter().any(|name| is_named(&table, name));
        if sqlite && !wide {
            table.extra("WITHOUT ROWID");
        }
        manager.create_table(table).await?;
    }
    for index in indexes {
        manager.create_index(index).await?;
    }
    Ok(())
}

/// Takes tables away, last made first.
pub(crate) async fn drop(manager: &SchemaManager<'_>, tables: &[&str]) -> Result<(), DbErr> {
    for table in tables.iter().rev() {
        manager.drop_table(Table::drop().table(Alias::new(*table)).take()).await?;
    }
    Ok(())
}

fn is_named(table: &TableCreateStatement, name: &str) -> bool {
    matches!(table.get_table_name(), Some(TableRef::Table(table, _)) if table.1.to_string() == name)
}
