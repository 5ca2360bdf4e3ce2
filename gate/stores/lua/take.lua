-- Unit: µs. Judges a batch of checks, each all or nothing, in order; one reply a check.
--
-- KEYS     every key of the batch once: scores, overrides, uploads, entities
-- ARGV[1]  the tariffs: u16 count, then for each  u8 prices, for each price  limit id (8 bytes), cost, tolerance
--          (doubles), flags (u8: 1 shadow, 2 its cost comes with the ask), and then for each shadow one its name
--          (u8 length)
-- ARGV[2]  the asks: u16 count, then for each  refuse_at, max age, lifetime, now (doubles; now < 0: the server's
--          clock), u8 charges, u8 costs, key numbers of score, override, upload (u16 each, from 1), for each charge
--          key number of the entity, number of the tariff (u16 each), then the costs that come with it (doubles)
-- Reply    for each ask  flags (1 charged, 2 repeated, 4 scored, 8 never fits), now, risk, at, wait, number of the
--          tariff that refused (u16, 0: none) and of its price (u8), u16 length of the override, the override, names
--          of shadow limits by newline
--
-- A bucket value is a list of  limit id (8 bytes), TAT (double); a score begins with  risk, at  (doubles); an override
-- with  expiry (double), allow (u8); an upload is  now, lifetime, risk, at (doubles), scored (u8), names.
local GRACE_US = 60000000       -- how far a clock may step back without earning the same time twice
local REPLAY_TTL_MS = 3600000   -- a recorded clock says nothing about when the server may forget
local unpack_, pack_, rep, ceil = struct.unpack, struct.pack, string.rep, math.ceil
local vals = redis.call('MGET', unpack(KEYS))
local clock

local price_formats = {}
local tariffs = {}   -- number -> flat list of  id, cost (false: comes with the ask), tolerance, false or a shadow limit's name
local count, pos = unpack_('<H', ARGV[1], 1)
for i = 1, count do
  local n = string.byte(ARGV[1], pos)
  local format = price_formats[n]
  if not format then
    format = '<' .. rep('c8ddB', n)
    price_formats[n] = format
  end
  local tariff = {unpack_(format, ARGV[1], pos + 1)}
  pos = tariff[4 * n + 1]
  tariff.last = 4 * n - 3
  for at = 4, 4 * n, 4 do
    local flags = tariff[at]
    if flags >= 2 then tariff[at - 2] = false end
    if flags % 2 == 1 then
      tariff[at], pos = unpack_('<Bc0', ARGV[1], pos)
    else
      tariff[at] = false
    end
  end
  tariffs[i] = tariff
end

local buckets = {}    -- key number -> limit id -> TAT, read when first asked for
local since = {}      -- key number of a bucket to write -> TATs before it are forgotten; 0 under a recorded clock
local uploads = {}    -- key number of an upload to write -> ms it is kept
local formats = {}    -- number of entries -> format of a bucket value

local function format_of(entries)
  local format = formats[entries]
  if not format then
    format = '<' .. rep('c8d', entries)
    formats[entries] = format
  end
  return format
end

