-- Ends claims, each in its way, if it is still held. Answers for each whether it was.
--
-- KEYS: unacked, unacked_index, scheduled, dead, dead_index
-- ARGV: for each claim: its tag, and
--   'done'  '' '' '' ''                            the task is done
--   'first' list text '' ''                        the message goes to the front of a list
--   'last'  list text '' ''                        and to its back
--   'wait'  tag text microseconds seconds          it waits until then, under another tag
--   'bury'  task entry microseconds other          it is a dead letter, of the other task if there is one
--   'send'  list text '' ''                        published in the claim before it; with it or not at all
local unacked, index, scheduled = KEYS[1], KEYS[2], KEYS[3]
local answers, ours = {}, true
local firsts = {}
for a = 1, #ARGV, 6 do
  local tag, what, one, text, time, other = unpack(ARGV, a, a + 5)
  if what == 'send' then
    if ours then redis.call('LPUSH', one, text) end
  else
    ours = redis.call('HDEL', unacked, tag) == 1
    redis.call('ZREM', index, tag)
    answers[#answers + 1] = ours and 1 or 0
    if not ours or what == 'done' then
      -- nothing more
    elseif what == 'first' then
      firsts[#firsts + 1] = { one, text }
    elseif what == 'last' then
      redis.call('LPUSH', one, text)
    elseif what == 'wait' then
      -- Of a key that waits already, both do: which is the newer is not for us to say.
      local new = one
      if string.sub(new, 1, 6) == 'again.' and redis.call('HEXISTS', unacked, new) == 1 then
        local step = string.match(new, '(%.%d+|.*)$')
        new = 'eta.' .. tag .. step
      end
      local queue = string.match(new, '%.%d+|(.*)$')
      redis.call('HSET', unacked, new, '[' .. text .. ',"",' .. cjson.encode(queue) .. ']')
      redis.call('ZADD', index, other, new)
      redis.call('ZADD', scheduled, time, new)
    elseif what == 'bury' then
      local id = one
      if redis.call('HEXISTS', KEYS[4], id) == 1 then id = other end
      redis.call('HSET', KEYS[4], id, text)
      redis.call('ZADD', KEYS[5], time, id)
    end
  end
end
-- Those that come back together keep their order: the last to be pushed is the next to be taken.
for i = #firsts, 1, -1 do redis.call('RPUSH', firsts[i][1], firsts[i][2]) end
return answers
