//! The code of the scripts that run in Redis.

/// Reads and writes the value of a key, and takes slots, for all scripts. It has an entry for each quota under which the key was charged, separated by `;`. An entry
/// has 19 digits and the quota: until when the key is charged, in microseconds since 1970 (16 digits); for how long that was when it was written (3
/// digits: the exponent of the next power of 1.04); and `:interval/burst`, with the interval in microseconds, which is followed by `/length/start/grid` for
/// a window. The key of a block has one entry without a quota, which Redis stores as one integer of 64 bits. Lua calculates in doubles, which cannot
/// represent that integer, so the script splits the text.
///
/// An entry that is charged for longer than when it was written shows that the clock was set back, and the charge is shortened to that time. So a server
/// needs no bound of its own, which would shorten what another server has charged under a longer quota. A value without this format (`known` is
/// false) was not written by these scripts, and is shortened to `most`.
///
/// No quota changes the entry of another one. An entry that is new starts with the largest fraction that is used of the others. Entries are removed
/// together, when the last of them has drained and the key expires; an entry that stays is not started again.
///
/// A charge counts from its origin on: from now, or from the end of the present window, in which time stands still.
pub(super) const CHARGE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function entry(text, most)
  local digits, quota = string.match(text, '^(%d+):(%d+/[%d/]+)$')
  digits = digits or text
  local known, till = #digits == 19 and not string.find(digits, '%D'), 0
  if known then
    till, most = tonumber(string.sub(digits, 1, 16)), 1.04 ^ tonumber(string.sub(digits, 17))
  else
    till = tonumber(digits) or 0
    if till ~= till then till = 0 end
  end
  local latest = now + math.floor(math.min(most, 3162240000000000))
  return { till = math.max(math.min(till, latest), now), known = known, cut = till > latest, quota = known and quota }
