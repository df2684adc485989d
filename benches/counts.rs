//! Counts the instructions, allocations and bytes of a request. The counts are exact, and the same on every machine of one architecture. Needs
//! valgrind. Run with
//!
//! ```sh
//! cargo bench -p benches --bench counts [-- FILTER]
//! ```
//!
//! `--profile CASE` prints the instructions of a case by crate.
//! `--check FILE` compares with a baseline, and fails if a case got worse by more than 2 %; `--renew FILE` writes one. The script `guard` does
//! both without the dependencies of the tests.
//!
//! Making the request and dropping the response is not counted. The counting allocator adds about ten instructions per
//! allocation, on both sides of each comparison.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a program")]

mod cases;
mod counting;

use std::process::ExitCode;

fn main() -> ExitCode {
    counting::main()
}
