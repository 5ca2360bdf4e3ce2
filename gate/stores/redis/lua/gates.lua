-- Unit: µs. Returns the gates that acknowledged lately. KEYS: as in acknowledge. ARGV[1]: how long ago at most.
-- Reply: the server's clock, the time since which no acknowledgement was lost, then process, document and time of
-- each gate (text, as numbers would lose digits).
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local live = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', now - tonumber(ARGV[1])), '+inf', 'WITHSCORES')
local reply = { string.format('%.0f', now), redis.call('GET', KEYS[3]) or string.format('%.0f', now) }
for i = 1, #live, 2 do
  local document = redis.call('HGET', KEYS[2], live[i])
  if document then
    reply[#reply + 1] = live[i]
    reply[#reply + 1] = document
    reply[#reply + 1] = string.format('%.0f', tonumber(live[i + 1]))
  end
end
return reply
