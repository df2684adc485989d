//! Signed webhooks: Standard Webhooks, GitHub, Stripe.
//!
//! # What it does
//!
//! [`Signed`] accepts a request only if its body is signed with one of the configured keys. It reads the body, up to a bound, verifies the
//! signature over the raw bytes, and passes the same bytes on: each extractor works after it. HMACs are compared in constant time.
//!
//! | format | constructor | header fields | keys | timestamp | identifier |
//! | --- | --- | --- | --- | --- | --- |
//! | [Standard Webhooks](https://www.standardwebhooks.com) | [`standard`](Signed::standard), [`standard_public_key`](Signed::standard_public_key) | `webhook-id`, `webhook-timestamp`, `webhook-signature` | `whsec_` (HMAC-SHA-256, `v1`), `whpk_` (Ed25519, `v1a`) | signed | signed |
//! | [GitHub](https://docs.github.com/webhooks) | [`github`](Signed::github) | `X-Hub-Signature-256` | text (HMAC-SHA-256) | - | - |
//! | [Stripe](https://docs.stripe.com/webhooks) | [`stripe`](Signed::stripe) | `Stripe-Signature` | `whsec_`, as text (HMAC-SHA-256, `v1`) | signed | `id` in the body |
//!
//! # Deliveries that come again
//!
//! A sender sends a delivery again if the response is late, or is not a 2xx. An attacker can send one again that it has recorded. Each delivery
//! is therefore handled once:
//!
//! | the first delivery | a second one with the same identity |
//! | --- | --- |
//! | is still being handled | 409 with `Retry-After`: the sender tries again later |
//! | was answered with a 2xx | 200 without a body; the handler does not run. [`refuse_duplicates`](Signed::refuse_duplicates) changes this to a 409 |
//! | was answered with another status, has panicked, or its client has disconnected | the handler runs |
//!
//! The identity is the signed identifier, or the signed bytes if the format has none (see [`DeliveryIdentity`]). Deliveries are remembered for
//! 24 hours by default, and at least as long as their timestamp is accepted. GitHub's format has no timestamp: a delivery that is forgotten
//! could be sent again by an attacker.
//!
//! # Example
//!
//! ```
//! use tower_chain::middleware::signed::{Delivery, Signed};
//! use tower_chain::{Chain, Json};
//!
//! async fn receive(delivery: Delivery, Json(event): Json<serde_json::Value>) -> String {
//!     format!("{} with the id {:?}", event["type"], delivery.id())
//! }
//!
//! # fn main() -> Result<(), tower_chain::middleware::signed::SignedError> {
//! let chain = Chain::new()
//!     .use_(Signed::standard("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")?)
//!     .post(receive);
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # Example: a rotated secret, GitHub's limit, and a shorter memory
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_chain::Chain;
//! use tower_chain::middleware::signed::{Delivery, Signed};
//!
//! # fn main() -> Result<(), tower_chain::middleware::signed::SignedError> {
//! let signed = Signed::github("the secret of the new webhook")?
//!     .secret("2025", "the secret that GitHub still uses")?
//!     .max_body(25 * 1024 * 1024)
//!     .remember(Duration::from_secs(60 * 60))?;
//!
//! let chain = Chain::new()
//!     .use_(signed)
//!     .post(async |delivery: Delivery| format!("signed with {}", delivery.key()));
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # What the client sees
//!
//! | cause | status | fields | body |
//! | --- | --- | --- | --- |
//! | a header field of the format is missing, malformed or repeated | 400 | | problem+json |
//! | no signature is that of a key; the timestamp is too old, or too far in the future | 401 | `WWW-Authenticate: Webhook-Signature` | problem+json |
//! | the delivery is being handled | 409 | `Retry-After: 10` | problem+json |
//! | the delivery was handled | 200, or 409 with [`refuse_duplicates`](Signed::refuse_duplicates) | | none; problem+json |
//! | body above the bound | 413 | | problem+json with `limit` |
//! | the memory is full of deliveries that could be used again; the shared store has failed | 503 | `Retry-After: 10` | problem+json |
//!
//! The cause is logged as one event at the level `DEBUG`, with the header field or the part at fault, and is the
//! [source](crate::Error::source) of the error as a [`SignedRefusal`].
//!
//! # What it provides
//!
//! [`Delivery`]: the identifier and the time, as far as they are signed, and the name of the key.
//!
//! # Where to put it
//!
//! Before each step that reads or changes the body, such as a layer that decompresses: the signature is over the bytes on the wire. After a
//! `RateLimit` by address, because each request costs an HMAC over its body.
//!
//! # Sources
//!
//! Standard Webhooks 1.0.0; GitHub, "Validating webhook deliveries"; Stripe, "Verify webhook signatures manually"; RFC 2104 (HMAC), RFC 8032
//! (Ed25519).

