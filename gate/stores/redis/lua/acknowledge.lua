-- Unit: µs. Stores a gate's acknowledgement with the time of the server's clock, and deletes expired ones.
-- KEYS: sorted set of processes by time, hash of their documents, the time since which none was lost.
-- ARGV: process, document, µs until it expires. Reply: the server's clock (text, as numbers would lose digits).
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
redis.call('SET', KEYS[3], string.format('%.0f', now), 'NX')
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
