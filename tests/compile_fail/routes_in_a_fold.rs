//! Paths are added by `fold`.

use tower_chain::Chain;

fn main() {
    let chain =
        ["/a", "/b"].iter().fold(Chain::new(), |c, path| c.at(path, |c| c.get(async || "ok")));
    let _ = chain.build();
}