mod error;
mod format;
mod key;
mod refusal;
mod signer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_core::response::IntoResponse;

pub use self::error::SignedError;
use self::format::Format;
use self::key::{NamedKey, sha256};
pub use self::refusal::SignedRefusal;
pub use self::signer::WebhookSigner;
use crate::chain::FromChain;
use crate::declare::{Answer, Credential, Declaration, Field, Kind, Resource, Scheme};
use crate::extract::MaxBody;
use crate::middleware::raw_body::read_raw_body;
use crate::middleware::seen::{NotReserved, Reservation, SeenMessages};
pub use crate::middleware::seen::{Seen, SeenStore};
use crate::{Body, Endpoint, Error, Middleware, Next, Request, Response, StatusCode};

/// A step that accepts signed webhooks alone. See the [module](self).
pub struct Signed {
    format: Format,
    source: String,
    keys: Vec<NamedKey>,
    tolerance: Duration,
    max_body: Option<u64>,
    identity: DeliveryIdentity,
    refuse_duplicates: bool,
    keep: Duration,
    seen: SeenMessages,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Signed {
    /// Standard Webhooks with a secret: base64, with or without the prefix `whsec_`. The name of the key is `default`.
    ///
    /// # Errors
    ///
    /// If the secret is not base64, or has less than 24 bytes.
    pub fn standard(secret: &str) -> Result<Self, SignedError> {
        Ok(Self::new(Format::standard(), NamedKey::standard(FIRST, secret)?))
    }

    /// Standard Webhooks with an Ed25519 public key (`whpk_`). The name of the key is `default`.
    ///
    /// # Errors
    ///
    /// If the key has another prefix, or is not base64 of an Ed25519 public key.
    pub fn standard_public_key(key: &str) -> Result<Self, SignedError> {
        Ok(Self::new(Format::standard(), NamedKey::public(FIRST, key)?))
    }

    /// GitHub, with the secret of the webhook. The name of the key is `default`.
    ///
    /// # Errors
    ///
    /// If the secret has less than 16 bytes.
    pub fn github(secret: &str) -> Result<Self, SignedError> {
        Ok(Self::new(Format::GitHub, NamedKey::text(FIRST, secret)?))
    }

    /// Stripe, with the secret of the endpoint (`whsec_`). The name of the key is `default`.
    ///
    /// # Errors
    ///
    /// If the secret has less than 16 bytes.
    pub fn stripe(secret: &str) -> Result<Self, SignedError> {
        Ok(Self::new(Format::Stripe, NamedKey::text(FIRST, secret)?))
    }

    fn new(format: Format, key: NamedKey) -> Self {
        let identity =
            if format.has_id() { DeliveryIdentity::Id } else { DeliveryIdentity::Content };
        let replayable = if format.has_timestamp() { 2 * TOLERANCE } else { Duration::ZERO };
        Self {
            format,
            source: String::new(),
            keys: vec![key],
            tolerance: TOLERANCE,
            max_body: None,
            identity,
            refuse_duplicates: false,
            keep: KEEP,
            seen: SeenMessages::new(CAPACITY, KEEP, replayable),
            clock: Box::new(SystemTime::now),
        }
    }

    /// Adds a secret, for example the next one while the sender changes it. A signature with any of the keys is valid, and
    /// [`Delivery::key`] is the name of that key.
    ///
    /// # Errors
    ///
    /// As for the constructor, and if the name or the secret is there already.
    pub fn secret(self, name: &str, secret: &str) -> Result<Self, SignedError> {
        let key = match self.format {
            Format::Standard(_) => NamedKey::standard(name, secret)?,
            Format::GitHub | Format::Stripe => NamedKey::text(name, secret)?,
        };
        self.key(key)
    }

    /// Adds an Ed25519 public key (`whpk_`) of Standard Webhooks.
    ///
    /// # Errors
    ///
    /// If the key is not an Ed25519 public key, the format is another one, or the name or the key is there already.
    pub fn public_key(self, name: &str, key: &str) -> Result<Self, SignedError> {
        match self.format {
            Format::Standard(_) => self.key(NamedKey::public(name, key)?),
            Format::GitHub | Format::Stripe => Err(SignedError::NoPublicKeys),
        }
    }

    fn key(mut self, key: NamedKey) -> Result<Self, SignedError> {
        for own in &self.keys {
            if own.name == key.name {
                return Err(SignedError::DuplicateName { name: key.name.to_string() });
            }
            if own.is_same_key(&key) {
                let (name, other) = (key.name.to_string(), own.name.to_string());
                return Err(SignedError::DuplicateKey { name, other });
            }
        }
        self.keys.push(key);
        Ok(self)
    }

    /// Sets the name of the sender, for the log, and for a [store](Self::store) that several sources share. Defaults to the empty name.
    #[must_use]
    pub fn source(mut self, name: impl Into<String>) -> Self {
        self.source = name.into();
        self
    }

    /// Sets by how much the timestamp may differ from the clock, into the past and into the future. Defaults to 300 seconds.
    ///
    /// # Errors
    ///
    /// If it is zero or longer than twelve hours, if the format has no timestamp, or if deliveries would be forgotten while their
    /// timestamps are still accepted (see [`remember`](Self::remember)).
    pub fn tolerance(mut self, tolerance: Duration) -> Result<Self, SignedError> {
        if !self.format.has_timestamp() {
            return Err(SignedError::NoTimestamp);
        }
        if tolerance.as_secs() == 0 || tolerance > MAX_TOLERANCE {
            return Err(SignedError::Tolerance);
        }
        self.tolerance = tolerance;
        self.remember_as_set()
    }

    /// Sets how long a delivery that was handled is remembered. Defaults to 24 hours.
    ///
    /// # Errors
    ///
    /// If it is shorter than twice the tolerance: a timestamp in the future is accepted for so long. If it is zero.
    pub fn remember(mut self, keep: Duration) -> Result<Self, SignedError> {
        if keep.as_secs() == 0 {
            return Err(SignedError::Zero);
        }
        self.keep = keep;
        self.remember_as_set()
    }

    fn remember_as_set(mut self) -> Result<Self, SignedError> {
        let replayable = match self.format.has_timestamp() {
            true => 2 * self.tolerance,
            false => Duration::ZERO,
        };
        if self.keep < replayable {
            return Err(SignedError::ShortMemory);
        }
        self.seen.set_times(self.keep, replayable);
        Ok(self)
    }

    /// Sets how many deliveries this server remembers. Defaults to 100 000.
    ///
    /// Only deliveries with a valid signature are remembered, so no other client can fill the memory. If it is full, the oldest delivery whose
    /// timestamp is no longer accepted is forgotten. If there is none, the sender gets a 503 and tries again.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn capacity(mut self, deliveries: usize) -> Result<Self, SignedError> {
        if deliveries == 0 {
            return Err(SignedError::Zero);
        }
        self.seen.set_capacity(deliveries);
        Ok(self)
    }

