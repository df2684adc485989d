//! The error of middleware does not implement `IntoResponse`.

use tower_chain::{Chain, Next, Response};

async fn log(next: Next<'_>) -> Result<Response, std::io::Error> {
    Ok(next.run().await)
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "ok").build();
}
