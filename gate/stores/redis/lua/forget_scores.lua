-- Unit: µs. Deletes scores of accounts that were inactive for long. KEYS: one a score; ARGV[1]: the time from which on a
-- score's `at` keeps it. A value begins with  risk, at (doubles). Reply: how many were deleted.
local deleted, values = 0, redis.call('MGET', unpack(KEYS))   -- unlike GET it takes a value of another kind for none
for i = 1, #KEYS do
  local value = values[i]
  if value and (#value < 16 or struct.unpack('<d', value, 9) < tonumber(ARGV[1])) then
    deleted = deleted + redis.call('DEL', KEYS[i])
  end
end
return deleted