    /// Sets a store that several servers share. Defaults to the memory of this process.
    ///
    /// A delivery is reserved for the length of `lease` while its handler runs. If the server stops, or the client disconnects, the delivery is
    /// accepted again after that time. Choose a lease that is longer than any handler takes.
    ///
    /// # Errors
    ///
    /// If the lease is zero.
    pub fn store(mut self, store: impl SeenStore, lease: Duration) -> Result<Self, SignedError> {
        if lease.is_zero() {
            return Err(SignedError::Zero);
        }
        self.seen.set_store(store, lease);
        Ok(self)
    }

    /// Sets what makes two deliveries the same one. Defaults to [`DeliveryIdentity::Id`], and to [`DeliveryIdentity::Content`] for GitHub.
    ///
    /// # Errors
    ///
    /// For [`DeliveryIdentity::Id`] with GitHub, whose `X-GitHub-Delivery` is not signed.
    pub fn identify_by(mut self, identity: DeliveryIdentity) -> Result<Self, SignedError> {
        if identity == DeliveryIdentity::Id && !self.format.has_id() {
            return Err(SignedError::NoId);
        }
        self.identity = identity;
        Ok(self)
    }

    /// Answers a delivery that was handled before with a 409. Defaults to a 200, because the sender of a delivery whose response was lost
    /// would otherwise send it again and again.
    #[must_use]
    pub fn refuse_duplicates(mut self) -> Self {
        self.refuse_duplicates = true;
        self
    }

