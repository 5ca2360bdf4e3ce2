-- The time in µs: what is given, or where that is empty the server's clock.
local function time_of(given)
  local now = tonumber(given)
  if now then return now end
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
