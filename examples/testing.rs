//! Tests of a chain, of one handler and of one middleware, without a socket and over one.
//!
//! Run its tests with `cargo test --example testing --features json,serve,test-util`, and the program with
//!
//! ```sh
//! cargo run --example testing --features json,serve,test-util
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl localhost:3000/greeting -H 'x-user: Ann' --json '"hello"'
//! # "hello, Ann"
//! curl localhost:3000/greeting --json '"hello"'
//! # {"type":"about:blank","title":"Unauthorized","status":401,"detail":"Who are you?"}
//! ```

use tower_chain::{Chain, ChainService, Error, Json, Next, Provided, Response, StatusCode};

#[derive(Clone)]
struct User(String);

async fn user(headers: http::HeaderMap) -> Result<User, Error> {
    let name = headers.get("x-user").and_then(|name| name.to_str().ok());
    name.map(|name| User(name.to_owned()))
        .ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))
}

async fn greet(Provided(User(name)): Provided<User>, Json(word): Json<String>) -> Json<String> {
    Json(format!("{word}, {name}"))
}

async fn no_store(next: Next<'_>) -> Response {
    let mut response = next.run().await;
    response.headers_mut().insert("cache-control", http::HeaderValue::from_static("no-store"));
    response
}

fn api() -> ChainService {
    Chain::new().use_(no_store).guard(user).at("/greeting", |c| c.post(greet)).build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()).await?)
}

#[cfg(test)]
mod tests {
    use tower_chain::TestClient;
    use tower_chain::test_util::TestNext;

    use super::*;

    async fn greets_whom_it_knows(client: TestClient) {
        let ask = || client.post("/greeting").json("hello");
        ask().header("x-user", "Ann").send().await.assert_status(200).assert_json("hello, Ann");
        ask().send().await.assert_problem(401).assert_detail("Who are you?");
        client.get("/greeting").send().await.assert_status(405).assert_allow(["POST", "OPTIONS"]);
    }

    #[test]
    fn the_order_of_the_steps_has_no_mistake() {
        api().audit().assert_none();
    }

    #[tokio::test]
    async fn the_chain_greets_in_process_and_over_tcp() {
        let client = TestClient::new(api());
        greets_whom_it_knows(client.clone()).await;
        greets_whom_it_knows(client.over_tcp().await).await;
    }

    #[tokio::test]
    async fn the_handler_greets_whoever_is_provided() {
        let ask = TestClient::handler(greet).post("/").provided(User("Bob".to_owned()));
        ask.json("good night").send().await.assert_json("good night, Bob");
    }

    #[tokio::test]
    async fn the_middleware_passes_on_and_marks_the_response() {
        let next = TestNext::new();
        let response = next.behind(no_store).get("/a?b").send().await;
        response.assert_status(200).assert_header("cache-control", "no-store");
        assert_eq!(next.assert_called_once().uri(), "/a?b");
    }
}
