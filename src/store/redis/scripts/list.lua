-- Jobs, the newest first.
--
-- ARGV: 1 status ('' = any), 2 behind which job ('' = from the newest on), 3 how many at most (up to 100).
-- Answers: { { job, record } … }. Behind a job that is not there any more there is nothing.
-- Cost: O(k log n) for k jobs among n; where running ones are asked for also O(r) for the r that have a lease.
local sets = { queued = { READY }, running = { PAUSED }, completed = { COMPLETED }, failed = { FAILED } }
local before, found, records = math.huge, {}, {}
if ARGV[2] ~= '' then
  before = tonumber(call('HGET', JOB .. ARGV[2], 'seq'))
  if not before then return {} end
end
for _, set in ipairs(sets[ARGV[1]] or { READY, PAUSED, COMPLETED, FAILED }) do
  local highest = before < math.huge and '(' .. before or '+inf'
  local some = call('ZREVRANGEBYSCORE', set, highest, '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
  for i = 1, #some, 2 do found[#found + 1] = { some[i], tonumber(some[i + 1]) } end
end
if ARGV[1] == '' or ARGV[1] == 'running' then
  -- Leases are by time, and never many.
  for _, id in ipairs(call('ZRANGE', LEASES, 0, -1)) do
    local seq = tonumber(call('HGET', JOB .. id, 'seq'))
    if seq and seq < before then found[#found + 1] = { id, seq } end
  end
end
table.sort(found, function(a, b) return a[2] > b[2] end)
for i = 1, math.min(#found, tonumber(ARGV[3])) do
  local one = call('HMGET', JOB .. found[i][1], RECORD)
  if one[1] then records[#records + 1] = { found[i][1], one } end
end
return records
