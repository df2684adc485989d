//! What several servers share: a denylist, and the proofs that were used.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, RedisError, Script};

use super::crypto::sha256;
use super::error::JwtConfigError;
use super::proof::dpop::ReplayStore;
use super::revocation::SLACK;
use super::token::claims::Token;

/// What [`Denylist`](crate::middleware::jwt::Denylist) is, in Redis or Valkey, for several servers. Given to [`Jwt::redis_denylist`](crate::middleware::jwt::Jwt::redis_denylist).
///
/// A token costs one round trip of one command. Where Redis doesn't answer within its [timeout](RedisDenylist::timeout), the request is answered
/// with 503: a token that may be revoked passes nowhere. Only digests of names are stored, each until the tokens have expired. Redis must not
/// evict keys (`noeviction`, or a database of its own).
///
/// # Example
///
/// ```
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::RedisDenylist;
///
/// # fn main() -> Result<(), tower_chain::JwtConfigError> {
/// # let secret = "a secret that has thirty-two bytes";
/// let revoked = RedisDenylist::new("redis://127.0.0.1/")?.prefix("api");
/// let jwt = Jwt::<()>::hs256(secret)?.redis_denylist(revoked.clone());
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisDenylist(Place);

impl RedisDenylist {
    /// Revokes the token with this `jti`. It is forgotten after `until`, when the token has expired: ten minutes later, as long as the leeway may be.
    /// Of several calls for one `jti` the latest moment counts.
    ///
    /// # Errors
    ///
    /// If Redis doesn't take it.
    pub async fn revoke_id(&self, id: &str, until: SystemTime) -> Result<(), RedisError> {
        self.raise(self.0.key(&[b"id", id.as_bytes()]), 1, until).await
    }

    /// Revokes all tokens of a subject that were issued before a moment, and those that don't say when they were issued.
    ///
    /// Without an issuer it counts for the tokens of all of them. It is forgotten ten minutes after `until`, when the last of them has expired.
    /// Of several calls for one subject the latest moments count.
    ///
    /// # Errors
    ///
    /// If Redis doesn't take it.
    pub async fn revoke_subject(
        &self,
        issuer: Option<&str>,
        subject: &str,
        issued_before: SystemTime,
        until: SystemTime,
    ) -> Result<(), RedisError> {
        let before = issued_before.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let before = before.as_secs() + u64::from(before.subsec_nanos() > 0);
        self.raise(self.subject(issuer, subject), before, until).await
    }

    /// In one step, so that of two calls at once neither takes back what the other has revoked.
    async fn raise(&self, key: String, value: u64, until: SystemTime) -> Result<(), RedisError> {
        let script = Script::new(RAISE);
        let mut call = script.prepare_invoke();
        call.key(key).arg(value).arg(seconds_to(until));
        let mut connection = self.0.connection()?;
        self.0.within(call.invoke_async(&mut connection)).await
    }

    /// Whether a token is revoked.
    ///
    /// # Errors
    ///
    /// If Redis doesn't say.
    pub async fn is_revoked(&self, token: &Token) -> Result<bool, RedisError> {
        let mut keys = Vec::with_capacity(3);
        if let Some(subject) = token.subject() {
            keys.push(self.subject(None, subject));
            keys.extend(token.issuer().map(|issuer| self.subject(Some(issuer), subject)));
        }
        let subjects = keys.len();
        keys.extend(token.id().map(|id| self.0.key(&[b"id", id.as_bytes()])));
        if keys.is_empty() {
            return Ok(false);
        }
        let mut command = redis::cmd("MGET");
        command.arg(&keys);
        let values: Vec<Option<u64>> = self.0.ask(&command).await?;
        Ok(values.iter().enumerate().any(|(index, value)| match value {
            Some(before) if index < subjects => {
                token.times.issued.is_none_or(|issued| issued < *before)
            }
            Some(_) => true,
            None => false,
        }))
    }

    fn subject(&self, issuer: Option<&str>, subject: &str) -> String {
        match issuer {
            Some(issuer) => self.0.key(&[b"issuer", issuer.as_bytes(), subject.as_bytes()]),
            None => self.0.key(&[b"subject", subject.as_bytes()]),
        }
    }
}

