//! The error type does not implement `IntoResponse`.

use tower_chain::{Chain, handler_fn};

async fn host() -> Result<String, std::io::Error> {
    std::fs::read_to_string("/etc/hostname")
}

fn main() {
    let _ = Chain::new().get(host).build();
    let _ = handler_fn::<(), _, _>(host);
}
