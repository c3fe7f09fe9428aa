-- Queues a failed job again, as if it had just been submitted.
--
-- ARGV: 1 process, 2 job.
-- Answers: 'queued' | 'unknown' | 'unfailed' | 'lost'.
-- Cost: O(log n).
local from, id = ARGV[1], ARGV[2]
local job = JOB .. id
local _, newer = stored()
if newer then return newer end
local is = call('HMGET', job, 'state', 'request', 'pieces', 'key')
if not is[1] then return 'unknown' end
if is[1] ~= 'failed' then return 'unfailed' end
if not is[2] or is[3] and call('HLEN', BODY .. id) < tonumber(is[3]) then return 'lost' end
local seq, now = call('HINCRBY', META, 'sequence', 1), clock()
call('HDEL', job, 'started', 'ended', 'error', 'retries', 'crashes')
call('HSET', job, 'state', 'queued', 'seq', seq, 'submitted', now)
for _, key in ipairs({ job, BODY .. id, is[4] and KEY .. is[4] or nil }) do call('PERSIST', key) end
call('ZREM', FAILED, id)
call('ZREM', EXPIRY, id)
queue(id, seq, from)
tell(CHANGED .. id, from)
return 'queued'
