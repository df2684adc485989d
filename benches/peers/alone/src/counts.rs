//! Counts the instructions, allocations and bytes of the whole job with the usual crates, like `benches/counts.rs`.

mod cases;
#[path = "../../../counting/mod.rs"]
mod counting;

use std::process::ExitCode;

fn main() -> ExitCode {
    counting::main()
}
