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
local is = call('HMGET', job, 'fence', 'state', 'size', 'seq', 'recorded', 'key')
if is[1] ~= fence then return 'lost' end
if is[2] ~= 'running' then return ending == '' and 'lost' or 'held' end
local size, position, more = tonumber(is[3] or 0), tonumber(at), 0
if position > size then return 'lost' end
for i = 10, #ARGV do position = position + #ARGV[i] end
more = math.max(0, position - size)
local begins = head ~= '' and not is[5]
if begins then more = more + #head end
if more > 0 and bytes + more > tonumber(most) then return 'full' end

if begins then call('HSET', job, 'head', head, 'size', 0, 'recorded', 0) end
position = tonumber(at)
for i = 10, #ARGV do
  local piece = ARGV[i]
  local start = position
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
if ending == '' then
  if more > 0 then
    call('HSET', job, 'size', size, 'recorded', (is[5] or 0) + more)
    account(id, more)
    tell(CHANGED .. id, from)
  end
  return 'held'
end

local now = clock()
call('ZREM', LEASES, id)
if more > 0 then call('HSET', job, 'size', size, 'recorded', (is[5] or 0) + more) end
if ending == 'completed' then
  local asked = call('HGET', job, 'asked')
  call('ZREM', RUNNING, id)
  call('HDEL', job, 'request', 'body', 'pieces', 'length', 'error')
  call('UNLINK', BODY .. id)
  call('HSET', job, 'state', 'completed', 'mark', text, 'ended', now, 'asked', 0)
  account(id, more + #text - asked)
  finish(id, COMPLETED, is[4], is[6], now, tonumber(millis))
else
  account(id, more - drop_recording(id))
  if ending == 'failed' then
    call('ZREM', RUNNING, id)
    call('HSET', job, 'state', 'failed', 'error', text, 'ended', now)
    finish(id, FAILED, is[4], is[6], now, tonumber(millis))
  elseif ending == 'again' then
    call('HSET', job, 'state', 'waiting', 'error', text)
    call('HINCRBY', job, 'retries', 1)
    call('ZADD', DELAYED, now + millis, id)
  else
    call('ZREM', RUNNING, id)
    call('HSET', job, 'state', 'queued')
    queue(id, is[4], from)
  end
end
tell(CHANGED .. id, from)
return 'held'
