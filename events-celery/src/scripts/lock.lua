-- Takes a lock for a while, unless somebody has it. Answers whether it was free.
--
-- KEYS: lock, unacked_index   ARGV: token, milliseconds
-- A full memory stops no script that has written: what lapsed in it must be offered again.
redis.call('ZREM', KEYS[2], '')
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
