-- Unit: ms. Stores scores whose stamps come after those of what is there. KEYS: one a score. ARGV[1]: how long they are
-- kept; ARGV[1 + i]: the value of KEYS[i]. A value begins with  risk, at, offset (doubles), epoch (u16 length), and then
-- up to two sections before its document, which begins with {:  17 (u8), 17 bytes that say how the score decays;
-- 2 (u8), generation (double), partitions, partition (u32).
-- The order is that of gate.core.score.replaces. A score whose stored stamp cannot be one is replaced.
-- Reply: how many were stored.
local unpack_, sub, byte = struct.unpack, string.sub, string.byte

local function stamp(value)
  local offset, length = unpack_('<dH', value, 17)
  local s, tail = {offset, 0, 0, 0, epoch = sub(value, 27, 26 + length)}, 27 + length
  if byte(value, tail) == 17 then tail = tail + 18 end
  if byte(value, tail) == 2 and #value >= tail + 16 then
    s[4], s[2], s[3] = unpack_('<dI4I4', value, tail + 1)
  end
  return s
end

local function is_count(n)
  return n >= 0 and n < 2 ^ 53
end

local function replaces(a, b)
  if not (is_count(b[1]) and is_count(b[4])) then return true end
  if a[4] == 0 or b[4] == 0 then
    if a[4] ~= b[4] then return b[4] == 0 end
    return a.epoch ~= b.epoch or a[1] > b[1]
  end
  if a.epoch ~= b.epoch then
    if a[4] ~= b[4] then return a[4] > b[4] end
    return a.epoch > b.epoch
  end
  if a[2] ~= b[2] then return a[2] > b[2] end
  if a[3] ~= b[3] then return a[3] > b[3] end
  if a[1] ~= b[1] then return a[1] > b[1] end
  return a[4] > b[4]
end

local stored = 0
local known = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS do
  local value, old = ARGV[1 + i], known[i]
  if not old or #old < 26 or replaces(stamp(value), stamp(old)) then
    redis.call('SET', KEYS[i], value, 'PX', ARGV[1])
    stored = stored + 1
  end
end
return stored
