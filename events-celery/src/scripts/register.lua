-- Makes a worker known, and its queues to programs in Python. Answers with all workers.
--
-- KEYS: workers   ARGV: worker, its record, then for each queue its bindings: key, key, member
-- A full memory stops no script that has written: without workers nothing drains it.
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
for a = 3, #ARGV, 3 do
  redis.call('SADD', ARGV[a], ARGV[a + 2])
  redis.call('SADD', ARGV[a + 1], ARGV[a + 2])
end
return redis.call('HGETALL', KEYS[1])
