//! Optional authentication.

use axum_core::response::IntoResponse;

use super::Authenticate;
use super::answer::{AuthenticatedCaller, Unauthenticated};
use crate::declare::Declaration;
use crate::grants::Anonymous;
use crate::{Endpoint, Middleware, Next, Response};

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
        let accepted = self.0.authenticate(next.request_mut()).await;
        let AuthenticatedCaller { principal, place, nonce } = match accepted {
            Ok(accepted) => accepted,
            Err(Unauthenticated::Missing) => {
                self.0.hide_proof(next.headers_mut());
                next.extensions_mut().insert(Anonymous::<Option<T>>::new());
                return next.run_with(None).await;
            }
            Err(refused) => return self.0.refuse(refused).into_response(),
        };
        let finish = self.0.pass(next.request_mut(), place, nonce);
        finish.apply(next.run_with(Some(principal)).await)
    }

    fn name(&self) -> String {
        "Authenticate".to_owned()
    }

    fn declare(&self, to: &mut Declaration) {
        self.0.declare(to);
        to.credentials_are_optional();
    }
}
