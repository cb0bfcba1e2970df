-- Makes a dead letter a message again, or deletes it if no list is given. Answers whether it was there.
--
-- KEYS: dead, dead_index   ARGV: task, its entry, list, message
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
-- What the list does not take is not lost, and what may not be taken is not put there.
redis.call('HDEL', KEYS[1], '')
redis.call('ZREM', KEYS[2], '')
if ARGV[3] ~= '' then redis.call('LPUSH', ARGV[3], ARGV[4]) end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
