-- How many jobs there are in each state, and how much is stored.
--
-- Answers: { queued, running, waiting, completed, failed, when the oldest queued one was submitted | nil, bytes }.
-- Cost: O(1).
local answer = {}
for i, set in ipairs({ READY, LEASES, DELAYED, COMPLETED, FAILED }) do answer[i] = call('ZCARD', set) end
local oldest = call('ZRANGE', READY, 0, 0)[1]
local since = oldest and call('HMGET', JOB .. oldest, 'submitted', 'created')
answer[6] = since and (since[1] or since[2]) or false
answer[7] = call('HGET', META, 'bytes') or 0
return answer
