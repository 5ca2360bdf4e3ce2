-- Unit: µs. Counts the live gates: as Gates.live, but for those that have just announced their stop. KEYS: as in acknowledge.
-- ARGV: how long ago one acknowledged at most, after how long a silent process counts as replaced by another of its name.
-- Reads no document of those that acknowledge each second, so that gates may count each other again and again.
local time = redis.call('TIME')
local now, within, after = tonumber(time[1]) * 1000000 + tonumber(time[2]), tonumber(ARGV[1]), tonumber(ARGV[2])
local from, to = string.format('%.0f', now - within), string.format('%.0f', now + within)
local live = redis.call('ZRANGEBYSCORE', KEYS[1], from, to, 'WITHSCORES')
local latest, count = {}, 0
for i = #live - 1, 1, -2 do
  local at, name = tonumber(live[i + 1]), string.match(live[i], '^(.*) ') or live[i]
  latest[name] = latest[name] or at
  if at > latest[name] - after then
    local document = now - at > after and redis.call('HGET', KEYS[2], live[i])
    if not (document and string.find(document, '"left":true', 1, true)) then
      count = count + 1
    end
  end
end
return count