end
local function read(value, most)
  local entries = {}
  for text in string.gmatch(value or '', '[^;]+') do entries[#entries + 1] = entry(text, most) end
  return entries
end
-- When the month of a time ends, in days since 1970. Years begin with March, so a leap day is the last day of its year.
local function days_of_years(years)
  return 365 * years + math.floor(years / 4) - math.floor(years / 100) + math.floor(years / 400)
end
local function end_of_month(time)
  local days = math.floor(time / 86400000000) + 719468
  local years = math.floor(days * 400 / 146097)
  while days_of_years(years) > days do years = years - 1 end
  while days_of_years(years + 1) <= days do years = years + 1 end
  local month = math.floor((5 * (days - days_of_years(years)) + 2) / 153) + 1
  if month == 12 then years, month = years + 1, 0 end
  return days_of_years(years) + math.floor((153 * month + 2) / 5) - 719468
end
-- A window with a grid of 1 is a month.
local function origin(till, window, start, grid)
  if grid == 1 then
    local shift = start - 86400000000
    return end_of_month(now + shift) * 86400000000 - shift
  end
  if grid > 0 then
    local open = till - till % grid
    if open > now then return open end
    return now + window + (-(now + window)) % grid
  end
  if window > 0 then return now - (now - start) % window + window end
  return now
end
-- The quota whose interval, burst and window begin at this argument. `false` for a block.
local function quota_at(at)
  local quota = {}
  for i = 0, 4 do quota[i + 1] = tonumber(ARGV[at + i]) end
  if quota[1] == 0 then return false, quota end
  local name = string.format('%.0f/%.0f', quota[1], quota[2])
  if quota[3] > 0 then name = name .. string.format('/%.0f/%.0f/%.0f', quota[3], quota[4], quota[5]) end
  return name, quota
end
-- The entry of a quota. One that was written without a quota is taken for it. A missing entry is added if `add` is set.
local function find(entries, quota, add)
  local used, first = 0, 1
  for i, one in ipairs(entries) do
    if one.quota == quota or not one.quota then return one end
    local other, size, window, start, grid = string.match(one.quota, '(%d+)/(%d+)/?(%d*)/?(%d*)/?(%d*)')
    local from = origin(one.till, tonumber(window) or 0, tonumber(start) or 0, tonumber(grid) or 0)
    used = math.max(used, (one.till - from) / (other * size))
    if one.till < entries[first].till then first = i end
  end
  if not add then return end
  if #entries >= 8 then table.remove(entries, first) end
  local new = { till = now, known = true, quota = quota, cut = used > 0 }
  if used > 0 then
    local interval, burst, window, start, grid = unpack(add)
    local most = 3162240000000000
    if grid > 1 then most = grid - 1 end
    new.till = origin(now, window, start, grid) + math.ceil(math.min(used * interval * burst, most))
  end
  entries[#entries + 1] = new
  return new
end
local function write(key, entries)
  local texts, longest = {}, 0
  for i, one in ipairs(entries) do
    local left = one.till - now
    local text = string.format('%016.0f', one.till)
    if one.known then
      local exponent = 0
      if left > 0 then exponent = math.floor(math.log(left) / math.log(1.04)) + 1 end
      text = text .. string.format('%03.0f', exponent)
      if one.quota then text = text .. ':' .. one.quota end
    end
    texts[i], longest = text, math.max(longest, left)
  end
  if longest > 0 then
    redis.call('SET', key, table.concat(texts, ';'), 'PX', string.format('%.0f', math.ceil(longest / 1000)))
  else
    redis.call('DEL', key)
  end
end
-- Removes the slots that have expired. A value of another type is not ours. It is replaced, as SET replaces those of the other keys.
local function expire(key)
  local removed = redis.pcall('ZREMRANGEBYSCORE', key, '-inf', now)
  if type(removed) == 'table' and removed.err then redis.call('DEL', key) end
end
local function take_slot(key, id, longest)
  redis.call('ZADD', key, string.format('%.0f', now + longest), id)
  -- Another server may let requests take longer: their slots live on.
  local lives = math.ceil(longest / 1000)
  if redis.call('PTTL', key) < lives then redis.call('PEXPIRE', key, lives) end
end
-- The place of a server in a line, and how many others are before it. A member has 16 digits, the time of its arrival, and after a colon the server.
-- Its score is when it expires.
local function place(line, server)
  expire(line)
  local mine, before, members = nil, 0, redis.call('ZRANGE', line, 0, -1)
  for _, member in ipairs(members) do
    if string.sub(member, 18) == server then mine = member end
  end
  for _, member in ipairs(members) do
    if not mine or member < mine then before = before + 1 end
  end
  return mine, before
end
";

/// Runs all checks, then makes all charges or none.
pub(super) const TAKE: &str = r"
local forced, lease, charges = ARGV[1] == '1', tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call('MGET', unpack(KEYS))
local fits, blocked, busy, slots = true, {}, 0, tonumber(ARGV[5])
local slot, line, server, mine = KEYS[charges + ARGV[4] + 1], KEYS[charges + ARGV[4] + 2], ARGV[8], nil
for i = 1, tonumber(ARGV[4]) do
  local key, entries = KEYS[charges + i], read(stored[charges + i], 3162240000000000)
  local block = find(entries, false)
  blocked[i] = block and block.till - now or 0
  fits = fits and blocked[i] == 0
  if block and block.cut and block.known then write(key, entries) end
end
if slots > 0 then
  expire(slot)
  local before = 0
  if server ~= '' then mine, before = place(line, server) end
  if slots - redis.call('ZCARD', slot) <= before then busy = 1 end
end
local entries, own, latest, from, cost, name = {}, {}, {}, {}, {}, {}
local shadowed, skips = 0, {}
for i = 1, charges do
  local at, quota = 9 * i + 1, nil
  local burst, longest = tonumber(ARGV[at]), tonumber(ARGV[at + 2])
  cost[i] = tonumber(ARGV[at + 1])
  name[i], quota = quota_at(at + 4)
  entries[i] = read(stored[i], burst)
  own[i] = find(entries[i], name[i], quota)
  own[i].till = math.min(own[i].till, now + longest)
  from[i] = origin(own[i].till, quota[3], quota[4], quota[5])
  latest[i] = from[i] + burst
  if cost[i] > 0 and math.max(own[i].till, from[i]) + cost[i] > latest[i] and not forced then
    if ARGV[at + 3] == '1' then
      shadowed, skips[i] = shadowed + 2 ^ (i - 1), true
    else
      fits = false
    end
  end
end
local waits = fits and busy == 1 and ARGV[9] == '1'
fits = fits and busy == 0
local answer = { fits and 1 or 0, 0, busy, shadowed }
if fits and lease > 0 then
  for i = 1, charges do
    if cost[i] > 0 then
      lease = math.min(lease, math.floor((latest[i] - math.max(own[i].till, from[i])) / cost[i]) - 1)
    end
  end
  answer[2] = math.max(lease, 0)
end
for i = 1, charges do
  local one = own[i]
  if fits and cost[i] > 0 and not skips[i] then
    local after = math.max(one.till, from[i]) + cost[i] * (1 + answer[2])
    one.till = math.max(one.till, math.min(after, latest[i]))
    one.known, one.quota = true, name[i]
    write(KEYS[i], entries[i])
  elseif one.cut then
    write(KEYS[i], entries[i])
  end
  answer[i + 4] = one.till - now
  answer[charges + i + 4] = from[i] - now
end
for i = 1, #blocked do answer[2 * charges + i + 4] = blocked[i] end
if fits and slots > 0 then
  take_slot(slot, ARGV[6], ARGV[7])
  if mine then redis.call('ZREM', line, mine) end
end
if waits then
  redis.call('ZADD', line, string.format('%.0f', now + 1000000), mine or string.format('%016.0f:', now) .. server)
  redis.call('PEXPIRE', line, 1000)
end
return answer
";

/// Renews a slot, or takes it again.
pub(super) const RENEW: &str = r"
expire(KEYS[1])
take_slot(KEYS[1], ARGV[1], ARGV[2])
";

/// Removes a server from a line.
pub(super) const LEAVE: &str = r"
local mine = place(KEYS[1], ARGV[1])
if mine then redis.call('ZREM', KEYS[1], mine) end
";

pub(super) const REFUND: &str = r"
for i = 1, #KEYS do
  local value = redis.pcall('GET', KEYS[i])
  -- A value of another type contains no charge.
  if type(value) ~= 'table' then
    local entries = read(value, 3162240000000000)
    local name, quota = quota_at(6 * i - 4)
    local one = find(entries, name)
    if one then
      -- A window that has nothing left to refund stays as it is: its state is the end of the window.
      local from = origin(one.till, quota[3], quota[4], quota[5])
      one.till = math.max(one.till - ARGV[6 * i - 5], math.min(one.till, from))
      write(KEYS[i], entries)
    end
  end
end
";
