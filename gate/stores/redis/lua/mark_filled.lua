-- Compares marks and replaces those that are as expected. KEYS: the marks; ARGV[2 * i - 1]: the value that is expected of
-- KEYS[i], empty for none; ARGV[2 * i]: the value it gets then. Reply: the value of each before, empty for none.
local before = {}
for i = 1, #KEYS do
  before[i] = redis.call('GET', KEYS[i]) or ''
  if before[i] == ARGV[2 * i - 1] then
    redis.call('SET', KEYS[i], ARGV[2 * i])
  end
end
return before
