-- Ends claims, each in its way, if it is still held. Answers for each whether it was.
--
-- KEYS: unacked, unacked_index, scheduled, dead, dead_index, quiet
-- ARGV: for each task that is published, the claim's tag ('' for none), with which it is or not at all, and
--   'send'  list text '' ''                        a message, to the back of a list
--   'urge'  list text '' ''                        and to its front
--   'merge' tag text microseconds 'microseconds event'
--                                                  one that is debounced: due then, and not after; its event
-- then for each claim: its tag, and
--   'done'  '' '' '' ''                            the task is done
--   'first' list text '' ''                        the message goes to the front of a list
--   'last'  list text '' ''                        and to its back
--   'wait'  tag text microseconds seconds          it waits until then, under another tag
--   'bury'  task entry microseconds other          it is a dead letter, of the other task if there is one
local unacked, index, scheduled = KEYS[1], KEYS[2], KEYS[3]

-- Tags that wait end in their step and queue: tag.rs.
local function wait(tag, text, micros, seconds)
  local queue = string.match(tag, '%.%d+|(.*)$')
  -- Without the text the others are harmless; it without them would be forgotten.
  redis.call('ZADD', scheduled, micros, tag)
  redis.call('ZADD', index, seconds, tag)
  redis.call('HSET', unacked, tag, '[' .. text .. ',"",' .. cjson.encode(queue) .. ']')
end

-- It takes the place of the one of its key that waits. Due when its window is over, but not after what
-- the first one of its key said. A send may be late, or come a second time: what waits and is newer stays.
-- Ids of events are in the order of their time.
local function merge(tag, text, due, latest_and_event)
  local latest, event = string.match(latest_and_event, '^(%S+) (%S+)$')
  local known = redis.call('HGET', KEYS[6], tag)
  if known and redis.call('HEXISTS', unacked, tag) == 1 then
    local known_latest, known_event = string.match(known, '^(%S+) (%S+)$')
    if event <= known_event then return end
    if tonumber(known_latest) < tonumber(latest) then latest = known_latest end
  end
  if tonumber(latest) < tonumber(due) then due = latest end
  redis.call('HSET', KEYS[6], tag, latest .. ' ' .. event)
  wait(tag, text, due, string.format('%.6f', tonumber(due) / 1000000))
end

-- Where memory is full, a script may go on once it has written. So what is held can be put elsewhere;
-- what is only published has to wait. And if claims may not be ended, nothing is done twice for it.
if ARGV[1] ~= '' then
  redis.call('HDEL', unacked, '')
  redis.call('ZREM', index, '')
end
local answers = {}
-- Every claim is ended last: an error, of a list that is none, say, must leave its message where it is.
local function finish(tag)
  redis.call('HDEL', unacked, tag)
  redis.call('ZREM', index, tag)
end

-- What is published goes with its claim or not at all: what takes none of it is found before.
for a = 1, #ARGV, 6 do
  if ARGV[a + 1] == 'send' or ARGV[a + 1] == 'urge' then redis.call('LLEN', ARGV[a + 2]) end
end

local firsts = {}
for a = 1, #ARGV, 6 do
  local tag, what, one, text, time, other = unpack(ARGV, a, a + 5)
  local ours = tag == '' or redis.call('HEXISTS', unacked, tag) == 1
  if what == 'send' then
    if ours then redis.call('LPUSH', one, text) end
  elseif what == 'urge' then
    if ours then redis.call('RPUSH', one, text) end
  elseif what == 'merge' then
    if ours then merge(one, text, time, other) end
  else
    answers[#answers + 1] = ours and 1 or 0
    if what == 'first' then
      if ours then firsts[#firsts + 1] = { tag, one, text } end
    else
      if not ours or what == 'done' then
        -- nothing more
      elseif what == 'last' then
        redis.call('LPUSH', one, text)
      elseif what == 'wait' then
        -- Of a key that waits already, both do: which is the newer is not for us to say.
        local new = one
        if string.sub(new, 1, 6) == 'again.' and redis.call('HEXISTS', unacked, new) == 1 then
          local step = string.match(new, '(%.%d+|.*)$')
          new = 'eta.' .. tag .. step
        end
        wait(new, text, time, other)
      elseif what == 'bury' then
        local id = one
        if redis.call('HEXISTS', KEYS[4], id) == 1 then id = other end
        redis.call('HSET', KEYS[4], id, text)
        redis.call('ZADD', KEYS[5], time, id)
      end
      finish(tag)
    end
  end
end
-- Those that come back together keep their order: the last to be pushed is the next to be taken.
for i = #firsts, 1, -1 do
  redis.call('RPUSH', firsts[i][2], firsts[i][3])
  finish(firsts[i][1])
end
return answers
