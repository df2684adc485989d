//! A chain is served before it is built.

use tower_chain::serve::ServeError;
use tower_chain::Chain;

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let api = Chain::new().get(async || "hello");
    tower_chain::serve("127.0.0.1:3000", api).await
}
