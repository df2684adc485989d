//! A store in Redis or a compatible server.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind};

use super::store::{
    LimitStore, StoreAnswer, StoreCall, StoreError, StoreFuture, StoreSlot, StoreWindow,
};

/// A [`LimitStore`] in Redis or Valkey.
///
/// Each decision is one call of one script, whatever the number of policies, by the clock of Redis alone. If that clock is set back, a client is
/// refused for no longer than before (rounded up by 4 %). Every key has a time to live, and expires when it no longer limits anything. Redis 5 or
/// later is required. If Redis loses its data, all clients have their full quota again. If it may evict keys (`allkeys-*`), clients that have used up
/// their quota may be forgotten: use `volatile-ttl`, or a database of its own.
///
/// For TLS, enable the feature `tokio-rustls-comp` of the crate `redis` and use a `rediss://` address. For a cluster, enable its feature
/// `cluster-async` and pass the connection to [`with_connection`](RedisStore::with_connection): the keys of one client have one hash tag.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::rate_limit::{RedisStore, SharedLimits, WhileUnreachable};
/// use tower_chain::{Chain, RateLimit};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::new("redis://127.0.0.1/")?;
/// let limits = SharedLimits::new(store).prefix("shop").while_unreachable(WhileUnreachable::Local { servers: 3 });
/// let chain = Chain::new().use_(RateLimit::per_minute(600).shared("api", limits)).get(async || "hello");
/// # let _ = chain.build();
/// # Ok(())
/// # }
/// ```
pub struct RedisStore<C = ConnectionManager> {
    /// `None` until the first use: a connection belongs to the runtime in which it is opened.
    connection: RwLock<Option<C>>,
    /// Opens a new connection. `None` if the connection reconnects by itself.
    renew: Option<Renew<C>>,
    take: LuaScript,
    refund: LuaScript,
}

type Renew<C> = Box<dyn Fn() -> Result<C, RedisError> + Send + Sync>;

impl RedisStore {
    /// A store at this address, such as `redis://:password@host:6379/0`. It connects on its first use, and again when the connection is lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the address cannot be parsed.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let client = Client::open(url).map_err(StoreError::new)?;
        let renew = move || {
            let config = ConnectionManagerConfig::new()
                .set_min_delay(Duration::from_millis(50))
                .set_max_delay(Duration::from_millis(250))
                .set_connection_timeout(Some(Duration::from_secs(1)))
                // The limiter has its own deadline.
                .set_response_timeout(None);
            ConnectionManager::new_lazy_with_config(client.clone(), config)
        };
        Ok(Self::of(None, Some(Box::new(renew))))
    }
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// A store behind a connection that reconnects by itself, such as a connection to a cluster.
    pub fn with_connection(connection: C) -> Self {
        Self::of(Some(connection), None)
    }

    fn of(connection: Option<C>, renew: Option<Renew<C>>) -> Self {
        let connection = RwLock::new(connection);
        Self { connection, renew, take: LuaScript::new(TAKE), refund: LuaScript::new(REFUND) }
    }

    fn connection(&self) -> Result<C, StoreError> {
        if let Some(known) = &*self.connection.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(known.clone());
        }
        let mut slot = self.connection.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*slot {
            return Ok(known.clone());
        }
        let renew = self.renew.as_ref().ok_or_else(|| StoreError::new("there is no connection"))?;
        let new = renew().map_err(StoreError::new)?;
        Ok(slot.insert(new).clone())
    }
}

