//! The posts and users, in an SQLite database.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use tower_chain::Error;

/// A handle to the database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Database(Arc<Mutex<Connection>>);

#[derive(schemars::JsonSchema, Serialize)]
pub(crate) struct Post {
    id: i64,
    title: String,
    post: String,
}

impl Database {
    /// Opens the file, and creates it if it doesn't exist.
    pub(crate) fn open(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE IF NOT EXISTS posts (id INTEGER PRIMARY KEY, title TEXT NOT NULL, post TEXT NOT NULL) STRICT;
             CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
             INSERT OR IGNORE INTO users (id, name) VALUES (1, 'John Doe'), (2, 'Jane Doe');",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    pub(crate) async fn add_post(&self, title: String, post: String) -> Result<(), Error> {
        self.run(move |connection| {
            let insert = "INSERT INTO posts (title, post) VALUES (?1, ?2)";
            connection.prepare_cached(insert)?.execute(params![title, post]).map(|_| ())
        })
        .await
    }

    /// The newest posts, the latest first.
    pub(crate) async fn posts(&self) -> Result<Vec<Post>, Error> {
        self.run(|connection| {
            let select = "SELECT id, title, post FROM posts ORDER BY id DESC LIMIT 100";
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map([], |row| {
                Ok(Post { id: row.get(0)?, title: row.get(1)?, post: row.get(2)? })
            })?;
            rows.collect()
        })
        .await
    }

    pub(crate) async fn user(&self, id: i64) -> Result<Option<String>, Error> {
        self.run(move |connection| {
            let select = "SELECT name FROM users WHERE id = ?1";
            connection.prepare_cached(select)?.query_row([id], |row| row.get(0)).optional()
        })
        .await
    }

    /// Runs a query on a thread for blocking work, because SQLite waits for the disk.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            work(&connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        Ok(done.await??)
    }
}
