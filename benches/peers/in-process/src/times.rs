//! How long does a request take, in process? The cases of `benches/cases`.

#[path = "../../../cases/mod.rs"]
mod cases;
#[path = "../../../timing/mod.rs"]
mod timing;

fn main() {
    timing::main();
}
