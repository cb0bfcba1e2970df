-- Remembers how the run that started then ended, unless another has started since.
--
-- KEYS: reconcilers   ARGV: name, start, end, result
local known = redis.call('HGET', KEYS[1], ARGV[1])
-- A record that cannot be read is as if there was none: it must not hold up the other reconcilers.
local readable, state = pcall(cjson.decode, known or '{}')
if not readable or type(state) ~= 'table' or type(state.next_at) ~= 'string'
  or (state.started_at and type(state.started_at) ~= 'string') then
  state = {}
end
if state.started_at ~= ARGV[2] then
  return 0
end
state.ended_at, state.result = ARGV[3], ARGV[4]
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(state))
return 1
