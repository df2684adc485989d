//! Authentication that a caller may do without.

use axum_core::response::IntoResponse;

use super::Authenticate;
use super::answer::{Accepted, Refused};
use crate::{Anonymous, Endpoint, Middleware, Request, Response, Rest};

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

    async fn call<N: Endpoint>(
        &self,
        req: &mut Request,
        next: Rest<'_, N, (Option<T>,)>,
    ) -> Response {
        let Accepted { principal, place, nonce } = match self.0.authenticate(req).await {
            Ok(accepted) => accepted,
            Err(Refused::Missing) => {
                self.0.hide_proof(req.headers_mut());
                req.extensions_mut().insert(Anonymous::<Option<T>>::new());
                return next.run_with(req, (None,)).await;
            }
            Err(refused) => return self.0.refuse(refused).into_response(),
        };
        let finish = self.0.pass(req, place, nonce);
        finish.apply(next.run_with(req, (Some(principal),)).await)
    }

    fn name(&self) -> String {
        "Authenticate".to_owned()
    }
}
