//! From a request to its principal, or to a refusal.

use std::time::SystemTime;

use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;
use http::StatusCode;

use super::way::{Verifier, Way};
use super::{Authenticate, Refusal};
use crate::middleware::credentials::{Credentials, Unread, came_by_query, cross_site, no_store};
use crate::{Endpoint, Error, Middleware, Next, Request, Response};

impl<T: Clone + Send + Sync + 'static> Authenticate<T> {
    /// Who is calling and at which place it stood, or why the request is refused.
    pub(super) async fn authenticate(&self, req: &mut Request) -> Result<(T, usize), Refused> {
        let mut form = None;
        if self.places.reads_form() {
            form = self.places.read_form(req).await?;
        }
        self.places.mark_sensitive(req.headers_mut());
        match self.judge(req, form.as_deref())? {
            Judgement::Accepted(accepted) => Ok(accepted),
            Judgement::Waiting(place, credentials) => {
                // Only those who wait for a function pay for it.
                let asked: BoxFuture<'_, _> = Box::pin(self.ask(place, credentials));
                Ok((asked.await?, place))
            }
        }
    }

    /// What needs no waiting.
    fn judge(&self, req: &Request, form: Option<&str>) -> Result<Judgement<T>, Refused> {
        let (place, credentials) = self.places.find(req, form)?.ok_or(Refused::Missing)?;
        let mut waiting = false;
        for way in self.ways_of(place) {
            match &way.verifier {
                Verifier::Keys(keys, principal) => {
                    if let Some(known) = keys.find(credentials.as_bytes(), SystemTime::now) {
                        return Ok(Judgement::Accepted((principal(known), place)));
                    }
                }
                Verifier::Function(_) | Verifier::Blocking(..) => waiting = true,
            }
        }
        if waiting {
            return Ok(Judgement::Waiting(place, credentials.into_owned()));
        }
        Err(Refused::Invalid(place))
    }

    fn ways_of(&self, place: usize) -> impl Iterator<Item = &Way<T>> {
        self.ways.iter().filter(move |way| way.places.contains(&place))
    }

    /// Asks the functions, one after the other, until one of them knows who it is.
    async fn ask(&self, place: usize, credentials: Credentials<'static>) -> Result<T, Refused> {
        for way in self.ways_of(place) {
            if let Some(principal) = way.ask(&credentials).await.map_err(Refused::Failed)? {
                return Ok(principal);
            }
        }
        Err(Refused::Invalid(place))
    }

    /// The answer to a request that is refused.
    pub(super) fn refuse(&self, refused: Refused) -> Error {
        let (refusal, status, detail, place) = match refused {
            Refused::Failed(error) | Refused::Unread(Unread::Body(error)) => {
                return no_store(error);
            }
            Refused::Unread(Unread::CrossSite) => {
                tracing::debug!(reason = Refusal::CrossSite.code(), "refused");
                return cross_site().with_source(Refusal::CrossSite);
            }
            Refused::Unread(Unread::Malformed(place, detail)) => {
                (Refusal::Request, StatusCode::BAD_REQUEST, detail, Some(place))
            }
            Refused::Missing => {
                (Refusal::Missing, StatusCode::UNAUTHORIZED, "Credentials are missing", None)
            }
            Refused::Invalid(place) => {
                let detail = "The credentials are not valid";
                (Refusal::Credentials, StatusCode::UNAUTHORIZED, detail, Some(place))
            }
        };
        tracing::debug!(reason = refusal.code(), "refused");
        let error = no_store(Error::new(status, detail)).with_source(refusal);
        self.places.challenge(error, place.map(|place| (place, refusal.code(), detail)))
    }
}

impl<T: Clone + Send + Sync + 'static> Middleware for Authenticate<T> {
    type Provides = (T,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, (T,)>) -> Response {
        let (principal, place) = match self.authenticate(next.request_mut()).await {
            Ok(accepted) => accepted,
            Err(refused) => return self.refuse(refused).into_response(),
        };
        let by_query = self.places.strip(next.request_mut(), place);
        let mut response = next.run_with(principal).await;
        if by_query {
            came_by_query(&mut response);
        }
        response
    }

    fn name(&self) -> String {
        "Authenticate".to_owned()
    }
}

enum Judgement<T> {
    Accepted((T, usize)),
    Waiting(usize, Credentials<'static>),
}

/// Why a request is refused, and at which place the reason stands.
pub(super) enum Refused {
    Missing,
    Invalid(usize),
    Unread(Unread),
    Failed(Error),
}

impl From<Unread> for Refused {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}
