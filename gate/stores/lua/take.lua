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

local function bucket(key)
  local known = buckets[key]
  if known then return known end
  known = {}
  local value = vals[key]
  if value then
    for at = 1, #value - 15, 16 do
      local id, tat = unpack_('<c8d', value, at)
      known[id] = tat
    end
  end
  buckets[key] = known
  return known
end

local function judge(charges, pairs_, now, lenient)
  local refused, longest, never = 0, 0, false
  local fitting, shadowed = {}, {}
  for i = 1, pairs_ * 2, 2 do
    local key, number = charges[i], charges[i + 1]
    local term = terms[number]
    local wait = max(bucket(key)[term[1]] or 0, now) + term[2] - term[3] - now
    if wait <= 0 then
      fitting[#fitting + 1] = key
      fitting[#fitting + 1] = term
    elseif lenient or term[4] then
      shadowed[#shadowed + 1] = term[5]
    elseif term[2] > term[3] then
      refused, longest, never = number, 2 ^ 62, true
    elseif wait > longest then
      refused, longest, never = number, wait, false
    end
  end
  return refused, longest, never, fitting, table.concat(shadowed, '\n')
end

local function charge(fitting, now, recorded)
  for i = 1, #fitting, 2 do
    local key, term = fitting[i], fitting[i + 1]
    local known = bucket(key)
    local tat = max(known[term[1]] or 0, now) + term[2]
    known[term[1]] = tat
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
    local kept, before = {}, forget[key]
    for id, tat in pairs(known) do
      if tat >= before then
        kept[#kept + 1] = id
        kept[#kept + 1] = pack_('<d', tat)
        if before > 0 then ttl = max(ttl, ceil((tat - before) / 1000)) end
      end
    end
    value = table.concat(kept)
  end
  redis.call('SET', KEYS[key], value, 'PX', string.format('%.0f', ttl))
end
return replies
