-- Ends claims, each in its way, if it is still held. Answers for each whether it was.
--
-- KEYS: unacked, unacked_index, scheduled, dead, dead_index
-- ARGV: for each claim: its tag, and
--   'done'  '' '' '' ''                            the task is done
--   'first' list text '' ''                        the message goes to the front of a list
--   'last'  list text '' ''                        and to its back
--   'wait'  tag text microseconds seconds          it waits until then, under another tag
--   'bury'  task entry microseconds other          it is a dead letter, of the other task if there is one
--   'send'  list text '' ''                        published in it: before its end, or not at all
local unacked, index, scheduled = KEYS[1], KEYS[2], KEYS[3]
local answers = {}
-- A full memory stops no script that has written; what is held would fill it for ever.
redis.call('HDEL', unacked, '')
for a = 1, #ARGV, 6 do
  local tag, what, one, text, time, other = unpack(ARGV, a, a + 5)
  local ours = redis.call('HEXISTS', unacked, tag) == 1
  -- An error does not undo what was done before it: the claim ends when the rest is done.
  if not ours or what == 'done' then
    -- nothing more
  elseif what == 'first' then
    redis.call('RPUSH', one, text)
  elseif what == 'last' or what == 'send' then
    redis.call('LPUSH', one, text)
  elseif what == 'wait' then
    -- Of a key that waits already, both do: which is the newer is not for us to say.
    local new = one
    if string.sub(new, 1, 6) == 'again.' and redis.call('HEXISTS', unacked, new) == 1 then
      local step = string.match(new, '(%.%d+|.*)$')
      new = 'eta.' .. tag .. step
    end
    local queue = string.match(new, '%.%d+|(.*)$')
    redis.call('ZADD', scheduled, time, new)
    redis.call('ZADD', index, other, new)
    redis.call('HSET', unacked, new, '[' .. text .. ',"",' .. cjson.encode(queue) .. ']')
  elseif what == 'bury' then
    local id = one
    if redis.call('HEXISTS', KEYS[4], id) == 1 then id = other end
    redis.call('HSET', KEYS[4], id, text)
    redis.call('ZADD', KEYS[5], time, id)
  end
  if what ~= 'send' then
    redis.call('HDEL', unacked, tag)
    redis.call('ZREM', index, tag)
    answers[#answers + 1] = ours and 1 or 0
  end
end
return answers
