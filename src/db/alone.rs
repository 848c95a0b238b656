//! One service on one SQLite database. Much rests on it: locks that are in memory, and claims of a former process that are
//! taken over at once.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};

/// Held while a service serves. The system gives it up with the process, however that ends.
#[derive(Debug)]
pub struct Alone {
    _lock: File,
}

impl Alone {
    /// Takes the lock beside a database file. Not on the file itself, whose locks are SQLite's own.
    ///
    /// # Errors
    /// When another service has it, or the file system knows no locks.
    pub fn claim(database: &Path) -> anyhow::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = Path::new(&path);
        let open = File::options().create(true).truncate(false).write(true).open(path);
        let lock = open.with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another `tandem serve` works on {}; stop it first, or use Postgres (DATABASE_URL) for several at once",
                database.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_has_one_service_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("tandem.sqlite");
        let first = Alone::claim(&database).unwrap();
        let refused = Alone::claim(&database).unwrap_err().to_string();
        assert!(refused.contains("another `tandem serve`"), "{refused}");
        Alone::claim(&dir.path().join("other.sqlite")).unwrap();
        drop(first);
        Alone::claim(&database).unwrap();
    }
}
