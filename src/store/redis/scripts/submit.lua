-- Stores a job.
--
-- ARGV: 1 process, 2 job, 3 most waiting jobs, 4 most bytes of the store, 5 lease (ms; '' = it is queued, not adopted),
--       6 idempotency key ('' = none), 7 fingerprint of the request, 8 bytes of request and body, 9 of which were put
--       before, 10… fields of the job and their values.
-- Answers: { 'accepted', fence of the lease | nil } | { 'existing', job } | { 'mismatch' } | { 'deep' } | { 'full' }.
--          A job that comes again is accepted again, and nothing changes.
-- Cost: O(log n) of the waiting jobs.
local from, id, depth, most, lease, key, print, length, before = unpack(ARGV, 1, 9)
local job = JOB .. id
local bytes, newer = stored()
if newer then return newer end
local known = call('HMGET', job, 'state', 'fence')
if known[1] then return { 'accepted', known[2] } end
if key ~= '' then
  local first = call('GET', KEY .. key)
  if first and call('EXISTS', JOB .. first:sub(1, 36)) == 1 then
    if first:sub(37) == print then return { 'existing', first:sub(1, 36) } end
    return { 'mismatch' }
  end
end
local waiting = lease == '' and call('ZCARD', READY)
if waiting and waiting >= tonumber(depth) then return { 'deep' } end
local more = FLAT + length - before
if bytes + more > tonumber(most) then return { 'full' } end

local seq = call('HINCRBY', META, 'sequence', 1)
local now, fence = clock()
account(id, more)
if before ~= '0' then call('ZREM', EXPIRY, id) end
if key ~= '' then
  call('HSET', job, 'key', key)
  call('SET', KEY .. key, id .. print)
end
if waiting then
  call('HSET', job, 'state', 'queued', 'seq', seq, 'created', now, 'asked', length, unpack(ARGV, 10))
  call('ZADD', READY, seq, id)
  if waiting == 0 then tell(WORK, from) end
  return { 'accepted' }
end
call('HSET', job, 'state', 'running', 'seq', seq, 'created', now, 'asked', length, unpack(ARGV, 10))
call('HSET', job, 'fence', fence, 'executions', 1, 'started', now)
call('ZADD', LEASES, now + lease, id)
call('ZADD', RUNNING, seq, id)
return { 'accepted', call('HGET', job, 'fence') }
