-- Sets or deletes the override of an account. KEYS[1]: its key; ARGV[1], ARGV[2]: the new value and when it expires (ms since
-- 1970), neither to delete it. Reply: the value before, nil for none.
local before = redis.call('MGET', KEYS[1])[1]   -- unlike GET it takes a value of another kind for none
if ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
else
  redis.call('DEL', KEYS[1])
end
return before
