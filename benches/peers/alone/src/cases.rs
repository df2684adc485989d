//! The cases of this package: the whole job by hand and on axum, from the same files as in `in-process`.

#[path = "../../../cases/subject.rs"]
mod subject;
#[path = "../../../cases/usual/mod.rs"]
mod usual;

pub use subject::{Case, Request, Response, Subject};

pub fn all() -> Vec<Case> {
    usual::cases("").into()
}
