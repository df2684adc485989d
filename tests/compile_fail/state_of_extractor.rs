//! An extractor of an axum application needs the state.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::{StatusCode, request::Parts};
use tower_chain::Chain;

#[derive(Clone)]
struct AppState;

struct RequireAuth;

impl<S> FromRequestParts<S> for RequireAuth
where
    S: Send + Sync,
    AppState: FromRef<S>,
{
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        Ok(Self)
    }
}

async fn list(_: RequireAuth) {}

fn main() {
    let _ = Chain::new().provide(AppState).get(list).build();
}
