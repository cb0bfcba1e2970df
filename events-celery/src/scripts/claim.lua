-- Hands out messages: moves them from the lists to `unacked`, where whoever looks for lapsed messages
-- finds them, and brings those first whose time has come.
--
-- KEYS: unacked, unacked_index, scheduled, quiet, workers, dead, dead_index, then the lists in order
-- ARGV: worker, tag, now in microseconds, now in seconds, limit, prefix, then the queue of each list
--
-- Answers when the next is due, how many were, the messages, for each list how many of them are its,
-- and the numbers of those that are not JSON, of which there is the dead letter's name instead. The
-- tag of a message is that of the claim and the message's number.
local unacked, index, scheduled, quiet = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local tag, now, limit, prefix = ARGV[2], ARGV[3], tonumber(ARGV[5]), ARGV[6]
if redis.call('HEXISTS', KEYS[5], ARGV[1]) == 0 then
  return false
end
-- An error does not undo what a script did before. So a key that holds something else is found here.
redis.call('HLEN', unacked)
redis.call('ZCARD', index)
redis.call('HLEN', KEYS[6])
redis.call('ZCARD', KEYS[7])

local function forget(held)
  redis.call('ZREM', scheduled, held)
  if redis.call('HDEL', unacked, held) == 1 then
    redis.call('ZREM', index, held)
  end
end

-- A tag that waits ends in the step and the queue, of which the entry's end can be known.
local due = redis.call('ZRANGEBYSCORE', scheduled, '-inf', now, 'LIMIT', 0, math.max(limit, 100))
local back = {}
for _, held in ipairs(due) do
  local entry = redis.call('HGET', unacked, held)
  local step, queue = string.match(held, '%.(%d+)|(.*)$')
  forget(held)
  if string.sub(held, 1, 6) == 'quiet.' then
    redis.call('HDEL', quiet, held)
    -- An older one of its key that waits to be tried again gives way.
    forget('again.' .. string.sub(held, 7))
  end
  if entry then
    local tail = ',"",' .. cjson.encode(queue) .. ']'
    local list = prefix .. queue
    if step ~= '0' then list = list .. '\6\22' .. step end
    local raw = string.sub(entry, 2, -1 - #tail)
    if string.sub(held, 1, 5) == 'back.' then
      back[#back + 1] = { list, raw }
    else
      redis.call('LPUSH', list, raw)
    end
  end
end

local mark = ',"events":1}'
local out, held, scores, counts, bad = {}, {}, {}, {}, {}
local count, n = 0, 0
for i = 8, #KEYS do
  local before = count
  if count >= limit then break end
  local popped = redis.pcall('RPOP', KEYS[i], limit - count)
  if popped and not popped.err then
    local tail = ',"",' .. cjson.encode(ARGV[i - 1]) .. ']'
    for _, raw in ipairs(popped) do
      count = count + 1
      local new = tag .. '.' .. count
      local good = string.sub(raw, -#mark) == mark
      if not good and string.sub(raw, 1, 1) == '{' then
        good = pcall(cjson.decode, raw)
      end
      if good then
        held[n + 1], held[n + 2] = new, '[' .. raw .. tail
        scores[n + 1], scores[n + 2] = ARGV[4], new
        n = n + 2
        out[count] = raw
      else
        -- What is not JSON must never be in `unacked`: workers in Python could not look past it.
        local hex = string.gsub(raw, '.', function(c) return string.format('%02x', string.byte(c)) end)
        local id = string.sub(redis.sha1hex(new), 1, 32)
        local entry = '{"unreadable":"' .. hex .. '","queue":' .. cjson.encode(ARGV[i - 1])
          .. ',"list":' .. (i - 8) .. ',"died_at":' .. now .. '}'
        redis.call('HSET', KEYS[6], id, entry)
        redis.call('ZADD', KEYS[7], now, id)
        out[count] = id
        bad[#bad + 1] = count
      end
    end
  end
  counts[i - 7] = count - before
end
if n > 0 then
  redis.call('HSET', unacked, unpack(held))
  redis.call('ZADD', index, unpack(scores))
end
-- What this program may not run is not ours to take again before others could.
for _, one in ipairs(back) do redis.call('LPUSH', one[1], one[2]) end
local next_due = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')
return { next_due[2] or '', #due, out, counts, bad }
