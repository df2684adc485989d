//! From a request to the claims of its token, or to a refusal.

use std::fmt;

use axum_core::response::IntoResponse;
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

use super::Jwt;
use super::claims::{Claims, MaybeClaims};
use super::dpop::{DPOP, DPOP_NONCE, Dpop};
use super::refusal::Refusal;
use super::revocation::Revocation;
use super::source::{Origin, RequestHead};
use crate::middleware::credentials::{NO_STORE, Unread, came_by_query, cross_site, no_store};
use crate::{Anonymous, Endpoint, Error, Middleware, Next, Request, Response};

/// A token that is accepted.
struct Accepted<C> {
    claims: Claims<C>,
    place: usize,
    /// What the proofs to come must hold, if it is something new.
    nonce: Option<HeaderValue>,
}

/// Why a request is refused, and at which place the reason stands.
enum Refused {
    Missing,
    Unread(Unread),
    Token(usize, Refusal),
}

impl From<Unread> for Refused {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Jwt<C> {
    /// Where all is at hand it is decided on the stack: the future of a chain then has no room for what would wait.
    async fn authenticate(&self, req: &mut Request) -> Result<Accepted<C>, Refused> {
        if self.decides_at_once()
            && let Some(decided) = self.decide(req).now_or_never()
        {
            return decided;
        }
        Box::pin(self.decide(req)).await
    }

    fn decides_at_once(&self) -> bool {
        matches!(self.keys, Origin::Fixed(_))
            && self.dpop.is_none()
            && !self.places.reads_form()
            && self.revocations.iter().all(|one| matches!(one, Revocation::Denylist(_)))
    }

    async fn decide(&self, req: &mut Request) -> Result<Accepted<C>, Refused> {
        let mut form = None;
        if self.places.reads_form() {
            // Boxed, so that only those who look there pay for it.
            form = Box::pin(self.places.read_form(req)).await?;
        }
        self.places.mark_sensitive(req.headers_mut());
        let (place, credentials) =
            self.places.find(req, form.as_deref())?.ok_or(Refused::Missing)?;
        let (head, token) = (RequestHead::of(req), credentials.as_bytes());
        let refused = |refusal| Refused::Token(place, refusal);
        if self.needs_proof() && self.proven_place != Some(place) {
            return Err(refused(Refusal::SenderConstrained));
        }
        let claims = self.verify_token(Some(head), token).await.map_err(refused)?;
        // The token first: only who has a good one makes us check a proof.
        let bound = Claims::token(&claims).confirmation();
        if let Some(mtls) = &self.mtls {
            mtls.confirm(&head, bound.and_then(|bound| bound.certificate.as_deref()))
                .map_err(refused)?;
        }
        let key = bound.and_then(|bound| bound.key.as_deref());
        let mut nonce = None;
        match &self.dpop {
            Some(dpop) if self.proven_place == Some(place) => {
                let proving = Box::pin(dpop.prove(&head, token, key, self.policy.now()));
                nonce = proving.await.map_err(refused)?;
            }
            // RFC 9449, 7.2: a bound token is no bearer token.
            _ if key.is_some() => return Err(refused(Refusal::SenderConstrained)),
            _ => {}
        }
        Ok(Accepted { claims, place, nonce })
    }