    /// Sets how many bytes a body may have, for this step and the steps after it. Defaults to the [limit](crate::extract::MaxBody) of the request, which is
    /// 1 MiB if no `BodyLimit` sets another one, or sets none.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Sets the prefix of the header fields of Standard Webhooks. Defaults to `webhook`. With `svix`, they are `svix-id`, `svix-timestamp` and
    /// `svix-signature`.
    ///
    /// # Errors
    ///
    /// If it is not a part of a header name, or the format is another one.
    pub fn header_prefix(mut self, prefix: &str) -> Result<Self, SignedError> {
        self.format.set_prefix(prefix)?;
        Ok(self)
    }

    /// Sets the clock. Defaults to [`SystemTime::now`].
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(now);
        self
    }

    fn now(&self) -> u64 {
        (self.clock)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Verifies a request, and leaves its body as it was.
    async fn verify(
        &self,
        req: &mut Request,
    ) -> Result<(Delivery, Reservation<'_>), RefusedDelivery> {
        let claimed = self.format.read(req.headers())?;
        let now = self.now();
        if claimed.timestamp.is_some_and(|time| now.abs_diff(time) > self.tolerance.as_secs()) {
            return Err((SignedRefusal::Timestamp, "timestamp".to_owned()).into());
        }
        let body = read_raw_body(req, self.max_body).await?;
        let parts = [&*claimed.prefix, &*body];
        let key = self.keys.iter().find(|key| key.signed(parts, &claimed.signatures));
        let key = key.ok_or((SignedRefusal::Signature, "signature".to_owned()))?;
        let id = claimed.id.or_else(|| self.format.id_in_body(&body));
        let (kind, identity) = match (self.identity, &id) {
            (DeliveryIdentity::Id, Some(id)) => ("id", id.as_bytes().to_vec()),
            _ => ("content", sha256(&parts).to_vec()),
        };
        let source = [self.format.name(), "\0", &self.source, "\0", kind, "\0"].concat();
        let message = sha256(&[source.as_bytes(), &identity]);
        let reservation = self.seen.reserve(message, now).await?;
        *req.body_mut() = Body::from(body);
        let timestamp = claimed.timestamp.map(Duration::from_secs);
        let delivery = Delivery {
            id: id.map(Into::into),
            timestamp: timestamp.and_then(|since| UNIX_EPOCH.checked_add(since)),
            key: key.name.clone(),
        };
        Ok((delivery, reservation))
    }

    /// Logs a refusal as one event, and answers it.
    fn refuse(&self, refused: RefusedDelivery) -> Response {
        let (reason, part) = match &refused {
            RefusedDelivery::Body(error) => {
                (error.status().canonical_reason().unwrap_or("body"), "body")
            }
            RefusedDelivery::For(refusal, part) => (refusal.code(), &**part),
        };
        tracing::debug!(
            target: "tower_chain::middleware::signed",
            format = self.format.name(),
            source = self.source,
            reason,
            part,
            "delivery refused"
        );
        match refused {
            RefusedDelivery::For(SignedRefusal::Duplicate, _) if !self.refuse_duplicates => {
                StatusCode::OK.into_response()
            }
            RefusedDelivery::For(refusal, _) => refusal.into_error().into_response(),
            RefusedDelivery::Body(error) => error.into_response(),
        }
    }
}

