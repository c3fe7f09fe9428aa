-- Jobs, the newest first.
--
-- ARGV: 1 status ('' = any), 2 behind which job ('' = from the newest on), 3 how many at most (up to 100).
-- Answers: { { job, record } … }. Behind a job that is not there any more there is nothing.
-- Cost: O(k log n) for k jobs among n.
local sets = { queued = { READY }, running = { RUNNING }, completed = { COMPLETED }, failed = { FAILED } }
local before, found, records = '+inf', {}, {}
if ARGV[2] ~= '' then
  local seq = call('HGET', JOB .. ARGV[2], 'seq')
  if not seq then return {} end
  before = '(' .. seq
end
for _, set in ipairs(sets[ARGV[1]] or { READY, RUNNING, COMPLETED, FAILED }) do
  local some = call('ZREVRANGEBYSCORE', set, before, '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
  for i = 1, #some, 2 do found[#found + 1] = { some[i], tonumber(some[i + 1]) } end
end
table.sort(found, function(a, b) return a[2] > b[2] end)
for i = 1, math.min(#found, tonumber(ARGV[3])) do
  local one = call('HMGET', JOB .. found[i][1], RECORD)
  if one[1] then records[#records + 1] = { found[i][1], one } end
end
return records
