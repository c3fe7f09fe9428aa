-- A job and what is recorded of it.
--
-- ARGV: 1 job, 2 from which byte on, 3 about how many bytes at most.
-- Answers: { record, head | nil, size | nil, end mark | nil, data | nil } | nil = there is no such job. The data ends where
--          its segment does; data that should be there and is not makes the job one that is not there.
-- Cost: O(1), and the copying of a segment.
local id, first, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local about = record(id)
if not about[1] then return false end
local recorded = call('HMGET', JOB .. id, 'head', 'size', 'mark')
local size, data = tonumber(recorded[2] or 0), false
if first < size and most > 0 then
  local segment, offset = math.floor(first / SEGMENT), first % SEGMENT
  if segment < math.floor(size / SEGMENT) then
    data = call('HGET', SEGMENTS .. id, segment)
    if not data then return false end
    if offset > 0 or most < SEGMENT then data = data:sub(offset + 1, offset + most) end
  else
    data = call('GETRANGE', TAIL .. id, offset, offset + most - 1)
    if data == '' then return false end
  end
end
return { about, recorded[1], size, recorded[3], data }
