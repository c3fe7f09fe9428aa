-- Takes jobs that are due. Before that, makes due whose pause is over and whose lease has run out.
--
-- ARGV: 1 process, 2 number of this call, 3 number of the first call since the last answer, which may be this one,
--       4 most jobs, 5 lease (ms), 6 how often a lease may run out, 7 what is said of a job whose lease did.
-- Answers: { jobs, ms until the next one becomes due by time alone | nil, taken back, parked }, a job being
--          { job, fence, executions, retries, request, body | nil, pieces | nil, length | nil }.
--          What a call took whose answer was lost is given again, under the same lease.
-- Cost: O((j + m) log n) for j jobs taken (at most 100, and about 1 MiB) and m moved (at most 100 of each kind).
local from, turn, unanswered, most, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local _, newer = stored()
if newer then return newer end
local now, micros = clock()
local jobs, given, room = {}, { turn }, 1048576

-- Fences are of the clock, so that they differ even where a failover has forgotten some; and they always grow.
local function next_fence(fence)
  return math.max(micros, (tonumber(fence) or 0) + 1)
end

local function give(id, fence, executions, fields)
  jobs[#jobs + 1] = { id, fence, executions, fields[1] or 0, fields[2], fields[3], fields[4], fields[5] }
  given[#given + 1] = id .. ' ' .. fence
  room = room - #(fields[2] or '') - #(fields[3] or '')
end

local function request_of(job)
  return call('HMGET', job, 'retries', 'request', 'body', 'pieces', 'length')
end

local function back_in_line(id, job, fence, seq)
  call('ZREM', LEASES, id)
  call('ZREM', RUNNING, id)
  account(id, -drop_recording(id))
  call('HSET', job, 'state', 'queued', 'fence', next_fence(fence))
  queue(id, seq, '')
end

local before = call('GET', CLAIMS .. from)
if before and tonumber(before:match('^%d+')) >= unanswered then
  for id, fence in before:gmatch(' (%S+) (%d+)') do
    local job = JOB .. id
    local is = call('HMGET', job, 'fence', 'state', 'executions', 'seq')
    if is[1] == fence and is[2] == 'running' then
      if #jobs < most then
        give(id, fence, is[3], request_of(job))
      else
        back_in_line(id, job, fence, is[4])
      end
    end
  end
end

local due = call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, 100)
for _, id in ipairs(due) do
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
local silent = call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 100)
for _, id in ipairs(silent) do
  local job = JOB .. id
  local is = call('HMGET', job, 'seq', 'fence', 'crashes', 'retention', 'key')
  if not is[1] then
    call('ZREM', LEASES, id)
    call('ZREM', RUNNING, id)
    unaccount(id)
  else
    local crashes = (tonumber(is[3]) or 0) + 1
    if crashes < tonumber(ARGV[6]) then
      back_in_line(id, job, is[2], is[1])
      call('HSET', job, 'crashes', crashes)
      taken = taken + 1
    else
      call('ZREM', LEASES, id)
      call('ZREM', RUNNING, id)
      account(id, -drop_recording(id))
      call('HSET', job, 'state', 'failed', 'fence', next_fence(is[2]), 'error', ARGV[7], 'ended', now)
      finish(id, FAILED, is[1], is[5], now, tonumber(is[4]))
      parked = parked + 1
    end
    tell(CHANGED .. id, '')
  end
end

while #jobs < math.min(most, 100) and room > 0 do
  local first = call('ZPOPMIN', READY)
  local id, seq = first[1], first[2]
  if not id then break end
  local job = JOB .. id
  local is = call('HMGET', job, 'fence', 'executions', 'state')
  if is[3] then
    local fence, executions = string.format('%.0f', next_fence(is[1])), (tonumber(is[2]) or 0) + 1
    call('HSET', job, 'state', 'running', 'fence', fence, 'executions', executions, 'started', now)
    call('ZADD', LEASES, now + lease, id)
    call('ZADD', RUNNING, seq, id)
    give(id, fence, executions, request_of(job))
  else
    unaccount(id)
  end
end
if #jobs > 0 then call('SET', CLAIMS .. from, table.concat(given, ' '), 'PX', lease) end

local wait
for _, set in ipairs({ DELAYED, LEASES }) do
  local at = call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  if at then wait = math.min(wait or math.huge, math.max(0, at - now)) end
end
return { jobs, wait or false, taken, parked }