impl Middleware for Signed {
    type Provides = (Delivery,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, (Delivery,)>) -> Response {
        match self.verify(next.request_mut()).await {
            Ok((delivery, reservation)) => {
                let response = next.run_with(delivery).await;
                match response.status().is_success() {
                    true => reservation.complete(self.now()).await,
                    // The sender tries again.
                    false => reservation.release().await,
                }
                response
            }
            Err(refused) => self.refuse(refused),
        }
    }

    fn declare(&self, to: &mut Declaration) {
        to.kind(Kind::Authentication).kind(Kind::VerifiesBody).kind(Kind::ReadsBody);
        for field in self.format.fields() {
            to.reads(field);
        }
        let scheme = Scheme::Header(self.format.signature_field().to_string());
        to.accepts(Credential::new(scheme).description("A signature of the body"));
        let retry = || Field::new("retry-after", "Seconds until the next attempt");
        let problem = |refusal: SignedRefusal, cause| Answer::problem(refusal.status(), cause);
        let challenge = Field::new("www-authenticate", "The scheme `Webhook-Signature`");
        to.answers(problem(
            SignedRefusal::Malformed,
            "a field of the signature is missing or malformed",
        ))
        .answers(problem(SignedRefusal::Signature, "the signature is not valid").header(challenge))
        .answers(problem(SignedRefusal::InFlight, "the delivery is being handled").header(retry()))
        .answers(problem(SignedRefusal::Full, "deliveries can't be checked now").header(retry()))
        .answers(Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
        let handled = "the delivery was handled before";
        match self.refuse_duplicates {
            true => to.answers(problem(SignedRefusal::Duplicate, handled)),
            false => to.answers(Answer::new(StatusCode::OK, handled)),
        };
        for secret in self.keys.iter().filter_map(NamedKey::secret_id) {
            to.uses(Resource::Secret(secret));
        }
        if let Some(max) = self.max_body.or(MaxBody::default().limit()) {
            to.limits_body(max);
        }
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.keys.iter().map(|key| &key.name).collect();
        f.debug_struct("Signed")
            .field("format", &self.format.name())
            .field("source", &self.source)
            .field("keys", &names)
            .field("tolerance", &self.tolerance)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// What makes two deliveries the same one. For [`Signed::identify_by`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryIdentity {
    /// The signed identifier: `webhook-id`, or the `id` in the body of Stripe's events. It stays the same when the sender sends a delivery
    /// again, with another timestamp. A body without one is identified by [`Content`](Self::Content).
    Id,
    /// The signed bytes, which are the body with the timestamp and the identifier of the format. A delivery that the sender sends again with
    /// another timestamp is another delivery.
    Content,
}

/// A delivery whose signature is valid. [`Signed`] provides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    id: Option<Arc<str>>,
    timestamp: Option<SystemTime>,
    key: Arc<str>,
}

impl Delivery {
    /// The signed identifier: `webhook-id`, or the `id` in the body of Stripe's events. `None` for GitHub, whose `X-GitHub-Delivery` is not
    /// signed.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The signed time at which it was sent. `None` for GitHub.
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.timestamp
    }

    /// The name of the key that verified the signature.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl FromChain for Delivery {
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

/// Why a request does not reach the handler, with the part at fault.
enum RefusedDelivery {
    For(SignedRefusal, String),
    Body(Error),
}

impl From<(SignedRefusal, String)> for RefusedDelivery {
    fn from((refusal, part): (SignedRefusal, String)) -> Self {
        Self::For(refusal, part)
    }
}

impl From<Error> for RefusedDelivery {
    fn from(error: Error) -> Self {
        Self::Body(error)
    }
}

impl From<NotReserved> for RefusedDelivery {
    fn from(reason: NotReserved) -> Self {
        let refusal = match reason {
            NotReserved::InFlight => SignedRefusal::InFlight,
            NotReserved::Done => SignedRefusal::Duplicate,
            NotReserved::Full => SignedRefusal::Full,
            NotReserved::Unavailable => SignedRefusal::Unavailable,
        };
        Self::For(refusal, "delivery".to_owned())
    }
}

/// The name of the key of the constructor.
const FIRST: &str = "default";

const TOLERANCE: Duration = Duration::from_secs(300);

const MAX_TOLERANCE: Duration = Duration::from_secs(12 * 60 * 60);

const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

const CAPACITY: usize = 100_000;
