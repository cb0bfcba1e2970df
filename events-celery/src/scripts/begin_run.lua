-- Stamps the start of a reconciler's run, if the last start is still the one that its caller knows.
--
-- KEYS: reconcilers   ARGV: name, the known start ('' for none), start, worker, next
local known = redis.call('HGET', KEYS[1], ARGV[1])
-- A record that cannot be read is as if there was none: it must not hold up the other reconcilers.
local readable, state = pcall(cjson.decode, known or '{}')
if not readable or type(state) ~= 'table' or type(state.next_at) ~= 'string'
  or (state.started_at and type(state.started_at) ~= 'string') then
  state = {}
end
if (state.started_at or '') ~= ARGV[2] then
  return 0
end
state.started_at, state.started_by, state.next_at = ARGV[3], ARGV[4], ARGV[5]
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(state))
return 1