impl<C> LimitStore for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
        Box::pin(async move {
            let mut connection = self.connection()?;
            let slot = call.slot.as_ref();
            let keys = call.charges.iter().map(|charge| &charge.key);
            let keys: Vec<&String> =
                keys.chain(&call.blocks).chain(slot.map(|slot| &slot.key)).collect();
            let arguments = |cmd: &mut Cmd| {
                cmd.arg(keys.len()).arg(&keys);
                cmd.arg(u8::from(call.forced)).arg(call.lease).arg(call.charges.len());
                cmd.arg(call.blocks.len());
                match slot {
                    Some(StoreSlot { most, id, longest, .. }) => {
                        cmd.arg(most).arg(id).arg(micros(*longest).min(LONGEST))
                    }
                    None => cmd.arg(0).arg(0).arg(0),
                };
                for charge in &call.charges {
                    let time = |requests: u32| {
                        micros(charge.interval).saturating_mul(requests.into()).min(LONGEST)
                    };
                    let longest = micros(charge.longest).min(LONGEST);
                    cmd.arg(time(charge.burst)).arg(time(charge.cost)).arg(longest);
                    cmd.arg(u8::from(charge.shadow));
                    match charge.window {
                        None => cmd.arg(0).arg(0).arg(0),
                        Some(StoreWindow::Calendar { length, start }) => {
                            cmd.arg(micros(length)).arg(micros(start)).arg(0)
                        }
                        Some(StoreWindow::FirstRequest { length, grid }) => {
                            cmd.arg(micros(length)).arg(0).arg(micros(grid))
                        }
                    };
                }
            };
            let answer: Vec<u64> = self.take.run(&mut connection, arguments).await?;
            match &answer[..] {
                [admitted, leased, busy, shadowed, times @ ..]
                    if times.len() >= 2 * call.charges.len() =>
                {
                    let mut times = times.iter().map(|time| Duration::from_micros(*time));
                    Ok(StoreAnswer {
                        admitted: *admitted == 1,
                        charged_for: times.by_ref().take(call.charges.len()).collect(),
                        windows: times.by_ref().take(call.charges.len()).collect(),
                        shadowed: u32::try_from(*shadowed).unwrap_or(0),
                        leased: u32::try_from(*leased).unwrap_or(0),
                        blocked_for: times.collect(),
                        is_busy: *busy == 1,
                    })
                }
                _ => Err(StoreError::new("the script returned too few values")),
            }
        })
    }

    fn refund<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut connection = self.connection()?;
            let arguments = |cmd: &mut Cmd| {
                cmd.arg(keys.len());
                for (key, _) in keys {
                    cmd.arg(key);
                }
                for (_, time) in keys {
                    // Rounded down, so never more is refunded than was charged.
                    cmd.arg(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(LONGEST));
                }
            };
            self.refund.run(&mut connection, arguments).await
        })
    }

    fn release<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut connection = self.connection()?;
            let mut call = redis::cmd("ZREM");
            call.arg(&slot.key).arg(&slot.id);
            match call.query_async(&mut connection).await {
                // The key does not contain slots, so there is nothing to release.
                Err(error) if error.code() == Some("WRONGTYPE") => Ok(()),
                released => released.map_err(failure),
            }
        })
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut connection = self.connection()?;
            let mut call = redis::cmd("DEL");
            for key in keys {
                call.arg(key);
            }
            call.query_async(&mut connection).await.map_err(StoreError::new)
        })
    }

    fn supports_windows(&self) -> bool {
        true
    }

    fn read<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<String>> {
        Box::pin(async move {
            let mut connection = self.connection()?;
            redis::cmd("GET").arg(key).query_async(&mut connection).await.map_err(failure)
        })
    }

    fn write<'a>(&'a self, key: &'a str, value: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut connection = self.connection()?;
            let mut call = redis::cmd("SET");
            call.arg(key).arg(value).query_async(&mut connection).await.map_err(failure)
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            // On a new connection: the old one may hang on a host that is gone.
            let mut connection = match &self.renew {
                Some(renew) => renew().map_err(StoreError::new)?,
                None => self.connection()?,
            };
            // In a cluster, `TIME` is sent to one node; `PING` would need an answer of all.
            let time: Result<(u64, u64), _> = redis::cmd("TIME").query_async(&mut connection).await;
            time.map_err(StoreError::new)?;
            *self.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(connection);
            Ok(())
        })
    }
}

/// The address is not shown: it may contain a password.
impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

/// A script, which Redis caches under its hash.
struct LuaScript {
    code: String,
    hash: String,
}

impl LuaScript {
    fn new(code: &str) -> Self {
        let code = format!("{CHARGE}{code}");
        Self { hash: Script::new(&code).get_hash().to_owned(), code }
    }

    /// Runs the script by its hash. If the node does not know it, the same call is repeated with the code, which goes to the same node.
    async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<T, StoreError> {
        let mut cached = redis::cmd("EVALSHA");
        arguments(cached.arg(&self.hash));
        let answer = match cached.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut full = redis::cmd("EVAL");
                arguments(full.arg(&self.code));
                full.query_async(connection).await
            }
            answer => answer,
        };
        answer.map_err(failure)
    }
}

/// The failure of a command. Where only the keys are at fault, the store itself is well.
fn failure(error: RedisError) -> StoreError {
    let text = error.to_string();
    // Before version 7, Redis wraps the error of a command in an error of the script.
    match text.contains("WRONGTYPE") || text.contains("permissions to access a key") {
        true => StoreError::of_keys(error),
        false => StoreError::new(error),
    }
}

/// Microseconds, rounded up. Scripts calculate in doubles, which are exact up to 2^53: too small for nanoseconds since 1970.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// 100 years in microseconds. The sum with the time since 1970 is below 2^53.
const LONGEST: u64 = 100 * 366 * 24 * 3600 * 1_000_000;

