-- Replaces a board that cannot be read by a good one, and keeps the old document under another key.
-- KEYS: hash of rev and document, key for the old document.
-- ARGV: SHA-1 of the document that could not be read (or the type of the key, where it is no hash), new revision, new
-- document, channel. Reply: 1 if written, 0 if the stored document has changed.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'hash' then
  local document = redis.call('HGET', KEYS[1], 'document')
  if not document or redis.sha1hex(document) ~= ARGV[1] then
    return 0
  end
  redis.call('SET', KEYS[2], document)
elseif kind == ARGV[1] then
  redis.call('RENAME', KEYS[1], KEYS[2])
else
  return 0
end
redis.call('HSET', KEYS[1], 'rev', ARGV[2], 'document', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[3])
return 1
