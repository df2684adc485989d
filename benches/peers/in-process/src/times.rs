//! Measures the time of a request in process, for the cases of `benches/cases`.

#[path = "../../../cases/mod.rs"]
mod cases;
#[path = "../../../timing/mod.rs"]
mod timing;

fn main() {
    timing::main();
}
