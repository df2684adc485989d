//! Measures the cost of each built-in, compared with its bare work. Run with
//!
//! ```sh
//! cargo bench -p benches --bench built_ins
//! ```
//!
//! Or, without the dependencies of the tests, in `benches/peers`: `cargo run --release --package in-process --bin built_ins`.
//!
//! Both sides alternate, so disturbances affect both. The figure is the minimum time of each.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a program")]
#![allow(dead_code, reason = "the cases of the other programs")]

mod cases;

use std::hint::black_box;
use std::time::Instant;

use cases::Subject;

fn main() {
    println!("| built-in | time | by hand | time | ratio | allocations |");
    println!("| --- | ---: | --- | ---: | ---: | ---: |");
    let cases: Vec<_> = cases::all().into_iter().filter(|case| case.group == "built-ins").collect();
    for pair in cases.chunks_exact(2) {
        let mut subjects: Vec<Subject> = pair.iter().map(|case| (case.build)(case.size)).collect();
        let mut least = [f64::MAX; 2];
        for _ in 0..ROUNDS {
            for (subject, least) in subjects.iter_mut().zip(&mut least) {
                *least = least.min(nanos(subject));
            }
        }
        let allocations: Vec<String> =
            subjects.iter_mut().map(|subject| allocations(subject).to_string()).collect();
        let work = pair[1].name.split_once("by hand: ").map_or("", |(_, work)| work);
        let [built_in, by_hand] = least;
        println!(
            "| {} | {built_in:.0} ns | {work} | {by_hand:.0} ns | {:.2} | {} |",
            pair[0].name,
            built_in / by_hand,
            allocations.join(" : ")
        );
    }
}

fn nanos(subject: &mut Subject) -> f64 {
    let requests: Vec<_> = (0..REQUESTS).map(|_| (subject.request)()).collect();
    let mut responses = Vec::with_capacity(REQUESTS);
    let start = Instant::now();
    for req in requests {
        responses.push((subject.answer)(black_box(req)));
    }
    start.elapsed().as_nanos() as f64 / REQUESTS as f64
}

fn allocations(subject: &mut Subject) -> u64 {
    let req = (subject.request)();
    let mut response = None;
    allocation_counter::measure(|| response = Some((subject.answer)(req))).count_total
}

const ROUNDS: usize = 200;
const REQUESTS: usize = 100;
