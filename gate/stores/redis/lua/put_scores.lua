-- Unit: ms. Stores scores whose stamps come after those of what is there. KEYS: one a score. ARGV[1]: how long they are
-- kept; ARGV[1 + i]: the value of KEYS[i]. A value begins with  risk, at, offset (doubles), epoch (u16 length), and then
-- up to two sections before its document, which begins with {:  12 or 17 (u8), as many bytes that say how the score decays;
-- 3 (u8), generation (u56), partitions, partition (u32), or of an earlier release 2 (u8), generation (double), the others.
-- The order is that of gate.core.score.replaces. A score whose stored stamp cannot be one is replaced.
-- Reply: how many were stored.
local WITHIN_EPOCH = {2, 3, 1, 4}   -- partitions, partition, offset, generation: the first that differs decides
local U, sub, byte, find = struct.unpack, string.sub, string.byte, string.find

-- The stamp as a table  offset, partitions, partition, generation  and its epoch, and where its bytes end; nil for one without
-- a generation.
local function stamp(value)
  local offset, length = U('<dH', value, 17)
  local s, tail = {offset, nil, nil, 0, epoch = sub(value, 27, 26 + length)}, 27 + length
  local size = byte(value, tail)
  if size == 12 or size == 17 then tail = tail + 1 + size end
  local format = byte(value, tail) == 3 and '<I7I4I4' or byte(value, tail) == 2 and '<dI4I4'
  if format and #value >= tail + 16 then
    s[4], s[2], s[3], tail = U(format, value, tail + 1)
    return s, tail - 1
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
  for _, n in ipairs(WITHIN_EPOCH) do
    if a[n] ~= b[n] then return a[n] > b[n] end
  end
  return false
end

-- All that stands between the offset and the document. Nearly all scores of a call and those that are stored have the same
-- there, as one worker makes the scores of an account again and again. Then their offsets decide alone.
local common = ''
local known, written, n = redis.call('MGET', unpack(KEYS)), {}, 1
for i = 1, #KEYS do
  local value, old = ARGV[1 + i], known[i]
  local wins = not old or #old < 26
  if not wins then
    if common == '' or find(value, common, 25, true) ~= 25 then
      local _, last = stamp(value)
      common = last and sub(value, 25, last) or ''
    end
    if common ~= '' and find(old, common, 25, true) == 25 then
      local before = U('<d', old, 17)
      wins = U('<d', value, 17) > before or not is_count(before)
    else
      wins = replaces((stamp(value)), (stamp(old)))
    end
  end
  if wins then
    written[n + 1], written[n + 2] = KEYS[i], value
    n = n + 2
  end
end

local function writes_many()   -- whether server and user have a command that writes many values, which costs less
  local has, may = pcall(redis.acl_check_cmd, 'MSETEX', 1, KEYS[1], '')
  return has and may
end

if n > 8 and writes_many() then
  written[1], written[n + 1], written[n + 2] = (n - 1) / 2, 'PX', ARGV[1]
  redis.call('MSETEX', unpack(written, 1, n + 2))
else
  for i = 2, n, 2 do redis.call('SET', written[i], written[i + 1], 'PX', ARGV[1]) end
end
return (n - 1) / 2
