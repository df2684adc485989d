//! Middleware is a closure that is not async.

use tower_chain::{Chain, Next};

fn main() {
    let _ = Chain::new().use_(|next: Next<'_>| next.run()).get(async || "ok").build();
}
