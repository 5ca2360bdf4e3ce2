-- Unit: µs. Takes the buckets of a batch of checks, each all or nothing, in order; one reply a check.
--
-- KEYS     none. The script builds the names of keys from its arguments, because sending each name would cost client and
--          server more than the work on it. So it runs on a standalone server only
-- ARGV[1]  the prefix of all keys
-- ARGV[2]  the limits of each class in the batch, as msgpack: a list of  refuse_at, max age, lifetime, limits of account, IP
--          and device (false: none), shared entities as a flat list of  name, limits. Limits are a flat list of  limit id
--          (8 characters), cost (-n: the nth cost that comes with the request), tolerance, name of a shadow limit (else
--          false), number of the limit in its class (from 1)
-- ARGV[3]  the take requests, as msgpack: a flat list of  how many there are, then for each  number of its class (from 1),
--          number of costs, now (nil: the server's clock), account, upload, IP, device (nil: unknown), whom a hot fact
--          refuses (0 nobody, 1 an account whose score does not count, 2 anybody), then the costs
-- Reply    first the answers, for each request  flags (1 charged, 2 repeated, 4 scored, 8 never fits, 16 a stored value was
--          not believed, 32 the score does not act), now, risk as of now, at, half-life, base, wait (doubles), number of the class that refused (u8, 0: none) and of the limit in
--          it (u16); then for each request with more to tell  its number, from 0, and  u16 length of the override, the
--          override, names of shadow limits by newline
--
-- A bucket value is a list of  limit id (8 characters), TAT (double); a score begins with  risk, at, offset (doubles),
-- epoch (u16 length), and, if it decays or does not act,  17 (u8), half-life, base (doubles), acts (u8); an override with
-- expiry (double), allow (u8); an upload is  now, lifetime, risk, at (doubles), 1 scored + 8 does not act (u8), names.
--
-- A risk decays from `at` on as `risk_at` in gate/core/score.py says. What is answered is the risk that was judged.
--
-- A stored number is believed as far as it can be true. A TAT later than its limit allows becomes now plus the tolerance,
-- and is written back; an override that cannot be read denies; a score or an upload that cannot be read is none.
local GRACE_US = 60000000       -- how far a clock may step back without earning the same time twice
local REPLAY_TTL_MS = 3600000   -- a recorded clock says nothing about when the server may forget
local MAX_TIME = 2 ^ 53         -- a double holds every whole number below it; a time that is not below it is not believed
local MAX_OVERRIDE = 16393      -- bytes of a stored override, its head of 9 included
local SUREST = 1e-6             -- as in gate/core/score.py
local unpack_, pack_, rep, sub, ceil = struct.unpack, struct.pack, string.rep, string.sub, math.ceil
local byte, log, exp = string.byte, math.log, math.exp
local prefix, classes, given = ARGV[1], cmsgpack.unpack(ARGV[2]), cmsgpack.unpack(ARGV[3])
local count = given[1]

local names, numbers, known = {}, {}, 0   -- every key once

local function number(name)
  local found = numbers[name]
  if not found then
    known = known + 1
    found, names[known], numbers[name] = known, name, known
  end
  return found
end

for _, class in ipairs(classes) do
  local shared = class[7]
  for i = 1, #shared, 2 do
    shared[i] = number(prefix .. 'b:' .. shared[i])
  end
end

-- A request is  {number of the class, now, key numbers of score, override and upload, where in `given` its costs begin, then
-- for each entity  key number, limits}.
local requests = {}
local score_, override_, upload_ = prefix .. 'score:{', prefix .. 'override:{', prefix .. 'u:'
local account_, ip_, device_ = prefix .. 'b:account:{', prefix .. 'b:ip:', prefix .. 'b:device:'
local pos = 2
for i = 1, count do
  local by, costs, now, account = given[pos], given[pos + 1], given[pos + 2], given[pos + 3]
  local upload, ip, device = given[pos + 4], given[pos + 5], given[pos + 6]
  local of_account, of_ip, of_device, shared = unpack(classes[by], 4, 7)
  upload = upload_ .. #account .. ':{' .. account .. '}:' .. upload
  account = account .. '}'
  local request = {by, now, number(score_ .. account), number(override_ .. account), number(upload), pos + 7}
  request.hot = given[pos + 7]
  local n = 6
  if of_account then
    request[7], request[8], n = number(account_ .. account), of_account, 8
  end
  if ip and of_ip then
    request[n + 1], request[n + 2], n = number(ip_ .. ip), of_ip, n + 2
  end
  if device and of_device then
    request[n + 1], request[n + 2], n = number(device_ .. device), of_device, n + 2
  end
  for j = 1, #shared, 2 do
    request[n + 1], request[n + 2], n = shared[j], shared[j + 1], n + 2
  end
  request.last = n - 1
  requests[i], pos = request, pos + 8 + costs
end

local vals = count > 0 and redis.call('MGET', unpack(names)) or {}
local clock
local buckets = {}    -- key number -> limit id -> TAT, read when first needed
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
  local found = {}
  local value = vals[key]
  if value then
    local entries = math.floor(#value / 16)
    if entries <= 500 then   -- more is not ours, and would not fit on the stack
      local list = {unpack_(format_of(entries), value)}
      for i = 1, entries * 2, 2 do
        found[list[i]] = list[i + 1]
      end
    end
  end
  buckets[key] = found
  return found
end

local function is_time(value)   -- false for NaN
  return value >= 0 and value < MAX_TIME
end

-- Without a refusal, `fitting` holds for each limit that fits  key number, limit id, cost.
local function fit(request, now, recorded, never_refuse)
  local before = recorded and 0 or now - GRACE_US
  local refused, longest, never, corrected = 0, 0, false, false
  local fitting, fits, shadowed = {}, 0, ''
  for i = 7, request.last, 2 do
    local key, limits = request[i], request[i + 1]
    local tats = buckets[key] or bucket(key)
    for at = 1, #limits, 5 do
      local id, cost, tolerance, shadow = limits[at], limits[at + 1], limits[at + 2], limits[at + 3]
      if cost < 0 then cost = given[request[6] - cost] end
      local tat = tats[id]
      if not tat or tat < now then
        tat = now
      elseif not (tat <= now + tolerance + GRACE_US) then   -- also NaN
        tat = now + tolerance
        tats[id], corrected = tat, true
        if recorded or not since[key] then since[key] = before end
      end
      local wait = tat + cost - tolerance - now
      if wait <= 0 then
        fitting[fits + 1], fitting[fits + 2], fitting[fits + 3] = key, id, cost
        fits = fits + 3
      elseif shadow then
        shadowed = shadowed == '' and shadow or shadowed .. '\n' .. shadow
      elseif never_refuse then
        -- an override lets the upload in; a bucket without room is left as it is
      elseif cost > tolerance then
        refused, longest, never = limits[at + 4], 2 ^ 62, true
      elseif wait > longest then
        refused, longest, never = limits[at + 4], wait, false
      end
    end
  end
  return refused, longest, never, fitting, shadowed, corrected
end

local function move(fitting, now, recorded)
  local before = recorded and 0 or now - GRACE_US
  for i = 1, #fitting, 3 do
    local key, id = fitting[i], fitting[i + 1]
    local tats = buckets[key]
    local tat = tats[id]
    if not tat or tat < now then tat = now end
    tats[id] = tat + fitting[i + 2]
    if recorded or not since[key] then since[key] = before end
  end
end

local function log_odds(risk)
  if risk < SUREST then risk = SUREST elseif risk > 1 - SUREST then risk = 1 - SUREST end
  return log(risk / (1 - risk))
end

local function risk_at(risk, at, half_life, base, now)
  if half_life <= 0 or now <= at or risk <= base then return risk end
  local low, high = log_odds(base), log_odds(risk)
  local decayed = 1 / (1 + exp(-(low + (high - low) * 2 ^ -((now - at) / half_life))))
  return decayed < risk and decayed or risk
end

-- Half-life, base, whether the score acts, and whether that could be believed.
local function rest_of(score)
  if #score < 26 then return 0, 0, true, true end
  local from = 27 + unpack_('<H', score, 25)
  if byte(score, from) ~= 17 or #score < from + 17 then return 0, 0, true, true end
  local half_life, base, acts = unpack_('<ddB', score, from + 1)
  if not (is_time(half_life) and base >= 0 and base <= 1 and acts <= 1) then return 0, 0, true, false end
  return half_life, base, acts == 1, true
end

local answers, reply = {}, {''}
for i = 1, count do
  local request = requests[i]
  local by, now = request[1], request[2]
  local refuse_at, max_age, lifetime = unpack(classes[by], 1, 3)
  local recorded = now ~= nil
  if not recorded then
    if not clock then
      local time = redis.call('TIME')
      clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
    end
    now = clock
  end

  local flags, risk, at, unreadable = 0, 0, 0, false
  local half_life, base, acts, sound = 0, 0, true, true
  local score = vals[request[3]]
  if score then
    if #score >= 16 then
      risk, at = unpack_('<dd', score, 1)
    end
    if #score >= 16 and risk >= 0 and risk <= 1 and is_time(at) then
      flags = 4
      half_life, base, acts, sound = rest_of(score)
      risk, unreadable = risk_at(risk, at, half_life, base, now), not sound
      if not acts then flags = 36 end
    else
      risk, at, unreadable = 0, 0, true
    end
  end
  local override, never_refuse, stop = vals[request[4]], false, false
  if override then
    local expires, allow = -1, 0
    if #override >= 9 and #override <= MAX_OVERRIDE then
      expires, allow = unpack_('<dB', override, 1)
    end
    if not is_time(expires) or allow > 1 then
      override, stop = '?', true   -- the client cannot read it either, denies, and counts it
    elseif now >= expires then
      override = ''
    else
      never_refuse, stop = allow == 1, allow == 0
    end
  else
    override = ''
  end
  if not never_refuse and not stop then
    local counts, hot = flags >= 4 and now - at <= max_age, request.hot
    stop = counts and acts and risk >= refuse_at or hot == 2 or hot == 1 and not counts
  end

  local refused, wait, shadowed = 0, 0, ''
  if not stop then
    local key = request[5]
    local upload = vals[key]
    local began, lasts, known_risk, known_at, scored
    if upload and #upload >= 33 then
      began, lasts, known_risk, known_at, scored = unpack_('<ddddB', upload, 1)
      if not (is_time(began) and is_time(known_at) and known_risk >= 0 and known_risk <= 1 and (scored <= 1 or scored == 9)) then
        began, unreadable = nil, true
      end
    end
    if began and now - began < lasts then
      now, risk, at = began, known_risk, known_at
      shadowed = sub(upload, 34)
      flags, half_life, base = 3 + 4 * scored, 0, 0
    else
      local never, fitting, corrected
      refused, wait, never, fitting, shadowed, corrected = fit(request, now, recorded, never_refuse)
      unreadable = unreadable or corrected
      if refused == 0 then
        move(fitting, now, recorded)
        vals[key] = pack_('<ddddB', now, lifetime, risk, at, flags / 4) .. shadowed
        uploads[key] = recorded and REPLAY_TTL_MS or math.max(1, ceil(lifetime / 1000))
        flags = flags + 1
      elseif never then
        flags = flags + 8
      end
    end
  end
  if unreadable then flags = flags + 16 end
  answers[i] = pack_('<BddddddBH', flags, now, risk, at, half_life, base, wait, refused > 0 and by or 0, refused)
  if override ~= '' or shadowed ~= '' then
    reply[#reply + 1] = i - 1
    reply[#reply + 1] = pack_('<H', #override) .. override .. shadowed
  end
end

for key, ttl in pairs(uploads) do
  redis.call('SET', names[key], vals[key], 'PX', ttl)
end
for key, before in pairs(since) do
  local kept, n, last = {}, 0, 0
  for id, tat in pairs(buckets[key]) do
    if tat >= before and tat < MAX_TIME then
      kept[n + 1], kept[n + 2] = id, tat
      n = n + 2
      if tat > last then last = tat end
    end
  end
  local ttl = before == 0 and REPLAY_TTL_MS or ceil((last - before) / 1000)
  redis.call('SET', names[key], pack_(format_of(n / 2), unpack(kept)), 'PX', ttl)
end
reply[1] = table.concat(answers)
return reply
