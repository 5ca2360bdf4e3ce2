-- Unit: µs. Judges a batch of checks, each all or nothing, in order; one reply a check.
--
-- KEYS     every key of the batch once: scores, overrides, uploads, entities
-- ARGV[1]  the terms: u16 count, then for each  limit id (8 bytes), cost, tolerance, shadow (u8), name (u8 length)
-- ARGV[2]  the asks: u16 count, then for each  key numbers of score, override, upload (u16 each, from 1),
--          refuse_at, max age, lifetime, now (doubles; now < 0: the server's clock), u8 charges, then for each
--          charge  key number of the entity, number of the term (u16 each)
-- Reply    for each ask  flags (1 charged, 2 repeated, 4 scored, 8 never fits), now, risk, at, wait, number of the
--          term that refused (0: none), u16 length of the override, the override, names of shadow limits by newline
--
-- A bucket value is a list of  limit id (8 bytes), TAT (double); a score begins with  risk, at  (doubles); an override
-- with  expiry (double), allow (u8); an upload is  now, lifetime, risk, at (doubles), scored (u8), names.
local GRACE_US = 60000000       -- how far a clock may step back without earning the same time twice
local REPLAY_TTL_MS = 3600000   -- a recorded clock says nothing about when the server may forget
local unpack_, pack_, max, ceil = struct.unpack, struct.pack, math.max, math.ceil
local vals = redis.call('MGET', unpack(KEYS))
local clock

local terms = {}
local count, pos = unpack_('<H', ARGV[1], 1)
for i = 1, count do
  local id, cost, tolerance, shadow, name
  id, cost, tolerance, shadow, name, pos = unpack_('<c8ddBBc0', ARGV[1], pos)
  terms[i] = {id, cost, tolerance, shadow == 1, name}
end

local buckets = {}    -- key number -> limit id -> TAT, read when first asked for
local expiries = {}   -- key number -> ms, for the keys to write
local forget = {}     -- key number -> TATs before it are forgotten

local formats = {}    -- number of repetitions -> format of a bucket value

local function format_of(entries)
  local format = formats[entries]
  if not format then
    format = '<' .. string.rep('c8d', entries)
    formats[entries] = format
  end
  return format
end

local function bucket(key)
  local known = buckets[key]
  if known then return known end
  known = {}
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

local function judge(charges, pairs_, now, lenient)
  local refused, longest, never = 0, 0, false
  local fitting, fits, shadowed = {}, 0, ''
  for i = 1, pairs_ * 2, 2 do
    local key, number = charges[i], charges[i + 1]
    local term = terms[number]
    local tat = (buckets[key] or bucket(key))[term[1]]
    if not tat or tat < now then tat = now end
    local wait = tat + term[2] - term[3] - now
    if wait <= 0 then
      fitting[fits + 1], fitting[fits + 2], fitting[fits + 3] = key, term[1], term[2]
      fits = fits + 3
    elseif lenient or term[4] then
      shadowed = shadowed == '' and term[5] or shadowed .. '\n' .. term[5]
    elseif term[2] > term[3] then
      refused, longest, never = number, 2 ^ 62, true
    elseif wait > longest then
      refused, longest, never = number, wait, false
    end
  end
  return refused, longest, never, fitting, shadowed
end

local function charge(fitting, now, recorded)
  for i = 1, #fitting, 3 do
    local key, id = fitting[i], fitting[i + 1]
    local tat = max(buckets[key][id] or 0, now) + fitting[i + 2]
    buckets[key][id] = tat
    local ttl = recorded and REPLAY_TTL_MS or ceil((tat - now + GRACE_US) / 1000)
    expiries[key] = max(expiries[key] or 0, ttl)
    if recorded then
      forget[key] = 0
    elseif not forget[key] then
      forget[key] = now - GRACE_US
    end
  end
end

local replies = {}
count, pos = unpack_('<H', ARGV[2], 1)
for i = 1, count do
  local skey, okey, ukey, refuse_at, max_age, lifetime, now, charges
  skey, okey, ukey, refuse_at, max_age, lifetime, now, charges, pos = unpack_('<HHHddddB', ARGV[2], pos)
  local pairs_ = {unpack_('<' .. string.rep('HH', charges), ARGV[2], pos)}
  pos = pos + charges * 4
  local recorded = now >= 0
  if not recorded then
    if not clock then
      local time = redis.call('TIME')
      clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
    end
    now = clock
  end

  local flags, risk, at = 0, 0, 0
  local score = vals[skey]
  if score and #score >= 16 then
    risk, at = unpack_('<dd', score, 1)
    flags = 4
  end
  local override, lenient, stop = vals[okey], false, false
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

  local refused, wait, names = 0, 0, ''
  if not stop then
    local upload = vals[ukey]
    local since, until_
    if upload and #upload >= 33 then
      since, until_ = unpack_('<dd', upload, 1)
    end
    if since and now - since < until_ then
      local scored
      now, until_, risk, at, scored = unpack_('<ddddB', upload, 1)
      names = string.sub(upload, 34)
      flags = 3 + 4 * scored
    else
      local never, fitting
      refused, wait, never, fitting, names = judge(pairs_, charges, now, lenient)
      if refused == 0 then
        charge(fitting, now, recorded)
        vals[ukey] = pack_('<ddddB', now, lifetime, risk, at, flags / 4) .. names
        expiries[ukey] = recorded and REPLAY_TTL_MS or max(1, ceil(lifetime / 1000))
        flags = flags + 1
      elseif never then
        flags = flags + 8
      end
    end
  end
  replies[i] = pack_('<BddddHH', flags, now, risk, at, wait, refused, #override) .. override .. names
end

for key, ttl in pairs(expiries) do
  local known = buckets[key]
  local value = vals[key]
  if known then
    local kept, count, before, last = {}, 0, forget[key], 0
    for id, tat in pairs(known) do
      if tat >= before then
        kept[count + 1], kept[count + 2] = id, tat
        count = count + 2
        if tat > last then last = tat end
      end
    end
    if before > 0 then ttl = max(ttl, ceil((last - before) / 1000)) end
    value = pack_(format_of(count / 2), unpack(kept))
  end
  redis.call('SET', KEYS[key], value, 'PX', ttl)
end
return replies
