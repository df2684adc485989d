//! How many instructions, allocations and bytes does a request take? Exact, and the same on every machine of one architecture. Needs
//! valgrind. Run with
//!
//! ```sh
//! cargo bench -p benches --bench counts [-- FILTER]
//! ```
//!
//! `--profile CASE` says of which crates the instructions of a case are.
//! `--check FILE` compares with a baseline, and fails where a case got worse by more than 2 %; `--renew FILE` writes one. The script `guard` does
//! both without the dependencies of the tests.
//!
//! Making the request and dropping the response is not counted. The allocator counts for itself, which adds some ten instructions an
//! allocation, on both sides of each comparison.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a program")]

mod cases;
mod counting;

use std::process::ExitCode;

fn main() -> ExitCode {
    counting::main()
}
