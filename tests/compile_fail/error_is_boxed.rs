//! The error of a handler is a boxed one, as of anyhow.

use tower_chain::Chain;

type Boxed = Box<dyn std::error::Error + Send + Sync>;

async fn read() -> Result<String, Boxed> {
    Ok(std::fs::read_to_string("/etc/hostname")?)
}

fn main() {
    let _ = Chain::new().get(read).build();
}
