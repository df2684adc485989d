//! The function of `on_error` takes another error.

use tower_chain::Chain;

async fn render(error: std::io::Error) -> String {
    error.to_string()
}

fn main() {
    let _ = Chain::new().on_error(render).get(async || "hello").build();
}
