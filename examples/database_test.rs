//! A test of a whole API with its database: real requests over a socket, and a check of the stored data.
//!
//! Next.js API routes: the test with a database.
//!
//! Run its test with `cargo test --example database_test --features json,serve,test-util`, and the program with
//!
//! ```sh
//! cargo run --example database_test --features json,serve,test-util
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! rusqlite = { version = "0.41", features = ["bundled"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl localhost:3000/api/users --json '"John Doe"'
//! # 1
//! curl localhost:3000/api/users/1
//! # "John Doe"
//! curl localhost:3000/api/users/7
//! # {"type":"about:blank","title":"Not Found","status":404,"detail":"User not found"}
//! ```

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};
use tower_chain::{Chain, ChainService, Error, Json, Path, Provided, StatusCode};

/// In memory, and fast enough to run without a thread for blocking work.
#[derive(Clone)]
struct Database(Arc<Mutex<Connection>>);

impl Database {
    fn new() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection
            .execute_batch("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn add(&self, name: &str) -> rusqlite::Result<i64> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connection.execute("INSERT INTO users (name) VALUES (?1)", [name])?;
        Ok(connection.last_insert_rowid())
    }

    fn name(&self, id: i64) -> rusqlite::Result<Option<String>> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let select = "SELECT name FROM users WHERE id = ?1";
        connection.query_row(select, [id], |row| row.get(0)).optional()
    }
}

async fn add(database: Provided<Database>, Json(name): Json<String>) -> Result<Json<i64>, Error> {
    Ok(Json(database.add(&name)?))
}

async fn user(database: Provided<Database>, Path(id): Path<i64>) -> Result<Json<String>, Error> {
    let name = database.name(id)?;
    name.map(Json).ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "User not found"))
}

fn api(database: Database) -> ChainService {
    Chain::new()
        .provide(database)
        .at("/api/users", |c| c.allow("open-write", "anyone may sign up").post(add))
        .at("/api/users/{id}", |c| c.get(user))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api(Database::new()?)).await?)
}

#[cfg(test)]
#[tokio::test]
async fn what_is_posted_is_stored_and_found() -> Result<(), Box<dyn StdError>> {
    let database = Database::new()?;
    let client = tower_chain::TestClient::new(api(database.clone())).over_tcp().await;
    let john = database.add("John Doe")?;
    client.get(&format!("/api/users/{john}")).send().await.assert_json("John Doe");
    let name = "Jane'); DROP TABLE users; --";
    let jane = client.post("/api/users").json(name).send().await.assert_status(200).json();
    assert_eq!(database.name(jane)?.as_deref(), Some(name));
    client.get(&format!("/api/users/{}", jane + 1)).send().await.assert_problem(404);
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn StdError>> {
    api(Database::new()?).audit().assert_none();
    Ok(())
}