/// A [`ReplayStore`] in Redis or Valkey, for several servers. Given to [`Dpop::replay_store`](crate::middleware::jwt::Dpop::replay_store).
///
/// A proof costs one round trip of one command. Where Redis doesn't answer within its [timeout](RedisReplay::timeout), the request is answered
/// with 503: a proof that may have been used passes nowhere. Only digests are stored, each until the proof is too old. Redis must not evict keys
/// (`noeviction`, or a database of its own).
///
/// # Example
///
/// ```
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::{Dpop, RedisReplay};
///
/// # fn main() -> Result<(), tower_chain::JwtConfigError> {
/// # let secret = "a secret that has thirty-two bytes";
/// let dpop = Dpop::new("https://api.example.com")?.replay_store(RedisReplay::new("redis://127.0.0.1/")?);
/// let jwt = Jwt::<()>::hs256(secret)?.dpop(dpop);
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisReplay(Place);

impl ReplayStore for RedisReplay {
    type Error = RedisError;

    async fn spend(&self, proof: &[u8; 32], good_for: Duration) -> Result<bool, RedisError> {
        // Only if it isn't there: to look and to note are one command.
        let mut command = redis::cmd("SET");
        command.arg(self.0.key(&[b"proof", proof])).arg(1).arg("NX");
        command.arg("EX").arg(good_for.as_secs().saturating_add(1).min(LONGEST));
        let noted: Option<String> = self.0.ask(&command).await?;
        Ok(noted.is_some())
    }
}

/// Redis, and where in it.
#[derive(Clone)]
struct Place {
    client: Client,
    /// `None` until it is first used: a connection needs the runtime that it is made in.
    connection: Arc<Mutex<Option<ConnectionManager>>>,
    prefix: Arc<str>,
    timeout: Duration,
}

impl Place {
    fn new(url: &str, prefix: &str) -> Result<Self, JwtConfigError> {
        let client = Client::open(url).map_err(|_| JwtConfigError::RedisUrl)?;
        let timeout = Duration::from_secs(1);
        Ok(Self { client, connection: Arc::default(), prefix: Arc::from(prefix), timeout })
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection()?;
        self.within(command.query_async(&mut connection)).await
    }

    fn connection(&self) -> Result<ConnectionManager, RedisError> {
        let mut place = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*place {
            return Ok(known.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(250))
            .set_connection_timeout(Some(Duration::from_secs(1)))
            // There is a deadline for the whole.
            .set_response_timeout(None);
        let new = ConnectionManager::new_lazy_with_config(self.client.clone(), config)?;
        Ok(place.insert(new).clone())
    }

    async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let answer = tokio::time::timeout(self.timeout, asked).await;
        answer.unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()))
    }

    /// A digest, so that no name runs into another one, or into the memory of Redis with its length.
    fn key(&self, parts: &[&[u8]]) -> String {
        let lengths: Vec<[u8; 8]> =
            parts.iter().map(|part| (part.len() as u64).to_le_bytes()).collect();
        let parts: Vec<&[u8]> =
            lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], part]).collect();
        format!("{}:{}", self.prefix, URL_SAFE_NO_PAD.encode(sha256(&parts)))
    }

    fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Until no clock accepts the token any more.
fn seconds_to(until: SystemTime) -> u64 {
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    left.saturating_add(SLACK).as_secs().min(LONGEST)
}

/// What both have in common. The name and the prefix are all that differs.
macro_rules! settings {
    ($store:ident, $prefix:literal) => {
        impl $store {
            /// One at this address, such as `redis://:password@host:6379/0`. It connects when it is first used, and again whenever the
            /// connection is lost.
            ///
            /// # Errors
            ///
            /// If the address can't be parsed.
            pub fn new(url: &str) -> Result<Self, JwtConfigError> {
                Place::new(url, $prefix).map(Self)
            }

            #[doc = concat!("What the names of keys begin with. Defaults to `", $prefix, "`.")]
            #[must_use]
            pub fn prefix(mut self, prefix: &str) -> Self {
                self.0.prefix = Arc::from(prefix);
                self
            }

            /// How long Redis may take to answer. Defaults to one second.
            #[must_use]
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.0.timeout = timeout;
                self
            }
        }

        impl fmt::Debug for $store {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.show(stringify!($store), f)
            }
        }
    };
}

settings!(RedisDenylist, "jwt");
settings!(RedisReplay, "dpop");

/// Raises a value and a time to live, and lowers neither.
const RAISE: &str = r"
local before = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1]))
local ttl = math.max(redis.call('TTL', KEYS[1]), tonumber(ARGV[2]))
redis.call('SET', KEYS[1], string.format('%.0f', before), 'EX', string.format('%.0f', ttl))
";
/// Ten thousand years, in seconds.
const LONGEST: u64 = 315_576_000_000;
