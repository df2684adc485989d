//! Authentication that a caller may do without.

use axum_core::response::IntoResponse;

use super::Authenticate;
use super::answer::Refused;
use crate::middleware::credentials::came_by_query;
use crate::{Anonymous, Endpoint, Middleware, Next, Response};

/// Lets requests without credentials pass as well, and provides `Option<T>`. Made by [`Authenticate::optional`].
#[derive(Debug)]
pub struct Optional<T>(Authenticate<T>);

impl<T> Optional<T> {
    pub(super) fn new(authenticate: Authenticate<T>) -> Self {
        Self(authenticate)
    }
}

impl<T: Clone + Send + Sync + 'static> Middleware for Optional<T> {
    type Provides = (Option<T>,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, (Option<T>,)>) -> Response {
        let (principal, place) = match self.0.authenticate(next.request_mut()).await {
            Ok(accepted) => accepted,
            Err(Refused::Missing) => {
                next.extensions_mut().insert(Anonymous::<Option<T>>::new());
                return next.run_with(None).await;
            }
            Err(refused) => return self.0.refuse(refused).into_response(),
        };
        let by_query = self.0.places.strip(next.request_mut(), place);
        let mut response = next.run_with(Some(principal)).await;
        if by_query {
            came_by_query(&mut response);
        }
        response
    }

    fn name(&self) -> String {
        "Authenticate".to_owned()
    }
}
