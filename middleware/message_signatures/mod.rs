//! HTTP Message Signatures (RFC 9421), with digests of the body (RFC 9530).
//!
//! # What it does
//!
//! [`MessageSignatures`] accepts a request only if it has a valid signature by a known key, which covers the method, the target URI and, if there
//! is a body, its `Content-Digest`. It then compares the digest with the body, and passes the same bytes on.
//!
//! Of several signatures, the first valid one counts; [`label`](MessageSignatures::label) and [`tag`](MessageSignatures::tag) choose among them. The
//! algorithm is that of the key, never one that the client chooses.
//!
//! The scheme and the authority are those of the [origin](MessageSignatures::new) in the configuration, because a client chooses its `Host`. The path
//! is that of the [`ClientUri`], which includes the path at which another router has nested the chain.
//!
//! # Example
//!
//! ```
//! use tower_chain::Chain;
//! use tower_chain::middleware::message_signatures::{
//!     MessageSignatures, SignatureAlgorithm, VerifiedSignature, VerifyingKey,
//! };
//!
//! # fn main() -> Result<(), tower_chain::middleware::message_signatures::MessageSignaturesError> {
//! let pem = "-----BEGIN PUBLIC KEY-----
//! MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
//! -----END PUBLIC KEY-----";
//! let key = VerifyingKey::new(SignatureAlgorithm::Ed25519, pem)?;
//!
//! let chain = Chain::new()
//!     .use_(MessageSignatures::new("https://api.example.com")?.key("client-1", key)?)
//!     .post(async |signed: VerifiedSignature| format!("signed by {}", signed.key_id()));
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # Example: keys from a database, nonces, and another header field
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_chain::middleware::message_signatures::{MessageSignatures, VerifyingKey};
//! use tower_chain::{Chain, Error};
//!
//! async fn key(id: String) -> Result<Option<VerifyingKey>, Error> {
//!     drop(id); // .. look it up ..
//!     Ok(None)
//! }
//!
//! # fn main() -> Result<(), tower_chain::middleware::message_signatures::MessageSignaturesError> {
//! let signatures = MessageSignatures::new("https://api.example.com")?
//!     .lookup(key)
//!     .cover(["@method", "@target-uri", "content-type"])?
//!     .tag("payments")?
//!     .max_age(Duration::from_secs(30))?
//!     .nonces();
//!
//! let chain = Chain::new().use_(signatures).post(async || "paid");
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # What the client sees
//!
//! | cause | status | fields | body |
//! | --- | --- | --- | --- |
//! | no signature; a required component or the nonce is missing | 401 | `Accept-Signature`, `WWW-Authenticate: Message-Signature` | problem+json |
//! | an unknown key, another algorithm, too old, expired, used before, a component that is not there, not the signature of the key | 401 | `Accept-Signature`, `WWW-Authenticate: Message-Signature` | problem+json |
//! | malformed or too many signatures | 400 | | problem+json |
//! | the digest is missing, malformed, of unknown algorithms only, or not that of the body | 400 | `Want-Content-Digest` | problem+json |
//! | body above the bound | 413 | | problem+json with `limit` |
//! | all entries for nonces are in use, the store has failed | 503 | `Retry-After: 10` | problem+json |
//!
//! The cause is logged as one event at the level `DEBUG`, and is the [source](crate::Error::source) of the error as a [`SignatureRefusal`].
//!
//! # Components
//!
//! All derived components of requests are supported, and header fields with the parameters `sf`, `key` and `bs`. RefusedSignature are `tr`, because
//! trailers arrive after the handler has begun; `req` and `@status`, which are for responses; a component that is covered twice; and a query
//! parameter that the query contains more than once. `sf` needs a field whose structure is known; see
//! [`structured_field`](MessageSignatures::structured_field).
//!
//! | bound | value |
//! | --- | --- |
//! | signatures per request | 4 |
//! | components per signature | 32 |
//! | `Signature-Input` and `Signature` | 8 KiB each |
//! | digest field | 4 KiB |
//! | text of a parameter | 256 bytes |
//! | signature base | 64 KiB |
//! | body, if a digest is covered | the limit of the request, 1 MiB by default |
//!
//! # What it provides
//!
//! [`VerifiedSignature`]: the key, the parameters of the signature, and what it covers.
//!
//! # Where to put it
//!
//! After a rate limit by address, because each request can cost four verifications. Before each step that reads or changes the body or a
//! covered field: a layer that decompresses, or one that adds header fields.
//!
//! # Sources
//!
//! [RFC 9421](https://www.rfc-editor.org/rfc/rfc9421) (2 components, 3.2 verifying, 3.3 algorithms, 5.1 `Accept-Signature`, 7 security);
//! [RFC 9530](https://www.rfc-editor.org/rfc/rfc9530) (2 `Content-Digest`, 3 `Repr-Digest`, 4 `Want-Content-Digest`);
//! [RFC 9651](https://www.rfc-editor.org/rfc/rfc9651) (structured fields, by the crate `sfv`).

