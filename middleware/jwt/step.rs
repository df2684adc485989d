//! The step: from a request to the claims of its token, or to a refusal.

use std::fmt;

use axum_core::response::IntoResponse;
use futures_util::FutureExt;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

use super::Jwt;
use super::keys::source::Origin;
use super::proof::dpop::RefusedProof;
use super::refusal::JwtRefusal;
use super::revocation::Revocation;
use super::token::claims::{Claims, MaybeClaims};
use crate::declare::Declaration;
use crate::grants::Anonymous;
use crate::middleware::credentials::{
    CredentialSources, DPOP, DPOP_NONCE, Explanation, NO_STORE, RequestHead, UnreadCredentials,
    came_by_query, cross_site, later, no_store,
};
use crate::{Endpoint, Error, Middleware, Next, Request, Response};

/// An accepted token.
struct AcceptedToken<C> {
    claims: Claims<C>,
    place: usize,
    /// The nonce for the next proofs, if there is a newer one.
    nonce: Option<HeaderValue>,
}

/// Why a request is refused, and in which source the token was.
enum RejectedToken {
    Missing,
    UnreadCredentials(UnreadCredentials),
    Token(usize, JwtRefusal),
}

impl From<UnreadCredentials> for RejectedToken {
    fn from(unread: UnreadCredentials) -> Self {
        Self::UnreadCredentials(unread)
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Jwt<C> {
    /// Finds and verifies the token. With fixed keys and no I/O, the future of `decide` is polled once on the stack, so it takes no memory in the
    /// future of the chain. Otherwise it is boxed.
    async fn authenticate(&self, req: &mut Request) -> Result<AcceptedToken<C>, RejectedToken> {
        if self.decides_at_once()
            && let Some(decided) = self.decide(req).now_or_never()
        {
            return decided;
        }
        Box::pin(self.decide(req)).await
    }

    fn decides_at_once(&self) -> bool {
        matches!(self.keys, Origin::Fixed(_))
            && self.proofs.dpop.is_none()
            && !self.places.reads_form()
            && self.revocations.iter().all(|one| matches!(one, Revocation::Denylist(_)))
    }

    async fn decide(&self, req: &mut Request) -> Result<AcceptedToken<C>, RejectedToken> {
        let mut form = None;
        if self.places.reads_form() {
            // Boxed, because few chains read forms.
            form = Box::pin(self.places.read_form(req)).await?;
        }
        self.places.mark_sensitive(req.headers_mut());
        let (place, credentials) =
            self.places.find(req, form.as_deref())?.ok_or(RejectedToken::Missing)?;
        let (head, token) = (RequestHead::of(req), credentials.as_bytes());
        let with_proof = self.proven_place == Some(place);
        let checked = self.check_token(head, token, with_proof).await;
        let (claims, nonce) = checked.map_err(|RefusedProof { refusal, explanation }| {
            self.log(refusal, &explanation);
            RejectedToken::Token(place, refusal)
        })?;
        Ok(AcceptedToken { claims, place, nonce })
    }

    /// Verifies a token, and that its sender may use it. `with_proof` is whether it came by the scheme `DPoP`. Returns the nonce for the next proofs, if
    /// there is a newer one.
    pub(crate) async fn check_token(
        &self,
        head: RequestHead<'_>,
        token: &[u8],
        with_proof: bool,
    ) -> Result<(Claims<C>, Option<HeaderValue>), RefusedProof> {
        let refused = |refusal| RefusedProof { refusal, explanation: self.explain(refusal, token) };
        if self.proofs.require_dpop() && !with_proof {
            return Err(refused(JwtRefusal::SenderConstrained));
        }
        let claims = self.verify_token(Some(head), token).await.map_err(refused)?;
        // The token first: only a client with a valid token can make the server check a proof.
        let bound = Claims::registered(&claims).confirmation();
        let mut nonce = None;
        if let Some(dpop) = self.proofs.confirm(&head, with_proof, bound).map_err(refused)? {
            let key = bound.and_then(|bound| bound.key.as_deref());
            let proving = Box::pin(dpop.prove(&head, token, key, self.policy.now()));
            nonce = proving.await?;
        }
        Ok((claims, nonce))
    }

    /// The nonce for refusals, which the next proof must contain.
    pub(crate) fn nonce(&self) -> Option<HeaderValue> {
        self.proofs.dpop.as_ref()?.nonce(self.policy.now())
    }

    /// The sources of tokens, without the one of tokens with a proof, and how long a token may be.
    #[cfg(feature = "authenticate")]
    pub(crate) fn sources_and_length(&self) -> (&[super::TokenSource], usize) {
        (&self.sources, self.longest.token)
    }

    #[cfg(feature = "authenticate")]
    pub(crate) fn challenge_terms(&self) -> &crate::middleware::credentials::Terms {
        &self.places.terms
    }

    #[cfg(feature = "authenticate")]
    pub(crate) fn proofs(&self) -> &super::Proofs {
        &self.proofs
    }

    /// Marks the proof as sensitive. The token is marked already.
    fn hide_proof(&self, req: &mut Request) {
        // `entry` may make the map grow, so it is called only if the header is present.
        if self.proofs.dpop.is_some()
            && req.headers().contains_key(DPOP)
            && let http::header::Entry::Occupied(mut values) = req.headers_mut().entry(DPOP)
        {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }

    /// The response to a refused request (RFC 6750, 3).
    fn refuse(&self, refused: RejectedToken) -> Error {
        let (refusal, detail, place) = match refused {
            RejectedToken::Missing => {
                self.log(
                    JwtRefusal::Missing,
                    &Explanation::part("credentials").expected("present"),
                );
                (JwtRefusal::Missing, JwtRefusal::Missing.description(), None)
            }
            RejectedToken::UnreadCredentials(UnreadCredentials::Malformed(place, detail)) => {
                // The detail is a fixed text.
                self.log(
                    JwtRefusal::Request,
                    &Explanation { hint: Some(detail), ..Explanation::part("credentials") },
                );
                (JwtRefusal::Request, detail, Some(place))
            }
            RejectedToken::UnreadCredentials(UnreadCredentials::CrossSite) => {
                let explanation = Explanation::part("origin")
                    .expected("the own origin, or one of `trusted_origin`");
                self.log(JwtRefusal::CrossSite, &explanation);
                return cross_site().with_source(JwtRefusal::CrossSite);
            }
            RejectedToken::UnreadCredentials(UnreadCredentials::Body(error)) => {
                return no_store(error);
            }
            RejectedToken::Token(place, refusal) => (refusal, refusal.description(), Some(place)),
        };
        let (status, code) = match refusal {
            JwtRefusal::Missing => (StatusCode::UNAUTHORIZED, ""),
            JwtRefusal::Request => (StatusCode::BAD_REQUEST, "invalid_request"),
            _ => match refusal.status_and_code() {
                (status, Some(code)) => (status, code),
                (status, None) => return later(Error::new(status, detail)).with_source(refusal),
            },
        };
        let about = place.map(|place| (place, code, detail));
        let answer = self.places.challenge(Error::new(status, detail), about);
        let answer = no_store(answer).with_source(refusal);
        match self.nonce() {
            Some(nonce) => answer.with_header(DPOP_NONCE, nonce),
            None => answer,
        }
    }

    /// Prepares the request for the next steps. Returns whether the token was in the query, which the response must account for.
    fn pass(&self, req: &mut Request, place: usize) -> bool {
        self.hide_proof(req);
        self.places.strip(req, place)
    }
}

/// Finishes the response to an accepted request.
fn finish(response: &mut Response, by_query: bool, nonce: Option<HeaderValue>) {
    if by_query {
        came_by_query(response);
    }
    if let Some(nonce) = nonce {
        response.headers_mut().insert(DPOP_NONCE, nonce);
        // RFC 9449, 8.2: a cached response would name a nonce that is no longer accepted.
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Middleware for Jwt<C> {
    type Provides = (Claims<C>,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, Self::Provides>) -> Response {
        let AcceptedToken { claims, place, nonce } =
            match self.authenticate(next.request_mut()).await {
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

    fn declare(&self, to: &mut Declaration) {
        self.places.declare(Some("JWT"), to);
        self.keys.declare(to);
        let asks = !matches!(self.keys, Origin::Fixed(_))
            || self.proofs.dpop.is_some()
            || self.revocations.iter().any(|one| !matches!(one, Revocation::Denylist(_)));
        if asks {
            CredentialSources::declare_remote(to);
        }
    }
}

/// A [`Jwt`] that lets requests without a token pass. Made by [`Jwt::optional`].
pub struct OptionalJwt<C>(pub(super) Jwt<C>);

impl<C: DeserializeOwned + Send + Sync + 'static> Middleware for OptionalJwt<C> {
    type Provides = (MaybeClaims<C>,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, Self::Provides>) -> Response {
        let AcceptedToken { claims, place, nonce } =
            match self.0.authenticate(next.request_mut()).await {
                Ok(accepted) => accepted,
                Err(RejectedToken::Missing) => {
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

    fn declare(&self, to: &mut Declaration) {
        self.0.declare(to);
        to.credentials_are_optional();
    }
}

impl<C> fmt::Debug for OptionalJwt<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OptionalJwt").field(&self.0).finish()
    }
}
