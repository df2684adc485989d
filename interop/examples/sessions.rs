//! Sessions with the crate `tower-sessions`: its layer is a step, and its `Session` an extractor.
//!
//! Run with
//!
//! ```sh
//! cargo run -p interop --example sessions
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! tower-http = { version = "0.7", features = ["csrf"] }
//! tower-sessions = "0.15"
//! ```
//!
//! ```sh
//! curl -c visits localhost:3000/
//! # visit 1
//! curl -b visits localhost:3000/
//! # visit 2
//! curl -b visits -X POST localhost:3000/sign-out
//! # bye
//! ```

use tower_chain::serve::ServeError;
use tower_chain::{Chain, ChainService, Error};
use tower_http::csrf::CsrfLayer;
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer};

async fn count(session: Session) -> Result<String, Error> {
    let visits = session.get("visits").await?.unwrap_or(0_u32) + 1;
    session.insert("visits", visits).await?;
    Ok(format!("visit {visits}\n"))
}

/// After a sign-in, call `session.cycle_id()`: an id that was known before must not become that of the user.
async fn sign_out(session: Session) -> Result<&'static str, Error> {
    session.flush().await?;
    Ok("bye\n")
}

fn api() -> ChainService {
    // The store of a real program is shared by its servers, and persistent. The cookie is for HTTPS only, which is the default.
    let sessions = SessionManagerLayer::new(MemoryStore::default())
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::hours(1)));
    Chain::new()
        // Another site can't sign a visitor out.
        .use_(CsrfLayer::new())
        .use_(sessions)
        .at("/", |c| c.get(count))
        .at("/sign-out", |c| c.allow("open-write", "it ends the own session").post(sign_out))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    tower_chain::serve(format!("127.0.0.1:{port}"), api()).await
}

#[cfg(test)]
#[tokio::test]
async fn each_client_has_its_own_session() {
    use tower_chain::TestClient;
    let (ann, bob) = (TestClient::new(api()).cookie_jar(), TestClient::new(api()).cookie_jar());
    ann.get("/").send().await.assert_text("visit 1\n");
    ann.get("/").send().await.assert_text("visit 2\n");
    bob.get("/").send().await.assert_text("visit 1\n");
    ann.post("/sign-out").send().await.assert_text("bye\n");
    ann.get("/").send().await.assert_text("visit 1\n");
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