mod component;
mod digest;
mod error;
mod input;
mod key;
mod refusal;
mod signer;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_RANGE, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body::Body as _;
use sfv::Item;
use sha2::{Digest, Sha256};

pub use self::component::StructuredField;
use self::component::{
    Message, Origin, Structures, canonical, parse_component, parse_request_component, serialize,
    signature_base,
};
pub use self::digest::DigestAlgorithm;
use self::digest::{CONTENT_DIGEST, REPR_DIGEST, WANT, WANT_CONTENT_DIGEST};
pub use self::error::MessageSignaturesError;
use self::input::{Labelled, SignatureParams};
pub use self::key::{SignatureAlgorithm, VerifyingKey};
pub use self::refusal::SignatureRefusal;
pub use self::signer::MessageSigner;
use self::signer::{check_key_id, key_of, string};
use crate::chain::FromChain;
use crate::declare::{Answer, Credential, Declaration, Field, Kind, Resource, Scheme};
use crate::extract::{ClientUri, MaxBody};
use crate::middleware::raw_body::read_raw_body;
use crate::middleware::seen::{NotReserved, SeenMessages, SeenStore};
use crate::{Body, Endpoint, Error, Middleware, Next, Request, Response, StatusCode};

/// A step that accepts signed requests alone. See the [module](self).
pub struct MessageSignatures {
    origins: Vec<Origin>,
    keys: Vec<(String, VerifyingKey)>,
    lookup: Option<Lookup>,
    /// `None` for the default: the method and the target URI.
    cover: Option<Vec<Item>>,
    cover_body: bool,
    label: Option<String>,
    tag: Option<String>,
    max_age: Duration,
    leeway: Duration,
    nonces: Option<SeenMessages>,
    max_body: Option<u64>,
    structures: Structures,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

type Lookup =
    Box<dyn Fn(String) -> BoxFuture<'static, Result<Option<VerifyingKey>, Error>> + Send + Sync>;

impl MessageSignatures {
    /// Accepts signatures for the API at a URL: the origin that clients use, and the path at which a proxy mounts the API, if there is one. No
    /// key is known yet.
    ///
    /// # Errors
    ///
    /// If it is not an absolute `http` or `https` URL, or has a query, a fragment or a user.
    pub fn new(origin: &str) -> Result<Self, MessageSignaturesError> {
        Ok(Self {
            origins: vec![Origin::parse(origin)?],
            keys: Vec::new(),
            lookup: None,
            cover: None,
            cover_body: true,
            label: None,
            tag: None,
            max_age: Duration::from_secs(300),
            leeway: Duration::from_secs(30),
            nonces: None,
            max_body: None,
            structures: Structures::new(),
            clock: Box::new(SystemTime::now),
        })
    }

    /// Adds another origin of this API. A request belongs to the origin that its `Host` or `:authority` names, and otherwise to the first.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn origin(mut self, origin: &str) -> Result<Self, MessageSignaturesError> {
        self.origins.push(Origin::parse(origin)?);
        Ok(self)
    }

