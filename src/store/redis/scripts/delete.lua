-- Forgets a job in whatever state it is.
--
-- ARGV: 1 process, 2 job.
-- Answers: 1 = it is gone, 0 = there was none.
-- Cost: O(log n); what it stored is freed in the background.
local from, id = ARGV[1], ARGV[2]
local _, newer = stored()
if newer then return newer end
local state = call('HGET', JOB .. id, 'state')
if not state then return 0 end
forget(id)
tell(CHANGED .. id, from)
if state == 'running' then tell(CANCELLED, id) end
return 1
