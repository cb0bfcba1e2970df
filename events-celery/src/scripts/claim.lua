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
-- An error does not undo what a script did before. So a key that holds something else, or what the
-- user may not do, is found here; and a full memory stops no script that has written: the queues of a
-- full Redis must drain.
redis.call('HDEL', unacked, '')
redis.call('ZREM', index, '')
redis.call('ZREM', scheduled, '')
redis.call('HLEN', quiet)
redis.call('HLEN', KEYS[6])
redis.call('ZCARD', KEYS[7])

local function forget(held)
  redis.call('ZREM', scheduled, held)
  if redis.call('HDEL', unacked, held) == 1 then
    redis.call('ZREM', index, held)
  end
end

-- What its list does not take stays where it is, and is tried again in a minute.
local function push(held, list, raw)
  local pushed = redis.pcall('LPUSH', list, raw)
  if type(pushed) == 'table' then redis.call('ZADD', scheduled, now + 60000000, held) end
  return type(pushed) ~= 'table'
end

-- A tag that waits (tag.rs) ends in the step and the queue, of which the end of its entry can be known.
local due = redis.call('ZRANGEBYSCORE', scheduled, '-inf', now, 'LIMIT', 0, math.max(limit, 100))
local back = {}
for _, held in ipairs(due) do
  local entry = redis.call('HGET', unacked, held)
  local step, queue = string.match(held, '%.(%d+)|(.*)$')
  local pushed = true
  if entry then
    local tail = ',"",' .. cjson.encode(queue) .. ']'
    local list = prefix .. queue
    if step ~= '0' then list = list .. '\6\22' .. step end
    local raw = string.sub(entry, 2, -1 - #tail)
    if string.sub(held, 1, 5) == 'back.' then
      back[#back + 1] = { held, list, raw }
      pushed = false
    else
      pushed = push(held, list, raw)
    end
  end
  if pushed then
    forget(held)
    if string.sub(held, 1, 6) == 'quiet.' then
      redis.call('HDEL', quiet, held)
      -- An older one of its key that waits to be tried again gives way.
      forget('again.' .. string.sub(held, 7))
    end
  end
end

-- As Python reads it, which the script's JSON does not mind.
local function is_utf8(text)
  if not string.find(text, '[\128-\255]') then return true end
  for _, form in ipairs({
    '[\194-\223][\128-\191]', '\224[\160-\191][\128-\191]', '[\225-\236\238\239][\128-\191][\128-\191]',
    '\237[\128-\159][\128-\191]', '\240[\144-\191][\128-\191][\128-\191]',
    '[\241-\243][\128-\191][\128-\191][\128-\191]', '\244[\128-\143][\128-\191][\128-\191]',
  }) do
    text = string.gsub(text, form, '?')
  end
  return not string.find(text, '[\128-\255]')
end

local digits = setmetatable({}, {
  __index = function(known, c)
    local two = string.format('%02x', string.byte(c))
    known[c] = two
    return two
  end,
})

local mark = ',"events":1}'
local out, held, scores, counts, bad = {}, {}, {}, {}, {}
local taken = {}
local count, n, bytes = 0, 0, 0
for i = 8, #KEYS do
  local before, from = count, 0
  -- Some at a time, and not more than a client takes in at once.
  while count < limit and bytes < 8000000 do
    -- Nothing is taken off a list before it is stored: the last of these are the next.
    local found = redis.pcall('LRANGE', KEYS[i], -(from + math.min(limit - count, 250)), -(from + 1))
    if found.err and not string.find(found.err, 'WRONGTYPE') then return found end
    if found.err or #found == 0 then break end
    if from == 0 then redis.call('LTRIM', KEYS[i], 0, -1) end -- whether it may be
    from = from + #found
    taken[KEYS[i]] = from
    local tail = ',"",' .. cjson.encode(ARGV[i - 1]) .. ']'
    for at = #found, 1, -1 do
      local raw = found[at]
      bytes = bytes + #raw
      count = count + 1
      local new = tag .. '.' .. count
      local good = string.sub(raw, -#mark) == mark
      if not good and string.find(raw, '^[ \t\r\n]*{') then
        good = pcall(cjson.decode, raw) and is_utf8(raw)
      end
      if good then
        held[n + 1], held[n + 2] = new, '[' .. raw .. tail
        scores[n + 1], scores[n + 2] = ARGV[4], new
        n = n + 2
        out[count] = raw
      else
        -- What is not JSON must never be in `unacked`: workers in Python could not look past it.
        local hex = string.gsub(raw, '.', digits)
        local id = string.sub(redis.sha1hex(new), 1, 32)
        local entry = '{"unreadable":"' .. hex .. '","queue":' .. cjson.encode(ARGV[i - 1])
          .. ',"step":' .. (string.match(KEYS[i], '\6\22(%d+)$') or 0) .. ',"died_at":' .. now .. '}'
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
  redis.call('ZADD', index, unpack(scores))
  redis.call('HSET', unacked, unpack(held))
end
for list, from in pairs(taken) do redis.call('LTRIM', list, 0, -1 - from) end
-- What this program may not run is not ours to take again before others could.
for _, one in ipairs(back) do
  if push(unpack(one)) then forget(one[1]) end
end
local next_due = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')
return { next_due[2] or '', #due - #back, out, counts, bad }
