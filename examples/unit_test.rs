//! A test of one handler, with a fake in place of the function that loads the data.
//!
//! Next.js API routes: the test with `createMocks`. This test runs the same code as a request from a client.
//!
//! Run its test with `cargo test --example unit_test --features json,query,serve,test-util`, and the program with
//!
//! ```sh
//! cargo run --example unit_test --features json,query,serve,test-util
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl 'localhost:3000/api/user?id=1'
//! # {"id":"1","name":"John Doe"}
//! curl 'localhost:3000/api/user?id=7'
//! # {"type":"about:blank","title":"Not Found","status":404,"detail":"User not found"}
//! ```

use serde::{Deserialize, Serialize};
use tower_chain::serve::ServeError;
use tower_chain::{Chain, ChainService, Error, Json, Provided, Query, StatusCode};

#[derive(Clone, Copy)]
struct Users {
    name: fn(id: &str) -> Option<&'static str>,
}

#[derive(Deserialize)]
struct UserId {
    id: String,
}

#[derive(Serialize)]
struct User {
    id: String,
    name: &'static str,
}

async fn user(
    users: Provided<Users>,
    Query(UserId { id }): Query<UserId>,
) -> Result<Json<User>, Error> {
    let name = (users.name)(&id);
    let name = name.ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "User not found"))?;
    Ok(Json(User { id, name }))
}

fn api(users: Users) -> ChainService {
    Chain::new().provide(users).at("/api/user", |c| c.get(user)).build()
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    // A placeholder for a database.
    let users = Users { name: |id| (id == "1").then_some("John Doe") };
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    tower_chain::serve(format!("127.0.0.1:{port}"), api(users)).await
}

#[cfg(test)]
#[tokio::test]
async fn a_user_is_found_by_its_id() {
    let users = Users { name: |id| (id == "5").then_some("Jane Doe") };
    let client = tower_chain::TestClient::handler(user);
    let ask = async |query| client.get(query).provided(users).send().await;
    let jane = serde_json::json!({ "id": "5", "name": "Jane Doe" });
    ask("/?id=5").await.assert_status(200).assert_json(&jane);
    ask("/?id=1").await.assert_problem(404).assert_detail("User not found");
    ask("/").await.assert_problem(400);
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api(Users { name: |_| None }).audit().assert_none();
}
