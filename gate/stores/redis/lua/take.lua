-- Unit: µs. Takes the buckets of a batch of checks, each all or nothing, in order; one reply a check.
--
-- gate/stores/redis/unrolled.py completes this file: --@IDS and --@CLASSES stand where the limits of a policy go, one branch
-- a class, its limits as constants. The stored values are those of gate/stores/redis/layout.py.
--
-- KEYS     the keys that are read: shared entities, the last of them the list of what is due; accounts, each followed by its
--          score and its override; networks and devices; what is in flight. Then, one a request, the upload's own key
-- ARGV[1]  number of requests (u16), then for each  number of its class (u8), whom a hot fact refuses (u8: 0 nobody, 1 an
--          account whose score does not count, 2 anybody; + 4: repeat no refusal, + 8: keep these limits, + 16: a recorded
--          clock), key numbers of account, network, device (u16, 0: unknown), attempt (u32), length of the fingerprint (u16),
--          costs that count bytes (doubles), key numbers of what is in flight (u16), the fingerprint, now if it is recorded
--          (double)
-- Reply    first the answers, for each request  flags (1 charged, 2 repeated, 4 scored, 8 never fits, or with 1: by this very
--          check, which was sent again, 16 a stored value was not believed, 32 the score does not act, 64 other content, 128
--          limits of another class), wait (double), number of a class (u8, 0: none; + 128: times follow) and of a limit in it
--          (u16): where the upload was charged the emptiest bucket, `wait` is when it is full; else the limit that refused,
--          `wait` is how long. Second the server's clock, and for each request whose times follow  now, risk as of now, at,
--          half-life, base (doubles); the others have that clock and no score.
--          Then for each request with more to tell  its number, from 0, and  u16 length of the override, the override,
--          names of shadow limits by newline; of a refusal that is repeated the name of its limit
--
-- A risk decays from `at` on as `risk_at` in gate/core/score.py says. A stored number is believed as far as it can be true. A
-- TAT later than its limit and its debt allow becomes now plus the tolerance, and is written back; an override that cannot be
-- read denies; a score or a reservation that cannot be read is none.
local MAX_TIME = 2 ^ 53         -- a double holds every whole number below it; a time that is not below it is not believed
local MAX_OVERRIDE = 16393      -- bytes of a stored override, its head of 9 included
local SUREST = 1e-6             -- as in gate/core/score.py
local FEW = 6                   -- from so many reservations on it is looked whether some can be forgotten, and no refusal is kept
local MOST_HOLDERS = 16         -- as in gate/core/limits/reservation.py
local MANY = 8                  -- from so many values on it pays to find out whether they can be written at once
local P, U, sub, find, byte, ceil = struct.pack, struct.unpack, string.sub, string.find, string.byte, math.ceil
local log, exp, call, KEYS, A = math.log, math.exp, redis.call, KEYS, ARGV[1]
local count = U('<H', A)
local M = #KEYS - count
local V = M > 0 and call('MGET', unpack(KEYS, 1, M)) or {}
local ttl, dirty, nd = {}, {}, 0    -- of the keys to write
local due, clock, now, recorded = {}, false, 0, false
local apart = {}                    -- uploads' own keys that are written, with their numbers
local S = {}                        -- shared entities' values as tables
local kept, again = {}, false       -- uploads' own keys that were read, with their values
--@IDS

local function time()
  if not clock then
    local t = call('TIME')
    clock = t[1] * 1000000 + t[2]
  end
  return clock
end

local function is_time(value)   -- false for NaN
  return value >= 0 and value < MAX_TIME
end

local function write(k, ms)
  if not ttl[k] then
    nd = nd + 1
    dirty[nd] = k
  end
  ttl[k] = ms
end

-- How long a key is kept, a little more than needed: ready-made strings cost less than numbers.
local function kept_for(need)
  if recorded or not (need < MAX_TIME) then return '3600000' end   -- a recorded clock says nothing about when the server may forget
  --@KEPT
  return ceil(need / 1000)
end

-- Entries  limit id, TAT  of limits that these classes do not have: without those that are full, and when the last is.
local function pruned(entries)
  local live, top = '', 0
  for i = 1, #entries - 11, 12 do
    local _, t = U('<c4d', entries, i)
    if is_time(t) and (recorded or t >= now - 60000000) then
      live = live .. sub(entries, i, i + 11)
      if t > top then top = t end
    end
  end
  return live, top
end

