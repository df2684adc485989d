//! One path with a handler for each method, in place of a `switch` over the method.
//!
//! Next.js API routes: the `switch` over the method, which answers twice if a `break` is missing.
//!
//! Run with
//!
//! ```sh
//! cargo run --example methods --features json,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl localhost:3000/api/notes
//! # []
//! curl -i localhost:3000/api/notes --json '"buy milk"'
//! # HTTP/1.1 201 Created
//! #
//! # "buy milk"
//! curl localhost:3000/api/notes
//! # ["buy milk"]
//! curl -i -X DELETE localhost:3000/api/notes
//! # HTTP/1.1 204 No Content
//! curl -i -X PUT localhost:3000/api/notes
//! # HTTP/1.1 405 Method Not Allowed
//! # allow: DELETE, GET, HEAD, OPTIONS, POST
//! curl -i -X OPTIONS localhost:3000/api/notes
//! # HTTP/1.1 204 No Content
//! # allow: DELETE, GET, HEAD, OPTIONS, POST
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tower_chain::serve::ServeError;
use tower_chain::{Chain, ChainService, Json, Provided, StatusCode};

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn list(notes: Provided<Notes>) -> Json<Vec<String>> {
    Json(notes.lock().clone())
}

async fn add(notes: Provided<Notes>, Json(note): Json<String>) -> (StatusCode, Json<String>) {
    notes.lock().push(note.clone());
    (StatusCode::CREATED, Json(note))
}

async fn clear(notes: Provided<Notes>) -> StatusCode {
    notes.lock().clear();
    StatusCode::NO_CONTENT
}

fn api() -> ChainService {
    Chain::new()
        .provide(Notes::default())
        .allow("open-write", "the notes belong to everyone")
        .at("/api/notes", |c| c.get(list).post(add).delete(clear))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    tower_chain::serve(format!("127.0.0.1:{port}"), api()).await
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
