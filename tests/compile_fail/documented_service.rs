//! A service has no description.

use tower_chain::Chain;

fn main() {
    let files = Chain::new().get(async || "file").build();
    let _ = Chain::new().documented().service("/files", files).build();
}
