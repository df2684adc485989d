//! A store in Redis or a compatible server.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, RedisError, RedisResult};

use super::error::IdempotencyError;
use super::store::{IdempotencyStore, KeyOutcome, KeyReservation, KeyState, KeyUpdate};
use crate::middleware::lua_script::LuaScript;

/// An [`IdempotencyStore`] in Redis or Valkey, which several servers share.
///
/// Each call is one script, by the clock of Redis alone. Redis 5 or later is required. Redis must not evict keys (`noeviction`): while it has no memory,
/// requests with a key are refused. If it loses data, as after a restart without persistence or when a replica takes over, the requests of the lost keys may
/// run again. The keys of requests that run at that time are created again by their servers.
///
/// # Keys and commands
///
/// | key | type | content |
/// | --- | --- | --- |
/// | `prefix:{principal}:record` | hash | fingerprint, owner, state, end of the lease, and response |
/// | `prefix:{principal}:#keys` | sorted set | the records of a principal, and when they expire |
///
/// The names are digests. `{}` marks the hash tag, which selects the slot of a cluster: a principal is in one slot. With
/// [`for_anyone`](super::Idempotency::for_anyone), the tag is a part of the name of the record. Each key has a time to live.
///
/// An account needs `+evalsha +eval +time +hmget +hset +del +pexpire +zadd +zrem +zcard +zrange +zremrangebyscore` for these keys.
///
/// For TLS, enable the feature `tokio-rustls-comp` of the crate `redis` and use a `rediss://` address. For a cluster, enable its feature `cluster-async`,
/// and use [`with_connection`](Self::with_connection).
///
/// # Example
///
/// ```
/// use tower_chain::middleware::idempotency::{Idempotency, RedisIdempotency};
///
/// # #[derive(Clone)] struct User { id: u64 }
/// # fn main() -> Result<(), tower_chain::middleware::idempotency::IdempotencyError> {
/// let store = RedisIdempotency::new("redis://127.0.0.1/")?.prefix("shop");
/// let step = Idempotency::per(|user: &User| user.id.to_string()).store(store);
/// # let _ = step;
/// # Ok(())
/// # }
/// ```
pub struct RedisIdempotency<C = ConnectionManager> {
    connect: Box<dyn Fn() -> RedisResult<C> + Send + Sync>,
    /// `None` until the first use: a connection belongs to the runtime in which it is created.
    connection: Mutex<Option<C>>,
    prefix: Arc<str>,
    reserve: LuaScript,
    renew: LuaScript,
    finish: LuaScript,
}

impl RedisIdempotency {
    /// A store at an address such as `redis://:password@host:6379/0`. It connects on the first use, and again whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// If the address can't be parsed.
    pub fn new(url: &str) -> Result<Self, IdempotencyError> {
        let client = Client::open(url).map_err(|_| IdempotencyError::RedisUrl)?;
        let config = ConnectionManagerConfig::new()
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(250))
            .set_connection_timeout(Some(Duration::from_secs(1)))
            // The step has a deadline of its own. This one ends calls in the background.
            .set_response_timeout(Some(Duration::from_secs(5)));
        let connect =
            move || ConnectionManager::new_lazy_with_config(client.clone(), config.clone());
        Ok(Self::of(Box::new(connect)))
    }
}

impl<C> RedisIdempotency<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// A store behind a connection that reconnects by itself, such as a connection to a cluster.
    pub fn with_connection(connection: C) -> Self {
        Self::of(Box::new(move || Ok(connection.clone())))
    }

    fn of(connect: Box<dyn Fn() -> RedisResult<C> + Send + Sync>) -> Self {
        Self {
            connect,
            connection: Mutex::default(),
            prefix: Arc::from("idempotency"),
            reserve: LuaScript::new(COMMON, RESERVE),
            renew: LuaScript::new(COMMON, RENEW),
            finish: LuaScript::new(COMMON, FINISH),
        }
    }

    /// Sets the prefix of the names of all keys. Defaults to `idempotency`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Arc::from(prefix);
        self
    }

    fn connection(&self) -> RedisResult<C> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*connection {
            return Ok(known.clone());
        }
        Ok(connection.insert((self.connect)()?).clone())
    }

    /// The keys and the first arguments of all scripts.
    fn arguments(&self, cmd: &mut Cmd, reservation: &KeyReservation) {
        let (prefix, record) = (&self.prefix, Hex(&reservation.record));
        match &reservation.principal {
            Some(principal) => {
                let principal = Hex(principal);
                cmd.arg(2).arg(format!("{prefix}:{{{principal}}}:{record}"));
                cmd.arg(format!("{prefix}:{{{principal}}}:#keys"));
            }
            None => {
                let tag = Hex(&reservation.record[..16]);
                cmd.arg(1).arg(format!("{prefix}:{{{tag}}}:{record}"));
            }
        }
        cmd.arg(&reservation.owner[..]).arg(&reservation.fingerprint[..]);
        cmd.arg(millis(reservation.lease)).arg(millis(reservation.age));
    }
}

