//! The exact number of allocations of each step of a chain.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::Mutex;
use tower_chain::overhead::Overhead;
use tower_chain::overhead::OverheadReport;
use tower_chain::{Chain, ChainService, Next, Request, Response, StatusCode};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for the whole process, so only one test runs at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn none(next: Next<'_>) -> Response {
    next.run().await
}

async fn three(next: Next<'_>) -> Response {
    let before = (Box::new(1), Box::new(2));
    let response = next.run().await;
    std::hint::black_box((before, Box::new(3)));
    response
}

async fn waits(next: Next<'_>) -> Response {
    tokio::task::yield_now().await;
    let response = next.run().await;
    std::hint::black_box(Box::new(1));
    response
}

async fn bare() -> StatusCode {
    StatusCode::OK
}

async fn two() -> StatusCode {
    std::hint::black_box((Box::new(1), Box::new(2)));
    StatusCode::OK
}

async fn measure(service: &ChainService, path: &'static str) -> OverheadReport {
    let _alone = ALONE.lock().await;
    let request = move || {
        let mut req = Request::default();
        *req.uri_mut() = http::Uri::from_static(path);
        req
    };
    let overhead = Overhead::of(service).request(request).runs(200);
    overhead.allocations(|| ALLOCATOR.stats().allocations as u64).run().await
}

fn allocations(report: &OverheadReport) -> Vec<u64> {
    report.steps().iter().filter_map(|step| step.allocations()).collect()
}

#[tokio::test]
async fn each_step_has_its_own_allocations_alone() {
    let service = Chain::new().always(none).use_(three).use_(waits).get(two).build();
    let report = measure(&service, "/").await;
    // The chain's is the box of the whole.
    assert_eq!(allocations(&report), [1, 0, 3, 1, 2], "{report}");
    assert_eq!(report.allocations(), Some(7));
}

#[tokio::test]
async fn the_boxes_of_paths_and_of_long_chains_are_the_chains_own() {
    let inside = Chain::new().use_(three).at("/b", |c| c.get(two));
    let service = Chain::new().use_(none).mount("/a", inside).build();
    assert_eq!(allocations(&measure(&service, "/a/b").await), [3, 0, 3, 2]);

    let chain = Chain::new().use_(none).use_(none).use_(none).use_(none).use_(three).use_(none);
    let chain = chain.use_(none).use_(none).use_(none).use_(three).use_(none).use_(none);
    let report = measure(&chain.get(bare).build(), "/").await;
    assert_eq!(allocations(&report), [2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0, 0, 0], "{report}");
}

#[tokio::test]
async fn a_layer_includes_its_adapter() {
    let layer = tower::layer::util::Identity::new();
    let service = Chain::new().use_(none).use_(layer).get(two).build();
    let report = measure(&service, "/").await;
    let [chain, none, layer, two] = allocations(&report)[..] else { panic!("{report}") };
    assert_eq!((chain, none, two), (1, 0, 2), "{report}");
    assert!(layer >= 2, "{report}");
}
