//! `?` on a boxed error, as of anyhow.

use tower_chain::{Chain, Error};

fn read() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    Ok(std::fs::read_to_string("/etc/hostname")?)
}

async fn show() -> Result<String, Error> {
    Ok(read()?)
}

fn main() {
    let _ = Chain::new().get(show).build();
}
