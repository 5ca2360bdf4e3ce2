-- Unit: µs. Replaces one reservation by its settled state and moves the buckets that it took from, if it is still what the
-- caller has read.
--
-- KEYS     account, the upload's own key, entities and what is in flight (in any order), the list of what is due
-- ARGV[1]  the reservation as it was read
-- ARGV[2]  the reservation as it becomes, which no other call makes it
-- ARGV[3]  now; empty: the server's clock
-- ARGV[4]  changes, each  number of its key (u8), what it changes (u8: 0 a bucket, 1 what is in flight), limit id, id of the
--          limit's debt (4 bytes each), µs by which the TAT moves, or when that in flight ends (double)
-- Reply    1, also where an earlier sending of this call has done it; 0 where the reservation is neither
--
-- The stored values are those of gate/stores/redis/layout.py.
local P, U, sub, find, byte, ceil = struct.pack, struct.unpack, string.sub, string.find, string.byte, math.ceil
local call = redis.call

--@include clock

local now = time_of(ARGV[3])

local values, tops = {}, {}   -- of the keys to write
local V = call('MGET', unpack(KEYS))   -- unlike GET it takes a value of another kind for none, as the take script does
local account = V[1]
local at = account and find(account, ARGV[1], 1, true)
if at then
  values[1] = sub(account, 1, at - 1) .. ARGV[2] .. sub(account, at + #ARGV[1])
elseif V[2] == ARGV[1] then
  call('SET', KEYS[2], ARGV[2], 'KEEPTTL')
else
  return (V[2] == ARGV[2] or account and find(account, ARGV[2], 1, true)) and 1 or 0
end

--@include buckets

local function move(k, id, debt, delta)
  local v = whole(values[k] or V[k], k == 1)
  local p = place_of(v, k == 1, id)
  local tat = p and U('<d', v, p) or now
  if delta > 0 then
    if not (tat >= now and tat < 2 ^ 53) then tat = now end   -- a damaged value is no time
    tat = math.min(tat + delta, 2 ^ 53 - 1)
    v = with_tat(with_tat(v, k == 1, id, tat), k == 1, debt, tat)
    if not tops[k] or tat > tops[k] then tops[k] = tat end
  elseif p then
    v = with_tat(v, k == 1, id, tat + delta)
  else
    return
  end
  values[k] = v
end

local function leave(k, id, till)
  local v = values[k] or V[k]
  for i = 1, v and #v - 11 or 0, 12 do
    local each, t = U('<c4d', v, i)
    if each == id and t == till then
      values[k] = sub(v, 1, i - 1) .. sub(v, i + 12)
      return
    end
  end
end

for i = 1, #ARGV[4], 18 do
  local k, what, id, debt, delta = U('<BBc4c4d', ARGV[4], i)
  if what == 0 then move(k, id, debt, delta) else leave(k, id, delta) end
end

for k, v in pairs(values) do
  local need = tops[k] and ceil((tops[k] - now) / 1000) + 60000
  if v == '' then
    call('DEL', KEYS[k])
  elseif need and need > call('PTTL', KEYS[k]) then
    call('SET', KEYS[k], v, 'PX', need)
  else
    call('SET', KEYS[k], v, 'KEEPTTL')
  end
end
if byte(ARGV[2], 4 + byte(ARGV[2], 3)) ~= 1 then redis.pcall('ZREM', KEYS[#KEYS], KEYS[2]) end
return 1
