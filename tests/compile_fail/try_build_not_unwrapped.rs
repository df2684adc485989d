//! The result of `try_build` is served.

use tower_chain::{Chain, serve};

fn main() {
    let _ = serve("127.0.0.1:3000", Chain::new().get(async || "ok").try_build());
}
