//! Measures the time of the whole job with the usual crates.

mod cases;
#[path = "../../../timing/mod.rs"]
mod timing;

fn main() {
    timing::main();
}
