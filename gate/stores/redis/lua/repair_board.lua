-- Puts a good board in place of a document that nobody can read, and keeps that one aside.
-- KEYS: hash of rev and document, key of the document kept aside.
-- ARGV: SHA-1 of the document that could not be read, new revision, new document, channel. Reply: 1 written.
local document = redis.call('HGET', KEYS[1], 'document')
if not document or redis.sha1hex(document) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], document)
redis.call('HSET', KEYS[1], 'rev', ARGV[2], 'document', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[3])
return 1
