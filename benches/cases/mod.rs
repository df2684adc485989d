//! The cases to measure: one list for times (`chain.rs`) and counts (`counts.rs`).

mod built_ins;
mod job;
mod paths;
mod serve;
mod steps;
mod subject;
mod usual;

pub use subject::{Case, Request, Response, Subject};
use tower_chain::Body;

pub fn all() -> Vec<Case> {
    let mut cases = steps::cases();
    cases.extend(paths::cases());
    cases.extend(job::cases());
    cases.extend(built_ins::cases());
    cases.extend(serve::cases());
    cases
}

fn get(path: &str) -> impl Fn() -> Request + 'static {
    let uri: http::Uri = path.parse().unwrap();
    move || {
        let mut req = Request::new(Body::empty());
        *req.uri_mut() = uri.clone();
        req
    }
}
