//! The scripts that run in Redis.

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind};

/// A script, which Redis caches under its hash.
pub(super) struct LuaScript {
    code: String,
    hash: String,
}

impl LuaScript {
    pub(super) fn new(code: &str) -> Self {
        let code = format!("{CHARGE}{code}");
        Self { hash: Script::new(&code).get_hash().to_owned(), code }
    }

    /// Runs the script by its hash. If the node does not know it, the same call is repeated with the code, which goes to the same node.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<T, RedisError> {
        let mut cached = redis::cmd("EVALSHA");
        arguments(cached.arg(&self.hash));
        match cached.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut full = redis::cmd("EVAL");
                arguments(full.arg(&self.code));
                full.query_async(connection).await
            }
            answer => answer,
        }
    }
}

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
pub(super) const TAKE: &str = r"
local forced, lease, charges = ARGV[1] == '1', tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call('MGET', unpack(KEYS))
local fits, blocked, busy, slots = true, 0, 0, tonumber(ARGV[5])
if ARGV[4] == '1' and stored[charges + 1] then
  local till, known, cut = read(stored[charges + 1], 3162240000000000)
  blocked = till - now
  fits = blocked == 0
  if cut and known then write(KEYS[charges + 1], till, true) end
end
if slots > 0 then
  -- A value of another type is not ours. It is replaced, as SET replaces those of the other keys.
  local removed = redis.pcall('ZREMRANGEBYSCORE', KEYS[#KEYS], '-inf', now)
  if type(removed) == 'table' and removed.err then redis.call('DEL', KEYS[#KEYS]) end
  if redis.call('ZCARD', KEYS[#KEYS]) >= slots then
    busy, fits = 1, false
  end
end
local till, latest, cost, known, cut = {}, {}, {}, {}, {}
for i = 1, charges do
  local burst, longest = tonumber(ARGV[3 * i + 5]), tonumber(ARGV[3 * i + 7])
  latest[i], cost[i] = now + burst, tonumber(ARGV[3 * i + 6])
  till[i], known[i], cut[i] = read(stored[i], burst)
  till[i] = math.min(till[i], now + longest)
  if cost[i] > 0 and till[i] + cost[i] > latest[i] and not forced then fits = false end
end
local answer = { fits and 1 or 0, 0, blocked, busy }
if fits and lease > 0 then
  for i = 1, charges do
    if cost[i] > 0 then
      lease = math.min(lease, math.floor((latest[i] - till[i]) / cost[i]) - 1)
    end
  end
  answer[2] = math.max(lease, 0)
end
for i = 1, charges do
  if fits and cost[i] > 0 then
    till[i] = math.max(till[i], math.min(till[i] + cost[i] * (1 + answer[2]), latest[i]))
    write(KEYS[i], till[i], true)
  elseif cut[i] then
    write(KEYS[i], till[i], known[i])
  end
  answer[i + 4] = till[i] - now
end
if fits and slots > 0 then
  redis.call('ZADD', KEYS[#KEYS], string.format('%.0f', now + ARGV[7]), ARGV[6])
  -- Another server may let requests take longer: their slots live on.
  local lives = math.ceil(ARGV[7] / 1000)
  if redis.call('PTTL', KEYS[#KEYS]) < lives then redis.call('PEXPIRE', KEYS[#KEYS], lives) end
end
return answer
";

pub(super) const REFUND: &str = r"
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