-- A time in seconds that is not before it.
local function seconds(us)
  return us < 4294967294000000 and (us + 999999) / 1000000 or 4294967295
end

-- A value of other limits, or of an earlier release, in the layout of these; an account's has more behind its TATs.
local function relaid(v, head, ids, account)
  local n, tats, entries, more = byte(v, 1) or 0, {}, '', ''
  local is_wide, size = n < 64, account and 6 or 0
  if n >= 64 then n = n - 64 elseif account then size = 10 end
  local from = 2 + 12 * n
  if #v + 1 < from + size then
    n, v = 0, ''
    if account then more = '\0\0\0\0\0\0' end
  elseif account then
    local keep, nf, nr = U(is_wide and '<dBB' or '<I4BB', v, from)
    if is_wide then keep = seconds(keep) end
    local foreign = 12 * nf
    if #v + 1 < from + size + foreign then foreign, nr = 0, 0 end
    entries, more = sub(v, from + size, from + size - 1 + foreign), sub(v, from + size + foreign)
    more = P('<I4BB', keep, 0, nr) .. more
  else
    entries = sub(v, from)
  end
  for i = 0, n - 1 do tats[sub(v, 2 + 4 * i, 5 + 4 * i)] = U('<d', v, 2 + 4 * n + 8 * i) end
  for i = 1, #entries - 11, 12 do
    local id, t = U('<c4d', entries, i)
    tats[id] = t
  end
  local laid, others = head, ''
  for i = 1, #ids do
    laid = laid .. P('<d', tats[ids[i]] or 0)
    tats[ids[i]] = nil
  end
  for id, t in pairs(tats) do others = others .. P('<c4d', id, t) end
  others = pruned(others)
  if not account then return laid .. others end
  if #others > 1200 then others = '' end   -- no policy has a hundred limits on one entity
  return laid .. sub(more, 1, 4) .. P('<B', #others / 12) .. sub(more, 6, 6) .. others .. sub(more, 7)
end

-- A TAT that is later than its limit allows: true where it is a debt, else an empty bucket that fills from now on.
local function late(entries, debt, t, tolerance)
  for i = 1, #entries - 11, 12 do
    if sub(entries, i, i + 3) == debt then
      local most = U('<d', entries, i + 4)
      if is_time(most) and t <= most then return t, false end
    end
  end
  return now + tolerance, true
end

-- How long until a limit on what is in flight has room; nil where it never has.
local function flying(entries, id, burst)
  if burst == 0 then return nil end
  local open, n = {}, 0
  for i = 1, #entries - 11, 12 do
    local each, till = U('<c4d', entries, i)
    if each == id and till > now and till < MAX_TIME then
      n = n + 1
      open[n] = till
    end
  end
  if n < burst then return 0 end
  table.sort(open)
  return open[n - burst + 1] - now
end

local function take_off(k, id, till)   -- one more in flight
  local live, top = '', till
  local entries = V[k] or ''
  for i = 1, #entries - 11, 12 do
    local _, t = U('<c4d', entries, i)
    if t > now and t < MAX_TIME then
      live = live .. sub(entries, i, i + 11)
      if t > top then top = t end
    end
  end
  V[k] = live .. P('<c4d', id, till)
  write(k, kept_for(top - now))
end

local function log_odds(risk)
  if risk < SUREST then risk = SUREST elseif risk > 1 - SUREST then risk = 1 - SUREST end
  return log(risk / (1 - risk))
end

local function risk_at(risk, at, half_life, base)
  if half_life <= 0 or now <= at or risk <= base then return risk end
  local low, high = log_odds(base), log_odds(risk)
  local decayed = 1 / (1 + exp(-(low + (high - low) * 2 ^ -((now - at) / half_life))))
  return decayed < risk and decayed or risk
end

-- Flags, risk as of now, at, half-life, base, and whether some of it was not believed.
local function score_of(score)
  if #score < 16 then return 0, 0, 0, 0, 0, true end
  local risk, at = U('<dd', score, 1)
  if not (risk >= 0 and risk <= 1 and is_time(at)) then return 0, 0, 0, 0, 0, true end
  if #score < 26 then return 4, risk, at, 0, 0, false end
  local from = 27 + U('<H', score, 25)
  local size = byte(score, from)
  if size ~= 12 and size ~= 17 or #score < from + size then return 4, risk, at, 0, 0, false end
  local half_life, base, acts = U(size == 12 and '<I7I4B' or '<ddB', score, from + 1)
  if size == 12 then base = base / 1000000 end
  if not (is_time(half_life) and base >= 0 and base <= 1 and acts <= 1) then return 4, risk, at, 0, 0, true end
  return acts == 1 and 4 or 36, risk_at(risk, at, half_life, base), at, half_life, base, false
end

-- The override as it is answered, whether it lets in, whether it denies, and the class whose limits it gives.
local function override_of(override)
  local expires, allow = -1, 3
  if #override >= 9 and #override <= MAX_OVERRIDE then expires, allow = U('<dB', override, 1) end
  local limits = allow == 2 and #override >= 10 and sub(override, 11, 10 + byte(override, 10))
  if not is_time(expires) or allow > 2 or (allow == 2 and not limits) then
    return '?', false, true   -- the client cannot read it either, denies, and counts it
  end
  if now >= expires then return '', false, false end
  return override, allow == 1, allow == 0, limits
end

-- Where the reservation of upload `id` lies among those from `p` on; nil where it does not.
local function located(records, id, p)
  while p + 2 <= #records do
    local size, length = U('<HB', records, p)
    if size < 25 or p + size - 1 > #records then return nil end
    if length == #id and sub(records, p + 3, p + 2 + length) == id then return p, p + size - 1 end
    p = p + size
  end
end

-- What a reservation says, nil where it cannot be true:  state, flags, attempt, began, until, fingerprint, names, risk, at.
local function reservation_of(record)
  if #record < 25 or #record < 25 + byte(record, 3) then return nil end
  local size, _, state, flags, attempt, began, span, length, p = U('<HBc0BBI4dI6H', record)
  local what, names, risk, at, left = sub(record, p, p + length - 1), '', 0, 0, flags % 2 == 1 and 16 or 0
  p = p + length
  if flags % 128 >= 64 then
    if p + 1 > #record or p + 1 + U('<H', record, p) > #record then return nil end
    names, p = U('<Hc0', record, p)
  end
  if p + left - 1 > #record then return nil end
  if flags % 2 == 1 then risk, at, p = U('<dd', record, p) end
  if size ~= #record or state < 1 or state > 7 or state == 5 and names == '' then return nil end
  if not (is_time(began) and is_time(at) and risk >= 0 and risk <= 1) then return nil end
  return state, flags, attempt, began, began + span, what, names, risk, at
end

local function raw(hex)
  return (string.gsub(hex, '%x%x', function(digits) return string.char(tonumber(digits, 16)) end))
end

-- The fingerprint that an earlier release has stored as text, as it is stored now; nil for another.
local function short(text)
  local kind, size, ip, device = string.match(text, '^(.*)\n(%d+)\n(%x+)\n(%x+)$')
  if not kind or #ip ~= 16 or #device ~= 16 then return nil end
  return P('<BI7', 1, tonumber(size)) .. raw(ip .. device) .. raw(sub(redis.sha1hex(kind), 1, 8))
end

-- The reservation with one more check that has its answer, nil where it knows that: no gate may take the answer back alone. The
-- checks are named behind all else, each by its attempt (u32), and their number follows (u8); where they are too many, none is.
local function with_holder(record, flags, who, attempt)
  local unnamed = flags % 64 >= 32
  if not unnamed and who == attempt then return nil end
  local at, names = 5 + byte(record, 3), P('<I4', who)
  if flags % 4 >= 2 then
    local from = #record - 4 * byte(record, -1)
    if from <= at then return nil end
    names, record = sub(record, from, -2), sub(record, 1, from - 1)
    for i = 1, #names, 4 do
      if U('<I4', names, i) == attempt then return nil end
    end
  elseif unnamed then
    return nil
  end
  flags = flags - flags % 64 + flags % 32 - flags % 4 + flags % 2 + 32
  if attempt ~= 0 and #names < 4 * MOST_HOLDERS then
    flags, record = flags + 2, record .. names .. P('<I4B', attempt, #names / 4 + 1)
  end
  return P('<H', #record) .. sub(record, 3, at - 1) .. P('<B', flags) .. sub(record, at + 1)
end

-- Whether nobody needs the reservation at `p`, whose upload's name is that long: it is over, or a refusal. One that is over
-- and whose tokens return is needed until they have. A refusal that knows of an earlier reservation is needed for a minute more,
-- as the notice of the check that made that one may be on its way. One that is cut short cannot be read.
local function needless(records, p, length)
  if not length or p + 22 + length > #records then return true end
  local state, flags, _, began, span = U('<BBI4dI6', records, p + 3 + length)
  if state == 5 then return flags < 128 or not recorded and now >= began + span + 60000000 end
  return not recorded and now >= began + span and not (state == 1 and flags % 32 >= 16)
end

-- The same without reservations that nobody needs, and how many are left.
local function tidied(records)
  local left, n, p = '', 0, 1
  while p + 2 <= #records do
    local size, length = U('<HB', records, p)
    if size < 25 or p + size - 1 > #records then break end
    if not needless(records, p, length) then
      left, n = left .. sub(records, p, p + size - 1), n + 1
    end
    p = p + size
  end
  return left, n
end

-- The reservations of an account, which lie from `q` on, with one more in the place of the one from `from` to `to`. Where
-- IN_VALUE lie there it gets a key of its own, which costs as much as to copy about so many; a refusal is forgotten where
-- there are more than a few. 128 is added to the number of reservations once one has its own key.
local function with_record(v, q, nr, record, from, to, own_key, lasts)
  local spilled = nr >= 128 and 128 or 0
  local n, records = nr - spilled, from and sub(v, q, from - 1) .. sub(v, to + 1) or sub(v, q)
  if from then n = n - 1 end
  if n >= FEW and needless(records, 1, byte(records, 3)) then records, n = tidied(records) end
  if n < (lasts and IN_VALUE or FEW) then return records .. record, n + 1 + spilled end
  if not lasts then
    if not from or needless(v, from, byte(v, from + 2)) then return records, n + spilled end
    return records .. sub(v, from, to), n + 1 + spilled   -- a later take must learn that it had ended
  end
  local k = apart[KEYS[own_key]] or own_key
  V[k], apart[KEYS[k]] = record, k
  write(k, kept_for(lasts))
  return records, n + 128
end

-- What an upload's own key holds. From the second upload on it reads those of all that follow, as one command costs less.
local function own_value(n)
  local name = KEYS[M + n]
  if kept[name] == nil then
    local last = again and M + count or M + n
    local values = call('MGET', unpack(KEYS, M + n, last))   -- GET would fail at a value of another kind
    for i = M + n, last do
      if kept[KEYS[i]] == nil then kept[KEYS[i]] = values[i - M - n + 1] end
    end
    again = true
  end
  return kept[name]
end

-- A shared entity's value as a table of TATs, because many checks of a batch take from it.
local function opened(v, head, least, format, ids)
  if not v then
    local tats = {head = head, format = format, others = ''}
    for i = 1, #ids do tats[i] = 0 end
    return tats
  end
  if #v < least or find(v, head, 1, true) ~= 1 then v = relaid(v, head, ids) end
  local tats = {select(2, U(format, v))}
  local from = tats[#tats]
  tats[#tats] = nil
  tats.head, tats.format, tats.others = head, format, sub(v, from)
  return tats
end

local out, times, extra, pos = {}, {''}, {'', ''}, 3
for n = 1, count do
  local by, hot, a_, i_, d_, attempt, length, p = U('<BBHHHI4H', A, pos)
  pos = p + LENGTH[by] + length
  local what = sub(A, pos - length, pos - 1)
  if hot >= 16 then
    hot, recorded, now, pos = hot - 16, true, U('<d', A, pos)
  else
    now, recorded = clock or time(), false
  end
  local flags, risk, sat, half_life, base, unreadable = 0, 0, 0, 0, 0, false
  local score, override = V[a_ + 1], V[a_ + 2]
  if score then flags, risk, sat, half_life, base, unreadable = score_of(score) end
  local lenient, stop, staff = false, false, false
  if override then override, lenient, stop, staff = override_of(override) else override = '' end
  local keep_limits, judges_anew = false, false
  if hot >= 4 then
    if hot >= 8 then hot, keep_limits = hot - 8, true end
    if hot >= 4 then hot, judges_anew = hot - 4, true end
  end
  if not lenient and not stop then
    local counts = flags >= 4 and now - sat <= AGE[by]
    stop = counts and flags < 32 and risk >= REFUSE[by] or hot == 2 or hot == 1 and not counts
  end
  if staff and not stop and not keep_limits and staff ~= NAME[by] then
    flags, stop = flags + 128, true
  end
  local shadowed, refused, wait = '', 0, 0
  if not stop then
    local v, keep, nf, nr, q, foreign = V[a_], 0, 0, 0, 1, ''
    local from, to, own, id, answered
    local anew = 0   -- 128 where an earlier reservation of the upload has ended
    --@ACCOUNT
    if nf > 0 then
      foreign = sub(v, q, q + 12 * nf - 1)
      q = q + 12 * nf
    end
    if nr > 0 then
      id = sub(KEYS[M + n], #KEYS[a_] + 1)
      if find(v, id, q, true) then from, to = located(v, id, q) end
      if nr >= 128 and now >= keep then nr = nr - 128 end
      if nr >= 128 and not from then
        own = apart[KEYS[M + n]]
        own = own and V[own] or own_value(n)
      end
    end
    if from or own then
      local record = own or sub(v, from, to)
      local state, rflags, who, began, till, asked, names, known_risk, known_at = reservation_of(record)
      if not state then
        unreadable, anew = true, 128
      elseif now < till and state ~= 3 and state ~= 4 and state ~= 7
        and (state ~= 5 or now >= began and not (lenient or staff or judges_anew)) then
        answered = true
        if asked ~= what and short(asked) ~= what then
          flags = flags + 64
        else
          local named = state ~= 5 and who ~= 0 and with_holder(record, rflags, who, attempt)
          if named then
            if own then
              local k = apart[KEYS[M + n]]
              if k then
                V[k] = named
              else
                kept[KEYS[M + n]] = named
                call('SET', KEYS[M + n], named, 'KEEPTTL')
              end
            else
              V[a_] = sub(v, 1, from - 1) .. named .. sub(v, to + 1)
              write(a_, kept_for(math.max(keep, --@LATEST) - now + 60000000))
            end
          end
          shadowed = names
          if state == 5 then
            flags, wait = flags + 2, till - now
          else
            now, risk, sat = began, known_risk, known_at
            flags, half_life, base = 3 + 4 * (rflags % 2) + (rflags % 16 >= 8 and 32 or 0), 0, 0
            if who == attempt and who ~= 0 then flags = flags + 8 end
          end
        end
      elseif state ~= 5 or rflags >= 128 then
        anew = 128
      end
    end
    if not answered then
      local never, partial, why, room, full, least, fixed = false, false, '', 0, 0, 2, false
      id = id or sub(KEYS[M + n], #KEYS[a_] + 1)
      --@CLASSES
    end
  end
  if unreadable then flags = flags + 16 end
  if refused == 0 then by = 0 end
  if score or now ~= clock then
    by = by + 128
    times[#times + 1] = P('<ddddd', now, risk, sat, half_life, base)
  end
  out[n] = P('<BdBH', flags, wait, by, refused)
  if override ~= '' or shadowed ~= '' then
    extra[#extra + 1] = n - 1
    extra[#extra + 1] = P('<H', #override) .. override .. shadowed
  end
end

-- Where server and user have a command that writes many values, it costs less than half as much as one for each.
local function writes_many()
  local known, allowed = pcall(redis.acl_check_cmd, 'MSETEX', 1, KEYS[dirty[1]], '')
  return known and allowed
end

local function write_all(group, ms)
  local n = group.n
  if n == 3 then
    call('SET', group[2], group[3], 'PX', ms)
  else
    group[1], group[n + 1], group[n + 2] = (n - 1) / 2, 'PX', ms
    call('MSETEX', unpack(group, 1, n + 2))
  end
end

for k, tats in pairs(S) do
  if tats.live then
    local others, top = '', 0
    recorded = tats.recorded
    if tats.others ~= '' then others, top = pruned(tats.others) end
    for i = 1, #tats do if tats[i] > top then top = tats[i] end end
    V[k] = P(tats.format, tats.head, unpack(tats)) .. others
    write(k, kept_for(top - now + 60000000))
  end
end
if nd >= MANY and writes_many() then
  local groups = {}
  for j = 1, nd do
    local k = dirty[j]
    local ms = ttl[k]
    local group = groups[ms]
    if not group then
      group = {0, n = 1}
      groups[ms] = group
    end
    local n = group.n + 2
    group[n - 1], group[n], group.n = KEYS[k], V[k], n
    if n > 2000 then   -- more would not fit on the stack
      write_all(group, ms)
      groups[ms] = nil
    end
  end
  for ms, group in pairs(groups) do write_all(group, ms) end
else
  for j = 1, nd do
    local k = dirty[j]
    call('SET', KEYS[k], V[k], 'PX', ttl[k])
  end
end
-- a list of what is due that is none must not undo what the checks have been told
if #due > 0 then redis.pcall('ZADD', KEYS[SHARED], unpack(due)) end
extra[1], extra[2] = table.concat(out), P('<d', clock or 0) .. table.concat(times)
return extra
