//! The error of a guard does not implement `IntoResponse`.

use tower_chain::Chain;

async fn check() -> Result<(), std::io::Error> {
    Ok(())
}

fn main() {
    let _ = Chain::new().guard(check).get(async || "ok").build();
}
