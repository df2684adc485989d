//! The middleware: reserves a key, runs the request once, and stores its response.

use std::fmt;
use std::sync::Arc;

use axum_core::response::IntoResponse;
use http::header::HeaderName;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};

use super::carried;
use super::claim::{Claim, Claimed};
use super::config::{Retention, Settings};
use super::key::{key_of, pattern};
use super::recording::{recorded, wait};
use super::refusal::Refusal;
use super::request::{ReadBody, client_uri, digest, half, owner};
use super::response::{Stored, body, read, write};
use super::store::{AnyStore, KeyOutcome, KeyReservation, KeyState};
use super::subject::Subject;
use crate::declare::{self, Answer, Declaration, Field, Kind};
use crate::{Body, Endpoint, Error, Middleware, Next, Response};

/// The middleware of an [`Idempotency`](super::Idempotency).
pub struct Idempotent<S> {
    pub(super) subject: S,
    pub(super) settings: Arc<Settings>,
    pub(super) store: Arc<dyn AnyStore>,
}

impl<S> fmt::Debug for Idempotent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotent").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<S: Subject> Middleware for Idempotent<S> {
    type Provides = ();

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
        if !self.settings.methods.contains(next.method()) {
            return next.run().await;
        }
        let settings = &*self.settings;
        let key = match key_of(next.headers(), &settings.lengths, settings.strings_only) {
            Ok(Some(key)) => key,
            Ok(None) if settings.required => return refuse(&next, Refusal::Missing),
            Ok(None) => return next.run().await,
            Err(malformed) => return refuse(&next, Refusal::Malformed(malformed)),
        };
        let reservation = match self.reservation(&mut next, &key).await {
            Ok(reservation) => reservation,
            Err(error) => return error.into_response(),
        };
        let mut claim = match Claim::reserve(&self.store, reservation, settings.deadline).await {
            Claimed::New(claim) => claim,
            Claimed::Taken(state) => return repeated(&next, state),
            Claimed::Unreachable(error) if settings.runs_without_store => {
                tracing::error!(error, "a request runs without the store of idempotency keys");
                return next.run().await;
            }
            Claimed::Unreachable(error) => return refuse(&next, Refusal::Unreachable(error)),
        };
        claim.start();
        // If this future is dropped, or a later step panics, so is the claim: the outcome is then unknown.
        let response = next.run().await;
        self.keep(claim, response).await
    }

    fn declare(&self, to: &mut Declaration) {
        let settings = &*self.settings;
        let key =
            Field::new("idempotency-key", "Identifies the operation: the same for repetitions")
                .with_pattern(pattern(&settings.lengths, settings.strings_only));
        to.only_for(settings.methods.iter().cloned())
            .kind(Kind::StoresResponses(S::DECLARED))
            .kind(Kind::ReadsBody)
            .limits_body(settings.max_request)
            .reads(if settings.required { key } else { key.optional() })
            .adds(Field::new("idempotency-replayed", "The response is a stored one").optional());
        let too_long = "The body of a request with a key is too long";
        to.answers(Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, too_long));
        let mut refusals = Refusal::all();
        refusals.retain(|refusal| match refusal {
            Refusal::Missing => settings.required,
            Refusal::TooManyKeys(_) => S::DECLARED == declare::Subject::Verified,
            Refusal::Unreachable(_) => !settings.runs_without_store,
            _ => true,
        });
        for refusal in refusals {
            let error = refusal.into_error();
            let answer = Answer::problem(error.status(), error.title().to_owned());
            let answer = answer.with_type(error.type_uri().to_owned());
            let fields = error.headers().keys().map(|name| Field::from(name.as_str()));
            to.answers(fields.fold(answer, Answer::header));
        }
    }
}

impl<S: Subject> Idempotent<S> {
    /// Reads the body of the request, and puts it back.
    async fn reservation<N: Endpoint>(
        &self,
        next: &mut Next<'_, N>,
        key: &str,
    ) -> Result<KeyReservation, Error> {
        let name = self.subject.name(next.extensions())?;
        let read = ReadBody::of(next, self.settings.max_request).await?;
        let uri = client_uri(next);
        let principal = name.as_deref().map(|name| digest(&[PRINCIPAL, name]));
        let reservation = KeyReservation {
            record: digest(&[
                RECORD,
                name.as_deref().unwrap_or_default(),
                next.method().as_str().as_bytes(),
                uri.path().as_bytes(),
                key.as_bytes(),
            ]),
            fingerprint: read.fingerprint(uri, next.headers()),
            owner: owner(),
            principal: principal.map(half),
            max_keys: self.settings.max_keys,
            lease: self.settings.lease(),
            age: self.settings.age,
        };
        *next.body_mut() = body(read.bytes, read.trailers);
        Ok(reservation)
    }