/// Reads and writes the value of a key, for both scripts. It has 19 digits: until when the key is charged, in microseconds since 1970 (16 digits),
/// and for how long that was when it was written (3 digits: the exponent of the next power of 1.04). Redis stores 19 digits as one integer of 64
/// bits. Lua calculates in doubles, which cannot represent that integer, so the script splits the text.
///
/// A key that is charged for longer than when it was written shows that the clock was set back, and the charge is shortened to that time. So a server
/// needs no bound of its own, which would shorten what another server has charged under a longer quota. A value without this format (`known` is
/// false) was not written by these scripts, and is shortened to `most`.
const CHARGE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function read(value, most)
  local known = value and #value == 19 and not string.find(value, '%D')
  local till
  if known then
    till, most = tonumber(string.sub(value, 1, 16)), 1.04 ^ tonumber(string.sub(value, 17))
  else
    till = tonumber(value or 0) or 0
    if till ~= till then till = 0 end
  end
  local latest = now + math.floor(math.min(most, 3162240000000000))
  return math.max(math.min(till, latest), now), known, till > latest
end
local function write(key, till, known)
  local left = till - now
  local value = string.format('%016.0f', till)
  if known then value = value .. string.format('%03.0f', math.floor(math.log(left) / math.log(1.04)) + 1) end
  redis.call('SET', key, value, 'PX', string.format('%.0f', math.ceil(left / 1000)))
end
";

/// Runs all checks, then makes all charges or none.
const TAKE: &str = r"
local forced, lease, charges = ARGV[1] == '1', tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call('MGET', unpack(KEYS))
local fits, blocked, busy, slots = true, {}, 0, tonumber(ARGV[5])
for i = 1, tonumber(ARGV[4]) do
  blocked[i] = 0
  if stored[charges + i] then
    local till, known, cut = read(stored[charges + i], 3162240000000000)
    blocked[i] = till - now
    fits = fits and blocked[i] == 0
    if cut and known then write(KEYS[charges + i], till, true) end
  end
end
if slots > 0 then
  -- A value of another type is not ours. It is replaced, as SET replaces those of the other keys.
  local removed = redis.pcall('ZREMRANGEBYSCORE', KEYS[#KEYS], '-inf', now)
  if type(removed) == 'table' and removed.err then redis.call('DEL', KEYS[#KEYS]) end
  if redis.call('ZCARD', KEYS[#KEYS]) >= slots then
    busy, fits = 1, false
  end
end
local till, latest, origin, cost, known, cut = {}, {}, {}, {}, {}, {}
local shadowed, skips = 0, {}
for i = 1, charges do
  local at = 7 * i
  local burst, longest, window = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 5])
  local start, grid = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  cost[i] = tonumber(ARGV[at + 2])
  till[i], known[i], cut[i] = read(stored[i], burst)
  till[i] = math.min(till[i], now + longest)
  -- A charge counts from now on, or from the end of the window on, in which time stands still.
  origin[i] = now
  if grid > 0 then
    origin[i] = till[i] - till[i] % grid
    if origin[i] <= now then origin[i] = now + window + (-(now + window)) % grid end
  elseif window > 0 then
    origin[i] = now - (now - start) % window + window
  end
  latest[i] = origin[i] + burst
  if cost[i] > 0 and math.max(till[i], origin[i]) + cost[i] > latest[i] and not forced then
    if ARGV[at + 4] == '1' then
      shadowed, skips[i] = shadowed + 2 ^ (i - 1), true
    else
      fits = false
    end
  end
end
local answer = { fits and 1 or 0, 0, busy, shadowed }
if fits and lease > 0 then
  for i = 1, charges do
    if cost[i] > 0 then
      lease = math.min(lease, math.floor((latest[i] - math.max(till[i], origin[i])) / cost[i]) - 1)
    end
  end
  answer[2] = math.max(lease, 0)
end
for i = 1, charges do
  if fits and cost[i] > 0 and not skips[i] then
    local after = math.max(till[i], origin[i]) + cost[i] * (1 + answer[2])
    till[i] = math.max(till[i], math.min(after, latest[i]))
    write(KEYS[i], till[i], true)
  elseif cut[i] then
    write(KEYS[i], till[i], known[i])
  end
  answer[i + 4] = till[i] - now
  answer[charges + i + 4] = origin[i] - now
end
for i = 1, #blocked do answer[2 * charges + i + 4] = blocked[i] end
if fits and slots > 0 then
  redis.call('ZADD', KEYS[#KEYS], string.format('%.0f', now + ARGV[7]), ARGV[6])
  -- Another server may let requests take longer: their slots live on.
  local lives = math.ceil(ARGV[7] / 1000)
  if redis.call('PTTL', KEYS[#KEYS]) < lives then redis.call('PEXPIRE', KEYS[#KEYS], lives) end
end
return answer
";

const REFUND: &str = r"
for i = 1, #KEYS do
  local value = redis.pcall('GET', KEYS[i])
  -- A value of another type contains no charge.
  if type(value) ~= 'table' then
    local till, known = read(value, 3162240000000000)
    till = till - tonumber(ARGV[i])
    if till > now then
      write(KEYS[i], till, known)
    else
      redis.call('DEL', KEYS[i])
    end
  end
end
";
