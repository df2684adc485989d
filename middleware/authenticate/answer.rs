//! From a request to its principal, or to a refusal.

use std::time::SystemTime;

use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::authenticator::{Authenticator, CredentialVerifier, SentToken, Unconfirmed};
use super::refusal::log;
use super::{Authenticate, AuthenticateRefusal};
use crate::declare::{Declaration, Resource};
use crate::middleware::credentials::{
    CredentialSources, Credentials, DPOP, DPOP_NONCE, Explanation, NO_STORE, RequestHead,
    UnreadCredentials, came_by_query, cross_site, later, no_store,
};
use crate::turns::Client;
use crate::{Endpoint, Error, Middleware, Next, Request, Response};

impl<T: Clone + Send + Sync + 'static> Authenticate<T> {
    /// Finds the caller, or why the request is refused.
    pub(super) async fn authenticate(
        &self,
        req: &mut Request,
    ) -> Result<AuthenticatedCaller<T>, Unauthenticated> {
        let mut form = None;
        if self.places.reads_form() {
            form = self.places.read_form(req).await?;
        }
        self.places.mark_sensitive(req.headers_mut());
        match self.judge(req, form.as_deref())? {
            Judgement::Accepted(accepted) => Ok(accepted),
            Judgement::Waiting(place, credentials) => {
                // Boxed, so that only requests that wait for a function pay for it.
                let head = RequestHead::of(req);
                let asked: BoxFuture<'_, _> = Box::pin(self.ask(place, credentials, head));
                asked.await
            }
        }
    }

    /// Decides without waiting, if no function has to be called.
    fn judge(&self, req: &Request, form: Option<&str>) -> Result<Judgement<T>, Unauthenticated> {
        let (place, credentials) = self.places.find(req, form)?.ok_or(Unauthenticated::Missing)?;
        let mut waiting = false;
        for way in self.ways_of(place) {
            match &way.verifier {
                CredentialVerifier::Keys(keys, principal) => {
                    if let Some(known) = keys.find(credentials.as_bytes(), SystemTime::now) {
                        let principal = principal(known);
                        return Ok(Judgement::Accepted(AuthenticatedCaller {
                            principal,
                            place,
                            nonce: None,
                        }));
                    }
                }
                CredentialVerifier::Token(_)
                | CredentialVerifier::Function(_)
                | CredentialVerifier::Blocking(..) => waiting = true,
            }
        }
        if waiting {
            return Ok(Judgement::Waiting(place, credentials.into_owned()));
        }
        log(AuthenticateRefusal::Credentials.code(), &Explanation::default());
        Err(Unauthenticated::Invalid(place))
    }

    fn ways_of(&self, place: usize) -> impl Iterator<Item = &Authenticator<T>> {
        self.ways.iter().filter(move |way| way.places.contains(&place))
    }

    /// Calls the functions, one after the other, until one of them knows the caller. One that can't decide now does not end this, because the credentials
    /// may be those of another.
    async fn ask(
        &self,
        place: usize,
        credentials: Credentials<'static>,
        head: RequestHead<'_>,
    ) -> Result<AuthenticatedCaller<T>, Unauthenticated> {
        let client = Client::of(head.headers(), head.extensions());
        let mut refused = Explanation::default();
        let mut refusal: Option<Unauthenticated> = None;
        let mut keep = |new: Unauthenticated| {
            if refusal.as_ref().is_none_or(|known| known.precedence() <= new.precedence()) {
                refusal = Some(new);
            }
        };
        for way in self.ways_of(place) {
            if let CredentialVerifier::Token(verifier) = &way.verifier {
                let with_proof = way.proof_place == Some(place);
                let sent = SentToken { head, token: credentials.as_bytes(), with_proof };
                match verifier.verify(sent).await {
                    Ok((principal, nonce)) => {
                        return Ok(AuthenticatedCaller { principal, place, nonce });
                    }
                    Err(why) => {
                        keep(Unauthenticated::Unconfirmed(place, why));
                        continue;
                    }
                }
            }
            let principal = match way.ask(&credentials, client).await {
                Ok(Ok(principal)) => principal,
                // A verdict of the function, such as a locked account.
                Err(error) if !is_temporary(error.status()) => {
                    return Err(Unauthenticated::Failed(error));
                }
                Err(error) => {
                    keep(Unauthenticated::Failed(error));
                    continue;
                }
                Ok(Err(explanation)) => {
                    refused = explanation;
                    continue;
                }
            };
            let mut nonce = None;
            if let Some(possession) = &way.possession {
                let with_proof = way.proof_place == Some(place);
                let sent = SentToken { head, token: credentials.as_bytes(), with_proof };
                let confirmed = possession.confirm(&principal, sent).await;
                nonce = confirmed.map_err(|why| {
                    log(why.reason, &why.explanation);
                    Unauthenticated::Unconfirmed(place, why)
                })?;
            }
            return Ok(AuthenticatedCaller { principal, place, nonce });
        }
        // The most exact reason, if credentials of several kinds have this source.
        let refusal = refusal.unwrap_or(Unauthenticated::Invalid(place));
        match &refusal {
            Unauthenticated::Unconfirmed(_, why) => log(why.reason, &why.explanation),
            Unauthenticated::Failed(_) => {}
            _ => log(AuthenticateRefusal::Credentials.code(), &refused),
        }
        Err(refusal)
    }

    /// The nonce for refusals, which the next proof must contain.
    fn nonce(&self) -> Option<HeaderValue> {
        self.ways.iter().find_map(|way| way.possession.as_ref()?.nonce())
    }

    /// Passes the proof on as sensitive; the token is marked already.
    pub(super) fn hide_proof(&self, headers: &mut HeaderMap) {
        let proves = self.ways.iter().any(|way| way.proof_place.is_some());
        // An entry may make the map grow, so it is created only if there is a proof.
        if proves
            && headers.contains_key(DPOP)
            && let http::header::Entry::Occupied(mut values) = headers.entry(DPOP)
        {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }

    /// Prepares the request that is passed on, and returns what to do with the response.
    pub(super) fn pass(
        &self,
        req: &mut Request,
        place: usize,
        nonce: Option<HeaderValue>,
    ) -> Finish {
        self.hide_proof(req.headers_mut());
        Finish { by_query: self.places.strip(req, place), nonce }
    }

    /// The response to a refused request.
    pub(super) fn refuse(&self, refused: Unauthenticated) -> Error {
        let (refusal, status, code, detail, place) = match refused {
            Unauthenticated::Failed(error)
            | Unauthenticated::UnreadCredentials(UnreadCredentials::Body(error)) => {
                return no_store(error);
            }
            Unauthenticated::UnreadCredentials(UnreadCredentials::CrossSite) => {
                let expected = "the own origin, or one of `trusted_origin`";
                let explanation = Explanation::part("origin").expected(expected);
                log(AuthenticateRefusal::CrossSite.code(), &explanation);
                return cross_site().with_source(AuthenticateRefusal::CrossSite);
            }
            Unauthenticated::UnreadCredentials(UnreadCredentials::Malformed(place, detail)) => {
                let refusal = AuthenticateRefusal::Request;
                // The detail is a fixed text.
                let hint = Some(detail);
                log(refusal.code(), &Explanation { hint, ..Explanation::part("credentials") });
                (refusal, StatusCode::BAD_REQUEST, "invalid_request", detail, Some(place))
            }
            Unauthenticated::Missing => {
                let refusal = AuthenticateRefusal::Missing;
                log(refusal.code(), &Explanation::part("credentials").expected("present"));
                (refusal, StatusCode::UNAUTHORIZED, "", "Credentials are missing", None)
            }
            Unauthenticated::Invalid(place) => {
                let detail = "The credentials are not valid";
                let status = StatusCode::UNAUTHORIZED;
                (AuthenticateRefusal::Credentials, status, "invalid_token", detail, Some(place))
            }
            Unauthenticated::Unconfirmed(place, why) => {
                let Unconfirmed { status, code, detail, refusal, .. } = why;
                match code {
                    Some(code) => (refusal, status, code, detail, Some(place)),
                    None => return later(Error::new(status, detail)).with_source(refusal),
                }
            }
        };
        let error = no_store(Error::new(status, detail)).with_source(refusal);
        let error = self.places.challenge(error, place.map(|place| (place, code, detail)));
        match self.nonce() {
            Some(nonce) => error.with_header(DPOP_NONCE, nonce),
            None => error,
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Middleware for Authenticate<T> {
    type Provides = (T,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, (T,)>) -> Response {
        let AuthenticatedCaller { principal, place, nonce } =
            match self.authenticate(next.request_mut()).await {
                Ok(accepted) => accepted,
                Err(refused) => return self.refuse(refused).into_response(),
            };
        let finish = self.pass(next.request_mut(), place, nonce);
        finish.apply(next.run_with(principal).await)
    }

    fn name(&self) -> String {
        "Authenticate".to_owned()
    }

    fn declare(&self, to: &mut Declaration) {
        self.places.declare(None, to);
        let mut asks = false;
        for way in &self.ways {
            match &way.verifier {
                CredentialVerifier::Keys(keys, _) => {
                    for secret in keys.secrets() {
                        to.uses(Resource::Secret(secret));
                    }
                }
                CredentialVerifier::Token(_)
                | CredentialVerifier::Function(_)
                | CredentialVerifier::Blocking(..) => asks = true,
            }
        }
        if asks {
            CredentialSources::declare_remote(to);
        }
    }
}

/// A caller with valid credentials.
pub(super) struct AuthenticatedCaller<T> {
    pub(super) principal: T,
    pub(super) place: usize,
    /// The nonce for the next proofs, if there is a newer one.
    pub(super) nonce: Option<HeaderValue>,
}

/// What to do with the response to an accepted request.
pub(super) struct Finish {
    by_query: bool,
    nonce: Option<HeaderValue>,
}

impl Finish {
    pub(super) fn apply(self, mut response: Response) -> Response {
        if self.by_query {
            came_by_query(&mut response);
        }
        if let Some(nonce) = self.nonce {
            response.headers_mut().insert(DPOP_NONCE, nonce);
            // RFC 9449, 8.2: a cached response would name a nonce that is no longer accepted.
            response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        }
        response
    }
}

enum Judgement<T> {
    Accepted(AuthenticatedCaller<T>),
    Waiting(usize, Credentials<'static>),
}

/// Why a request is refused, and in which source the credentials were.
pub(super) enum Unauthenticated {
    Missing,
    Invalid(usize),
    UnreadCredentials(UnreadCredentials),
    Unconfirmed(usize, Unconfirmed),
    Failed(Error),
}

impl Unauthenticated {
    /// Which of several refusals the client receives: the highest, and the last one among equals. Credentials that could not be checked are not known to be
    /// invalid, and a client that receives a 401 discards them.
    fn precedence(&self) -> u8 {
        let status = match self {
            Self::Unconfirmed(_, why) => why.status,
            Self::Failed(error) => error.status(),
            Self::Missing | Self::Invalid(_) | Self::UnreadCredentials(_) => return 0,
        };
        match status {
            StatusCode::SERVICE_UNAVAILABLE => 4,
            status if status.is_server_error() => 3,
            StatusCode::TOO_MANY_REQUESTS => 2,
            _ => 1,
        }
    }
}

/// Whether the same credentials may be accepted later.
fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

impl From<UnreadCredentials> for Unauthenticated {
    fn from(unread: UnreadCredentials) -> Self {
        Self::UnreadCredentials(unread)
    }
}
