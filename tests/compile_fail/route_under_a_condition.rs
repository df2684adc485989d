//! A route is added in one arm of an `if`.

use tower_chain::Chain;

fn main() {
    let debug = std::env::var_os("DEBUG").is_some();
    let chain = Chain::new().get(async || "hello");
    let chain = if debug { chain.put(async || "debug") } else { chain };
    let _ = chain.build();
}
