-- Ends claims whose tasks are done. Answers for each whether it was still held.
--
-- KEYS: unacked, unacked_index   ARGV: tags
local scores = redis.call('ZMSCORE', KEYS[2], unpack(ARGV))
local held, answers = {}, {}
for i, tag in ipairs(ARGV) do
  answers[i] = scores[i] and 1 or 0
  if scores[i] then held[#held + 1] = tag end
end
if #held > 0 then
  redis.call('HDEL', KEYS[1], unpack(held))
  redis.call('ZREM', KEYS[2], unpack(held))
end
return answers