impl<C> IdempotencyStore for RedisIdempotency<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    type Error = RedisError;

    async fn reserve(&self, reservation: &KeyReservation) -> Result<KeyState, RedisError> {
        let arguments = |cmd: &mut Cmd| {
            self.arguments(cmd, reservation);
            cmd.arg(reservation.max_keys);
        };
        let mut connection = self.connection()?;
        let (state, time, bytes): (String, u64, Vec<u8>) =
            self.reserve.run(&mut connection, arguments).await?;
        Ok(match state.as_str() {
            "reserved" => KeyState::Reserved,
            "in flight" => KeyState::InFlight,
            "unknown" => KeyState::Unknown,
            "finished" => KeyState::Finished(Bytes::from(bytes)),
            "other request" => KeyState::OtherRequest,
            "too many keys" => KeyState::TooManyKeys(Duration::from_millis(time)),
            _ => return Err((ErrorKind::UnexpectedReturnType, "an unknown state").into()),
        })
    }

    async fn renew(&self, reservation: &KeyReservation) -> Result<KeyUpdate, RedisError> {
        let arguments = |cmd: &mut Cmd| self.arguments(cmd, reservation);
        let mut connection = self.connection()?;
        let own: bool = self.renew.run(&mut connection, arguments).await?;
        Ok(if own { KeyUpdate::Done } else { KeyUpdate::Lost })
    }

    async fn finish(
        &self,
        reservation: &KeyReservation,
        outcome: KeyOutcome,
    ) -> Result<KeyUpdate, RedisError> {
        let arguments = |cmd: &mut Cmd| {
            self.arguments(cmd, reservation);
            match &outcome {
                KeyOutcome::Finished(bytes) => cmd.arg("finished").arg(&bytes[..]),
                KeyOutcome::Unknown => cmd.arg("unknown"),
                KeyOutcome::Released => cmd.arg("released"),
            };
        };
        let mut connection = self.connection()?;
        let own: bool = self.finish.run(&mut connection, arguments).await?;
        Ok(if own { KeyUpdate::Done } else { KeyUpdate::Lost })
    }
}

/// The address is not shown: it may contain a password.
impl<C> fmt::Debug for RedisIdempotency<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisIdempotency").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whole milliseconds, rounded up. The settings are at most a year.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A record is a hash of `owner`, `print` (the fingerprint), `state` (`in flight`, `unknown` or `finished`), `lease` (its end, in milliseconds since 1970), and
/// `response`.
const COMMON: &str = r"
local record, keys = KEYS[1], KEYS[2]
local owner, print, lease, age = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', record, 'owner', 'print', 'state', 'lease')
local function keep(state)
  redis.call('HSET', record, 'owner', owner, 'print', print, 'state', state, 'lease', now + lease)
  redis.call('PEXPIRE', record, age)
  if keys then
    redis.call('ZADD', keys, now + age, record)
    local last = redis.call('ZRANGE', keys, -1, -1, 'WITHSCORES')
    redis.call('PEXPIRE', keys, last[2] - now)
  end
end
";

const RESERVE: &str = r"
if not found[1] then
  if keys then
    redis.call('ZREMRANGEBYSCORE', keys, '-inf', now)
    if redis.call('ZCARD', keys) >= tonumber(ARGV[5]) then
      local first = redis.call('ZRANGE', keys, 0, 0, 'WITHSCORES')
      return { 'too many keys', math.max(tonumber(first[2]) - now, 0), '' }
    end
  end
  keep('in flight')
  return { 'reserved', 0, '' }
end
if found[2] ~= print then return { 'other request', 0, '' } end
if found[3] == 'finished' then
  return { 'finished', 0, redis.call('HMGET', record, 'response')[1] or '' }
end
if found[3] == 'in flight' then
  if found[1] == owner then return { 'reserved', 0, '' } end
  if tonumber(found[4]) > now then return { 'in flight', 0, '' } end
end
return { 'unknown', 0, '' }
";

const RENEW: &str = r"
if found[1] and found[1] ~= owner then return 0 end
if not found[1] or found[3] == 'in flight' then keep('in flight') end
return 1
";

const FINISH: &str = r"
if found[1] and found[1] ~= owner then return 0 end
if found[3] == 'finished' then return 1 end
if ARGV[5] == 'released' then
  redis.call('DEL', record)
  if keys then redis.call('ZREM', keys, record) end
  return 1
end
keep(ARGV[5])
if ARGV[5] == 'finished' then redis.call('HSET', record, 'response', ARGV[6]) end
return 1
";
