-- Renews leases.
--
-- ARGV: 1 lease (ms), then job and fence of each (at most 100).
-- Answers: for each whether it stands, 1 or 0.
-- Cost: O(k log n) for k leases among n. Needs no memory.
local now, stand = clock(), {}
for i = 2, #ARGV, 2 do
  local id, fence = ARGV[i], ARGV[i + 1]
  local stands = call('HGET', JOB .. id, 'fence') == fence and call('ZREM', LEASES, id) == 1
  if stands then call('ZADD', LEASES, now + ARGV[1], id) end
  stand[#stand + 1] = stands and 1 or 0
end
return stand
