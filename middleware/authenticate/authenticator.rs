//! Checks the credentials of some sources.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode};

use super::cache::{Cache, CacheKey};
use super::{ApiKeys, AuthenticateRefusal, Login, Principal, TokenSource};
use crate::Error;
use crate::middleware::credentials::{Credentials, Explanation, RequestHead};
use crate::turns::{Client, Turns};

/// Sources, and the verifier of the credentials in them.
pub(super) struct Authenticator<T> {
    pub(super) sources: Vec<TokenSource>,
    /// The indices of those sources, and of the one of tokens with a proof, among all sources.
    pub(super) places: Vec<usize>,
    /// The index of the source of tokens with a proof among all sources.
    pub(super) proof_place: Option<usize>,
    pub(super) verifier: CredentialVerifier<T>,
    pub(super) cache: Option<Cache<T>>,
    /// How much longer a result of the verifier is valid, which limits the time in the cache.
    pub(super) lifetime: fn(&T) -> Duration,
    pub(super) possession: Option<Arc<dyn Possession<T>>>,
}

/// Checks that the sender of a token holds the key to which the token is bound.
pub(super) trait Possession<T>: Send + Sync {
    /// `Authorization: DPoP`, if tokens may come with a proof.
    fn source(&self) -> Option<TokenSource>;

    /// The algorithms for proofs, for the challenge.
    fn algorithms(&self) -> Option<String>;

    /// Whether tokens without a proof are refused.
    fn is_required(&self) -> bool;

    /// The nonce for refusals.
    fn nonce(&self) -> Option<HeaderValue>;

    /// Returns the nonce for the response, if there is a newer one.
    fn confirm<'a>(
        &'a self,
        found: &'a T,
        sent: SentToken<'a>,
    ) -> BoxFuture<'a, Result<Option<HeaderValue>, Unconfirmed>>;
}

/// A token, and what came with it.
#[cfg_attr(
    not(any(feature = "jwt", feature = "jwt-rust-crypto")),
    allow(dead_code, reason = "no token is bound")
)]
pub(super) struct SentToken<'a> {
    pub(super) head: RequestHead<'a>,
    pub(super) token: &'a [u8],
    /// Whether the token came by the scheme `DPoP`.
    pub(super) with_proof: bool,
}

/// Why a token is refused although it is active.
#[cfg_attr(
    not(any(feature = "jwt", feature = "jwt-rust-crypto")),
    allow(dead_code, reason = "no token is bound")
)]
pub(super) struct Unconfirmed {
    pub(super) status: StatusCode,
    /// Of the challenge. `None` if the same request may be accepted later.
    pub(super) code: Option<&'static str>,
    pub(super) detail: &'static str,
    pub(super) refusal: AuthenticateRefusal,
    /// For the log.
    pub(super) reason: &'static str,
    pub(super) explanation: Explanation,
}

/// Checks tokens that may come with a proof, and with the head of the request.
pub(super) trait TokenVerifier<T>: Send + Sync {
    fn verify<'a>(&'a self, sent: SentToken<'a>) -> BoxFuture<'a, CheckedToken<T>>;
}

/// The principal, and the nonce for the response, if there is a newer one.
pub(super) type CheckedToken<T> = Result<(T, Option<HeaderValue>), Unconfirmed>;

pub(super) enum CredentialVerifier<T> {
    #[cfg_attr(
        not(any(feature = "jwt", feature = "jwt-rust-crypto")),
        allow(dead_code, reason = "for JSON Web Tokens")
    )]
    Token(Arc<dyn TokenVerifier<T>>),
    Keys(ApiKeys, fn(Principal) -> T),
    Function(Arc<Verify<T>>),
    Blocking(Arc<VerifyBlocking<T>>, Turns),
}

pub(super) type Verify<T> =
    dyn Fn(&Credentials<'static>, Option<Client>) -> BoxFuture<'static, Verified<T>> + Send + Sync;
/// The inner error is a refusal.
pub(super) type Verified<T> = Result<Result<T, Explanation>, Error>;
pub(super) type VerifyBlocking<T> = dyn Fn(&Login) -> Result<Option<T>, Error> + Send + Sync;

impl<T: Clone + Send + Sync + 'static> Authenticator<T> {
    pub(super) async fn ask(
        &self,
        credentials: &Credentials<'static>,
        client: Option<Client>,
    ) -> Verified<T> {
        let cached = match &self.cache {
            Some(cache) if !cache.ttl().is_zero() => {
                Some((cache, cache.key(credentials.as_bytes())))
            }
            _ => None,
        };
        if let Some(known) = self.known(cached) {
            return Ok(Ok(known));
        }
        // Ends after the result is cached, because the next request may have the same credentials.
        let _turn;
        let found = match &self.verifier {
            CredentialVerifier::Keys(..) | CredentialVerifier::Token(_) => {
                return Ok(Err(Explanation::default()));
            }
            CredentialVerifier::Function(verify) => verify(credentials, client).await?,
            CredentialVerifier::Blocking(verify, turns) => {
                let Credentials::Login(login, colon) = credentials else {
                    return Ok(Err(Explanation::default()));
                };
                let turn = turns.take(client).await?;
                if let Some(known) = self.known(cached) {
                    return Ok(Ok(known));
                }
                let runtime = tokio::runtime::Handle::try_current()?;
                let (verify, login) = (verify.clone(), Login::new(login.clone(), *colon));
                // The check goes on if the client leaves, so its turn moves along with it.
                let check = runtime.spawn_blocking(move || (verify(&login), turn));
                let (found, turn) = check.await?;
                _turn = turn;
                found?.ok_or_else(Explanation::default)
            }
        };
        if let (Some((cache, key)), Ok(principal)) = (cached, &found) {
            let ttl = cache.ttl().min((self.lifetime)(principal));
            cache.insert_for(key, principal.clone(), ttl, Instant::now());
        }
        Ok(found)
    }

    fn known(&self, cached: Option<(&Cache<T>, CacheKey)>) -> Option<T> {
        let (cache, key) = cached?;
        let known = cache.get(&key, Instant::now())?;
        // The monotonic clock of the cache may have stopped while the machine slept; the lifetime uses the system clock.
        (!(self.lifetime)(&known).is_zero()).then_some(known)
    }
}
