-- Takes a worker for dead if its record is still the one that was seen: its messages are to be offered
-- again.
--
-- KEYS: workers, gone   ARGV: worker, its record ('' if whatever it is)
local record = redis.call('HGET', KEYS[1], ARGV[1])
if not record or (ARGV[2] ~= '' and record ~= ARGV[2]) then
  return 0
end
-- What fails leaves it a worker, whose messages somebody finds. A full memory stops no script that has
-- written.
redis.call('SREM', KEYS[2], '')
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
