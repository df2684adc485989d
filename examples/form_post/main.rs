//! A page with a form, at `http://localhost:3000`, whose data is stored in a database.
//!
//! Next.js API routes: the form and its database. The body is parsed once, into its type, and validated before it is stored.
//!
//! Run with
//!
//! ```sh
//! cargo run --example form_post --features form,json,serve,validate
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! rusqlite = { version = "0.41", features = ["bundled"] }
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tracing-subscriber = "0.3"
//! validator = { version = "0.21", features = ["derive"] }
//! ```
//!
//! The database is the file `posts.db`.
//!
//! ```sh
//! curl localhost:3000
//! # <!doctype html>
//! # ..
//! curl -i localhost:3000/api/post -d 'title=Hello&post=By+form'
//! # HTTP/1.1 200 OK
//! #
//! # {"message":"Post created successfully"}
//! curl localhost:3000/api/post
//! # [{"title":"Hello","post":"By form"}..]
//! curl localhost:3000/api/post -d 'title=&post=By+form'
//! # {..,"status":422,..,"errors":[{..,"pointer":"/title",..}]}
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_chain::{Chain, ChainService, Error, Form, Json, Provided, Valid};
use validator::Validate;

#[derive(Clone)]
struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// Runs a query on a thread for blocking work, because SQLite waits for the disk.
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let lock = move || work(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tokio::task::spawn_blocking(lock).await??)
    }
}

#[derive(Deserialize, Serialize, Validate)]
struct Post {
    #[validate(length(min = 1, max = 200))]
    title: String,
    #[validate(length(min = 1, max = 10_000))]
    post: String,
}

async fn page() -> ([(&'static str, &'static str); 1], &'static str) {
    ([("content-type", "text/html; charset=utf-8")], include_str!("page.html"))
}

async fn create(
    Provided(database): Provided<Database>,
    Valid(Form(new)): Valid<Form<Post>>,
) -> Result<Json<Value>, Error> {
    let insert = "INSERT INTO posts (title, post) VALUES (?1, ?2)";
    database.run(move |db| db.execute(insert, (new.title, new.post))).await?;
    Ok(Json(json!({ "message": "Post created successfully" })))
}

async fn list(Provided(database): Provided<Database>) -> Result<Json<Vec<Post>>, Error> {
    let posts = database.run(|db| {
        let mut newest = db.prepare("SELECT title, post FROM posts ORDER BY id DESC LIMIT 100")?;
        let posts =
            newest.query_map((), |row| Ok(Post { title: row.get(0)?, post: row.get(1)? }))?;
        posts.collect()
    });
    Ok(Json(posts.await?))
}

fn site(connection: Connection) -> rusqlite::Result<ChainService> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS posts (id INTEGER PRIMARY KEY, title TEXT NOT NULL, post TEXT NOT NULL) STRICT",
    )?;
    Ok(Chain::new()
        .provide(Database(Arc::new(Mutex::new(connection))))
        .allow("open-write", "anyone may post")
        .at("/", |c| c.get(page))
        .at("/api/post", |c| c.get(list).post(create))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), site(Connection::open("posts.db")?)?)
        .await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> rusqlite::Result<()> {
    site(Connection::open_in_memory()?)?.audit().assert_none();
    Ok(())
}
