-- Removes what is past its time: finished jobs, abandoned bodies, cache entries.
--
-- Answers: 1 = there is more, 0 = there is none.
-- Cost: O(k log n) for k removed (at most 100); what they stored is freed in the background.
local most = 100
local _, newer = stored()
if newer then return newer end
local over = call('ZRANGEBYSCORE', EXPIRY, '-inf', clock(), 'LIMIT', 0, most)
for _, id in ipairs(over) do
  if #id == 36 then
    forget(id)
    tell(CHANGED .. id, '')
  else
    call('ZREM', EXPIRY, id)
    call('UNLINK', CACHE .. id)
    unaccount(id)
  end
end
return #over == most and 1 or 0
