-- Unit: µs. Draws tokens from buckets for the leases of a gate, or gives them back. Each exchange stands by itself.
--
-- KEYS     the values that hold the buckets
-- ARGV[1]  now; empty: the server's clock
-- ARGV[2]  exchanges, each  number of its key (u8), whether that is laid out as an account's (u8), limit id, id of the limit's
--          debt (4 bytes each), the limit's tolerance, what tokens are drawn in whole numbers of, what is wanted (doubles;
--          wanted below 0: to give back)
-- Reply    now, and for each exchange what was drawn (below 0: given back) and when the bucket will be full (doubles)
--
-- It must agree with `exchange` in gate/core/limits/token_lease.py.
local GRACE = 60000000          -- as in gate/core/limits/gcra.py
local P, U, sub, byte, ceil = struct.pack, struct.unpack, string.sub, string.byte, math.ceil
local call = redis.call

--@include clock
--@include buckets

local now = time_of(ARGV[1])

local function write(key, v, tat)
  local need = tat and ceil((tat - now) / 1000) + 60000
  if need and need > call('PTTL', key) then
    call('SET', key, v, 'PX', need)
  else
    call('SET', key, v, 'KEEPTTL')
  end
end

-- The TAT as it counts, and whether it was too late for its limit and its debt.
local function believed(v, own, id, debt, tolerance)
  local p = v and place_of(v, own, id)
  local tat = p and U('<d', v, p) or now
  if tat < now then return now, false end
  if tat <= now + tolerance + GRACE then return tat, false end
  local most = place_of(v, own, debt)
  if most and tat <= U('<d', v, most) then return tat, false end
  return now + tolerance, true
end

local function given_back(key, v, own, id, us)
  local p = v and place_of(v, own, id)
  if not p then return now end
  local tat = U('<d', v, p) + us
  if not (tat >= 0 and tat < 2 ^ 53) then return now end   -- a damaged value; the next draw corrects it
  write(key, with_tat(v, own, id, tat))
  return tat
end

local function drawn(key, v, own, id, debt, tolerance, unit, wanted)
  local tat, wrong = believed(v, own, id, debt, tolerance)
  local given = math.max(0, math.min(wanted, now + tolerance - tat))
  given = given - given % unit
  if given == 0 and not wrong then return 0, tat end
  local after = with_tat(v or nothing(own), own, id, tat + given)
  if not place_of(after, own, id) then return 0, tat end   -- the value has no room for one more limit
  write(key, after, tat + given)
  return given, tat + given
end

local reply = {P('<d', now)}
for i = 1, #ARGV[2], 34 do
  local k, own, id, debt, tolerance, unit, wanted = U('<BBc4c4ddd', ARGV[2], i)
  local key, given, tat = KEYS[k], wanted
  local v = call('MGET', key)[1]   -- unlike GET it takes a value of another kind for none, as the take script does
  v = v and whole(v, own == 1)
  if wanted < 0 then
    tat = given_back(key, v, own == 1, id, wanted)
  else
    given, tat = drawn(key, v, own == 1, id, debt, tolerance, unit, wanted)
  end
  reply[#reply + 1] = P('<dd', given, math.max(tat, now))
end
return table.concat(reply)