    /// Marks the proof as sensitive; the token is by now.
    fn hide_proof(&self, req: &mut Request) {
        // An entry may make the map grow: it is asked for only where there is one.
        if self.dpop.is_some()
            && req.headers().contains_key(DPOP)
            && let http::header::Entry::Occupied(mut values) = req.headers_mut().entry(DPOP)
        {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }

    /// The answer to a request that is refused (RFC 6750, 3).
    fn refuse(&self, refused: Refused) -> Error {
        let (refusal, detail, place) = match refused {
            Refused::Missing => (Refusal::Missing, Refusal::Missing.description(), None),
            Refused::Unread(Unread::Malformed(place, detail)) => {
                (Refusal::Request, detail, Some(place))
            }
            Refused::Unread(Unread::CrossSite) => {
                tracing::debug!(reason = Refusal::CrossSite.code(), "access token refused");
                return cross_site().with_source(Refusal::CrossSite);
            }
            Refused::Unread(Unread::Body(error)) => return no_store(error),
            Refused::Token(place, refusal) => (refusal, refusal.description(), Some(place)),
        };
        tracing::debug!(reason = refusal.code(), "access token refused");
        let (status, code) = match refusal {
            Refusal::Missing => (StatusCode::UNAUTHORIZED, ""),
            Refusal::Request => (StatusCode::BAD_REQUEST, "invalid_request"),
            Refusal::KeysUnavailable
            | Refusal::RevocationUnavailable
            | Refusal::ReplayUnavailable => {
                return no_store(Error::new(StatusCode::SERVICE_UNAVAILABLE, detail))
                    .with_header(RETRY_AFTER, HeaderValue::from_static("5"))
                    .with_source(refusal);
            }
            // RFC 9449, 7.1 and 9.
            Refusal::Proof | Refusal::Replay => (StatusCode::UNAUTHORIZED, "invalid_dpop_proof"),
            Refusal::Nonce => (StatusCode::UNAUTHORIZED, "use_dpop_nonce"),
            _ => (StatusCode::UNAUTHORIZED, "invalid_token"),
        };
        let about = place.map(|place| (place, code, detail));
        let answer = self.places.challenge(Error::new(status, detail), about);
        let answer = no_store(answer).with_source(refusal);
        let nonce = self.dpop.as_ref().and_then(|dpop: &Dpop| dpop.nonce(self.policy.now()));
        match nonce {
            Some(nonce) => answer.with_header(DPOP_NONCE, nonce),
            None => answer,
        }
    }

    /// What is done to the request before the rest runs. Tells what is to be done to the response.
    fn pass(&self, req: &mut Request, place: usize) -> bool {
        self.hide_proof(req);
        self.places.strip(req, place)
    }
}

/// What is done to the response of an accepted request.
fn finish(response: &mut Response, by_query: bool, nonce: Option<HeaderValue>) {
    if by_query {
        came_by_query(response);
    }
    if let Some(nonce) = nonce {
        response.headers_mut().insert(DPOP_NONCE, nonce);
        // RFC 9449, 8.2: from a cache it would name a nonce that is no longer good.
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Middleware for Jwt<C> {
    type Provides = (Claims<C>,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, Self::Provides>) -> Response {
        let Accepted { claims, place, nonce } = match self.authenticate(next.request_mut()).await {
            Ok(accepted) => accepted,
            Err(refused) => return self.refuse(refused).into_response(),
        };
        let by_query = self.pass(next.request_mut(), place);
        let mut response = next.run_with(claims).await;
        finish(&mut response, by_query, nonce);
        response
    }

    fn name(&self) -> String {
        String::from("Jwt")
    }
}

/// A [`Jwt`] that lets requests without a token pass. Made by [`Jwt::optional`].
pub struct OptionalJwt<C>(pub(super) Jwt<C>);

impl<C: DeserializeOwned + Send + Sync + 'static> Middleware for OptionalJwt<C> {
    type Provides = (MaybeClaims<C>,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, Self::Provides>) -> Response {
        let Accepted { claims, place, nonce } = match self.0.authenticate(next.request_mut()).await
        {
            Ok(accepted) => accepted,
            Err(Refused::Missing) => {
                self.0.hide_proof(next.request_mut());
                next.extensions_mut().insert(Anonymous::<MaybeClaims<C>>::new());
                return next.run_with(MaybeClaims(None)).await;
            }
            Err(refused) => return self.0.refuse(refused).into_response(),
        };
        let by_query = self.0.pass(next.request_mut(), place);
        let mut response = next.run_with(MaybeClaims(Some(claims))).await;
        finish(&mut response, by_query, nonce);
        response
    }

    fn name(&self) -> String {
        String::from("OptionalJwt")
    }
}

impl<C> fmt::Debug for OptionalJwt<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OptionalJwt").field(&self.0).finish()
    }
}
