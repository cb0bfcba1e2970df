-- Ends claims whose tasks are done. Answers how many there were if all were still held, and for each
-- whether it was if not.
--
-- KEYS: unacked, unacked_index   ARGV: tags
if redis.call('HDEL', KEYS[1], unpack(ARGV)) == #ARGV then
  redis.call('ZREM', KEYS[2], unpack(ARGV))
  return #ARGV
end
-- Whoever takes a message from its holder takes it out of both.
local scores = redis.call('ZMSCORE', KEYS[2], unpack(ARGV))
redis.call('ZREM', KEYS[2], unpack(ARGV))
local answers = {}
for i = 1, #ARGV do answers[i] = scores[i] and 1 or 0 end
return answers
