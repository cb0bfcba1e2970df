-- Stores what became of tasks, and tells those who wait for it. What has succeeded stays so, as in Celery: a
-- late word may come from a worker that lost the message to another.
--
-- KEYS: of the results   ARGV: for how many seconds, or 0 for ever, then the texts
for i, key in ipairs(KEYS) do
  local known = redis.call('GET', key)
  local read, meta = false, nil
  if known then read, meta = pcall(cjson.decode, known) end
  if not (read and type(meta) == 'table' and meta['status'] == 'SUCCESS') then
    if ARGV[1] == '0' then
      redis.call('SET', key, ARGV[i + 1])
    else
      redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1])
    end
    redis.call('PUBLISH', key, ARGV[i + 1])
  end
end
