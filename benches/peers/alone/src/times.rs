//! How long does the whole job take on the usual crates?

mod cases;
#[path = "../../../timing/mod.rs"]
mod timing;

fn main() {
    timing::main();
}
