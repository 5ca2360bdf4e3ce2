-- Unit: µs. Stores a gate's acknowledgement with the time of the server's clock, and deletes expired ones. What lies in the
-- future was written before the clock was set back: nobody knows how old it is, and it expires from now on.
-- KEYS: sorted set of processes by time, hash of their documents, the time since which none was lost.
-- ARGV: process, document, µs until it expires, µs for which an acknowledgement proves that its gate is live. Reply: the server's clock (text, as numbers would lose digits).
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local since = tonumber(redis.call('GET', KEYS[3]) or '')
if not since or since > now then
  redis.call('SET', KEYS[3], string.format('%.0f', now))
end
local live_us = tonumber(ARGV[4])
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + live_us), '+inf')) do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now - live_us - 1), process)
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[3])))
for i = 1, #gone do
  redis.call('ZREM', KEYS[1], gone[i])
  redis.call('HDEL', KEYS[2], gone[i])
end
local ttl = string.format('%.0f', math.ceil(tonumber(ARGV[3]) / 1000))
for i = 1, #KEYS do
  redis.call('PEXPIRE', KEYS[i], ttl)
end
return string.format('%.0f', now)
