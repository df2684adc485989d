//! Accepted deliveries in Redis.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::RedisError;

use super::error::SignedError;
use crate::middleware::lua_script::LuaScript;
use crate::middleware::redis_connection::{LONGEST, RedisConnection, redis_settings};
use crate::middleware::seen::{Seen, SeenStore};

/// A [`SeenStore`] in Redis or Valkey, which several servers share. For [`Signed::store`](super::Signed::store), and for the nonces of
/// HTTP Message Signatures.
///
/// Each call is a command or two. If Redis does not respond within the [timeout](RedisSeen::timeout) before the handler runs, the request is a 503, because
/// the message may have been accepted before. If it does not respond when the handler has ended, this is logged, and the message is accepted again after
/// the lease. Only digests are stored: as reserved until the handler has ended, or for the length of the lease, and then as done for as long as the step
/// remembers messages. Redis must not evict keys (`noeviction`, or a separate instance). If it loses data, as when a replica takes
/// over, the messages that were lost are accepted again.
///
/// An account needs `+set +get +evalsha +eval +del` for the keys `prefix:*`.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use tower_chain::middleware::signed::{RedisSeen, Signed};
///
/// # fn main() -> Result<(), tower_chain::middleware::signed::SignedError> {
/// # let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// let accepted = RedisSeen::new("redis://127.0.0.1/")?.prefix("payments");
/// let signed = Signed::stripe(secret)?.store(accepted, Duration::from_secs(60))?;
/// # let _ = signed;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisSeen(RedisConnection);

impl SeenStore for RedisSeen {
    type Error = RedisError;

    async fn reserve(&self, message: &[u8; 32], lease: Duration) -> Result<Seen, RedisError> {
        let key = self.0.key(message);
        // `NX` makes it atomic: the command sets the key only if it does not exist.
        let mut reserve = redis::cmd("SET");
        reserve.arg(&key).arg(&*self.0.owner).arg("NX").arg("PX").arg(millis(lease));
        if self.0.ask::<Option<String>>(&reserve).await?.is_some() {
            return Ok(Seen::New);
        }
        let found: Option<String> = self.0.ask(redis::cmd("GET").arg(&key)).await?;
        // A reservation that has just ended counts as one: the sender tries again.
        Ok(if found.as_deref() == Some(DONE) { Seen::Done } else { Seen::InFlight })
    }

    async fn complete(&self, message: &[u8; 32], keep: Duration) -> Result<(), RedisError> {
        let mut command = redis::cmd("SET");
        command.arg(self.0.key(message)).arg(DONE).arg("PX").arg(millis(keep));
        self.0.ask(&command).await
    }

    async fn release(&self, message: &[u8; 32]) -> Result<(), RedisError> {
        let mut connection = self.0.connection()?;
        let key = self.0.key(message);
        let released = RELEASE.run(&mut connection, |command| {
            command.arg(1).arg(&key).arg(&*self.0.owner);
        });
        self.0.within(released).await
    }
}

redis_settings!(RedisSeen, "signed", SignedError, SignedError::Zero);

/// The value of a message that was handled. That of a reservation is its owner.
const DONE: &str = "done";

/// Deletes an own reservation, and no message that another server has reserved or handled since.
static RELEASE: LazyLock<LuaScript> = LazyLock::new(|| {
    LuaScript::new(
        "",
        "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end",
    )
});

/// At least one: Redis refuses zero.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST * 1000)
}