local function bucket(key)
  local known = {}
  local value = vals[key]
  if value then
    local entries = math.floor(#value / 16)
    if entries <= 500 then   -- more is not ours, and would not fit on the stack
      local list = {unpack_(format_of(entries), value)}
      for i = 1, entries * 2, 2 do
        known[list[i]] = list[i + 1]
      end
    end
  end
  buckets[key] = known
  return known
end

-- Without a refusal, `fitting` holds for each price that fits  key number, limit id, cost.
local function judge(ask, charges, now, lenient)
  local refused, priced, longest, never = 0, 0, 0, false
  local fitting, fits, shadowed = {}, 0, ''
  local costs = 2 * charges + 3   -- where those that came with the ask are
  for i = 4, costs, 2 do
    local key, number = ask[i], ask[i + 1]
    local tariff, known = tariffs[number], buckets[key] or bucket(key)
    for at = 1, tariff.last, 4 do
      local id, cost, tolerance, shadow = tariff[at], tariff[at + 1], tariff[at + 2], tariff[at + 3]
      if not cost then
        costs = costs + 1
        cost = ask[costs]
      end
      local tat = known[id]
      if not tat or tat < now then tat = now end
      local wait = tat + cost - tolerance - now
      if wait <= 0 then
        fitting[fits + 1], fitting[fits + 2], fitting[fits + 3] = key, id, cost
        fits = fits + 3
      elseif shadow then
        shadowed = shadowed == '' and shadow or shadowed .. '\n' .. shadow
      elseif lenient then
        -- what an override lets in is not charged where it does not fit
      elseif cost > tolerance then
        refused, priced, longest, never = number, (at + 3) / 4, 2 ^ 62, true
      elseif wait > longest then
        refused, priced, longest, never = number, (at + 3) / 4, wait, false
      end
    end
  end
  return refused, priced, longest, never, fitting, shadowed
end

local function charge(fitting, now, recorded)
  local before = recorded and 0 or now - GRACE_US
  for i = 1, #fitting, 3 do
    local key, id = fitting[i], fitting[i + 1]
    local known = buckets[key]
    local tat = known[id]
    if not tat or tat < now then tat = now end
    known[id] = tat + fitting[i + 2]
    if recorded or not since[key] then since[key] = before end
  end
end

local ask_formats = {}

local function ask_format(charges, costs)
  local format = ask_formats[256 * charges + costs]
  if not format then
    format = '<' .. rep('H', 3 + 2 * charges) .. rep('d', costs)
    ask_formats[256 * charges + costs] = format
  end
  return format
end

local replies = {}
count, pos = unpack_('<H', ARGV[2], 1)
for i = 1, count do
  local refuse_at, max_age, lifetime, now, charges, costs
  refuse_at, max_age, lifetime, now, charges, costs, pos = unpack_('<ddddBB', ARGV[2], pos)
  local ask = {unpack_(ask_format(charges, costs), ARGV[2], pos)}
  pos = ask[2 * charges + costs + 4]
  local recorded = now >= 0
  if not recorded then
    if not clock then
      local time = redis.call('TIME')
      clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
    end
    now = clock
  end

  local flags, risk, at = 0, 0, 0
  local score = vals[ask[1]]
  if score and #score >= 16 then
    risk, at = unpack_('<dd', score, 1)
    flags = 4
  end
  local override, lenient, stop = vals[ask[2]], false, false
  if override and #override >= 9 then
    local expires, allow = unpack_('<dB', override, 1)
    if now >= expires then
      override = ''
    else
      lenient, stop = allow == 1, allow ~= 1
    end
  else
    override = ''
  end
  if flags == 4 and not lenient and not stop then
    stop = now - at <= max_age and risk >= refuse_at
  end

  local refused, priced, wait, names = 0, 0, 0, ''
  if not stop then
    local upload = vals[ask[3]]
    local began, until_
    if upload and #upload >= 33 then
      began, until_ = unpack_('<dd', upload, 1)
    end
    if began and now - began < until_ then
      local scored
      now, until_, risk, at, scored = unpack_('<ddddB', upload, 1)
      names = string.sub(upload, 34)
      flags = 3 + 4 * scored
    else
      local never, fitting
      refused, priced, wait, never, fitting, names = judge(ask, charges, now, lenient)
      if refused == 0 then
        charge(fitting, now, recorded)
        vals[ask[3]] = pack_('<ddddB', now, lifetime, risk, at, flags / 4) .. names
        uploads[ask[3]] = recorded and REPLAY_TTL_MS or math.max(1, ceil(lifetime / 1000))
        flags = flags + 1
      elseif never then
        flags = flags + 8
      end
    end
  end
  replies[i] = pack_('<BddddHBH', flags, now, risk, at, wait, refused, priced, #override) .. override .. names
end

for key, ttl in pairs(uploads) do
  redis.call('SET', KEYS[key], vals[key], 'PX', ttl)
end
for key, before in pairs(since) do
  local kept, n, last = {}, 0, 0
  for id, tat in pairs(buckets[key]) do
    if tat >= before then
      kept[n + 1], kept[n + 2] = id, tat
      n = n + 2
      if tat > last then last = tat end
    end
  end
  local ttl = before == 0 and REPLAY_TTL_MS or ceil((last - before) / 1000)
  redis.call('SET', KEYS[key], pack_(format_of(n / 2), unpack(kept)), 'PX', ttl)
end
return replies