    /// Adds a key, by the identifier that clients send as `keyid`.
    ///
    /// # Errors
    ///
    /// If the identifier is there already, or is not 1 to 256 printable ASCII characters.
    pub fn key(
        mut self,
        id: impl Into<String>,
        key: VerifyingKey,
    ) -> Result<Self, MessageSignaturesError> {
        let id = id.into();
        check_key_id(&id)?;
        if self.keys.iter().any(|(own, _)| *own == id) {
            return Err(MessageSignaturesError::DuplicateKeyId(id));
        }
        self.keys.push((id, key));
        Ok(self)
    }

    /// Sets an async function that finds the key with an identifier which is not one of the [keys](Self::key). Defaults to none.
    ///
    /// The identifier is what the client sends, before its signature is verified, and has at most 256 bytes. An error of the function is the
    /// response.
    #[must_use]
    pub fn lookup<F, Fut>(mut self, lookup: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<VerifyingKey>, Error>> + Send + 'static,
    {
        self.lookup = Some(Box::new(move |id| Box::pin(lookup(id))));
        self
    }

    /// Sets the components that a signature must cover, in any order: names, or identifiers with parameters, such as
    /// `"@query-param";name="page"`. It may cover more.
    ///
    /// Defaults to `@method`, and either `@target-uri`, or `@authority` with `@request-target`, or `@authority` with `@path` and, if there is a
    /// query, `@query`. The [digest of the body](Self::unsigned_body) comes in addition, with this setting as well.
    ///
    /// # Errors
    ///
    /// If one can't be parsed, or is not a component of a request.
    pub fn cover<S: AsRef<str>>(
        mut self,
        components: impl IntoIterator<Item = S>,
    ) -> Result<Self, MessageSignaturesError> {
        let items = components.into_iter().map(|text| parse_request_component(text.as_ref()));
        self.cover = Some(items.collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Accepts a body whose digest the signature does not cover. Defaults to `false`: anyone between the client and this server could replace
    /// such a body.
    #[must_use]
    pub fn unsigned_body(mut self) -> Self {
        self.cover_body = false;
        self
    }

    /// Considers only the signature with this label. Defaults to all signatures.
    ///
    /// # Errors
    ///
    /// If it is not a key of a structured field.
    pub fn label(mut self, label: &str) -> Result<Self, MessageSignaturesError> {
        key_of(label)?;
        self.label = Some(label.to_owned());
        Ok(self)
    }

    /// Considers only signatures with this tag, which names an application. Defaults to signatures with any tag and without one.
    ///
    /// # Errors
    ///
    /// If it is not printable ASCII.
    pub fn tag(mut self, tag: &str) -> Result<Self, MessageSignaturesError> {
        string(tag).ok_or(MessageSignaturesError::Tag)?;
        self.tag = Some(tag.to_owned());
        Ok(self)
    }

    /// Sets how old a signature may be, by its parameter `created`, which it must have. Defaults to 300 seconds.
    ///
    /// # Errors
    ///
    /// If it is shorter than a second, or longer than a day.
    pub fn max_age(mut self, age: Duration) -> Result<Self, MessageSignaturesError> {
        if age.as_secs() == 0 || age > DAY {
            return Err(MessageSignaturesError::Time);
        }
        self.max_age = age;
        self.update_nonces();
        Ok(self)
    }

    /// Sets by how much clocks may differ. `created` may be this far in the future, and `expires` this far in the past. Defaults to 30 seconds.
    ///
    /// # Errors
    ///
    /// If it is longer than a day.
    pub fn leeway(mut self, leeway: Duration) -> Result<Self, MessageSignaturesError> {
        if leeway > DAY {
            return Err(MessageSignaturesError::Time);
        }
        self.leeway = leeway;
        self.update_nonces();
        Ok(self)
    }

    /// Requires a nonce, and accepts each nonce of a key once. Defaults to no nonces: a request can be sent again within
    /// [`max_age`](Self::max_age).
    ///
    /// A nonce is used up by a valid signature, also if the handler fails: the client signs the next attempt with another one. This server
    /// remembers 100 000 nonces. If these are not enough for the signatures of `max_age`, clients get a 503.
    #[must_use]
    pub fn nonces(mut self) -> Self {
        self.nonces = Some(SeenMessages::new(CAPACITY, Duration::ZERO, Duration::ZERO));
        self.update_nonces();
        self
    }

    /// Sets how many nonces this server remembers, and requires [nonces](Self::nonces). Defaults to 100 000.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn nonce_capacity(self, nonces: usize) -> Result<Self, MessageSignaturesError> {
        if nonces == 0 {
            return Err(MessageSignaturesError::Zero);
        }
        let mut set = self.nonces();
        if let Some(seen) = &mut set.nonces {
            seen.set_capacity(nonces);
        }
        Ok(set)
    }

    /// Sets a store of nonces that several servers share, and requires [nonces](Self::nonces). Defaults to the memory of this process.
    #[must_use]
    pub fn nonce_store(self, store: impl SeenStore) -> Self {
        let mut set = self.nonces();
        let lease = set.acceptable();
        if let Some(seen) = &mut set.nonces {
            seen.set_store(store, lease);
        }
        set
    }

    /// Sets how many bytes a body may have whose digest is covered, for this step and the steps after it. Defaults to the [limit](crate::extract::MaxBody) of the
    /// request, which is 1 MiB if no `BodyLimit` sets another one, or sets none.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Sets the structure of a field, for the component parameter `sf`. Defaults to the structures that the RFCs of `Content-Digest`, `Priority`
    /// and similar fields define.
    ///
    /// # Errors
    ///
    /// If the name is not a header name.
    pub fn structured_field(
        mut self,
        name: &str,
        structure: StructuredField,
    ) -> Result<Self, MessageSignaturesError> {
        let name = HeaderName::try_from(name).map_err(|_| MessageSignaturesError::Field)?;
        self.structures.push((name, structure));
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

    /// How long a signature is accepted after it was accepted for the first time.
    fn acceptable(&self) -> Duration {
        self.max_age + self.leeway
    }

    fn update_nonces(&mut self) {
        let acceptable = self.acceptable();
        if let Some(nonces) = &mut self.nonces {
            nonces.set_times(acceptable, acceptable);
        }
    }

    async fn verify(&self, req: &mut Request) -> Result<VerifiedSignature, RefusedSignature> {
        // The body is not `Sync`, so the request itself is not borrowed across an await.
        let (method, version, headers) = (req.method(), req.version(), req.headers());
        let uri = ClientUri::of(req.uri(), req.extensions());
        let message = Message {
            method,
            origin: self.origin_of(req.uri(), headers),
            uri,
            version,
            headers,
            response: None,
        };
        let signed = self.first_valid(&message).await?;
        // A digest of which the signature covers one member is compared with the body as well. Only the whole field covers the body.
        let covers = |name: &HeaderName| signed.covers_field(name) || signed.covers_member(name);
        let covers_body = signed.covers_field(&CONTENT_DIGEST);
        let content = covers(&CONTENT_DIGEST);
        // Without `Content-Range`, the content is the whole representation (RFC 9530, 3).
        let repr = covers(&REPR_DIGEST) && !headers.contains_key(CONTENT_RANGE);
        if content || repr || self.cover_body && !req.body().is_end_stream() {
            let body = read_raw_body(req, self.max_body).await.map_err(RefusedSignature::Other)?;
            if self.cover_body && !covers_body && !body.is_empty() {
                return Err(RefusedSignature::For(SignatureRefusal::Coverage, "content-digest"));
            }
            for (name, covered) in [(CONTENT_DIGEST, content), (REPR_DIGEST, repr)] {
                if covered {
                    digest::check(req.headers(), &name, &body)
                        .map_err(|part| RefusedSignature::For(SignatureRefusal::Digest, part))?;
                }
            }
            *req.body_mut() = Body::from(body);
        }
        // Last: a request that is refused for its body does not use up the nonce.
        self.spend_nonce(&signed).await?;
        Ok(signed)
    }

    /// The origin that the client names. Without one that is configured, it is the first: a proxy may write another name into `Host`.
    fn origin_of(&self, uri: &Uri, headers: &HeaderMap) -> &Origin {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let named = uri.authority().map(|authority| authority.as_str()).or(host);
        let named = named.and_then(|name| self.origins.iter().find(|origin| origin.is_of(name)));
        named.unwrap_or(&self.origins[0])
    }

    async fn first_valid(
        &self,
        message: &Message<'_>,
    ) -> Result<VerifiedSignature, RefusedSignature> {
        let all = input::read(message.headers)
            .map_err(|part| RefusedSignature::For(SignatureRefusal::Malformed, part))?;
        let mut refused = RefusedSignature::For(SignatureRefusal::Missing, "signature-input");
        for signature in all {
            let label = self.label.as_ref().is_none_or(|label| signature.label == *label);
            let tag = self.tag.is_none() || signature.params.tag == self.tag;
            if !(label && tag) {
                continue;
            }
            match self.check(message, signature).await {
                Ok(valid) => return Ok(valid),
                // Another signature that is refused does not hide that one could not be checked.
                Err(error) if !matches!(refused, RefusedSignature::Other(_)) => refused = error,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// RFC 9421, 3.2. The cheap checks come first.
    async fn check(
        &self,
        message: &Message<'_>,
        signature: Labelled,
    ) -> Result<VerifiedSignature, RefusedSignature> {
        let Labelled { label, covered, params, signature } = signature;
        self.check_times(&params)
            .map_err(|part| RefusedSignature::For(SignatureRefusal::Time, part))?;
        let nonce = params.nonce.as_deref().unwrap_or_default();
        if self.nonces.is_some() && nonce.is_empty() {
            return Err(RefusedSignature::For(SignatureRefusal::Nonce, "nonce"));
        }
        let (base, components) = signature_base(&covered, message, &self.structures)
            .map_err(|part| RefusedSignature::For(SignatureRefusal::Component, part))?;
        if !self.covers_enough(&components, message) {
            return Err(RefusedSignature::For(SignatureRefusal::Coverage, "a required component"));
        }
        let key_id = params.keyid.clone().unwrap_or_default();
        let key = self.find_key(&key_id).await?;
        let key = key.ok_or(RefusedSignature::For(SignatureRefusal::UnknownKey, "keyid"))?;
        // RFC 9421, 3.2, step 6: the algorithm is never taken from the message alone.
        if params.alg.as_deref().is_some_and(|alg| alg != key.algorithm().name()) {
            return Err(RefusedSignature::For(SignatureRefusal::Algorithm, "alg"));
        }
        if !key.verify(base.as_bytes(), &signature) {
            return Err(RefusedSignature::For(SignatureRefusal::Signature, "signature"));
        }
        Ok(VerifiedSignature {
            label: label.into(),
            key_id: key_id.into(),
            components: Arc::new(components),
            params: Arc::new(params),
        })
    }

    fn check_times(&self, params: &SignatureParams) -> Result<(), &'static str> {
        let now = i64::try_from(self.now()).unwrap_or(i64::MAX);
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let created = params.created.ok_or("created")?;
        if created > now.saturating_add(seconds(self.leeway)) {
            return Err("created");
        }
        if created.saturating_add(seconds(self.max_age)) < now {
            return Err("created");
        }
        if params.expires.is_some_and(|at| at.saturating_add(seconds(self.leeway)) < now) {
            return Err("expires");
        }
        Ok(())
    }

    fn covers_enough(&self, covered: &HashSet<String>, message: &Message<'_>) -> bool {
        let covers = |name: &str| covered.contains(&format!("\"{name}\""));
        match &self.cover {
            Some(required) => required.iter().all(|item| covered.contains(&canonical(item))),
            None => {
                let path = covers("@path") && (covers("@query") || !message.has_query());
                let target = covers("@authority") && (covers("@request-target") || path);
                covers("@method") && (covers("@target-uri") || target)
            }
        }
    }

    async fn find_key(&self, id: &str) -> Result<Option<VerifyingKey>, RefusedSignature> {
        if let Some((_, key)) = self.keys.iter().find(|(own, _)| own == id) {
            return Ok(Some(key.clone()));
        }
        match &self.lookup {
            Some(lookup) if !id.is_empty() => {
                lookup(id.to_owned()).await.map_err(RefusedSignature::Other)
            }
            _ => Ok(None),
        }
    }

    async fn spend_nonce(&self, signed: &VerifiedSignature) -> Result<(), RefusedSignature> {
        let (Some(nonces), Some(nonce)) = (&self.nonces, signed.nonce()) else { return Ok(()) };
        let mut digest = Sha256::new();
        // The length separates the two texts.
        digest.update(b"nonce\0");
        digest.update(signed.key_id().len().to_be_bytes());
        digest.update(signed.key_id());
        digest.update(nonce);
        let now = self.now();
        match nonces.reserve(digest.finalize().into(), now).await {
            Ok(reservation) => {
                reservation.complete(now).await;
                Ok(())
            }
            Err(NotReserved::InFlight | NotReserved::Done) => {
                Err(RefusedSignature::For(SignatureRefusal::Replay, "nonce"))
            }
            Err(NotReserved::Full | NotReserved::Unavailable) => {
                Err(RefusedSignature::For(SignatureRefusal::Unavailable, "nonce"))
            }
        }
    }

    /// Logs a refusal as one event, and answers it.
    fn refuse(&self, refused: RefusedSignature) -> Response {
        let (reason, part) = match &refused {
            RefusedSignature::For(refusal, part) => (refusal.code(), *part),
            RefusedSignature::Other(error) => {
                (error.status().canonical_reason().unwrap_or("error"), "body or key")
            }
        };
        tracing::debug!(
            target: "tower_chain::middleware::message_signatures",
            reason,
            part,
            "signature refused"
        );
        let refusal = match refused {
            RefusedSignature::For(refusal, _) => refusal,
            RefusedSignature::Other(error) => return error.into_response(),
        };
        let error = Error::new(refusal.status(), refusal.detail()).with_source(refusal);
        let error = match refusal {
            SignatureRefusal::Malformed => error,
            SignatureRefusal::Digest => error.with_header(WANT_CONTENT_DIGEST, WANT),
            SignatureRefusal::Unavailable => {
                error.with_header(RETRY_AFTER, HeaderValue::from_static("10"))
            }
            SignatureRefusal::Coverage => {
                self.challenge(error).with_header(WANT_CONTENT_DIGEST, WANT)
            }
            _ => self.challenge(error),
        };
        error.into_response()
    }

    /// The signature that a client should make (RFC 9421, 5.1).
    fn challenge(&self, error: Error) -> Error {
        let mut components: Vec<String> = match &self.cover {
            Some(cover) => cover.iter().map(serialize).collect(),
            None => vec!["\"@method\"".to_owned(), "\"@target-uri\"".to_owned()],
        };
        if self.cover_body {
            components.push(format!("\"{CONTENT_DIGEST}\""));
        }
        let label = self.label.as_deref().unwrap_or("sig");
        let tag = self.tag.as_deref().and_then(string).map(Item::new);
        let tag = tag.map(|tag| format!(";tag={}", serialize(&tag))).unwrap_or_default();
        let accept = format!("{label}=({});created{tag}", components.join(" "));
        let error =
            error.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Message-Signature"));
        match HeaderValue::try_from(accept) {
            Ok(accept) => error.with_header(ACCEPT_SIGNATURE, accept),
            Err(_) => error,
        }
    }
}

impl Middleware for MessageSignatures {
    type Provides = (VerifiedSignature,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, (VerifiedSignature,)>) -> Response {
        match self.verify(next.request_mut()).await {
            Ok(signed) => next.run_with(signed).await,
            Err(refused) => self.refuse(refused),
        }
    }

    fn declare(&self, to: &mut Declaration) {
        to.kind(Kind::Authentication).kind(Kind::VerifiesBody).kind(Kind::ReadsBody);
        to.reads(Field::new(input::SIGNATURE_INPUT.as_str(), "What the signature covers"))
            .reads(Field::new(input::SIGNATURE.as_str(), "The signature"))
            .reads(Field::new(CONTENT_DIGEST.as_str(), "A digest of the body").optional());
        let credential = Credential::new(Scheme::Header(input::SIGNATURE.to_string()));
        to.accepts(credential.description("HTTP Message Signatures (RFC 9421)"));
        let problem = |refusal: SignatureRefusal, cause| Answer::problem(refusal.status(), cause);
        let unauthorized =
            problem(SignatureRefusal::Signature, "the signature is missing or not valid")
                .header(Field::new(ACCEPT_SIGNATURE.as_str(), "The signature to make"))
                .header(Field::new("www-authenticate", "The scheme `Message-Signature`"))
                .header(
                    Field::new(WANT_CONTENT_DIGEST.as_str(), "Digests that are accepted")
                        .optional(),
                );
        to.answers(problem(SignatureRefusal::Malformed, "the signature is malformed"))
            .answers(
                problem(SignatureRefusal::Digest, "the digest is not that of the body")
                    .header(Field::new(WANT_CONTENT_DIGEST.as_str(), "Digests that are accepted")),
            )
            .answers(unauthorized)
            .answers(Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
        if self.nonces.is_some() {
            to.answers(
                problem(SignatureRefusal::Unavailable, "nonces can't be checked now")
                    .header(Field::new("retry-after", "Seconds until the next attempt")),
            );
        }
        for secret in self.keys.iter().filter_map(|(_, key)| key.secret_id()) {
            to.uses(Resource::Secret(secret));
        }
        if let Some(max) = self.max_body.or(MaxBody::default().limit()) {
            to.limits_body(max);
        }
    }
}

impl fmt::Debug for MessageSignatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|(id, _)| id).collect();
        f.debug_struct("MessageSignatures")
            .field("origins", &self.origins)
            .field("keys", &ids)
            .field("label", &self.label)
            .field("tag", &self.tag)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// A signature that is valid. [`MessageSignatures`] provides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSignature {
    label: Arc<str>,
    key_id: Arc<str>,
    components: Arc<HashSet<String>>,
    params: Arc<SignatureParams>,
}

impl VerifiedSignature {
    /// The label of the signature.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The identifier of the key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The time at which the signature was made.
    pub fn created(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.params.created?).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// The nonce.
    pub fn nonce(&self) -> Option<&str> {
        self.params.nonce.as_deref()
    }

    /// The tag, which names an application.
    pub fn tag(&self) -> Option<&str> {
        self.params.tag.as_deref()
    }

    /// Whether the signature covers a component: a name such as `date`, or an identifier with parameters such as `"example";sf`. A field that
    /// is not covered may have been changed.
    pub fn covers(&self, component: &str) -> bool {
        parse_component(component).is_ok_and(|item| self.components.contains(&canonical(&item)))
    }
}

impl VerifiedSignature {
    /// Whether the signature covers all lines of a field, in any form.
    fn covers_field(&self, name: &HeaderName) -> bool {
        ["", ";sf", ";bs"].iter().any(|form| self.components.contains(&format!("\"{name}\"{form}")))
    }

    /// Whether the signature covers a member of a field that is a dictionary.
    fn covers_member(&self, name: &HeaderName) -> bool {
        let start = format!("\"{name}\";key=");
        self.components.iter().any(|component| component.starts_with(&start))
    }
}

impl FromChain for VerifiedSignature {
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

/// Why a request does not reach the handler. The part is a text of this crate.
enum RefusedSignature {
    For(SignatureRefusal, &'static str),
    /// Of the body, or of the function that looks up keys.
    Other(Error),
}

const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const CAPACITY: usize = 100_000;
