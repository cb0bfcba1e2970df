-- Puts a debounced task in the place of the one of its key that waits, or lets it wait. It is due when
-- its window is over, but not after what the first one of its key said.
--
-- KEYS: unacked, unacked_index, scheduled, quiet
-- ARGV: for each task: tag, message, due and not after in microseconds
for a = 1, #ARGV, 4 do
  local tag, message, due, latest = unpack(ARGV, a, a + 3)
  local known = redis.call('HGET', KEYS[4], tag)
  if known and redis.call('HEXISTS', KEYS[1], tag) == 1 and tonumber(known) < tonumber(latest) then
    latest = known
  end
  if tonumber(latest) < tonumber(due) then due = latest end
  redis.call('HSET', KEYS[4], tag, latest)
  local queue = string.match(tag, '%.%d+|(.*)$')
  redis.call('HSET', KEYS[1], tag, '[' .. message .. ',"",' .. cjson.encode(queue) .. ']')
  redis.call('ZADD', KEYS[2], string.format('%.6f', tonumber(due) / 1000000), tag)
  redis.call('ZADD', KEYS[3], due, tag)
end
return redis.status_reply('OK')
