//! Measures the time of a request. Run with
//!
//! ```sh
//! cargo bench -p benches --bench chain [-- FILTER]
//! ```
//!
//! Compare only times of one run. `counts.rs` has figures that are comparable across machines.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a program")]

mod cases;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for case in cases::all() {
        let mut group = criterion.benchmark_group(case.group);
        group.bench_function(&case.name, |b| {
            let mut subject = (case.build)(case.size);
            let status = (subject.answer)((subject.request)()).status();
            assert!(status.is_success(), "{}: {status}", case.name);
            b.iter_batched(
                &subject.request,
                |req| (subject.answer)(black_box(req)),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
    criterion.final_summary();
}
