-- A job and what is recorded of it.
--
-- ARGV: 1 job, 2 from which byte on, 3 how many bytes at most.
-- Answers: the fields of its record, head | nil, end mark | nil, size | nil, data | nil; or nil = there is no such job. The
--          data ends where its segment does; data that should be there and is not makes the job one that is not there.
-- Cost: O(1), and the copying of a segment.
local id, first, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local answer = call('HMGET', JOB .. id, RECORD, 'head', 'mark', 'size')
if not answer[1] then return false end
local size, data = tonumber(answer[#answer] or 0), false
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
answer[#answer + 1] = data
return answer
