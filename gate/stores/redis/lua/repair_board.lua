-- Puts a good board in place of what nobody can read, and keeps that aside.
-- KEYS: hash of rev and document, key of what is kept aside.
-- ARGV: SHA-1 of the document that could not be read (or the type of the key, where it is no hash), new revision, new
-- document, channel. Reply: 1 written.
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
