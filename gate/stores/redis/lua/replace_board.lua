-- Writes and pushes the board if the stored revision is still the one that the writer read.
-- KEYS[1]: a hash of rev and document. ARGV: expected revision, new revision, document, channel.
-- Reply: 1 if written, 0 if the revision is another.
local rev = redis.call('HGET', KEYS[1], 'rev') or '0'
if rev ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'rev', ARGV[2], 'document', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[3])
return 1
