-- Unit: µs. Judges a batch of checks, each all or nothing, in order; one reply a check.
--
-- KEYS     none: naming them in the call would cost both sides more than what is done with them. That keeps the script
--          to one server, as do the entities of one check, which lie in several slots
-- ARGV[1]  the prefix of all keys
-- ARGV[2]  the plans: u16 count, then for each  refuse_at, max age, lifetime (doubles), the tariffs of account, IP and
--          device, u8 shared entities, for each  its name (u16 length), its tariff. A tariff is  u8 prices, for each
--          price  limit id (8 bytes), cost, tolerance (doubles), flags (u8: 1 shadow, 2 its cost comes with the ask),
--          and then for each shadow one its name (u8 length)
-- ARGV[3]  the asks: u16 count, then for each  number of the plan (u8, from 1), now (double; < 0: the server's clock),
--          lengths of account, upload (u16), IP, device (u8); then for each the costs of its plan's prices by bytes
--          (doubles)
-- ARGV[4]  the words: account, upload, IP and device of each ask
-- Reply    first the answers, for each ask  flags (1 charged, 2 repeated, 4 scored, 8 never fits), now, risk, at, wait
--          (doubles), number of the plan that refused (u8, 0: none) and of the price in it (u16); then for each ask that
--          has more to say  its number, from 0, and  u16 length of the override, the override, names of shadow limits by
--          newline
--
-- A bucket value is a list of  limit id (8 bytes), TAT (double); a score begins with  risk, at  (doubles); an override
-- with  expiry (double), allow (u8); an upload is  now, lifetime, risk, at (doubles), scored (u8), names.
local GRACE_US = 60000000       -- how far a clock may step back without earning the same time twice
local REPLAY_TTL_MS = 3600000   -- a recorded clock says nothing about when the server may forget
local unpack_, pack_, rep, sub, ceil = struct.unpack, struct.pack, string.rep, string.sub, math.ceil
local prefix, packed_plans, packed_asks, words = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local price_formats = {}
local ordinal, sized         -- how many prices of the plan came before, and how many whose cost comes with the ask

-- A flat list of  id, cost (false: comes with the ask), tolerance, false or a shadow limit's name; nil without prices.
-- Where a cost comes with the ask, its number there stands at the negative index of the price's last entry.
local function tariff(pos)
  local n = string.byte(packed_plans, pos)
  if n == 0 then return nil, pos + 1 end
  local format = price_formats[n]
  if not format then
    format = '<' .. rep('c8ddB', n)
    price_formats[n] = format
  end
  local found = {unpack_(format, packed_plans, pos + 1)}
  pos = found[4 * n + 1]
  found.last, found.before = 4 * n - 3, ordinal
  ordinal = ordinal + n
  for at = 4, 4 * n, 4 do
    local flags = found[at]
    if flags >= 2 then
      sized = sized + 1
      found[at - 2], found[-at] = false, sized
    end
    if flags % 2 == 1 then
      found[at], pos = unpack_('<Bc0', packed_plans, pos)
    else
      found[at] = false
    end
  end
  return found, pos
end

local plans = {}
local count, pos = unpack_('<H', packed_plans, 1)
for i = 1, count do
  local plan = {number = i, shared = {}}
  local shared
  ordinal, sized = 0, 0
  plan.refuse_at, plan.max_age, plan.lifetime, pos = unpack_('<ddd', packed_plans, pos)
  plan.account, pos = tariff(pos)
  plan.ip, pos = tariff(pos)
  plan.device, pos = tariff(pos)
  shared, pos = unpack_('<B', packed_plans, pos)
  for _ = 1, shared do
    local name, limits
    name, pos = unpack_('<Hc0', packed_plans, pos)
    limits, pos = tariff(pos)
    if limits then
      plan.shared[#plan.shared + 1] = prefix .. 'b:' .. name
      plan.shared[#plan.shared + 1] = limits
    end
  end
  plan.sized = sized
  plans[i] = plan
end

local names, numbers, known = {}, {}, 0   -- every key once

local function number(name)
  local found = numbers[name]
  if not found then
    known = known + 1
    found, names[known], numbers[name] = known, name, known
  end
  return found
end

-- An ask is  {plan, now, key numbers of score, override, upload, then key number and tariff of each entity}.
local asks = {}
local score_, override_, upload_ = prefix .. 'score:{', prefix .. 'override:{', prefix .. 'u:'
local account_, ip_, device_ = prefix .. 'b:account:{', prefix .. 'b:ip:', prefix .. 'b:device:'
count, pos = unpack_('<H', packed_asks, 1)
local costs_pos, start = pos + 15 * count, 1
for i = 1, count do
  local at, now, accounts, uploads, ips, devices
  at, now, accounts, uploads, ips, devices, pos = unpack_('<BdHHBB', packed_asks, pos)
  local plan, ends = plans[at], start + accounts
  local account = sub(words, start, ends - 1) .. '}'
  local ask = {
    plan, now, number(score_ .. account), number(override_ .. account),
    number(upload_ .. accounts .. ':{' .. account .. ':' .. sub(words, ends, ends + uploads - 1)),
  }
  local n = 5
  ends = ends + uploads
  if plan.account then
    ask[6], ask[7], n = number(account_ .. account), plan.account, 7
  end
  if ips > 0 and plan.ip then
    ask[n + 1], ask[n + 2], n = number(ip_ .. sub(words, ends, ends + ips - 1)), plan.ip, n + 2
  end
  ends = ends + ips
  if devices > 0 and plan.device then
    ask[n + 1], ask[n + 2], n = number(device_ .. sub(words, ends, ends + devices - 1)), plan.device, n + 2
  end
  start = ends + devices
  local shared = plan.shared
  for j = 1, #shared, 2 do
    ask[n + 1], ask[n + 2], n = number(shared[j]), shared[j + 1], n + 2
  end
  ask.last = n - 1
  if plan.sized > 0 then
    ask.costs = {unpack_('<' .. rep('d', plan.sized), packed_asks, costs_pos)}
    costs_pos = costs_pos + 8 * plan.sized
  end
  asks[i] = ask
end

local vals = count > 0 and redis.call('MGET', unpack(names)) or {}
local clock
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

-- Without a refusal, `fitting` holds for each price that fits  key number, limit id, cost.
local function judge(ask, now, lenient)
  local refused, longest, never = 0, 0, false
  local fitting, fits, shadowed = {}, 0, ''
  for i = 6, ask.last, 2 do
    local key, limits = ask[i], ask[i + 1]
    local tats = buckets[key] or bucket(key)
    for at = 1, limits.last, 4 do
      local id, cost, tolerance, shadow = limits[at], limits[at + 1], limits[at + 2], limits[at + 3]
      cost = cost or ask.costs[limits[-at - 3]]
      local tat = tats[id]
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
        refused, longest, never = limits.before + (at + 3) / 4, 2 ^ 62, true
      elseif wait > longest then
        refused, longest, never = limits.before + (at + 3) / 4, wait, false
      end
    end
  end
  return refused, longest, never, fitting, shadowed
end

local function charge(fitting, now, recorded)
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

local answers, reply = {}, {''}
for i = 1, count do
  local ask = asks[i]
  local plan, now = ask[1], ask[2]
  local recorded = now >= 0
  if not recorded then
    if not clock then
      local time = redis.call('TIME')
      clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
    end
    now = clock
  end

  local flags, risk, at = 0, 0, 0
  local score = vals[ask[3]]
  if score and #score >= 16 then
    risk, at = unpack_('<dd', score, 1)
    flags = 4
  end
  local override, lenient, stop = vals[ask[4]], false, false
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
    stop = now - at <= plan.max_age and risk >= plan.refuse_at
  end

  local refused, wait, shadowed = 0, 0, ''
  if not stop then
    local key = ask[5]
    local upload = vals[key]
    local began, lasts
    if upload and #upload >= 33 then
      began, lasts = unpack_('<dd', upload, 1)
    end
    if began and now - began < lasts then
      local scored
      now, lasts, risk, at, scored = unpack_('<ddddB', upload, 1)
      shadowed = sub(upload, 34)
      flags = 3 + 4 * scored
    else
      local never, fitting
      refused, wait, never, fitting, shadowed = judge(ask, now, lenient)
      if refused == 0 then
        charge(fitting, now, recorded)
        vals[key] = pack_('<ddddB', now, plan.lifetime, risk, at, flags / 4) .. shadowed
        uploads[key] = recorded and REPLAY_TTL_MS or math.max(1, ceil(plan.lifetime / 1000))
        flags = flags + 1
      elseif never then
        flags = flags + 8
      end
    end
  end
  local by = refused > 0 and plan.number or 0
  answers[i] = pack_('<BddddBH', flags, now, risk, at, wait, by, refused)
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
    if tat >= before then
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
