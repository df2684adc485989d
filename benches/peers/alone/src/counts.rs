//! How many instructions, allocations and bytes does the whole job take on the usual crates? As `benches/counts.rs`.

mod cases;
#[path = "../../../counting/mod.rs"]
mod counting;

use std::process::ExitCode;

fn main() -> ExitCode {
    counting::main()
}
