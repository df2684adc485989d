//! How many instructions, allocations and bytes does a request take? Exact, and the same on every machine of one architecture. Needs
//! valgrind. Run with
//!
//! ```sh
//! cargo bench --bench counts --features json,jwt,rate-limit,validate [-- FILTER]
//! ```
//!
//! Making the request and dropping the response is not counted. The allocator counts for itself, which adds some ten instructions an
//! allocation, on both sides of each comparison.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a program")]

mod cases;

use std::hint::black_box;
use std::process::Command;

use cases::{Case, Subject};
use tower_chain::{Request, Response};

fn main() {
    let args: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--b")).collect();
    if let [flag, name] = &args[..]
        && flag == "--case"
    {
        return repeat(name);
    }
    let filter = args.first().map_or("", String::as_str);
    println!("| group | case | instructions | allocations | bytes |");
    println!("| --- | --- | ---: | ---: | ---: |");
    for case in cases::all() {
        if !format!("{}/{}", case.group, case.name).contains(filter) {
            continue;
        }
        let (allocations, bytes) = allocations(&case);
        let instructions = instructions(&case);
        let Case { group, name, .. } = case;
        println!("| {group} | {name} | {instructions} | {allocations} | {bytes} |");
    }
}

const WARM: usize = 3;
const COUNTED: u64 = 100;

fn allocations(case: &Case) -> (u64, u64) {
    let mut subject = warm(case);
    let req = (subject.request)();
    let mut response = None;
    let counted = allocation_counter::measure(|| response = Some((subject.answer)(req)));
    (counted.count_total, counted.bytes_total)
}

fn warm(case: &Case) -> Subject {
    let mut subject = (case.build)(case.size);
    for _ in 0..WARM {
        let status = (subject.answer)((subject.request)()).status();
        assert!(status.is_success(), "{}: {status}", case.name);
    }
    subject
}

/// Runs this program once more under callgrind, which counts inside of [`counted`] alone.
fn instructions(case: &Case) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_answer*")
        .arg(std::env::current_exe().unwrap())
        .args(["--case", &case.name])
        .output()
        .expect("valgrind is not installed");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let total: u64 = collected.unwrap_or_else(|| panic!("{text}")).1.trim().parse().unwrap();
    total / COUNTED
}

fn repeat(name: &str) {
    let case = cases::all().into_iter().find(|case| case.name == name).unwrap();
    let mut subject = warm(&case);
    for _ in 0..COUNTED {
        let req = (subject.request)();
        black_box(counted_answer(&mut subject, req));
    }
}

#[inline(never)]
fn counted_answer(subject: &mut Subject, req: Request) -> Response {
    (subject.answer)(black_box(req))
}
