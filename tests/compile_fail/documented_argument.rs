//! A documented handler takes an extractor without a description.

use axum::extract::FromRequestParts;
use http::request::Parts;
use tower_chain::{Chain, Error};

struct Tenant;

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Error;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(Self)
    }
}

async fn page(_: Tenant) -> &'static str {
    "page"
}

fn main() {
    let _ = Chain::new().documented().get(page).build();
}
