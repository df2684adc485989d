//! Revoked tokens in Redis.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::{RedisError, Script};

use super::{SLACK, since_epoch};
use crate::middleware::jwt::crypto::sha256_of_each;
use crate::middleware::jwt::error::JwtError;
use crate::middleware::jwt::token::claims::RegisteredClaims;
use crate::middleware::redis_connection::{LONGEST, RedisConnection, redis_settings};

/// A [`Denylist`](crate::middleware::jwt::Denylist) in Redis or Valkey, which several servers share. For
/// [`Jwt::redis_denylist`](crate::middleware::jwt::Jwt::redis_denylist).
///
/// A token costs one command in one round trip. If Redis does not respond within the [timeout](RedisDenylist::timeout), the request is a 503, because
/// the token may be revoked. Only digests of names are stored, each until the tokens have expired. Redis must not evict keys (`noeviction`, or a
/// separate instance).
///
/// # Example
///
/// ```
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::RedisDenylist;
///
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// # let secret = "a secret that has thirty-two bytes";
/// let revoked = RedisDenylist::new("redis://127.0.0.1/")?.prefix("api");
/// let jwt = Jwt::<()>::hs256(secret)?.redis_denylist(revoked.clone());
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisDenylist(RedisConnection);

impl RedisDenylist {
    /// Revokes the token with this `jti`. `None` as the issuer means the tokens of all issuers.
    ///
    /// `until` is when the token expires; the entry is removed ten minutes later, which is the longest leeway. After several calls for one issuer
    /// and `jti`, the latest time is used.
    ///
    /// # Errors
    ///
    /// If Redis fails or does not respond in time.
    pub async fn revoke_id(
        &self,
        issuer: Option<&str>,
        id: &str,
        until: SystemTime,
    ) -> Result<(), RedisError> {
        self.raise(self.id(issuer, id), Duration::from_secs(1), until).await
    }

    /// Revokes all tokens of a subject that were issued before a time, and those without `iat`.
    ///
    /// The time is compared with `iat` as precisely as the issuer writes it. Most issuers write whole seconds: then a token of the same second is not
    /// revoked, because a user who signs out everywhere and in again may get one. Add a second to the time to revoke those as well. If `iat` has a fraction,
    /// a token of the same second is revoked only if it was issued before the time.
    ///
    /// `None` as the issuer means the tokens of all issuers. The entry is removed ten minutes after `until`, when the last of the tokens has expired.
    /// After several calls for one subject, the latest times are used.
    ///
    /// # Errors
    ///
    /// If Redis fails or does not respond in time.
    pub async fn revoke_subject(
        &self,
        issuer: Option<&str>,
        subject: &str,
        issued_before: SystemTime,
        until: SystemTime,
    ) -> Result<(), RedisError> {
        self.raise(self.subject(issuer, subject), since_epoch(issued_before), until).await
    }

    /// Runs as one script. Of two concurrent calls, none can undo what the other one has revoked.
    async fn raise(
        &self,
        key: String,
        value: Duration,
        until: SystemTime,
    ) -> Result<(), RedisError> {
        let script = Script::new(RAISE);
        let mut call = script.prepare_invoke();
        call.key(key).arg(written(value)).arg(seconds_to(until));
        let mut connection = self.0.connection()?;
        self.0.within(call.invoke_async(&mut connection)).await
    }

    /// Whether a token is revoked.
    ///
    /// # Errors
    ///
    /// If Redis fails or does not respond in time.
    pub async fn is_revoked(&self, token: &RegisteredClaims) -> Result<bool, RedisError> {
        let mut keys = Vec::with_capacity(4);
        if let Some(subject) = token.subject() {
            keys.push(self.subject(None, subject));
            keys.extend(token.issuer().map(|issuer| self.subject(Some(issuer), subject)));
        }
        let subjects = keys.len();
        if let Some(id) = token.id() {
            keys.push(self.id(None, id));
            keys.extend(token.issuer().map(|issuer| self.id(Some(issuer), id)));
        }
        if keys.is_empty() {
            return Ok(false);
        }
        let mut command = redis::cmd("MGET");
        command.arg(&keys);
        let values: Vec<Option<f64>> = self.0.ask(&command).await?;
        Ok(values.iter().enumerate().any(|(index, value)| match value {
            Some(before) if index < subjects => token.times.is_issued_before(read(*before)),
            Some(_) => true,
            None => false,
        }))
    }

    fn id(&self, issuer: Option<&str>, id: &str) -> String {
        self.0.key(&match issuer {
            Some(issuer) => sha256_of_each(&[b"id", issuer.as_bytes(), id.as_bytes()]),
            None => sha256_of_each(&[b"id", id.as_bytes()]),
        })
    }

    fn subject(&self, issuer: Option<&str>, subject: &str) -> String {
        self.0.key(&match issuer {
            Some(issuer) => sha256_of_each(&[b"issuer", issuer.as_bytes(), subject.as_bytes()]),
            None => sha256_of_each(&[b"subject", subject.as_bytes()]),
        })
    }
}

redis_settings!(RedisDenylist, "jwt", JwtError, JwtError::ZeroTime { what: "the timeout" });

/// Seconds with microseconds, which Redis and `f64` keep exactly until the year 2255.
fn written(value: Duration) -> String {
    format!("{}.{:06}", value.as_secs(), value.subsec_micros())
}

/// Reads seconds with microseconds. The cast saturates.
fn read(seconds: f64) -> Duration {
    Duration::from_micros((seconds * 1e6).round() as u64)
}

/// The seconds until no server accepts the token any more, whatever its leeway.
fn seconds_to(until: SystemTime) -> u64 {
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    left.saturating_add(SLACK).as_secs().min(LONGEST)
}

/// Raises a value and a time to live, but never lowers them.
const RAISE: &str = r"
local before = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1]))
local ttl = math.max(redis.call('TTL', KEYS[1]), tonumber(ARGV[2]))
redis.call('SET', KEYS[1], string.format('%.6f', before), 'EX', string.format('%.0f', ttl))
";
