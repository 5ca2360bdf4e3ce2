-- Unit: ms. Stores scores that are newer than what is there. KEYS: one a score. ARGV[1]: how long they are kept;
-- ARGV[1 + i]: the value of KEYS[i]. A value begins with  risk, at, offset (doubles), epoch (u16 length).
-- Within one epoch a lower or equal offset never replaces; another epoch always does, and so does any score where the stored
-- offset cannot be one. Reply: how many were stored.
local stored = 0
local known = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS do
  local value, old, newer = ARGV[1 + i], known[i], true
  if old and #old >= 26 then
    local offset, length = struct.unpack('<dH', old, 17)
    local mine, mine_length = struct.unpack('<dH', value, 17)
    if offset >= mine and offset < 2 ^ 53 and string.sub(old, 27, 26 + length) == string.sub(value, 27, 26 + mine_length) then
      newer = false
    end
  end
  if newer then
    redis.call('SET', KEYS[i], value, 'PX', ARGV[1])
    stored = stored + 1
  end
end
return stored
