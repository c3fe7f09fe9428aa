-- Writes to the recording of a leased job, and settles the job.
--
-- ARGV: 1 process, 2 job, 3 fence, 4 most bytes of the store, 5 where the data begins, 6 how the execution ended:
--       'completed' | 'failed' | 'again' | 'back' | '' = not yet, 7 end mark or error, 8 retention or pause (ms),
--       9 head ('' = none), 10… the data, cut where segments end.
-- Answers: 'held' | 'lost' | 'full'. What comes again is held, and nothing changes.
-- Cost: O(log n), and the copying of the data, of which a segment is copied twice.
local from, id, fence, most, at, ending, text, millis, head = unpack(ARGV, 1, 9)
local job = JOB .. id
local bytes, newer = stored()
if newer then return newer end
local is = call('HMGET', job, 'fence', 'state', 'size', 'recorded', 'seq', 'key', 'asked', 'pieces')
if is[1] ~= fence then return 'lost' end
if is[2] ~= 'running' then return ending == '' and 'lost' or 'held' end
local size, length = tonumber(is[3] or 0), 0
if tonumber(at) > size then return 'lost' end
for i = 10, #ARGV do length = length + #ARGV[i] end
local more, begins = math.max(0, at + length - size), head ~= '' and not is[4]
if begins then more = more + #head end
if more > 0 and bytes + more > tonumber(most) then return 'full' end

local position = tonumber(at)
for i = 10, #ARGV do
  local piece, start = ARGV[i], position
  position = position + #piece
  if position > size then
    if start < size then
      piece = piece:sub(size - start + 1)
      start = size
    end
    local segment, offset = math.floor(start / SEGMENT), start % SEGMENT
    if #piece == SEGMENT then
      call('HSET', SEGMENTS .. id, segment, piece)
    else
      call('SETRANGE', TAIL .. id, offset, piece)
      if offset + #piece == SEGMENT then
        call('HSET', SEGMENTS .. id, segment, call('GET', TAIL .. id))
        call('UNLINK', TAIL .. id)
      end
    end
    size = position
  end
end
local recorded = (is[4] or 0) + more

if more > 0 then
  if begins then
    call('HSET', job, 'size', size, 'recorded', recorded, 'head', head)
  else
    call('HSET', job, 'size', size, 'recorded', recorded)
  end
elseif ending ~= '' then
  call('ZREM', LEASES, id)
end

if ending == '' then
  if more == 0 then return 'held' end
  account(id, more)
elseif ending == 'completed' then
  local now = clock()
  call('HSET', job, 'state', 'completed', 'mark', text, 'ended', now, 'asked', 0)
  call('HDEL', job, 'request', 'body', 'pieces', 'length', 'error')
  if is[8] then call('UNLINK', BODY .. id) end
  if more > 0 then call('ZREM', LEASES, id) end
  account(id, more + #text - is[7])
  local net = finish(id, COMPLETED, is[5], is[6], now, tonumber(millis))
  if size >= SEGMENT then call('PEXPIRE', SEGMENTS .. id, net) end
  if size % SEGMENT > 0 then call('PEXPIRE', TAIL .. id, net) end
else
  if more > 0 then call('ZREM', LEASES, id) end
  account(id, more - drop_recording(id))
  if ending == 'failed' then
    fail(id, is[5], is[6], text, clock(), tonumber(millis))
  elseif ending == 'again' then
    call('HSET', job, 'state', 'waiting', 'error', text)
    call('HINCRBY', job, 'retries', 1)
    call('ZADD', DELAYED, clock() + millis, id)
    call('ZADD', PAUSED, is[5], id)
  else
    call('HSET', job, 'state', 'queued')
    queue(id, is[5], from)
  end
end
tell(CHANGED .. id, from)
return 'held'
