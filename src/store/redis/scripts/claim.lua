-- Takes jobs that are due. Before that, makes due whose pause is over and whose lease has run out.
--
-- ARGV: 1 process, 2 number of this call, 3 number of the first call since the last answer, which may be this one,
--       4 most jobs (up to 100), 5 lease (ms), 6 how often a lease may run out, 7 what is said of a job whose lease did.
-- Answers: { jobs, ms until the next one becomes due by time alone | nil, taken back, parked }, a job being
--          { job, fence, executions, retries | nil, request, body | nil, pieces | nil, length | nil }.
--          Where more are due than there was room for in the answer, the next one is due in 0 ms.
--          What a call took whose answer was lost is given again, under the same lease.
-- Cost: O((j + m) log n) for j jobs taken, of about 1 MiB at most, and m moved (at most 100 of each kind).
local from, turn, unanswered, most, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local _, newer = stored()
if newer then return newer end
local now, micros = clock()
local jobs, given, room = {}, { turn }, 1048576

-- Fences are of the clock, so that they differ even where a failover has forgotten some; and they always grow.
local function next_fence(fence)
  return string.format('%.0f', math.max(micros, (tonumber(fence) or 0) + 1))
end

local function look(id)
  return call('HMGET', JOB .. id, 'state', 'fence', 'executions', 'retries', 'request', 'body', 'pieces', 'length')
end

local function give(id, fence, executions, is)
  jobs[#jobs + 1] = { id, fence, executions, is[4], is[5], is[6], is[7], is[8] }
  given[#given + 1] = id .. ' ' .. fence
  room = room - #(is[5] or '') - #(is[6] or '')
end

local function back_in_line(id, fence, seq)
  call('ZREM', LEASES, id)
  call('ZREM', RUNNING, id)
  account(id, -drop_recording(id))
  call('HSET', JOB .. id, 'state', 'queued', 'fence', next_fence(fence))
  queue(id, seq, '')
end

local before = unanswered ~= turn and call('GET', CLAIMS .. from)
if before and tonumber(before:match('^%d+')) >= tonumber(unanswered) then
  for id, fence in before:gmatch(' (%S+) (%d+)') do
    local is = look(id)
    if is[1] == 'running' and is[2] == fence then
      if #jobs < most then
        give(id, fence, is[3], is)
      else
        back_in_line(id, fence, call('HGET', JOB .. id, 'seq'))
      end
    end
  end
end

for _, id in ipairs(call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, 100)) do
  call('ZREM', DELAYED, id)
  call('ZREM', RUNNING, id)
  local seq = call('HGET', JOB .. id, 'seq')
  if seq then
    call('HSET', JOB .. id, 'state', 'queued')
    queue(id, seq, '')
  else
    unaccount(id)
  end
end

local taken, parked = 0, 0
for _, id in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 100)) do
  local is = call('HMGET', JOB .. id, 'seq', 'fence', 'crashes', 'retention', 'key')
  local crashes = (tonumber(is[3]) or 0) + 1
  if not is[1] then
    call('ZREM', LEASES, id)
    call('ZREM', RUNNING, id)
    unaccount(id)
  elseif crashes < tonumber(ARGV[6]) then
    back_in_line(id, is[2], is[1])
    call('HSET', JOB .. id, 'crashes', crashes)
    taken = taken + 1
  else
    call('ZREM', LEASES, id)
    call('ZREM', RUNNING, id)
    account(id, -drop_recording(id))
    call('HSET', JOB .. id, 'fence', next_fence(is[2]))
    fail(id, is[1], is[5], ARGV[7], now, tonumber(is[4]))
    parked = parked + 1
  end
  tell(CHANGED .. id, '')
end

local first = most > #jobs and call('ZPOPMIN', READY, most - #jobs) or {}
for i = 1, #first, 2 do
  local id, seq = first[i], first[i + 1]
  local is = room > 0 and look(id)
  if not is then
    call('ZADD', READY, seq, id)
  elseif is[1] then
    local fence, executions = next_fence(is[2]), (tonumber(is[3]) or 0) + 1
    call('HSET', JOB .. id, 'state', 'running', 'fence', fence, 'executions', executions, 'started', now)
    call('ZADD', LEASES, now + lease, id)
    call('ZADD', RUNNING, seq, id)
    give(id, fence, executions, is)
  else
    unaccount(id)
  end
end
if #jobs > 0 then call('SET', CLAIMS .. from, table.concat(given, ' '), 'PX', lease) end

local wait = room <= 0 and call('ZCARD', READY) > 0 and 0
for _, set in ipairs({ DELAYED, LEASES }) do
  local at = call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  if at then wait = math.min(wait or math.huge, math.max(0, at - now)) end
end
return { jobs, wait, taken, parked }