    /// Stores the response by the rule for its status.
    async fn keep(&self, claim: Claim, response: Response) -> Response {
        let settings = &self.settings;
        let outcome = match (settings.retention)(response.status()) {
            Retention::Replay => return self.record(claim, response).await,
            Retention::Release => KeyOutcome::Released,
            Retention::Unknown => KeyOutcome::Unknown,
        };
        wait(claim.finish(outcome), settings.deadline).await;
        response
    }

    /// Stores a response before it is returned, if its length is known. Another one is stored when it has been sent.
    async fn record(&self, claim: Claim, response: Response) -> Response {
        let settings = &self.settings;
        // They have no content (RFC 9110, 15.3.5, 15.3.6 and 15.4.5), so a server does not read their bodies.
        let response = match response.status() {
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => {
                response.map(|_| Body::empty())
            }
            _ => response,
        };
        let length = http_body::Body::size_hint(response.body()).exact();
        if length.is_none_or(|length| length > settings.max_response) {
            return recorded(claim, response, settings);
        }
        let (parts, inner) = response.into_parts();
        let limit = usize::try_from(settings.max_response).unwrap_or(usize::MAX);
        let collected = match Limited::new(inner, limit).collect().await {
            Ok(collected) => collected,
            Err(error) => {
                // The claim is dropped: the outcome is unknown. The response fails as it would have without this step.
                drop(claim);
                let failed = futures_util::stream::once(std::future::ready(Err::<&str, _>(error)));
                return Response::from_parts(parts, Body::from_stream(failed));
            }
        };
        let trailers = collected.trailers().cloned();
        let bytes = collected.to_bytes();
        let response = Response::from_parts(parts, body(bytes.clone(), trailers.clone()));
        let error = carried::error_of(&response, &bytes);
        let (head, sent) = response.into_parts();
        let stored = write(&head, &settings.omitted, error.as_ref(), &bytes, trailers.as_ref());
        wait(claim.finish(KeyOutcome::Finished(stored)), settings.deadline).await;
        Response::from_parts(head, sent)
    }
}

/// The answer to a request whose key is taken.
fn repeated<N: Endpoint>(next: &Next<'_, N>, state: KeyState) -> Response {
    let refusal = match state {
        KeyState::Finished(bytes) => match read(bytes) {
            Some(Stored::Response(mut response)) => {
                tracing::debug!(path = next.matched_path(), "a response is replayed");
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                return response;
            }
            Some(Stored::NotKept(status)) => Refusal::NotKept(status),
            None => {
                tracing::error!("the store of idempotency keys returned bytes in another format");
                Refusal::Unknown
            }
        },
        KeyState::OtherRequest => Refusal::OtherRequest,
        KeyState::InFlight => Refusal::InFlight,
        KeyState::TooManyKeys(time) => Refusal::TooManyKeys(time),
        KeyState::Full(time) => Refusal::Full(time),
        // The store never answers `Reserved` here. If it did, the request must not run without a claim.
        KeyState::Unknown | KeyState::Reserved => Refusal::Unknown,
    };
    refuse(next, refusal)
}

fn refuse<N: Endpoint>(next: &Next<'_, N>, refusal: Refusal) -> Response {
    let (reason, path) = (refusal.kind(), next.matched_path());
    match &refusal {
        Refusal::Unknown | Refusal::TooManyKeys(_) => {
            tracing::warn!(reason, path, "idempotency key refused");
        }
        _ => tracing::debug!(reason, path, "idempotency key refused"),
    }
    refusal.into_error().into_response()
}

/// The first parts of the digests. They also are the version of their form.
const RECORD: &[u8] = b"idempotency record 1";
const PRINCIPAL: &[u8] = b"idempotency principal 1";

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
