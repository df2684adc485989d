//! Used proofs in Redis.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;

use super::ReplayStore;
use crate::middleware::jwt::crypto::sha256_of_each;
use crate::middleware::jwt::error::JwtError;
use crate::middleware::redis_connection::{LONGEST, RedisConnection, redis_settings};

/// A [`ReplayStore`] in Redis or Valkey. For [`Dpop::replay_store`](super::Dpop::replay_store).
///
/// A proof costs one command in one round trip. If Redis does not respond within the [timeout](RedisReplay::timeout), the request is a 503, because the
/// proof may have been used. Only digests are stored, each until the proof is too old. Redis must not evict keys (`noeviction`, or a separate
/// instance).
///
/// # Example
///
/// ```
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::{Dpop, RedisReplay};
///
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// # let secret = "a secret that has thirty-two bytes";
/// let dpop = Dpop::new("https://api.example.com")?.replay_store(RedisReplay::new("redis://127.0.0.1/")?);
/// let jwt = Jwt::<()>::hs256(secret)?.dpop(dpop);
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisReplay(RedisConnection);

impl ReplayStore for RedisReplay {
    type Error = RedisError;

    async fn spend(&self, proof: &[u8; 32], good_for: Duration) -> Result<bool, RedisError> {
        // `NX` makes it atomic: the command sets the key only if it does not exist.
        let mut command = redis::cmd("SET");
        command.arg(self.0.key(&sha256_of_each(&[b"proof", proof]))).arg(1).arg("NX");
        command.arg("EX").arg(good_for.as_secs().saturating_add(1).min(LONGEST));
        let noted: Option<String> = self.0.ask(&command).await?;
        Ok(noted.is_some())
    }
}

redis_settings!(RedisReplay, "dpop", JwtError, JwtError::ZeroTime { what: "the timeout" });
