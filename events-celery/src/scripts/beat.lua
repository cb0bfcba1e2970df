-- Writes a heartbeat of a worker that is registered, and keeps alive what it holds. Answers with how
-- many of the tags are still held, and with all workers; with nothing if the worker is not known.
--
-- KEYS: workers, unacked_index   ARGV: worker, its record, now in seconds, tags
-- A full memory stops no script that has written: workers that cannot say that they live drain nothing.
redis.call('HDEL', KEYS[1], '')
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return false
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local lost = {}
for from = 4, #ARGV, 1000 do
  local tags = { unpack(ARGV, from, math.min(from + 999, #ARGV)) }
  local known = redis.call('ZMSCORE', KEYS[2], unpack(tags))
  local scores = {}
  for i, tag in ipairs(tags) do
    if known[i] then
      scores[#scores + 1] = ARGV[3]
      scores[#scores + 1] = tag
    else
      lost[#lost + 1] = tag
    end
  end
  if #scores > 0 then redis.call('ZADD', KEYS[2], unpack(scores)) end
end
return { lost, redis.call('HGETALL', KEYS[1]) }
